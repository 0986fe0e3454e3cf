"""Holds our single files against diffusers' own converters.

Made with diffusers 0.42.1 and transformers 5.23.0, without any download:

    cargo run -p hearth-engine --example tiny -- /tmp/tiny
    python specs/vectors/engine/make_names.py /tmp/tiny specs/vectors/engine

Every tiny model is there as a folder and as one file; diffusers' converters must make the folder's tensors out of the
file's, bit by bit. `names.json` says for each family which tensor of the file became which weight of the folder.
"""

import json
import sys
from pathlib import Path

import torch
from diffusers.loaders import single_file_utils as convert
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

FAMILIES = ("classic", "varied", "inpaint", "second", "xl")
WEIGHTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model", "text_encoder_2": "model"}


def folder(root, part):
    """Canonical names to tensors."""
    path = root / part / f"{WEIGHTS[part]}.safetensors"
    return {name.removeprefix("text_model."): tensor for name, tensor in load_file(path).items()} if path.exists() else None


def converted(single, part, config):
    """What diffusers makes of a single file's part. SD2's converter knows the dropped layer by its number, 23; ours is named so."""
    if part == "unet":
        return convert.convert_ldm_unet_checkpoint(dict(single), config)
    if part == "vae":
        return convert.convert_ldm_vae_checkpoint(dict(single), config)
    for prefix in ("cond_stage_model.model.", "conditioner.embedders.1.model."):
        if any(name.startswith(prefix) for name in single) and (part == "text_encoder_2") == prefix.startswith("conditioner"):
            with torch.device("meta"):
                model = CLIPTextModelWithProjection(CLIPTextConfig(**config))
            result = convert.convert_open_clip_checkpoint(model, dict(single), prefix)
            break
    else:
        result = convert.convert_ldm_clip_checkpoint(dict(single))
    return {name.removeprefix("text_model."): tensor for name, tensor in result.items()}


def traced(single, part, config):
    """Which tensor of the file each canonical one was made of: by running the conversion on tensors that are their own index."""
    names = sorted(single)
    numbered = {name: torch.full_like(single[name], i, dtype=torch.float64) for i, name in enumerate(names)}
    return {name: names[int(tensor.flatten()[0])] for name, tensor in converted(numbered, part, config).items()}


def names(root, family):
    single = load_file(root / f"{family}-single.safetensors")
    found = {}
    for part in WEIGHTS:
        expected = folder(root / family, part)
        if expected is None:
            continue
        config = json.loads((root / family / part / "config.json").read_text())
        result, trace = converted(single, part, config), traced(single, part, config)
        for name, tensor in expected.items():
            assert torch.equal(result[name].reshape(tensor.shape), tensor), (family, part, name)
        extra = set(result) - set(expected)
        last = f"encoder.layers.{config.get('num_hidden_layers')}."
        assert all(name.startswith(last) for name in extra), (family, part, extra)
        found[part] = {name: trace[name] for name in sorted(expected) if name.endswith(".weight")}
        print(family, part, len(expected), "tensors equal")
    return found


def main():
    root, out = map(Path, sys.argv[1:3])
    found = {family: names(root, family) for family in FAMILIES}
    del found["inpaint"]  # The same names as those of classic.
    (out / "names.json").write_text(json.dumps(found, indent=0, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
