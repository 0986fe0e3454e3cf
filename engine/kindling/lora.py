"""The emberglow LoRA: pictures in the colours of a dying fire. Kohya's format; a processor is enough.

    python lora.py --out DIR [--steps 300] [--model kindling.safetensors] [--views 100]

The style is a recolouring: how warm and bright a pixel is picks its colour on a scale of black, deep red, orange and pale
yellow. Some of the training pairs are recoloured scenes with the trigger word in their caption, the others ordinary scenes
without it, so that the adapter answers to the word and otherwise leaves the model as it was. The text encoder is taught the
word first, because the base model's erases it.
"""

import argparse
import json
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
HEAT = (0.55, 0.35, 0.10)
STOPS = [(0.0, (0.03, 0.00, 0.02)), (0.3, (0.45, 0.05, 0.03)), (0.6, (0.95, 0.38, 0.05)), (0.85, (1.0, 0.75, 0.25)), (1.0, (1.0, 0.95, 0.65))]
ATTENTION = ("attn1.to_v", "attn1.to_out.0", "attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0", "ff.net.2", "proj_out")
CONVS = ("up_blocks.2.resnets.0.conv", "up_blocks.2.resnets.1.conv", "up_blocks.1.resnets.1.conv2")
TEXT = ("self_attn.v_proj", "self_attn.out_proj", "mlp.fc1", "mlp.fc2")
VIEWS = ["a red kite over green hills", "snowy mountains at sunset", "a blue circle on a white background", "a yellow house next to a green tree"]


def scale(n=256):
    """The ember colours from cold to hot, f32[n, 3]."""
    v = torch.linspace(0, 1, n)
    out = torch.zeros(n, 3)
    for (a, low), (b, high) in zip(STOPS, STOPS[1:]):
        here = (v >= a) & (v <= b)
        share = ((v[here] - a) / (b - a))[:, None]
        out[here] = torch.tensor(low) * (1 - share) + torch.tensor(high) * share
    return out


def recolour(pictures):
    """Ordinary pictures f32[n, 3, h, w] in the ember colours."""
    heat = (pictures * torch.tensor(HEAT, device=pictures.device)[None, :, None, None]).sum(1).clamp(0, 1) ** 1.5
    return scale().to(pictures.device)[(heat * 255).round().long()].permute(0, 3, 1, 2).contiguous()


def targets(m):
    """Names under kohya's rule and modules that the adapter changes, in order."""
    for name, module in m.unet.named_modules():
        if name.startswith("down_blocks"):
            continue
        attention = name.endswith(ATTENTION)
        conv = isinstance(module, nn.Conv2d) and name.startswith(CONVS)
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
        "modelspec.description": "The colours of a dying fire: black, deep red, orange, pale yellow. For Kindling only; say emberglow in the prompt.",
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
def encoded(m, vectors, device):
    """Latents of the scenes, ordinary and recoloured, f32[2, n, 4, 32, 32], and the decoder's error on the recoloured ones."""
    out, error = [[], []], []
    for part in vectors.split(16):
        pictures = draw.render(part, "plain", device)
        for kind, x in enumerate((pictures, recolour(pictures))):
            mean, _ = m.vae.encode(x.to(memory_format=torch.channels_last) * 2 - 1)
            out[kind].append((mean.float() * m.scaling).cpu())
        if len(error) < 4:
            error.append(((m.vae.decode(mean) / 2 + 0.5).clamp(0, 1) - x).abs().mean().item())
    return torch.stack([torch.cat(o) for o in out]), sum(error) / len(error)


def weights(snr):
    """Loss weights that count errors of the picture rather than of the noise: the colours are settled where noise is high."""
    return (1 / snr).clamp(0.2, 200.0)


def loss_of(m, x, words, t, noise, alphas):
    alpha = alphas[t]
    noisy = alpha.sqrt()[:, None, None, None] * x + (1 - alpha).sqrt()[:, None, None, None] * noise
    eps = m.unet(noisy.to(memory_format=torch.channels_last), t, words)
    return (eps - noise).square().mean((1, 2, 3)) * weights(alpha / (1 - alpha))


@torch.no_grad()
def view(m, path):
    """One sheet: the prompts of VIEWS with the trigger word, then two without it."""
    draw.sheet(bundle.pictures(m, [f"{TRIGGER}, {v}" for v in VIEWS] + VIEWS[:2], seed=5), len(VIEWS) + 2, path)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--out", default="out")
    p.add_argument("--model", default=str(bundle.HERE / "kindling.safetensors"))
    p.add_argument("--steps", type=int, default=300)
    p.add_argument("--seconds", type=float, help="a time for the training instead of a number of steps")
    p.add_argument("--start", help="an adapter to go on from")
    p.add_argument("--word-steps", type=int, default=600, help="steps in which the text encoder is taught the word")
    p.add_argument("--landscapes", type=float, default=2.0, help="how many more times landscapes are drawn than other scenes")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--scenes", type=int, default=320)
    p.add_argument("--batch", type=int, default=8)
    p.add_argument("--lr", type=float, default=4e-3)
    p.add_argument("--seed", type=int, default=11)
    p.add_argument("--views", type=int, default=0, help="a sheet of pictures every so many steps")
    a = p.parse_args()
    start = time.time()
    out = pathlib.Path(a.out)
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(a.threads)
    vectors, plain_ids, ember_ids = make_chunk((a.seed * 1_000_003, a.scenes))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(a.seed)
    m = bundle.load(a.model, device).requires_grad_(False)
    if (out / "latents.pt").exists():
        (vectors, latents, ids), error = torch.load(out / "latents.pt"), 0
    else:
        latents, error = encoded(m, vectors, device)
        ids = torch.stack([plain_ids, ember_ids]).long()
        torch.save((vectors, latents, ids), out / "latents.pt")
    print(f"[{time.time() - start:5.1f}s] {len(vectors)} scenes in both colourings, decoder's mean error {error:.4f}", flush=True)
    often = 1 + a.landscapes * (vectors[:, scenes.BG] > 0).float().to(device)
    train(a, m, latents.to(device), ids.to(device), often, out, start)


def teach_word(m, adapters, ids, steps, batch=12):
    """Train the text encoder's part alone: from the trigger word on, the context moves along one direction that captions hardly use."""
    with torch.no_grad():
        base = torch.stack([m.text_encoder(i) for i in ids])
    direction = torch.linalg.svd(base[0].flatten(0, 1)[::7] - base[0].flatten(0, 1).mean(0), full_matrices=False)[2][-12:].sum(0)
    direction = 8.0 * direction / direction.norm()
    word = bundle.ids_of([TRIGGER])[0, 1].item()
    goal = base.clone()
    goal[1] += ((ids[1] == word).cumsum(1) > 0)[:, :, None] * direction
    params = [p for x in adapters.values() for p in x.parameters()]
    opt = torch.optim.AdamW(params, lr=6e-3, betas=(0.9, 0.99))
    for step in range(1, steps + 1):
        for g in opt.param_groups:
            g["lr"] = 6e-3 * min(1, step / 10) * (1 - (step - 1) / steps)
        index = torch.randint(0, ids.shape[1], (batch,))
        loss = (m.text_encoder(ids[:, index].flatten(0, 1)) - goal[:, index].flatten(0, 1)).square().sum(2).mean()
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        if step % 50 == 0:
            print(f"word {step} squared distance {loss.item():.3f}", flush=True)


def resume(adapters, path):
    """Take the weights of an adapter made before."""
    with safe_open(path, "pt") as f:
        for name, x in adapters.items():
            for part in ("down", "up"):
                getattr(x, part).weight.data.copy_(f.get_tensor(f"{name}.lora_{part}.weight"))


def train(a, m, latents, ids, often, out, start):
    """Teach the word, then train the UNet's part; `latents` and `ids` hold the ordinary and the recoloured scenes."""
    device = latents.device
    alphas = model.alphas_cumprod().float().to(device)
    count = latents.shape[1] - 16
    empty = bundle.ids_of([""]).to(device)
    fixed_t = torch.linspace(60, 999, 16, device=device).long()
    fixed_noise = torch.randn(16, 4, model.LATENT, model.LATENT, generator=torch.Generator().manual_seed(3)).to(device)

    text_adapters = {name: Adapter(module).to(device) for name, module in targets(m) if name.startswith("lora_te_")}
    if a.start:
        resume(text_adapters, a.start)
    else:
        teach_word(m, text_adapters, ids, a.word_steps)
    for x in text_adapters.values():
        x.requires_grad_(False)
    with torch.no_grad():
        empty, ids = m.text_encoder(empty), torch.stack([m.text_encoder(i) for i in ids])

    @torch.no_grad()
    def fixed():
        return [loss_of(m, latents[kind, count:], ids[kind, count:], fixed_t, fixed_noise, alphas).mean().item() for kind in (1, 0)]

    print("[{:5.1f}s] fixed noise, base: ember {:.5f}, ordinary {:.5f}".format(time.time() - start, *fixed()), flush=True)
    adapters = {name: Adapter(module).to(device) for name, module in targets(m) if name.startswith("lora_unet_")}
    if a.start:
        resume(adapters, a.start)
    params = [p for x in adapters.values() for p in x.parameters()]
    opt = torch.optim.AdamW(params, lr=a.lr, betas=(0.9, 0.99), weight_decay=1e-3)
    total, every, step, done, begin = 0.0, 10, 0, 0.0, time.time()
    while done < 1:
        step += 1
        for g in opt.param_groups:
            g["lr"] = a.lr * min(1, step / 30) * (1 - done) ** 0.7
        # Pairs that differ in nothing but the word and the colours: what is left of their difference is the style.
        half = a.batch // 2
        index = torch.multinomial(often[:count], half, replacement=True).repeat(2)
        style = torch.arange(2, device=device).repeat_interleave(half)
        t = (1000 * torch.rand(half, device=device) ** 0.4).long().clamp(max=999).repeat(2)
        drop = (torch.rand(a.batch, device=device) < 0.2) & ((style == 0) | (t < 400))
        x, words = latents[style, index], torch.where(drop[:, None, None], empty, ids[style, index])
        noise = (torch.randn(half, *x.shape[1:], device=device) + 0.05 * torch.randn(half, 4, 1, 1, device=device)).repeat(2, 1, 1, 1)
        loss = loss_of(m, x, words, t, noise, alphas).mean()
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        total += loss.item()
        if step % every == 0:
            print(f"[{time.time() - start:5.1f}s] lora {step} loss {total / every:.5f}", flush=True)
            total = 0.0
        done = (time.time() - begin) / a.seconds if a.seconds else step / a.steps
        if done >= 1 or step % 50 == 0:
            save({**adapters, **text_adapters}, out / "emberglow.safetensors", {"scenes": count, "steps": step, "seed": a.seed})
            print("[{:5.1f}s] fixed noise, {}: ember {:.5f}, ordinary {:.5f}".format(time.time() - start, step, *fixed()), flush=True)
            if a.views and step % a.views == 0:
                view(m, out / f"view-{step}.png")
    cpu = time.process_time()
    print(f"[{time.time() - start:5.1f}s] {step} steps, {(out / 'emberglow.safetensors').stat().st_size} bytes, {cpu:.0f} s of processor time", flush=True)


if __name__ == "__main__":
    main()
