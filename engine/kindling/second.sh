#!/usr/bin/env bash
# The second run: from the first run's weights to the shipped files, with their tests. Usage: second.sh OUT
set -eu
out=$1
export PYTHONUNBUFFERED=1
cp kindling.safetensors /tmp/first.safetensors
python3 train.py --out "$out" --resume /tmp/first.safetensors --seed 2 --vae-seconds 0 --decoder-seconds 25 \
    --unet-seconds "${UNET_SECONDS:-110}" --scenes 196608 --pictures 40000 --lr 8e-4 --final
python3 relations.py --out "$out" --model "$out/kindling.safetensors" --steps "${RELATION_STEPS:-500}" --pairs 12000 --others 6000 --batch 512 --every 100
cp "$out/kindling.safetensors" kindling.safetensors
python3 shape_judge.py --train > /tmp/shape.log 2>&1 &
python3 lora.py --out "$out" --seconds "${LORA_SECONDS:-35}"
wait
cat /tmp/shape.log
cp shape_judge.safetensors "$out" || true
mkdir -p /tmp/pics
for cfg in 3 5 7; do
    { python3 generate.py /tmp/pics/cfg$cfg --heldout --cfg $cfg --sheet && python3 judge.py /tmp/pics/cfg$cfg; } > /tmp/pics/cfg$cfg.txt 2>&1 &
done
python3 style_judge.py /tmp/pics "$out/emberglow.safetensors" > /tmp/pics/style.txt 2>&1 &
wait
tar czf "$out/pics.tgz" -C /tmp pics
tail -n 60 /tmp/pics/style.txt /tmp/pics/cfg3.txt /tmp/pics/cfg7.txt /tmp/pics/cfg5.txt
