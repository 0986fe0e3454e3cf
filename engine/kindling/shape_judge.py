"""A small classifier that names the shape of a cut-out object, trained on true pictures.

    python shape_judge.py --train          writes shape_judge.safetensors and prints its accuracy on fresh pictures
"""

import multiprocessing
import random
import sys

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

import draw
import heldout
import judge
import scenes

KINDS = scenes.SHAPES + scenes.THINGS
PATH = heldout.PATH.parent / "shape_judge.safetensors"


def cut(picture, mask):
    """One object as f32[4, 32, 32]: its colours on grey and its mask, in a square box."""
    x0, y0, x1, y1 = judge.box(mask)
    half, cx, cy = max(x1 - x0, y1 - y0) / 2 * 1.08 + 1, (x0 + x1) / 2, (y0 + y1) / 2
    xs = np.clip(np.round(cx + (np.arange(32) - 15.5) / 15.5 * half).astype(int), 0, judge.SIDE - 1)
    ys = np.clip(np.round(cy + (np.arange(32) - 15.5) / 15.5 * half).astype(int), 0, judge.SIDE - 1)
    m = mask[np.ix_(ys, xs)].astype(np.float32)
    return np.concatenate([picture[np.ix_(ys, xs)].transpose(2, 0, 1) * m + 0.5 * (1 - m), m[None]]).astype(np.float32)


def net():
    layers = []
    for cin, cout in ((4, 24), (24, 48), (48, 64)):
        layers += [nn.Conv2d(cin, cout, 3, padding=1), nn.ReLU(), nn.Conv2d(cout, cout, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 16, 64), nn.ReLU(), nn.Linear(64, len(KINDS)))


def example(job):
    """A cut-out and its label from one true picture, or None where nothing stands out."""
    picture, kind = job
    found = judge.regions(judge.foreground(picture)[0])
    return (cut(picture, found[0]), kind) if found else None


def examples(n, seed, device, held_out):
    rng = random.Random(seed)
    made = [draw.sample(rng, scenes.single, held_out)[0] for _ in range(n)]
    made = [s for s in made if s.expect["objects"][0].get("texture", "plain") == "plain"]
    pictures = torch.cat([draw.render([s.vector() for s in made[i : i + 1024]], "plain", device).cpu() for i in range(0, len(made), 1024)])
    jobs = [(p, KINDS.index(s.expect["objects"][0]["kind"])) for p, s in zip(pictures.permute(0, 2, 3, 1).double().numpy(), made)]
    with multiprocessing.get_context("spawn").Pool() as pool:
        rows = [r for r in pool.map(example, jobs, chunksize=64) if r]
    return torch.tensor(np.stack([r[0] for r in rows])), torch.tensor([r[1] for r in rows])


def augment(x):
    """Recoloured and shifted copies: the colour must not give the shape away, nor an exact outline."""
    x = x.roll((random.randint(-1, 1), random.randint(-1, 1)), (2, 3))
    rgb = x[:, torch.randperm(3)] * (0.6 + 0.4 * torch.rand(len(x), 3, 1, 1, device=x.device))
    return torch.cat([rgb, x[:, 3:]], 1) + 0.03 * torch.randn_like(x)


def train(n=12000, steps=1500):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(3)
    x, y = (t.to(device) for t in examples(n, 31, device, False))
    m = net().to(device)
    opt = torch.optim.AdamW(m.parameters(), 2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(opt, 2e-3, total_steps=steps)
    for _ in range(steps):
        i = torch.randint(0, len(x), (256,), device=device)
        loss = F.cross_entropy(m(augment(x[i])), y[i], label_smoothing=0.05)
        opt.zero_grad()
        loss.backward()
        opt.step()
        schedule.step()
    x, y = (t.to(device) for t in examples(1500, 77, device, True))
    right = (m(x).argmax(1) == y).float().mean().item()
    print(f"shape classifier: {100 * right:.2f} % of {len(x)} true objects of held-out combinations")
    save_file({k: v.half().cpu() for k, v in m.state_dict().items()}, str(PATH), {"accuracy": f"{right:.4f}"})


@torch.no_grad()
def score(pictures, items):
    """Objects of the plain scenes named as their caption says, of all they should show."""
    m = net().eval()
    m.load_state_dict({k: v.float() for k, v in load_file(str(PATH)).items()})
    right = total = 0
    for picture, item in zip(pictures, items):
        e = item["expect"]
        if e["family"] == "landscape" or e.get("relation") == "inside":
            continue
        p = judge.Picture(picture)
        found = [p.of_colour(o["colour"]) for o in e["objects"]] if e["family"] == "pair" else judge.regions(p.front)[:1] or [None]
        for obj, mask in zip(e["objects"], found):
            total += 1
            if mask is not None:
                named = KINDS[m(torch.tensor(cut(picture, mask))[None]).argmax().item()]
                right += named == obj["kind"]
    return {"right": right, "of": total, "share": round(right / total, 3)}


if __name__ == "__main__":
    train(*map(int, sys.argv[2:])) if sys.argv[1:2] == ["--train"] else print(__doc__)
