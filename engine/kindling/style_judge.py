"""Whether the emberglow LoRA does what it says: the share of pixels that lie near its scale of colours.

    python style_judge.py DIR LORA      20 held-out captions: with and without the adapter, with and without the word
"""

import json
import pathlib
import sys

import torch

import bundle
import draw
import heldout
import lora

NEAR = 0.12


def share(pictures):
    """Per picture, the share of pixels within NEAR (in RGB) of the ember colours."""
    pixels = pictures.permute(0, 2, 3, 1).flatten(1, 2).float()
    return (torch.cdist(pixels, lora.scale(64)).amin(2) < NEAR).float().mean(1)


def main(folder, path):
    captions = [i["caption"] for i in json.loads(heldout.PATH.read_text()) if i["category"] in ("colour", "relation", "landscape")]
    captions = captions[::7][:20]
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    for adapted in (False, True):
        m = bundle.load(bundle.HERE / "kindling.safetensors", "cuda" if torch.cuda.is_available() else "cpu")
        if adapted:
            lora.merge(m, path)
        for word in (False, True):
            out = bundle.pictures(m, [f"{lora.TRIGGER}, {c}" if word else c for c in captions], seed=1, chunk=10)
            near, name = share(out), f"{'LoRA' if adapted else 'base'}, {'trigger' if word else 'no trigger'}"
            print(f"  {name:17} ember pixels: mean {100 * near.mean():.1f} %, median {100 * near.median():.1f} %, over half in {int((near > 0.5).sum())} of {len(near)}", flush=True)
            draw.sheet(out, 10, pathlib.Path(folder) / f"style-{name.replace(', ', '-').replace(' ', '-')}.png")


if __name__ == "__main__":
    main(*sys.argv[1:3])
