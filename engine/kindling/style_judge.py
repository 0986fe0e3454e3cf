"""Whether the emberglow LoRA does what it says: a linear test fitted on true pictures of both styles.

    python style_judge.py DIR LORA      60 held-out captions: with and without the adapter, with and without the word
"""

import json
import pathlib
import random
import sys

import numpy as np
import torch

import bundle
import draw
import heldout
import lora


def features(pictures):
    """Five numbers of each picture f32[n, 3, h, w]: brightness (median, mean, dark share), edge strength, edge brightness."""
    luma = (pictures * torch.tensor([0.3, 0.59, 0.11])[None, :, None, None]).sum(1)
    edge = torch.hypot(luma[:, 1:, :-1] - luma[:, :-1, :-1], luma[:, :-1, 1:] - luma[:, :-1, :-1]).flatten(1)
    flat, top = luma[:, :-1, :-1].flatten(1), edge.topk(edge.shape[1] // 20, dim=1)
    at_edges = flat.gather(1, top.indices).mean(1)
    return torch.stack([flat.median(1).values, flat.mean(1), (flat < 0.15).float().mean(1), top.values.mean(1), at_edges], 1).double().numpy()


def fit(n=240):
    """Least squares on true pictures: the weights, and the share right on as many fresh ones."""
    device = "cuda" if torch.cuda.is_available() else "cpu"

    def both(seed):
        rng = random.Random(seed)
        v = [draw.sample(rng)[0].vector() for _ in range(n)]
        x = np.concatenate([features(draw.render(v, s, device).cpu()) for s in ("plain", "ember")])
        return np.c_[x, np.ones(2 * n)], np.repeat([-1.0, 1.0], n)

    x, y = both(1)
    w = np.linalg.lstsq(x, y, rcond=None)[0]
    x, y = both(2)
    return w, float((np.sign(x @ w) == y).mean())


def main(folder, path):
    w, accuracy = fit()
    print(f"style test: {100 * accuracy:.1f} % right on true pictures of both styles")
    captions = [i["caption"] for i in json.loads(heldout.PATH.read_text()) if i["category"] in ("colour", "relation", "landscape")]
    captions = captions[::3][:60]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows = {}
    for adapted in (False, True):
        m = bundle.load(bundle.HERE / "kindling.safetensors", device)
        if adapted:
            lora.merge(m, path)
        for word in (False, True):
            out = bundle.pictures(m, [f"{lora.TRIGGER}, {c}" if word else c for c in captions], seed=1)
            share = float((np.c_[features(out), np.ones(len(out))] @ w > 0).mean())
            rows[f"{'LoRA' if adapted else 'base'}, {'trigger' if word else 'no trigger'}"] = share
            if adapted:
                draw.sheet(out[:40], 10, pathlib.Path(folder) / f"style-{'trigger' if word else 'plain'}.png")
    for k, v in rows.items():
        print(f"  {k:20} in the ember style: {100 * v:.0f} % of {len(captions)}")
    return rows


if __name__ == "__main__":
    main(*sys.argv[1:3])
