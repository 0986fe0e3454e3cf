"""Signed distances of every shape and thing Kindling knows, on batches of pixel grids.

Coordinates are local: the object's centre is the origin, its size about 1, y downwards.
A distance is negative inside. A thing is a list of parts `(distance, colour)` painted in order, where a
colour is "main", "second", "dark" (the main colour in shade) or a fixed RGB triple.
"""

import math

import torch

CREAM, WOOD, NIGHT, GLASS = (0.97, 0.94, 0.86), (0.45, 0.29, 0.17), (0.13, 0.12, 0.16), (0.66, 0.86, 0.95)
LEAF, GOLD = (0.30, 0.62, 0.32), (0.98, 0.80, 0.30)


def disc(x, y, cx, cy, r):
    return torch.hypot(x - cx, y - cy) - r


def oval(x, y, cx, cy, rx, ry):
    k = torch.hypot((x - cx) / rx, (y - cy) / ry)
    return (k - 1.0) * min(rx, ry)


def box(x, y, cx, cy, w, h):
    dx, dy = (x - cx).abs() - w, (y - cy).abs() - h
    return torch.hypot(dx.clamp(min=0), dy.clamp(min=0)) + torch.maximum(dx, dy).clamp(max=0)


def segment(x, y, ax, ay, bx, by, r):
    px, py, ex, ey = x - ax, y - ay, bx - ax, by - ay
    t = ((px * ex + py * ey) / (ex * ex + ey * ey)).clamp(0, 1)
    return torch.hypot(px - ex * t, py - ey * t) - r


def polygon(x, y, points):
    """Exact distance to a closed polygon (Inigo Quilez's formula)."""
    d, sign = None, torch.ones_like(x)
    for i, (ax, ay) in enumerate(points):
        bx, by = points[i - 1]
        ex, ey, wx, wy = bx - ax, by - ay, x - ax, y - ay
        t = ((wx * ex + wy * ey) / (ex * ex + ey * ey)).clamp(0, 1)
        near = (wx - ex * t) ** 2 + (wy - ey * t) ** 2
        d = near if d is None else torch.minimum(d, near)
        c1, c2, c3 = y >= ay, y < by, ex * wy > ey * wx
        flip = (c1 & c2 & c3) | (~c1 & ~c2 & ~c3)
        sign = torch.where(flip, -sign, sign)
    return sign * d.sqrt()


def regular(n, r, turn=0.0):
    return [(r * math.sin(turn + 2 * math.pi * i / n), -r * math.cos(turn + 2 * math.pi * i / n)) for i in range(n)]


def star_points(n, outer, inner):
    return [p for a, b in zip(regular(n, outer), regular(n, inner, math.pi / n)) for p in (a, b)]


def heart(x, y):
    lobes = torch.minimum(disc(x, y, -0.42, -0.28, 0.46), disc(x, y, 0.42, -0.28, 0.46))
    body = polygon(x, y, [(-0.78, 0.0), (-0.42, -0.30), (0.42, -0.30), (0.78, 0.0), (0.0, 0.88)])
    return torch.minimum(lobes, body)


def crescent(x, y):
    return torch.maximum(disc(x, y, 0.0, 0.0, 0.88), -disc(x, y, 0.40, -0.06, 0.70))


def cross(x, y):
    return torch.minimum(box(x, y, 0, 0, 0.27, 0.86), box(x, y, 0, 0, 0.86, 0.27))


def kite(x, y):
    tail = torch.minimum(segment(x, y, 0.0, 0.70, 0.16, 0.98, 0.035), segment(x, y, 0.16, 0.98, -0.02, 1.28, 0.035))
    bows = torch.minimum(disc(x, y, 0.16, 0.98, 0.09), disc(x, y, -0.02, 1.28, 0.09))
    return [
        (tail, WOOD), (bows, "main"), (polygon(x, y, [(0, -0.95), (0.64, -0.22), (0, 0.72), (-0.64, -0.22)]), "main"),
        (polygon(x, y, [(0, -0.95), (0.64, -0.22), (0, -0.22)]), "light"), (polygon(x, y, [(0, 0.72), (-0.64, -0.22), (0, -0.22)]), "dark"),
    ]


def balloon(x, y):
    bulb = torch.minimum(disc(x, y, 0, -0.28, 0.68), polygon(x, y, [(-0.60, 0.02), (0.60, 0.02), (0.20, 0.62), (-0.20, 0.62)]))
    ropes = torch.minimum(segment(x, y, -0.18, 0.60, -0.13, 0.85, 0.02), segment(x, y, 0.18, 0.60, 0.13, 0.85, 0.02))
    stripe = torch.maximum(bulb, oval(x, y, 0, -0.1, 0.26, 0.95))
    return [(ropes, WOOD), (bulb, "main"), (stripe, "light"), (box(x, y, 0, 0.90, 0.17, 0.11), WOOD)]


def boat(x, y):
    return [
        (box(x, y, 0.02, -0.20, 0.035, 0.72), WOOD), (polygon(x, y, [(0.10, -0.88), (0.70, 0.22), (0.10, 0.22)]), CREAM),
        (polygon(x, y, [(-0.08, -0.70), (-0.08, 0.22), (-0.58, 0.22)]), CREAM),
        (polygon(x, y, [(-0.92, 0.32), (0.92, 0.32), (0.58, 0.78), (-0.62, 0.78)]), "main"),
    ]


def house(x, y):
    return [
        (box(x, y, 0.40, -0.55, 0.10, 0.24), (0.55, 0.35, 0.30)), (box(x, y, 0, 0.28, 0.66, 0.55), "main"),
        (polygon(x, y, [(0, -0.90), (0.88, -0.18), (-0.88, -0.18)]), "dark"),
        (box(x, y, 0.24, 0.52, 0.15, 0.31), WOOD), (box(x, y, -0.28, 0.22, 0.19, 0.17), (1.0, 0.88, 0.52)),
    ]


def tree(x, y):
    crown = torch.minimum(disc(x, y, 0, -0.42, 0.52), torch.minimum(disc(x, y, -0.38, -0.08, 0.40), disc(x, y, 0.38, -0.08, 0.40)))
    return [(box(x, y, 0, 0.55, 0.11, 0.40), WOOD), (crown, "main"), (disc(x, y, -0.12, -0.52, 0.26), "light")]


def pine(x, y):
    parts = [(box(x, y, 0, 0.80, 0.09, 0.18), WOOD)]
    for top, bottom, w in ((-0.10, 0.66, 0.62), (-0.55, 0.22, 0.48), (-0.98, -0.22, 0.34)):
        parts.append((polygon(x, y, [(0, top), (w, bottom), (-w, bottom)]), "main"))
    return parts


def flower(x, y):
    petals = None
    for cx, cy in regular(6, 0.36):
        d = disc(x, y, cx, cy - 0.34, 0.24)
        petals = d if petals is None else torch.minimum(petals, d)
    leaf = torch.minimum(oval(x, y, 0.22, 0.62, 0.22, 0.09), oval(x, y, -0.22, 0.74, 0.22, 0.09))
    return [(segment(x, y, 0, -0.1, 0, 0.95, 0.05), LEAF), (leaf, LEAF), (petals, "main"), (disc(x, y, 0, -0.34, 0.20), GOLD)]


def mushroom(x, y):
    cap = torch.maximum(oval(x, y, 0, 0.06, 0.88, 0.88), y - 0.06)
    dots = torch.minimum(disc(x, y, -0.38, -0.22, 0.13), torch.minimum(disc(x, y, 0.08, -0.48, 0.15), disc(x, y, 0.46, -0.16, 0.11)))
    return [(box(x, y, 0, 0.42, 0.24, 0.42), CREAM), (cap, "main"), (dots, "light")]


def fish(x, y):
    body = oval(x, y, -0.12, 0, 0.72, 0.46)
    return [
        (polygon(x, y, [(0.42, 0.0), (0.95, -0.42), (0.95, 0.42)]), "dark"), (body, "main"),
        (polygon(x, y, [(-0.10, -0.42), (0.22, -0.40), (0.16, -0.68)]), "dark"), (disc(x, y, -0.50, -0.10, 0.12), CREAM),
        (disc(x, y, -0.52, -0.10, 0.06), NIGHT),
    ]


def cat(x, y):
    ears = torch.minimum(polygon(x, y, [(-0.74, -0.86), (-0.14, -0.50), (-0.70, -0.10)]), polygon(x, y, [(0.74, -0.86), (0.70, -0.10), (0.14, -0.50)]))
    head = torch.minimum(oval(x, y, 0, 0.08, 0.80, 0.68), ears)
    eyes = torch.minimum(oval(x, y, -0.32, -0.02, 0.15, 0.18), oval(x, y, 0.32, -0.02, 0.15, 0.18))
    pupils = torch.minimum(oval(x, y, -0.32, -0.02, 0.06, 0.15), oval(x, y, 0.32, -0.02, 0.06, 0.15))
    nose = polygon(x, y, [(-0.10, 0.24), (0.10, 0.24), (0, 0.35)])
    return [(head, "main"), (eyes, (0.86, 0.95, 0.62)), (pupils, NIGHT), (nose, (0.95, 0.55, 0.60))]


def rocket(x, y):
    fins = polygon(x, y, [(-0.60, 0.66), (-0.24, 0.02), (0.24, 0.02), (0.60, 0.66)])
    flame = polygon(x, y, [(-0.17, 0.56), (0.17, 0.56), (0, 1.02)])
    body = torch.maximum(oval(x, y, 0, 0.08, 0.36, 1.0), y - 0.58)
    return [(flame, (1.0, 0.66, 0.20)), (fins, "dark"), (body, "main"), (torch.maximum(body, y + 0.50), "light"), (disc(x, y, 0, -0.10, 0.16), GLASS)]


def sun(x, y):
    return [(disc(x, y, 0, 0, 1.35), "halo"), (disc(x, y, 0, 0, 0.92), "main")]


def moon(x, y):
    craters = torch.minimum(disc(x, y, -0.28, -0.25, 0.20), torch.minimum(disc(x, y, 0.30, 0.12, 0.15), disc(x, y, -0.10, 0.45, 0.12)))
    return [(disc(x, y, 0, 0, 1.30), "halo"), (disc(x, y, 0, 0, 0.92), "main"), (craters, (0.86, 0.83, 0.70))]


def cloud(x, y):
    d = torch.minimum(disc(x, y, 0.05, -0.16, 0.52), disc(x, y, -0.55, 0.08, 0.36))
    d = torch.minimum(d, torch.minimum(disc(x, y, 0.62, 0.06, 0.38), box(x, y, 0.02, 0.26, 0.72, 0.18)))
    return [(d, "main")]


RAINBOW = [(0.93, 0.30, 0.30), (0.98, 0.62, 0.25), (0.99, 0.87, 0.35), (0.40, 0.76, 0.42), (0.27, 0.55, 0.90), (0.55, 0.36, 0.78)]


def rainbow(x, y):
    return [((torch.hypot(x, y) - (0.94 - 0.07 * i)).abs() - 0.04, c) for i, c in enumerate(RAINBOW)]


def bird(x, y):
    wing = torch.minimum(segment(x, y, 0, 0.12, -0.34, -0.18, 0.07), segment(x, y, -0.34, -0.18, -0.86, 0.02, 0.06))
    other = torch.minimum(segment(x, y, 0, 0.12, 0.34, -0.18, 0.07), segment(x, y, 0.34, -0.18, 0.86, 0.02, 0.06))
    return [(torch.minimum(wing, other), "main")]


OUTLINES = {
    "circle": lambda x, y: disc(x, y, 0, 0, 0.86),
    "square": lambda x, y: box(x, y, 0, 0, 0.74, 0.74),
    "triangle": lambda x, y: polygon(x, y, [(0, -0.88), (0.90, 0.68), (-0.90, 0.68)]),
    "star": lambda x, y: polygon(x, y, star_points(5, 0.98, 0.42)),
    "diamond": lambda x, y: polygon(x, y, [(0, -0.96), (0.66, 0), (0, 0.96), (-0.66, 0)]),
    "ring": lambda x, y: (torch.hypot(x, y) - 0.68).abs() - 0.20,
    "cross": cross,
    "hexagon": lambda x, y: polygon(x, y, regular(6, 0.92, math.pi / 6)),
    "heart": heart,
    "crescent": crescent,
}
THINGS = {
    "kite": kite, "balloon": balloon, "boat": boat, "house": house, "tree": tree, "flower": flower, "mushroom": mushroom,
    "fish": fish, "cat": cat, "rocket": rocket, "sun": sun, "moon": moon, "cloud": cloud, "rainbow": rainbow, "pine": pine, "bird": bird,
}


def parts(kind, x, y):
    """The parts of a kind on local grids `x`, `y` (f32[n, h, w])."""
    return [(OUTLINES[kind](x, y), "main")] if kind in OUTLINES else THINGS[kind](x, y)
