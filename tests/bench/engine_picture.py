"""A whole picture from a half-precision checkpoint, Hearth against diffusers: peak memory and load time.

    cargo build --release -p hearth-engine --example picture
    python tests/bench/engine_picture.py [--family sd15|sdxl] [--side 512] [--steps 2] [--threads 2] [--folder DIR] [PROGRAM...]

Makes a checkpoint of the published size with random weights in f16 (kept in DIR; about 2 GB, SDXL 7 GB), reads it once so that it lies
in the page cache, and draws a picture in a process of its own for each PROGRAM: `hearth` in f32, `hearth-half` with the weights kept as they
are, `diffusers` in f32 on torch. Peak memory is the process's largest resident set as the system counts it; loaded is the time from a
path to a model in memory, which excludes starting the process and importing libraries. Needs torch, diffusers and transformers.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

CLIP_L = dict(vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, projection_dim=768)
BIG_G = dict(vocab_size=49408, hidden_size=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=20, projection_dim=1280, hidden_act="gelu")


def tokenizer(folder):
    """A vocabulary of CLIP's size: bytes, bytes that end words, fillers, and the two marks at the end."""
    from transformers import CLIPTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    symbols = [chr(b) for b in kept] + [chr(256 + i) for i in range(256 - len(kept))]
    words = symbols + [s + "</w>" for s in symbols]
    words += [f"filler{i}" for i in range(49406 - len(words))] + ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    made = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), pad_token="<|endoftext|>", model_max_length=77)
    made.save_pretrained(folder)
    return made


def make(folder, family):
    import diffusers
    import torch
    from engine_unet import build
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(1)
    torch.set_default_dtype(torch.float16)
    xl = family == "sdxl"
    unet, vae = build(family)
    vae.register_to_config(scaling_factor=0.13025 if xl else 0.18215)
    scheduler = diffusers.EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1)
    text = CLIPTextModel(CLIPTextConfig(**CLIP_L))
    parts = dict(unet=unet, vae=vae, scheduler=scheduler, text_encoder=text, tokenizer=tokenizer(folder / "tokenizer"))
    if xl:
        parts |= dict(text_encoder_2=CLIPTextModelWithProjection(CLIPTextConfig(**BIG_G)), tokenizer_2=parts["tokenizer"])
        pipeline = diffusers.StableDiffusionXLPipeline(**parts)
    else:
        pipeline = diffusers.StableDiffusionPipeline(**parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    pipeline.save_pretrained(folder)


def peer(folder, family, side, steps, threads):
    import diffusers
    import torch

    torch.set_num_threads(threads)
    kind = diffusers.StableDiffusionXLPipeline if family == "sdxl" else diffusers.StableDiffusionPipeline
    began = time.perf_counter()
    pipeline = kind.from_pretrained(folder, torch_dtype=torch.float32)
    loaded = time.perf_counter() - began
    with torch.inference_mode():
        pipeline("a red kite over green hills", width=side, height=side, num_inference_steps=steps)
    print(json.dumps(dict(loaded_s=loaded, picture_s=time.perf_counter() - began)))


def measured(command, threads):
    """What a process printed last, and its peak of resident memory in gigabytes."""
    environment = dict(os.environ, RAYON_NUM_THREADS=str(threads), OMP_NUM_THREADS=str(threads), HF_HUB_OFFLINE="1")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    printed = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0, f"{command} failed"
    return json.loads(printed.strip().splitlines()[-1]), used.ru_maxrss * 1024 / 1e9


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--family", choices=["sd15", "sdxl"], default="sd15")
    p.add_argument("--side", type=int, default=512)
    p.add_argument("--steps", type=int, default=2)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("/tmp/hearth-bench-models"))
    p.add_argument("--hearth", default="target/release/examples/picture")
    p.add_argument("--role", choices=["make", "peer"], help=argparse.SUPPRESS)
    p.add_argument("programs", nargs="*", default=["hearth", "hearth-half", "diffusers"])
    a = p.parse_args()
    folder = a.folder / a.family
    if a.role == "make":
        return make(folder, a.family)
    if a.role == "peer":
        return peer(folder, a.family, a.side, a.steps, a.threads)
    again = [sys.executable, __file__, "--family", a.family, "--side", str(a.side), "--steps", str(a.steps), "--threads", str(a.threads), "--folder", str(a.folder)]
    if not (folder / "model_index.json").exists():
        subprocess.run([*again, "--role", "make"], check=True)
    size = 0
    for file in folder.rglob("*.safetensors"):
        with open(file, "rb") as f:
            while block := f.read(1 << 24):
                size += len(block)
    print(f"{a.family}, {size / 1e9:.2f} GB in f16, {a.side}x{a.side}, {a.steps} steps, {a.threads} threads, load {os.getloadavg()[0]:.1f}")
    print("| program | loaded s | picture s | peak GB |\n|---|---|---|---|")
    for program in a.programs:
        ours = [a.hearth, str(folder), str(a.side), str(a.steps), "half" if program == "hearth-half" else "full"]
        figures, peak = measured([*again, "--role", "peer"] if program == "diffusers" else ours, a.threads)
        print(f"| {program} | {figures['loaded_s']:.2f} | {figures['picture_s']:.2f} | {peak:.2f} |", flush=True)


main()
