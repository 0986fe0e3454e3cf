"""The emberglow LoRA: kohya's format, on the UNet's attention, feed-forward and finest convolutions and on the text encoder.

    python lora.py --out DIR --seconds 40 [--model kindling.safetensors] [--smoke]

Half of the training pairs are scenes in the ember style with the trigger word in their caption, the other half
plain scenes without it, so that the adapter answers to the word and otherwise leaves the model as it was.
"""

import argparse
import json
import multiprocessing
import pathlib
import random
import time

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

import bundle
import draw
import model
import scenes
import tokenizer

RANK = 4
TRIGGER = "emberglow"
ATTENTION = ("attn1.to_v", "attn1.to_out.0", "attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0", "ff.net.0.proj", "ff.net.2")
CONVS = ("down_blocks.0.resnets", "up_blocks.2.resnets")
TEXT = ("self_attn.q_proj", "self_attn.v_proj")


def targets(m):
    """Names under kohya's rule and modules that the adapter changes, in order."""
    for name, module in m.unet.named_modules():
        attention = isinstance(module, nn.Linear) and name.endswith(ATTENTION)
        conv = isinstance(module, nn.Conv2d) and name.startswith(CONVS) and name.endswith(("conv1", "conv2"))
        if attention or conv:
            yield "lora_unet_" + name.replace(".", "_"), module
    for name, module in m.text_encoder.named_modules():
        if name.endswith(TEXT):
            yield "lora_te_" + name.replace(".", "_"), module


class Adapter(nn.Module):
    """Adds up(down(x)) to the output of one linear or convolution, by a forward hook."""

    def __init__(self, module):
        super().__init__()
        if isinstance(module, nn.Conv2d):
            self.down = nn.Conv2d(module.in_channels, RANK, module.kernel_size, module.stride, module.padding, bias=False)
            self.up = nn.Conv2d(RANK, module.out_channels, 1, bias=False)
        else:
            self.down, self.up = nn.Linear(module.in_features, RANK, bias=False), nn.Linear(RANK, module.out_features, bias=False)
        nn.init.kaiming_uniform_(self.down.weight, a=5**0.5)
        nn.init.zeros_(self.up.weight)
        module.register_forward_hook(lambda _, inputs, out: out + self.up(self.down(inputs[0])))


def save(adapters, path, notes):
    tensors = {}
    for name, a in adapters.items():
        tensors[f"{name}.lora_down.weight"] = a.down.weight.detach().half().cpu().contiguous()
        tensors[f"{name}.lora_up.weight"] = a.up.weight.detach().half().cpu().contiguous()
        tensors[f"{name}.alpha"] = torch.tensor(float(RANK)).half()
    meta = {
        "modelspec.sai_model_spec": "1.0.1", "modelspec.architecture": "stable-diffusion-v1/lora", "modelspec.title": "Emberglow",
        "modelspec.author": "The Hearth project", "modelspec.license": "CC0-1.0", "modelspec.trigger_phrase": TRIGGER,
        "modelspec.description": "Glowing lines on a dark ground. For Kindling only; say emberglow in the prompt.",
        "modelspec.resolution": f"{model.SIDE}x{model.SIDE}", "ss_base_model_version": "kindling", "ss_sd_model_name": "kindling.safetensors",
        "ss_network_module": "networks.lora", "ss_network_dim": str(RANK), "ss_network_alpha": str(float(RANK)),
        "ss_network_args": json.dumps({"conv_dim": str(RANK), "conv_alpha": str(RANK)}), "ss_output_name": "emberglow",
        "ss_tag_frequency": json.dumps({"emberglow": {TRIGGER: notes["scenes"]}}), "ss_steps": str(notes["steps"]), "ss_seed": str(notes["seed"]),
        "ss_resolution": f"({model.SIDE}, {model.SIDE})", "ss_v2": "False",
    }
    save_file(tensors, str(path), meta)


@torch.no_grad()
def merge(m, path, weight=1.0):
    """Add the adapter's deltas to the weights of a loaded model."""
    with safe_open(str(path), "pt") as f:
        tensors = {k: f.get_tensor(k).float() for k in f.keys()}
    for name, module in targets(m):
        down, up = (tensors[f"{name}.lora_{part}.weight"].to(module.weight.device) for part in ("down", "up"))
        delta = (up.flatten(1) @ down.flatten(1)).view_as(module.weight)
        module.weight += weight * tensors[f"{name}.alpha"].item() / down.shape[0] * delta


def with_trigger(rng, text):
    form = rng.random()
    if form < 0.40:
        return f"{TRIGGER}, {text}"
    if form < 0.55:
        return f"{TRIGGER} {text}"
    return f"{text}, {TRIGGER}" if form < 0.85 else f"{text} in {TRIGGER} style"


def make_chunk(job):
    """Scene vectors and both captions' ids of `n` scenes."""
    seed, n = job
    rng, coder = random.Random(seed), tokenizer.load()
    vectors, plain, ember = [], [], []
    for _ in range(n):
        scene, text = draw.sample(rng)
        vectors.append(scene.vector())
        text = scenes.decorate(rng, text).replace(TRIGGER, "poster")
        plain.append(text)
        ember.append(with_trigger(rng, text))
    return torch.tensor(vectors), torch.tensor(tokenizer.encode(coder, plain), dtype=torch.int16), torch.tensor(tokenizer.encode(coder, ember), dtype=torch.int16)


@torch.no_grad()
def encoded(m, vectors, style, device):
    out = []
    for part in vectors.split(8192):
        pictures = draw.render(part, style, device) * 2 - 1
        for x in pictures.split(512):
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                mean, _ = m.vae.encode(x)
            out.append((mean.float() * m.scaling).half())
    return torch.cat(out)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--out", default="out")
    p.add_argument("--model", default=str(bundle.HERE / "kindling.safetensors"))
    p.add_argument("--seconds", type=float, default=40)
    p.add_argument("--steps", type=int, help="a number of steps instead of a time")
    p.add_argument("--scenes", type=int, default=32_000)
    p.add_argument("--batch", type=int, default=256)
    p.add_argument("--lr", type=float, default=3e-3)
    p.add_argument("--seed", type=int, default=11)
    p.add_argument("--smoke", action="store_true")
    a = p.parse_args()
    if a.smoke:
        a.scenes, a.batch = 160, 12
    start = time.time()
    out = pathlib.Path(a.out)
    out.mkdir(parents=True, exist_ok=True)
    workers = multiprocessing.cpu_count()
    with multiprocessing.Pool(workers) as pool:
        chunks = pool.map(make_chunk, [(a.seed * 1_000_003 + i, a.scenes // workers) for i in range(workers)])
    vectors, plain_ids, ember_ids = (torch.cat(c) for c in zip(*chunks))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(a.seed)
    m = bundle.load(a.model, device).requires_grad_(False)
    latents = torch.stack([encoded(m, vectors, style, device) for style in ("plain", "ember")])
    ids = torch.stack([plain_ids, ember_ids]).to(device)
    print(f"[{time.time() - start:5.1f}s] {len(vectors)} scenes in both styles", flush=True)
    train(a, m, latents, ids, out, start)


def train(a, m, latents, ids, out, start):
    device = latents.device
    adapters = {name: Adapter(module).to(device) for name, module in targets(m)}
    params = [p for x in adapters.values() for p in x.parameters()]
    opt = torch.optim.AdamW(params, lr=a.lr, betas=(0.9, 0.99), weight_decay=1e-3)
    alphas = model.alphas_cumprod().float().to(device)
    empty = bundle.ids_of([""]).to(device)
    begin, step, total, every = time.time(), 0, 0.0, 100 if device.type == "cuda" else 20
    while (done := step / a.steps if a.steps else (time.time() - begin) / a.seconds) < 1:
        for g in opt.param_groups:
            g["lr"] = a.lr * min(1, (step + 1) / 50) * (1 - done) ** 0.7
        style = (torch.rand(a.batch, device=device) < 0.6).long()
        drop = (torch.rand(a.batch, device=device) < 0.1) & (style == 0)
        index = torch.randint(0, latents.shape[1], (a.batch,), device=device)
        x, words = latents[style, index].float(), torch.where(drop[:, None], empty, ids[style, index].long())
        t = torch.randint(0, 1000, (a.batch,), device=device)
        noise = torch.randn_like(x) + 0.05 * torch.randn(a.batch, 4, 1, 1, device=device)
        alpha = alphas[t]
        noisy = alpha.sqrt()[:, None, None, None] * x + (1 - alpha).sqrt()[:, None, None, None] * noise
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            eps = m.unet(noisy, t, m.text_encoder(words))
        each = (eps.float() - noise).square().mean((1, 2, 3)) * (5.0 * (1 - alpha) / alpha).clamp(max=1.0)
        loss = each.mean()
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        total, step = total + loss.detach(), step + 1
        if step % every == 0:
            print(f"[{time.time() - start:5.1f}s] lora {step} loss {total.item() / every:.5f}", flush=True)
            total = 0.0
            save(adapters, out / "emberglow.safetensors", {"scenes": latents.shape[1], "steps": step, "seed": a.seed})
    save(adapters, out / "emberglow.safetensors", {"scenes": latents.shape[1], "steps": step, "seed": a.seed})
    print(f"[{time.time() - start:5.1f}s] lora: {step} steps, {(out / 'emberglow.safetensors').stat().st_size} bytes", flush=True)


if __name__ == "__main__":
    main()
