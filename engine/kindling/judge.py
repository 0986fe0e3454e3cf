"""Judges pictures of the held-out captions by exact measurement of colours, places, sizes and numbers.

    python judge.py DIR             DIR/000.png ... DIR/199.png, for captions-heldout.json (or DIR/captions.json)
    python judge.py --truth         the judge on the true pictures of the captions, and on shuffled ones

No network is asked about colours or relations: pixels are named after the nearest palette colour in CIELAB, objects are
connected regions that differ from the ground, relations compare their centroids. Shapes are named by a small
convolutional classifier trained on true pictures (`shape_judge.py`), which is counted apart.
"""

import json
import pathlib
import sys

import numpy as np
from PIL import Image
from scipy import ndimage

import heldout
import scenes
from landscapes import GROUNDS, SKIES
from scenes import PALETTE, POSITIONS

SIDE = 128
LEAST = 45  # pixels of the smallest object
NAMES = list(PALETTE)


def lab(rgb):
    """CIELAB (D65) of sRGB values in [0, 1], last axis 3."""
    c = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    m = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = c @ m.T / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def _variants():
    """Every palette colour as the light of the renderer may show it."""
    rows, owner = [], []
    for i, rgb in enumerate(PALETTE.values()):
        for shade in (0.78, 0.86, 0.94, 1.0, 1.08):
            rows.append(np.clip(np.array(rgb) * shade, 0, 1))
            owner.append(i)
        rows.append(np.array(rgb) * 0.9 + 0.1)
        owner.append(i)
    return lab(np.array(rows)), np.array(owner)


VARIANTS, OWNER = _variants()


def named(picture):
    """The index into NAMES of every pixel's nearest palette colour, int[h, w]."""
    d = np.linalg.norm(lab(picture)[:, :, None, :] - VARIANTS, axis=-1)
    return OWNER[d.argmin(-1)]


def foreground(picture):
    """Where the picture differs from its ground, as the left and right borders show it, and from the ground in shade."""
    border = np.concatenate([picture[:, :4], picture[:, -4:]], 1)
    ground = np.median(border, 1)[:, None, :]
    far = np.linalg.norm(lab(picture) - lab(ground), axis=-1) > 13
    k = (picture * ground).sum(-1) / (ground * ground).sum(-1)
    shade = (np.linalg.norm(picture - k[..., None] * ground, axis=-1) < 0.035) & (k > 0.68) & (k < 1.05)
    return ndimage.binary_opening(far & ~shade, iterations=1), ground


def regions(mask, least=LEAST):
    """Connected regions of at least `least` pixels, largest first, as masks."""
    labels, n = ndimage.label(mask, structure=np.ones((3, 3)))
    sizes = ndimage.sum_labels(mask, labels, range(1, n + 1))
    order = sorted(range(n), key=lambda i: -sizes[i])
    return [labels == i + 1 for i in order if sizes[i] >= least]


def centre(mask):
    y, x = np.nonzero(mask)
    return (x.mean() + 0.5) / SIDE, (y.mean() + 0.5) / SIDE


def box(mask):
    y, x = np.nonzero(mask)
    return x.min(), y.min(), x.max(), y.max()


def main_colour(mask, names):
    return NAMES[np.bincount(names[ndimage.binary_erosion(mask) if mask.sum() > 150 else mask], minlength=len(NAMES)).argmax()]


class Picture:
    def __init__(self, rgb):
        self.rgb = rgb
        self.names = named(rgb)
        self.front, self.ground = foreground(rgb)
        self.ground_name = NAMES[np.bincount(named(self.ground)[:, 0], minlength=len(NAMES)).argmax()]

    def of_colour(self, colour):
        """The largest region of one colour among the objects, or None."""
        mask = ndimage.binary_opening(self.front & (self.names == NAMES.index(colour)), iterations=1)
        found = regions(mask)
        return found[0] if found else None


def judge_single(p, e):
    obj, out, found = e["objects"][0], {}, regions(p.front)
    out["colour"] = bool(found) and main_colour(found[0], p.names) == obj["colour"]
    if e["ground"]:
        out["ground"] = p.ground_name == e["ground"]
    if e["where"]:
        x, y = POSITIONS[e["where"]]
        at = centre(found[0]) if found else (9, 9)
        out["position"] = abs(at[0] - x) < 0.14 and abs(at[1] - y) < 0.14
    if obj.get("size"):
        x0, y0, x1, y1 = box(found[0]) if found else (0, 0, 63, 63)
        span = max(x1 - x0, y1 - y0) / SIDE
        out["size"] = span < 0.36 if obj["size"] == "small" else span > 0.58
    return out


def related(relation, a, b):
    """Whether region `a` stands in `relation` to region `b`."""
    (ax, ay), (bx, by) = centre(a), centre(b)
    dx, dy = ax - bx, ay - by
    if relation == "inside":
        p, q = box(a), box(b)
        return p[0] >= q[0] - 1 and p[1] >= q[1] - 1 and p[2] <= q[2] + 1 and p[3] <= q[3] + 1 and a.sum() < q[2] * q[3]
    along, across = (dx, dy) if relation in ("left", "right") else (dy, dx)
    return (along < 0 if relation in ("left", "above") else along > 0) and abs(along) > max(0.1, 0.8 * abs(across))


def judge_pair(p, e):
    a, b = (p.of_colour(o["colour"]) for o in e["objects"])
    whole = max(1, p.front.sum())
    seen = a is not None and b is not None and (a.sum() + b.sum()) / whole > 0.45
    out = {"colour": bool(seen), "relation": bool(seen) and bool(related(e["relation"], a, b))}
    if e["ground"]:
        out["ground"] = p.ground_name == e["ground"]
    return out


def judge_count(p, e):
    found = regions(p.front)
    colours = [main_colour(r, p.names) for r in found]
    out = {"colour": bool(found) and all(c == e["objects"][0]["colour"] for c in colours), "count": len(found) == e["count"]}
    if e["ground"]:
        out["ground"] = p.ground_name == e["ground"]
    return out


def nearest(rgb, table):
    return min(table, key=lambda k: np.linalg.norm(lab(rgb) - lab(np.array(table[k]))))


def judge_landscape(p, e):
    top = np.median(p.rgb[2:10].reshape(-1, 3), 0)
    out = {"sky": nearest(top, {k: v[0] for k, v in SKIES.items()}) == e["time"]}
    colour, sky = NAMES.index(e["objects"][0]["colour"]), p.rgb[2:90]
    row = np.median(np.concatenate([sky[:, :3], sky[:, -3:]], 1), 1)[:, None, :]
    differs = np.linalg.norm(lab(sky) - lab(row), axis=-1) > 13
    found = [r for r in regions(ndimage.binary_opening(differs & (p.names[2:90] == colour))) if r.sum() < 2600]
    out["colour"] = bool(found)
    if e["ground_colour"] and e["ground_colour"] not in ("black", "gray", "brown"):
        low = np.median(p.rgb[-14:-4].reshape(-1, 3), 0) / np.array(SKIES[e["time"]][2])
        out["ground"] = NAMES[named(np.clip(low, 0, 1)[None, None])[0, 0]] == e["ground_colour"]
    return out


JUDGES = {"single": judge_single, "pair": judge_pair, "count": judge_count, "landscape": judge_landscape}


def judge(pictures, expects):
    """Findings per picture: a list of {check: right or wrong}."""
    return [JUDGES[e["family"]](Picture(p), e) for p, e in zip(pictures, expects)]


def table(items, findings):
    """Right and total per check, and per relation and category."""
    counts = {}
    for item, found in zip(items, findings):
        for check, right in found.items():
            keys = [check, f"{item['category']}: {check}"]
            if check == "relation":
                keys.append(f"relation {item['expect']['relation']}")
            for key in keys:
                n = counts.setdefault(key, [0, 0])
                n[0] += int(right)
                n[1] += 1
    return {k: {"right": a, "of": b, "share": round(a / b, 3)} for k, (a, b) in sorted(counts.items())}


def show(title, rows):
    print(title)
    for k, v in rows.items():
        print(f"  {k:28} {v['right']:4} of {v['of']:4}  {100 * v['share']:5.1f} %")


def read(folder, items):
    paths = [pathlib.Path(folder) / f"{i['id']:03}.png" for i in items]
    return [np.asarray(Image.open(p).convert("RGB"), dtype=np.float64) / 255 for p in paths]


def truth():
    import draw

    made = heldout.items()
    items = [i for i, _ in made]
    assert items == json.loads(heldout.PATH.read_text()), "captions-heldout.json is stale"
    pictures = draw.render([v for _, v in made]).permute(0, 2, 3, 1).double().numpy()
    show("true pictures", table(items, judge(pictures, [i["expect"] for i in items])))
    shuffled = []
    for category in heldout.QUOTA:
        own = [p for p, i in zip(pictures, items) if i["category"] == category]
        shuffled += own[1:] + own[:1]
    show("pictures of another caption of the category", table(items, judge(shuffled, [i["expect"] for i in items])))


def main(folder):
    own = pathlib.Path(folder) / "captions.json"
    items = json.loads((own if own.exists() else heldout.PATH).read_text())
    pictures = read(folder, items)
    findings = judge(pictures, [i["expect"] for i in items])
    rows = table(items, findings)
    if (heldout.PATH.parent / "shape_judge.safetensors").exists():
        import shape_judge

        rows["shape (classifier)"] = shape_judge.score(pictures, items)
    show(str(folder), rows)
    report = {"table": rows, "wrong": [{"id": i["id"], "caption": i["caption"], "checks": [k for k, v in f.items() if not v]} for i, f in zip(items, findings) if not all(f.values())]}
    (pathlib.Path(folder) / "judged.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    truth() if sys.argv[1] == "--truth" else main(sys.argv[1])
