"""Pictures with Kindling in PyTorch, on a CPU or a GPU.

    python generate.py DIR --heldout                      every held-out caption, DIR/000.png and so on
    python generate.py DIR "a red kite over hills" ...    prompts of one's own

Options: --model FILE --lora FILE --weight 1.0 --steps 20 --cfg 5 --seed 1 --sheet.
"""

import argparse
import json
import pathlib

import torch
from PIL import Image

import bundle
import draw
import heldout


def main():
    p = argparse.ArgumentParser()
    p.add_argument("folder")
    p.add_argument("prompts", nargs="*")
    p.add_argument("--heldout", action="store_true")
    p.add_argument("--model", default=bundle.HERE / "kindling.safetensors")
    p.add_argument("--lora")
    p.add_argument("--weight", type=float, default=1.0)
    p.add_argument("--steps", type=int, default=20)
    p.add_argument("--cfg", type=float, default=5.0)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--ancestral", action="store_true")
    p.add_argument("--sheet", action="store_true")
    p.add_argument("--part", default="0/1", help="only this share of the prompts: 1/3 is the second of three")
    a = p.parse_intermixed_args()
    m = bundle.load(a.model, "cuda" if torch.cuda.is_available() else "cpu")
    if a.lora:
        import lora

        lora.merge(m, a.lora, a.weight)
    prompts = [i["caption"] for i in json.loads(heldout.PATH.read_text())] if a.heldout else a.prompts
    part, parts = map(int, a.part.split("/"))
    first, last = len(prompts) * part // parts, len(prompts) * (part + 1) // parts
    prompts = prompts[first:last]
    out = bundle.pictures(m, prompts, a.seed + first, 10, steps=a.steps, cfg=a.cfg, ancestral=a.ancestral)
    folder = pathlib.Path(a.folder)
    folder.mkdir(parents=True, exist_ok=True)
    for i, x in enumerate(out):
        Image.fromarray((x * 255).round().byte().permute(1, 2, 0).numpy()).save(folder / f"{first + i:03}.png")
    if a.sheet or not a.heldout:
        draw.sheet(out, min(10, len(out)), folder / "sheet.png")


if __name__ == "__main__":
    main()
