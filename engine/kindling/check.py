"""Proves that the weights mean the same to diffusers and transformers as to model.py.

    python check.py [kindling.safetensors]

Loads the exported folder there with no missing or unexpected key and compares text embeddings, noise
prediction and both ways of the VAE (max abs difference under 1e-4), and 500 tokenised captions (equal).
"""

import json
import pathlib
import random
import sys
import tempfile

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

import bundle
import draw
import export
import scenes

WEIGHTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}


def load(folder, part, made):
    tensors = load_file(folder / part / f"{WEIGHTS[part]}.safetensors")
    wanted = set(made.state_dict())
    if part == "text_encoder" and not any(k.startswith("text_model.") for k in wanted):
        tensors = {k.removeprefix("text_model."): v for k, v in tensors.items()}  # transformers 5 renamed the module
    assert set(tensors) == wanted, (part, set(tensors) ^ wanted)
    made.load_state_dict({k: v.float() for k, v in tensors.items()})
    return made.eval()


def compare(name, a, b):
    worst = (a - b).abs().max().item()
    print(f"{name}: max abs difference {worst:.2e} at scale {b.abs().max():.2f}")
    assert worst < 1e-4


@torch.no_grad()
def main(source):
    torch.manual_seed(0)
    ours = bundle.load(source)
    with tempfile.TemporaryDirectory() as tmp:
        folder = pathlib.Path(tmp)
        export.export(folder, source)
        text = load(folder, "text_encoder", CLIPTextModel(CLIPTextConfig(**json.loads((folder / "text_encoder/config.json").read_text()))))
        unet = load(folder, "unet", UNet2DConditionModel.from_config(json.loads((folder / "unet/config.json").read_text())))
        vae = load(folder, "vae", AutoencoderKL.from_config(json.loads((folder / "vae/config.json").read_text())))
        coder = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    rng = random.Random(5)
    texts = [scenes.decorate(rng, draw.sample(rng)[1]) for _ in range(500)] + ["", "naïve 猫 🎈 (red:1.2)", "zebra " * 90]
    ids = bundle.ids_of(texts)
    theirs = coder(texts, padding="max_length", truncation=True, max_length=77, return_tensors="pt").input_ids
    assert torch.equal(ids, theirs), "token ids differ"
    print(f"tokenizer: {len(texts)} texts equal")
    context = ours.text_encoder(ids[:4])
    compare("text encoder", context, text(ids[:4]).last_hidden_state)
    x, t = torch.randn(4, 4, 32, 32), torch.tensor([3, 250, 700, 999])
    compare("unet", ours.unet(x, t, context), unet(x, t, context).sample)
    picture = torch.rand(2, 3, 128, 128) * 2 - 1
    mean, _ = ours.vae.encode(picture)
    compare("vae encode", mean, vae.encode(picture).latent_dist.mean)
    compare("vae decode", ours.vae.decode(mean), vae.decode(mean).sample)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else bundle.HERE / "kindling.safetensors")
