"""Unpacks kindling.safetensors into an ordinary diffusers folder.

    python export.py FOLDER [kindling.safetensors]

Needs only safetensors and torch; the folder loads in diffusers' `StableDiffusionPipeline`.
"""

import json
import pathlib
import sys

from safetensors import safe_open
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
INDEX = {
    "_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.30.0", "requires_safety_checker": False,
    "safety_checker": [None, None], "feature_extractor": [None, None], "image_encoder": [None, None],
    "scheduler": ["diffusers", "EulerDiscreteScheduler"], "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"], "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"],
}
FILES = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
TOKENS = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def export(folder, source=HERE / "kindling.safetensors"):
    folder = pathlib.Path(folder)
    with safe_open(str(source), "pt") as f:
        meta = f.metadata()
        for part, name in FILES.items():
            tensors = {k.removeprefix(part + "."): f.get_tensor(k) for k in f.keys() if k.startswith(part + ".")}
            write_json(folder / part / "config.json", json.loads(meta[f"config.{part}"]))
            save_file(tensors, str(folder / part / f"{name}.safetensors"), {"format": "pt"})
    write_json(folder / "model_index.json", INDEX)
    write_json(folder / "scheduler" / "scheduler_config.json", json.loads(meta["config.scheduler"]))
    write_json(folder / "tokenizer" / "vocab.json", json.loads(meta["tokenizer.vocab"]))
    (folder / "tokenizer" / "merges.txt").write_text(meta["tokenizer.merges"])
    write_json(folder / "tokenizer" / "tokenizer_config.json", {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True, **TOKENS})
    write_json(folder / "tokenizer" / "special_tokens_map.json", TOKENS)


if __name__ == "__main__":
    export(sys.argv[1], *sys.argv[2:3])
