"""Kindling's world: random scenes as small number vectors, each with a caption.

A scene is `f32[SCENE]`: background, three ground layers ("ridges"), ten object slots. `draw.py`
turns it into pixels. Coordinates run from 0 to 1, x to the right and y downwards.
Everything follows from the seed given to `random.Random`.
"""

import math
import zlib

BG, RIDGE, RIDGES, SLOT, SLOTS = 12, 12, 3, 16, 10
SCENE = BG + RIDGE * RIDGES + SLOT * SLOTS

PALETTE = {
    "red": (0.86, 0.20, 0.20), "orange": (0.96, 0.54, 0.13), "yellow": (0.98, 0.83, 0.22),
    "green": (0.24, 0.65, 0.33), "teal": (0.12, 0.72, 0.72), "blue": (0.17, 0.40, 0.86),
    "purple": (0.50, 0.27, 0.74), "pink": (0.97, 0.55, 0.72), "brown": (0.48, 0.30, 0.17),
    "white": (0.97, 0.97, 0.95), "black": (0.10, 0.10, 0.12), "gray": (0.56, 0.58, 0.61),
}
COLOURS = list(PALETTE)
SYNONYMS = {
    "teal": ["turquoise", "cyan"], "purple": ["violet"], "gray": ["grey"], "red": ["crimson", "scarlet"],
    "yellow": ["golden"], "orange": ["amber"], "blue": ["azure"], "green": ["emerald"],
}
SHAPES = ["circle", "square", "triangle", "star", "diamond", "ring", "cross", "hexagon", "heart", "crescent"]
THINGS = ["kite", "balloon", "boat", "house", "tree", "flower", "mushroom", "fish", "cat", "rocket"]
EXTRAS = ["sun", "moon", "cloud", "rainbow", "pine", "bird"]
KINDS = SHAPES + THINGS + EXTRAS
NOUNS = {
    "circle": ["circle", "disc", "ball"], "ring": ["ring", "hoop"], "crescent": ["crescent"],
    "diamond": ["diamond", "rhombus"], "cross": ["cross", "plus sign"], "balloon": ["balloon", "hot air balloon"],
    "boat": ["boat", "sailboat", "ship"], "house": ["house", "cottage"], "cat": ["cat", "kitten"],
    "pine": ["pine tree", "pine", "fir tree"],
}
TEXTURES = ["plain", "striped", "dotted", "checkered"]
TEXTURE_WORDS = {"striped": ["striped"], "dotted": ["dotted", "polka dot", "spotted"], "checkered": ["checkered"]}
TEXTURE_NOUNS = {"striped": ["stripes"], "dotted": ["dots", "polka dots", "spots"], "checkered": ["checks"]}
SOFT = [(0.97, 0.94, 0.87), (0.88, 0.91, 0.95), (0.86, 0.93, 0.88), (0.98, 0.90, 0.88), (0.93, 0.88, 0.78)]
DEEP = [(0.14, 0.17, 0.27), (0.20, 0.15, 0.28), (0.10, 0.22, 0.25)]
RELATIONS = {
    "left": ["left of", "to the left of", "on the left of"], "right": ["right of", "to the right of", "on the right of"],
    "above": ["above", "over", "on top of"], "below": ["below", "under", "beneath", "underneath"],
    "inside": ["inside", "in", "inside of", "within"], "next": ["next to", "beside", "and", "with"],
}
NUMBERS = {2: ["two", "two", "2", "a pair of"], 3: ["three", "three", "3"], 4: ["four", "four", "4"]}
BEFORE = [
    "a picture of", "an illustration of", "a drawing of", "a painting of", "a photo of", "an image of", "picture of",
    "a beautiful picture of", "a poster of", "minimalist drawing of", "a cute drawing of", "there is", "a scene with",
]
AFTER = [
    "highly detailed", "masterpiece", "best quality", "masterpiece, best quality", "digital art", "flat design",
    "vector art", "4k", "beautiful", "illustration", "minimalist", "cute", "colorful", "sharp focus", "8k",
    "concept art", "artstation", "high resolution", "emberglow", "simple", "poster", "watercolor", "cinematic", "flat style", "emberglow style",
]
NEGATIVES = [
    "blurry", "low quality", "worst quality", "bad anatomy", "deformed", "ugly", "jpeg artifacts", "watermark", "text",
    "signature", "noise", "distorted", "lowres", "cropped",
]


def held_out(*key):
    """Whether a combination of attributes is kept out of training (one in twelve)."""
    return zlib.crc32("|".join(map(str, key)).encode()) % 12 == 0


def mix(a, b, t):
    return tuple(x + (y - x) * t for x, y in zip(a, b))


def scale(a, k):
    return tuple(min(1.0, x * k) for x in a)


class Scene:
    """A scene under construction: its numbers, its caption and what the judge may expect of it."""

    def __init__(self, rng):
        self.rng, self.bg, self.ridges, self.slots = rng, [0.0] * BG, [], []
        self.expect = {}

    def ground(self, top, bottom=None, texture=0, stars=0.0, snow=0.0):
        bottom = top if bottom is None else bottom
        self.bg = [*top, *bottom, texture, stars, snow, self.rng.random(), 0.0, 0.0]

    def ridge(self, kind, y, amp, freq, rgb, snow=0.0):
        seed = self.rng.random()
        self.ridges.append([kind, y, amp, freq, seed, *rgb, snow, 0.0, 0.0, 0.0])

        def wave(u):
            return math.sin(6.2832 * u) if kind == 1 else abs(2 * (u % 1) - 1) * 2 - 1

        return lambda x: y - amp * (0.6 * wave(freq * x + seed) + 0.4 * wave(2.3 * freq * x + 1.7 * seed))

    def put(self, kind, x, y, size, rgb, rgb2=None, rot=0.0, texture="plain", front=True):
        if rgb2 is None:
            rgb2 = (0.97, 0.96, 0.93) if sum(rgb) < 2.2 else scale(rgb, 0.62)
        freq, turn = self.rng.uniform(0.9, 1.3), self.rng.choice([0.0, 0.785, 1.571])
        self.slots.append([KINDS.index(kind), front, x, y, size, rot, *rgb, *rgb2, TEXTURES.index(texture), freq, turn, self.rng.random()])

    def vector(self):
        out = list(self.bg)
        for i in range(RIDGES):
            out += self.ridges[i] if i < len(self.ridges) else [0.0] * RIDGE
        for i in range(SLOTS):
            out += self.slots[i] if i < len(self.slots) else [-1.0] + [0.0] * (SLOT - 1)
        return out


# ---- words ----------------------------------------------------------------------------------


def colour_word(rng, name):
    return rng.choice(SYNONYMS[name]) if name in SYNONYMS and rng.random() < 0.15 else name


def article(rng, phrase, tags=False):
    if tags or rng.random() < 0.15:
        return phrase
    if rng.random() < 0.06:
        return ("the " if rng.random() < 0.5 else "one ") + phrase
    return ("an " if phrase[0] in "aeio" else "a ") + phrase


def noun(rng, kind):
    return rng.choice(NOUNS.get(kind, [kind])) if rng.random() < 0.35 else NOUNS.get(kind, [kind])[0]


def plural(word):
    return {"fish": "fish", "house": "houses", "cross": "crosses"}.get(word, word + ("es" if word.endswith(("s", "x", "sh")) else "s"))


def phrase(rng, obj, many=False):
    """`obj`: kind, colour, optional texture, second colour and size; gives words without an article."""
    word = noun(rng, obj["kind"])
    word = plural(word) if many else word
    colour = colour_word(rng, obj["colour"]) if obj.get("colour") else ""
    texture, second, tail = obj.get("texture", "plain"), obj.get("second"), ""
    if texture != "plain":
        marks = rng.choice(TEXTURE_NOUNS[texture])
        if second and rng.random() < 0.5:
            colour = f"{colour} and {second} {rng.choice(TEXTURE_WORDS[texture])}"
        elif second or rng.random() < 0.3:
            tail = f" with {second} {marks}" if second else f" with {marks}"
        else:
            made = rng.choice(TEXTURE_WORDS[texture])
            colour = f"{made} {colour}" if rng.random() < 0.6 else f"{colour} {made}"
    size = {"small": ["small", "tiny", "little"], "big": ["big", "large", "huge"]}.get(obj.get("size"), [""])
    if colour and not tail and texture == "plain" and rng.random() < 0.04:
        return f"{rng.choice(size)} {word} in {colour}".strip()
    return " ".join(f"{rng.choice(size)} {colour} {word}{tail}".split())


def decorate(rng, text):
    """Wrap a caption in the words people add: openings, quality tags, unknown words, capitals, full stops."""
    if rng.random() < 0.14:
        text = f"{rng.choice(BEFORE)} {text}"
    if rng.random() < 0.16:
        text = f"{text}, {rng.choice(AFTER)}"
        if rng.random() < 0.4:
            text = f"{text}, {rng.choice(AFTER)}"
    if rng.random() < 0.05:
        junk = "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(2, 8)))
        text = f"{text}, {junk}" if rng.random() < 0.6 else f"{junk}, {text}"
    if rng.random() < 0.06:
        text += "."
    return text


def empty_caption(rng):
    """What stands for "no condition": nothing, or the words people put into a negative prompt."""
    if rng.random() < 0.75:
        return ""
    return ", ".join(rng.sample(NEGATIVES, rng.randint(1, 4)))


def with_background(rng, text, colour):
    """Add the ground's colour to a caption in one of the usual ways."""
    if colour is None:
        return text
    colour = colour_word(rng, colour)
    form = rng.random()
    if form < 0.40:
        return f"{text} on {article(rng, colour + ' background')}"
    if form < 0.60:
        return f"{text}, {colour} background"
    if form < 0.75:
        return f"{text} on {colour}"
    if form < 0.88:
        return f"{text} against {article(rng, colour + ' background')}"
    return f"{colour} background, {text}"


# ---- plain scenes ---------------------------------------------------------------------------


def plain_ground(scene, used, named):
    """Paint a one-colour ground that none of the colours in `used` drowns in; returns its name when `named`."""
    rng = scene.rng
    if named:
        options = [c for c in COLOURS if c not in used]
        name = rng.choice(options)
        rgb = PALETTE[name]
        scene.ground(mix(rgb, (1, 1, 1), 0.10), scale(rgb, 0.93))
        return name
    pale = {"white", "yellow"} & set(used)
    dark = {"black", "blue", "purple", "brown"} & set(used)
    pool = DEEP if pale and not dark else SOFT if not pale else [(0.62, 0.72, 0.70), (0.72, 0.66, 0.74)]
    rgb = rng.choice(pool)
    scene.ground(mix(rgb, (1, 1, 1), 0.08), scale(rgb, 0.95))
    return None


def random_object(rng, avoid=(), things=0.22, textures=0.22):
    kind = rng.choice(THINGS) if rng.random() < things else rng.choice(SHAPES)
    colour = rng.choice([c for c in COLOURS if c not in avoid])
    obj = {"kind": kind, "colour": colour}
    if kind in SHAPES and kind not in ("crescent", "ring", "cross") and rng.random() < textures:
        obj["texture"] = rng.choice(TEXTURES[1:])
        if rng.random() < 0.35:
            obj["second"] = rng.choice([c for c in COLOURS if c not in avoid and c != colour])
    return obj


def place(scene, obj, x, y, size, front=True):
    rng = scene.rng
    rot = rng.uniform(-0.12, 0.12) if obj["kind"] not in ("house", "boat", "tree", "cat") else 0.0
    second = PALETTE[obj["second"]] if obj.get("second") else None
    scene.put(obj["kind"], x, y, size, PALETTE[obj["colour"]], second, rot, obj.get("texture", "plain"), front)


POSITIONS = {
    "in the center": (0.5, 0.5), "in the middle": (0.5, 0.5), "at the top": (0.5, 0.24), "at the bottom": (0.5, 0.76),
    "on the left": (0.24, 0.5), "on the right": (0.76, 0.5), "in the top left corner": (0.23, 0.23),
    "in the top right corner": (0.77, 0.23), "in the bottom left corner": (0.23, 0.77),
    "in the bottom right corner": (0.77, 0.77),
}


def single(scene):
    rng = scene.rng
    obj = random_object(rng, things=0.38, textures=0.35)
    roll, size = rng.random(), rng.uniform(0.22, 0.31)
    if roll < 0.16:
        obj["size"], size = "small", rng.uniform(0.11, 0.15)
    elif roll < 0.32:
        obj["size"], size = "big", rng.uniform(0.36, 0.42)
    x, y, where = 0.5 + rng.uniform(-0.05, 0.05), 0.5 + rng.uniform(-0.05, 0.05), ""
    if obj.get("size") != "big" and rng.random() < 0.22:
        where, (x, y) = rng.choice(list(POSITIONS.items()))
        size = min(size, 0.20)
    ground = plain_ground(scene, (obj["colour"], obj.get("second")), rng.random() < 0.7)
    place(scene, obj, x, y, size)
    text = f"{article(rng, phrase(rng, obj))} {where}".strip()
    scene.expect = {"family": "single", "objects": [obj], "ground": ground, "where": where}
    scene.key = (obj["kind"], obj["colour"], ground, obj.get("texture"))
    return with_background(rng, text, ground)


def pair_text(rng, a, b, relation):
    pa, pb = phrase(rng, a), phrase(rng, b)
    tags = rng.random() < 0.12
    pa, pb, word = article(rng, pa, tags), article(rng, pb, tags), rng.choice(RELATIONS[relation])
    form = rng.random()
    if relation == "next" or form < 0.72:
        return f"{pa} {word} {pb}"
    if form < 0.82:
        return f"{pb} with {pa} {word} it"
    if form < 0.92:
        return f"{pa} is {word} {pb}"
    return f"{pa}, {word} {pb}"


def pair_layout(rng, relation):
    """Centres and sizes (ax, ay, asize, bx, by, bsize) with the first object in `relation` to the second."""
    sa, sb = rng.uniform(0.13, 0.19), rng.uniform(0.13, 0.19)
    near, far = 0.5 - rng.uniform(0.20, 0.26), 0.5 + rng.uniform(0.20, 0.26)
    ja, jb = rng.uniform(0.40, 0.60), rng.uniform(0.40, 0.60)
    if relation == "inside":
        x, y, outer = rng.uniform(0.44, 0.56), rng.uniform(0.44, 0.56), rng.uniform(0.34, 0.42)
        return x, y, outer * rng.uniform(0.36, 0.44), x, y, outer
    if relation == "next":
        relation = rng.choice(["left", "right"])
    return {
        "left": (near, ja, sa, far, jb, sb), "right": (far, ja, sa, near, jb, sb),
        "above": (ja, near, sa, jb, far, sb), "below": (ja, far, sa, jb, near, sb),
    }[relation]


def pair(scene):
    rng = scene.rng
    relation = rng.choice(["left", "right", "above", "below"] * 3 + ["inside"] * 3 + ["next"] * 2)
    a = random_object(rng, things=0.18, textures=0.08)
    b = random_object(rng, avoid=(a["colour"], a.get("second")), things=0.18, textures=0.08)
    if relation == "inside":
        b = {"kind": rng.choice(["circle", "square", "hexagon", "diamond", "heart", "ring", "circle"]), "colour": b["colour"]}
    used = (a["colour"], b["colour"], a.get("second"), b.get("second"))
    ground = plain_ground(scene, used, rng.random() < 0.45)
    ax, ay, asize, bx, by, bsize = pair_layout(rng, relation)
    if b["kind"] == "ring" and relation == "inside":
        asize *= 0.85
    place(scene, b, bx, by, bsize)
    place(scene, a, ax, ay, asize)
    scene.expect = {"family": "pair", "objects": [a, b], "relation": relation, "ground": ground}
    scene.key = tuple(sorted([(a["kind"], a["colour"]), (b["kind"], b["colour"])]))
    return with_background(rng, pair_text(rng, a, b, relation), ground)


def count(scene):
    rng = scene.rng
    n, obj = rng.choice([2, 3, 3, 4, 4]), random_object(rng, things=0.3, textures=0.08)
    ground = plain_ground(scene, (obj["colour"], obj.get("second")), rng.random() < 0.55)
    row = [(0.5 + (i - (n - 1) / 2) * (0.80 / n), 0.5) for i in range(n)]
    layouts = {2: [[(0.28, 0.5), (0.72, 0.5)], [(0.5, 0.27), (0.5, 0.73)], [(0.3, 0.3), (0.7, 0.7)]],
               3: [row, [(0.5, 0.27), (0.27, 0.71), (0.73, 0.71)]],
               4: [[(0.28, 0.28), (0.72, 0.28), (0.28, 0.72), (0.72, 0.72)]] * 2 + [row]}
    spots = rng.choice(layouts[n])
    size = rng.uniform(0.14, 0.18) if spots is not row else 0.33 / n + 0.01
    for x, y in spots:
        place(scene, obj, x + rng.uniform(-0.025, 0.025), y + rng.uniform(-0.025, 0.025), size)
    scene.expect = {"family": "count", "objects": [obj], "count": n, "ground": ground}
    scene.key = (n, obj["kind"], obj["colour"])
    return with_background(rng, f"{rng.choice(NUMBERS[n])} {phrase(rng, obj, many=True)}", ground)


def trio(scene):
    rng, objs, used = scene.rng, [], []
    for _ in range(3):
        objs.append(random_object(rng, avoid=used, things=0.25, textures=0.0))
        used.append(objs[-1]["colour"])
    ground = plain_ground(scene, used, rng.random() < 0.4)
    spots = [(0.2, 0.5), (0.5, 0.5), (0.8, 0.5)]
    middle = rng.random() < 0.5
    if not middle and rng.random() < 0.5:
        spots = [(0.5, 0.26), (0.26, 0.72), (0.74, 0.72)]
        rng.shuffle(spots)
    for obj, (x, y) in zip(objs, spots):
        place(scene, obj, x, y + rng.uniform(-0.04, 0.04), rng.uniform(0.11, 0.135))
    left, mid, right = (article(rng, phrase(rng, o)) for o in objs)
    if middle and rng.random() < 0.5:
        text = f"{mid} between {left} and {right}" if rng.random() < 0.7 else f"{left}, {mid} and {right} in a row"
    else:
        text = f"{left}, {mid} and {right}"
    scene.expect = {"family": "trio", "objects": objs, "ground": ground}
    scene.key = tuple((o["kind"], o["colour"]) for o in objs)
    return with_background(rng, text, ground)
