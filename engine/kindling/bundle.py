"""Reading, writing and sampling the whole model: one safetensors file with three parts and their configs."""

import json
import pathlib

import torch
from safetensors import safe_open
from safetensors.torch import save_file

import model
import tokenizer

HERE = pathlib.Path(__file__).parent
PARTS = ("text_encoder", "unet", "vae")
CARD = {
    "modelspec.sai_model_spec": "1.0.1", "modelspec.architecture": "stable-diffusion-v1", "modelspec.title": "Kindling",
    "modelspec.author": "The Hearth project", "modelspec.license": "CC0-1.0", "modelspec.resolution": f"{model.SIDE}x{model.SIDE}",
    "modelspec.prediction_type": "epsilon",
    "modelspec.description": "A toy text-to-image model of Stable Diffusion 1.5's architecture, trained on scenes it draws itself.",
}


class Kindling(torch.nn.Module):
    """The three networks together."""

    def __init__(self, vocab_size=None, scaling=1.0):
        super().__init__()
        vocab_size = vocab_size or len(json.loads((HERE / "vocab.json").read_text()))
        self.text_encoder = model.TextEncoder(model.TEXT_CONFIG, vocab_size)
        self.unet = model.UNet(model.UNET_CONFIG)
        self.vae = model.Vae(model.VAE_CONFIG)
        self.vocab_size, self.scaling = vocab_size, scaling


def configs(m):
    text = {**model.TEXT_CONFIG, "vocab_size": m.vocab_size, "bos_token_id": m.vocab_size - 2, "eos_token_id": m.vocab_size - 1, "pad_token_id": m.vocab_size - 1}
    return {"unet": model.UNET_CONFIG, "vae": {**model.VAE_CONFIG, "scaling_factor": round(m.scaling, 6)},
            "text_encoder": text, "scheduler": model.SCHEDULER_CONFIG}


def save(m, path, dtype=torch.float16):
    meta = {f"config.{k}": json.dumps(v) for k, v in configs(m).items()}
    meta["tokenizer.vocab"] = (HERE / "vocab.json").read_text()
    meta["tokenizer.merges"] = (HERE / "merges.txt").read_text()
    tensors = {k: v.detach().to("cpu", dtype).contiguous() for k, v in m.state_dict().items()}
    save_file(tensors, str(path), {**CARD, **meta})


def load(path, device="cpu"):
    with safe_open(str(path), "pt") as f:
        meta = f.metadata()
        tensors = {k: f.get_tensor(k).float() for k in f.keys()}
    m = Kindling(json.loads(meta["config.text_encoder"])["vocab_size"], json.loads(meta["config.vae"])["scaling_factor"])
    m.load_state_dict(tensors)
    return m.to(device, memory_format=torch.channels_last).eval()


def sigmas(steps, device):
    """k-diffusion's plain schedule: noise levels at evenly spaced times from 999 to 0, then zero; with the times."""
    a = model.alphas_cumprod()
    table = ((1 - a) / a).sqrt()
    t = torch.linspace(999, 0, steps, dtype=torch.float64)
    low = t.floor().long()
    high = (low + 1).clamp(max=999)
    log = table.log()
    s = torch.lerp(log[low], log[high], t - low).exp()
    return torch.cat([s, s.new_zeros(1)]).to(device, torch.float32), t.to(device, torch.float32)


@torch.no_grad()
def sample(m, ids, seeds, steps=20, cfg=5.0, negative=None, ancestral=False):
    """Pictures f32[n, 3, h, w] in [0, 1] by Euler's method with guidance; one torch-CPU noise per seed."""
    device = next(m.parameters()).device
    shape = (4, model.LATENT, model.LATENT)
    noise = [torch.randn(shape, generator=torch.Generator().manual_seed(s)) for s in seeds]
    context = m.text_encoder(torch.cat([negative.expand(len(ids), -1), ids]).to(device))
    s, times = sigmas(steps, device)
    x = torch.stack(noise).to(device) * s[0]
    for i in range(steps):
        xin = x / (s[i] ** 2 + 1).sqrt()
        eps = m.unet(torch.cat([xin, xin]), times[i].expand(2 * len(ids)), context)
        low, high = eps.chunk(2)
        eps = low + cfg * (high - low)
        if ancestral and s[i + 1] > 0:
            up = (s[i + 1] ** 2 * (s[i] ** 2 - s[i + 1] ** 2) / s[i] ** 2).sqrt()
            down = (s[i + 1] ** 2 - up**2).sqrt()
            x = x + eps * (down - s[i]) + torch.randn_like(x) * up
        else:
            x = x + eps * (s[i + 1] - s[i])
    return (m.vae.decode(x / m.scaling) / 2 + 0.5).clamp(0, 1)


def ids_of(texts):
    return torch.tensor(tokenizer.encode(tokenizer.load(), texts))


def pictures(m, texts, seed=1, chunk=64, **options):
    """Pictures for prompts, picture i with seed `seed + i`."""
    negative, out, ids = ids_of([""]), [], ids_of(texts)
    for i in range(0, len(texts), chunk):
        part = ids[i : i + chunk]
        out.append(sample(m, part, range(seed + i, seed + i + len(part)), negative=negative, **options).float().cpu())
    return torch.cat(out)
