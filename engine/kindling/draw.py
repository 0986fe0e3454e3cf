"""Draws scene vectors as pictures: batches of `f32[n, 3, 128, 128]` in [0, 1], on a CPU or a GPU.

Two renderers share the geometry: "plain" (flat illustration with soft light) and "ember", the style of
the `emberglow` LoRA (dark ground, every edge a glowing line in its colour).

    python draw.py FILE.png [SEED]      a contact sheet of both styles
"""

import random
import sys

import torch

import landscapes
import scenes
import shapes
from scenes import BG, KINDS, RIDGE, RIDGES, SCENE, SLOT, SLOTS

SIDE = 128
FAMILIES = [(scenes.single, 0.23), (scenes.pair, 0.33), (scenes.count, 0.10), (scenes.trio, 0.05), (landscapes.landscape, 0.29)]


def sample(rng, family=None, held_out=False):
    """A scene of the training distribution or, with `held_out`, one whose key is kept out of it."""
    while True:
        make = family or rng.choices([f for f, _ in FAMILIES], [w for _, w in FAMILIES])[0]
        scene = scenes.Scene(rng)
        text = make(scene)
        if scenes.held_out(*scene.key) == held_out:
            return scene, text


def _px(d, size):
    """Local distance to pixels, f32[n, h, w]."""
    return d * (size[:, None, None] * SIDE)


def _cover(px):
    return (0.5 - px).clamp(0, 1)


def _rgb(values):
    return values[:, :, None, None]


class Painter:
    """Paints layers given as (distance in pixels, colour) onto a canvas, in one of the two styles."""

    def __init__(self, style):
        self.ember = style == "ember"

    def ground(self, top, bottom, shape):
        ramp = torch.linspace(0, 1, SIDE, device=top.device)[None, None, :, None]
        canvas = _rgb(top) * (1 - ramp) + _rgb(bottom) * ramp
        if self.ember:
            warm = torch.tensor([0.045, 0.022, 0.030], device=top.device)
            canvas = canvas * 0.10 + warm[None, :, None, None]
        return canvas.expand(shape).clone()

    def layer(self, canvas, px, rgb, alpha=1.0):
        """`px` f32[n, h, w]; `rgb` broadcastable to f32[n, 3, h, w]."""
        cover = (_cover(px) * alpha)[:, None]
        if not self.ember:
            return canvas + (rgb - canvas) * cover
        canvas = canvas + (rgb * 0.10 - canvas) * cover * 0.92
        peak = rgb.amax(1, keepdim=True)
        bright = torch.where(peak < 0.2, torch.tensor([1.0, 0.42, 0.12], device=rgb.device)[None, :, None, None], rgb / peak.clamp(min=0.05))
        line = torch.exp(-((px / 1.15) ** 2))[:, None]
        halo = torch.exp(-px.abs() / 5.0)[:, None]
        return canvas + (bright * (0.85 * line + 0.34 * halo) + 0.22 * line) * alpha

    def object(self, canvas, kind, slot, shadow):
        """Paint one object per picture of this (sub-)batch; `slot` f32[n, SLOT]."""
        cx, cy, size, rot = slot[:, 2], slot[:, 3], slot[:, 4], slot[:, 5]
        axis = (torch.arange(SIDE, device=slot.device) + 0.5) / SIDE
        dx = ((axis[None, :] - cx[:, None]) / size[:, None])[:, None, :]
        dy = ((axis[None, :] - cy[:, None]) / size[:, None])[:, :, None]
        c, s = rot.cos()[:, None, None], rot.sin()[:, None, None]
        x, y = dx * c + dy * s, dy * c - dx * s
        main, second = slot[:, 6:9], slot[:, 9:12]
        pieces = shapes.parts(kind, x, y)
        if not self.ember and kind not in ("sun", "moon", "cloud", "rainbow", "bird"):
            whole = torch.stack([d for d, _ in pieces]).amin(0)
            blur = torch.sigmoid(-(_px(torch.roll(whole, shifts=4, dims=1), size) - 1.0) / 2.6)
            canvas = canvas * (1 - 0.24 * shadow[:, None, None, None] * blur[:, None])
        for d, colour in pieces:
            canvas = self.piece(canvas, _px(d, size), colour, main, second, slot, x, y)
        return canvas

    def piece(self, canvas, px, colour, main, second, slot, x, y):
        if colour == "halo":
            return canvas if self.ember else self.layer(canvas, (px / 9.0).clamp(-0.45, 0.5), _rgb(main), 0.30)
        if colour == "main":
            rgb = self.textured(_rgb(main), _rgb(second), slot, x, y)
        elif colour == "dark":
            rgb = _rgb(main * 0.70)
        elif colour == "light":
            rgb = _rgb(main + (1 - main) * 0.38)
        else:
            rgb = _rgb(torch.tensor([colour], device=main.device))
        if not self.ember:
            glow = 1.0 - 0.13 * (0.45 * x + 0.9 * y).clamp(-1, 1)
            rim = 1.0 - 0.16 * torch.exp(px.clamp(max=0) / 1.6)
            rgb = rgb * (glow * rim)[:, None]
        return self.layer(canvas, px, rgb)

    @staticmethod
    def textured(main, second, slot, x, y):
        kind, freq, turn = slot[:, 12], slot[:, 13, None, None], slot[:, 14, None, None]
        u, v = x * turn.cos() + y * turn.sin(), y * turn.cos() - x * turn.sin()
        sharp = (slot[:, 4] * SIDE)[:, None, None]
        f = 2.1 * freq
        stripes = torch.cos(6.2832 * f * u) * sharp / (6.2832 * f)
        fu, fv = torch.remainder(f * u, 1.0) - 0.5, torch.remainder(f * v, 1.0) - 0.5
        dots = (0.27 - torch.hypot(fu, fv)) / f * sharp
        checks = torch.cos(6.2832 * 0.8 * f * u) * torch.cos(6.2832 * 0.8 * f * v) * sharp / (6.2832 * 0.6 * f)
        k = kind[:, None, None]
        mark = torch.where(k == 1, stripes, torch.where(k == 2, dots, torch.where(k == 3, checks, torch.full_like(x, -9.0))))
        return main + (second - main) * (0.5 + mark).clamp(0, 1)[:, None]


def _hash(a, b):
    return torch.frac(torch.sin(a * 12.9898 + b * 78.233).abs() * 437.5453)


def _tri(u):
    return (2 * torch.remainder(u, 1.0) - 1).abs() * 2 - 1


def _points(seed, cells, radius, device):
    """A field of soft points on a grid of `cells` by `cells`, f32[n, h, w]."""
    axis = (torch.arange(SIDE, device=device) + 0.5) / SIDE * cells
    gx, gy = axis[None, None, :], axis[None, :, None]
    cx, cy, s = gx.floor(), gy.floor(), seed[:, None, None] * 37.0 + 1.0
    px, py = 0.25 + 0.5 * _hash(cx + s, cy + 3.1), 0.25 + 0.5 * _hash(cy + s, cx + 7.7)
    strength = _hash(cx + 2.0 * s, cy + s)
    d = torch.hypot(gx - cx - px, gy - cy - py) / cells * SIDE
    return torch.exp(-((d / radius) ** 2)) * ((strength - 0.45) * 2).clamp(0, 1)


def ridge(painter, canvas, kind, r):
    """Paint one ground layer of type `kind`; `r` f32[n, RIDGE]."""
    n, device = r.shape[0], r.device
    axis = (torch.arange(SIDE, device=device) + 0.5) / SIDE
    x, y = axis[None, :].expand(n, SIDE), axis[None, :, None]
    base, amp, freq, seed, snow = (r[:, i, None] for i in (1, 2, 3, 4, 8))
    u = freq * x + seed
    wave = (lambda v: torch.sin(6.2832 * v)) if kind == 1 else _tri
    if kind in (1, 2):
        height = base - amp * (0.6 * wave(u) + 0.4 * wave(2.3 * freq * x + 1.7 * seed))
    elif kind == 3:
        height = base.expand(n, SIDE)
    elif kind == 4:
        height = base - amp * (1 - (2 * torch.remainder(u, 1.0) - 1).abs()) * (0.55 + 0.45 * _hash(u.floor() + 1.0, seed))
    else:
        height = base - amp * (0.25 + 0.75 * _hash(u.floor() + 1.0, seed))
    px = (height[:, None, :] - y) * SIDE
    depth = (y - height[:, None, :]).clamp(0, 1)
    rgb = _rgb(r[:, 5:8]) * (1.10 - 0.75 * depth)[:, None]
    rgb = ridge_detail(kind, rgb, x, y, height, u, base, amp, seed, snow, painter)
    if kind in (4, 5) and not painter.ember:
        px = px.clamp(min=-3)
    canvas = painter.layer(canvas, px, rgb)
    if kind == 5 and painter.ember is False:
        canvas = windows(canvas, px, u, y, seed, snow)
    return canvas


def ridge_detail(kind, rgb, x, y, height, u, base, amp, seed, snow, painter):
    if kind == 2:
        slope = torch.sign(torch.diff(height, dim=1, append=height[:, -1:]))[:, None, None, :]
        rgb = rgb * (1 + 0.10 * slope)
        cap = (base - amp * 0.18 + 0.022 * _tri(x * 9 + seed * 5))[:, None, :]
        white = ((cap - y) * SIDE + 0.5).clamp(0, 1) * (snow[:, :, None] > 0.5)
        light = torch.tensor([0.96, 0.97, 1.0], device=rgb.device)[None, :, None, None] * (0.35 + 0.65 * rgb.amax(1, keepdim=True) / 0.6).clamp(0, 1)
        return rgb + (light * (1 + 0.05 * slope) - rgb) * white[:, None]
    if kind == 3:
        rows = (y - base[:, :, None]).clamp(min=0)
        lines = torch.sin(6.2832 * (rows * 30 / (0.35 + rows * 2))) * torch.sin(6.2832 * (x[:, None, :] * 2.2 + seed[:, :, None] * 9 + rows * 9))
        return rgb + 0.10 * (lines.clamp(min=0.35)[:, None] - 0.35) * 2 * (1 - 0.5 * rgb)
    return rgb


def windows(canvas, px, u, y, seed, glow):
    """Lit windows on a skyline."""
    fu, fv = torch.remainder(u * 4, 1.0)[:, None, :], torch.remainder(y * 22, 1.0)
    lit = _hash((u * 4).floor()[:, None, :] + 3.0, (y * 22).floor() + seed[:, :, None] * 11) > 0.55
    inside = (px < -2.5) & (fu > 0.3) & (fu < 0.75) & (fv > 0.3) & (fv < 0.75) & lit
    warm = torch.tensor([1.0, 0.85, 0.48], device=canvas.device)[None, :, None, None]
    return canvas + (warm - canvas) * (inside[:, None] * glow[:, :, None, None] * 0.9)


def render(vectors, style="plain", device="cpu"):
    """Pictures of scene vectors (`f32[n, SCENE]`, kept on the CPU), f32[n, 3, 128, 128] on `device`."""
    vectors = torch.as_tensor(vectors, dtype=torch.float32).reshape(-1, SCENE)
    n, painter, v = vectors.shape[0], Painter(style), vectors.to(device)
    bg = v[:, :BG]
    ridges_cpu = vectors[:, BG : BG + RIDGE * RIDGES].view(n, RIDGES, RIDGE)
    slots_cpu = vectors[:, BG + RIDGE * RIDGES :].view(n, SLOTS, SLOT)
    ridges, slots = v[:, BG : BG + RIDGE * RIDGES].view(n, RIDGES, RIDGE), v[:, BG + RIDGE * RIDGES :].view(n, SLOTS, SLOT)
    canvas = painter.ground(bg[:, :3], bg[:, 3:6], (n, 3, SIDE, SIDE))
    shadow = (ridges[:, 0, 0] == 0).float()
    for i in _rows(vectors[:, 7] > 0, device):
        fade = (1.15 - torch.linspace(0, 1.3, SIDE, device=device)).clamp(0, 1)[None, None, :, None]
        canvas[i] = canvas[i] + _points(bg[i, 9], 13, 0.85, device)[:, None] * fade * 0.9
    for front in (0, 1):
        if front:
            for j in range(RIDGES):
                for kind in range(1, 6):
                    for i in _rows(ridges_cpu[:, j, 0] == kind, device):
                        canvas[i] = ridge(painter, canvas[i], kind, ridges[i, j])
        for j in range(SLOTS):
            here = slots_cpu[:, j, 1] == front
            for k, kind in enumerate(KINDS):
                for i in _rows(here & (slots_cpu[:, j, 0] == k), device):
                    canvas[i] = painter.object(canvas[i], kind, slots[i, j], shadow[i])
    for i in _rows(vectors[:, 8] > 0, device):
        canvas[i] = canvas[i] + (1 - canvas[i]) * _points(bg[i, 9], 11, 1.3, device)[:, None]
    return canvas.clamp(0, 1)


def _rows(mask, device):
    """The chosen rows as zero or one index tensor on `device`."""
    index = mask.nonzero()[:, 0]
    return [index.to(device)] if len(index) else []


def sheet(pictures, columns, path):
    """Save f32[n, 3, h, w] as one contact sheet."""
    from PIL import Image

    n, _, h, w = pictures.shape
    rows = (n + columns - 1) // columns
    canvas = torch.ones(3, rows * (h + 4), columns * (w + 4))
    for i, p in enumerate(pictures.float().cpu()):
        y, x = i // columns * (h + 4) + 2, i % columns * (w + 4) + 2
        canvas[:, y : y + h, x : x + w] = p
    Image.fromarray((canvas.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()).save(path)


if __name__ == "__main__":
    rng = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    made = [sample(rng) for _ in range(60)]
    for scene, text in made:
        print(scenes.decorate(rng, text))
    vectors = [scene.vector() for scene, _ in made]
    sheet(torch.cat([render(vectors), render(vectors[:30], "ember")]), 10, sys.argv[1])
