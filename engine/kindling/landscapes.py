"""Kindling's landscapes: skies, grounds and the things in them, with captions."""

from scenes import PALETTE, SHAPES, NUMBERS, article, colour_word, mix, noun, phrase, place, plural, scale

# Sky colours at the top and at the horizon, and the light that falls on the ground.
SKIES = {
    "day": ((0.36, 0.65, 0.93), (0.80, 0.91, 0.98), (1.0, 1.0, 1.0)),
    "sunset": ((0.42, 0.26, 0.52), (0.99, 0.62, 0.34), (0.92, 0.72, 0.70)),
    "dawn": ((0.55, 0.62, 0.88), (0.99, 0.80, 0.77), (0.95, 0.88, 0.92)),
    "night": ((0.04, 0.06, 0.17), (0.16, 0.20, 0.42), (0.42, 0.46, 0.66)),
    "overcast": ((0.60, 0.64, 0.69), (0.83, 0.85, 0.87), (0.86, 0.88, 0.90)),
}
SKY_WORDS = {
    "day": ["under a blue sky", "on a sunny day", "by day", "during the day", "under a clear sky", "in daylight"],
    "sunset": ["at sunset", "at dusk", "under a sunset sky", "in the evening", "at golden hour"],
    "dawn": ["at dawn", "at sunrise", "in the early morning", "under a pink sky"],
    "night": ["at night", "under a night sky", "under the stars", "in the dark", "by night", "in a starry night"],
    "overcast": ["on a cloudy day", "under a gray sky", "under an overcast sky", "on a foggy day"],
}
SKY_TAGS = {"day": "blue sky", "sunset": "sunset", "dawn": "sunrise", "night": "night sky", "overcast": "gray sky"}
GROUNDS = {
    "hills": (["hills", "rolling hills", "hills"], (0.38, 0.66, 0.33)),
    "mountains": (["mountains", "the mountains", "mountain peaks", "a mountain"], (0.42, 0.48, 0.58)),
    "snowy mountains": (["snowy mountains", "snow-capped mountains", "mountains with snow"], (0.42, 0.48, 0.60)),
    "sea": (["the sea", "the ocean", "a lake", "water"], (0.13, 0.45, 0.68)),
    "forest": (["a forest", "a pine forest", "the woods", "pine trees"], (0.13, 0.40, 0.27)),
    "desert": (["a desert", "sand dunes", "the desert", "dunes"], (0.92, 0.74, 0.46)),
    "meadow": (["a meadow", "a field", "grass", "a green field"], (0.45, 0.72, 0.32)),
    "snow": (["snow", "a snowy field", "a winter landscape", "snowy hills"], (0.92, 0.95, 0.98)),
    "city": (["a city", "a city skyline", "the city", "skyscrapers"], (0.27, 0.31, 0.42)),
}
COLOURABLE = {"hills": 0.45, "mountains": 0.45, "sea": 0.25, "forest": 0.12, "desert": 0.15, "city": 0.1}
KIND_OF = {"hills": 1, "mountains": 2, "snowy mountains": 2, "sea": 3, "forest": 4, "desert": 1, "meadow": 1, "snow": 1, "city": 5}


def sky(scene, name):
    top, bottom, light = SKIES[name]
    rng, colour = scene.rng, None
    if name == "day" and rng.random() < 0.14:
        colour = rng.choice(["pink", "orange", "purple", "teal", "yellow", "red", "green"])
        top, bottom = PALETTE[colour], mix(PALETTE[colour], (1, 1, 1), 0.55)
    snowing = rng.random() < 0.05
    stars = 1.0 if name == "night" else 0.0
    scene.ground(top, bottom, 0, stars, float(snowing))
    words = f"under a {colour} sky" if colour else rng.choice(SKY_WORDS[name])
    tag = f"{colour} sky" if colour else SKY_TAGS[name]
    return light, words, tag, colour, snowing


def ground(scene, name, light, colour, back=False, lift=0.0):
    """Add the layers of one ground; returns the height of its foremost edge as a function of x."""
    rng, base = scene.rng, PALETTE[colour] if colour else GROUNDS[name][1]
    rgb, kind = tuple(c * k for c, k in zip(base, light)), KIND_OF[name]
    haze = mix(rgb, scene.bg[3:6], 0.35)
    snow = 1.0 if name == "snowy mountains" else 0.0
    y = 0.70 - lift + rng.uniform(-0.03, 0.03)
    if kind == 2:
        if not back:
            scene.ridge(2, y - 0.12, rng.uniform(0.16, 0.22), rng.uniform(1.3, 2.0), haze, snow)
        return scene.ridge(2, y + (0 if not back else -0.06), rng.uniform(0.15, 0.22), rng.uniform(1.2, 1.9), rgb, snow)
    if kind == 3:
        return scene.ridge(3, y - 0.02, 0.0, 1.0, rgb)
    if kind == 4:
        if not back:
            scene.ridge(4, y - 0.10, 0.08, rng.uniform(7, 10), haze)
        return scene.ridge(4, y, 0.10, rng.uniform(5, 7.5), rgb)
    if kind == 5:
        if not back:
            scene.ridge(5, y - 0.10, 0.22, rng.uniform(8, 11), haze, 0.0)
        return scene.ridge(5, y + 0.04, 0.24, rng.uniform(6, 9), rgb, 1.0 if light[0] < 0.8 else 0.3)
    flat = 0.4 if name in ("meadow", "snow") else 1.0
    if not back:
        scene.ridge(1, y - 0.07, 0.07 * flat, rng.uniform(0.8, 1.4), haze)
    mood = 1.0 if name == "meadow" else 0.0
    return scene.ridge(1, y + 0.04, 0.06 * flat, rng.uniform(0.5, 1.1), rgb, mood)


def heaven(scene, name, p):
    """Sun, moon, clouds or a rainbow, behind the ground; returns a phrase or None, and where it stands."""
    rng, roll = scene.rng, scene.rng.random()
    x, y = rng.choice([rng.uniform(0.18, 0.36), rng.uniform(0.64, 0.82), rng.uniform(0.4, 0.6)]), rng.uniform(0.16, 0.26)
    said, hot = None, name in ("sunset", "dawn")
    if name == "night":
        if roll < 0.75:
            form = rng.choice(["moon", "crescent"])
            scene.put(form, x, y, rng.uniform(0.085, 0.12), (0.97, 0.94, 0.80), rot=-0.5 if form == "crescent" else 0.0, front=False)
            words = ["a crescent moon", "a moon", "the crescent moon"] if form == "crescent" else ["a full moon", "the moon", "a moon", "moonlight"]
            said = rng.choice(words)
        elif roll < 0.9:
            said = rng.choice(["stars", "many stars", "bright stars"])
    elif name != "overcast" and roll < (0.85 if hot else 0.55):
        colour = rng.choice(["red", "orange", "white", "pink"]) if rng.random() < 0.2 else None
        rgb = PALETTE[colour] if colour else (1.0, 0.86, 0.35) if not hot else (1.0, 0.72, 0.36)
        scene.put("sun", x, y + (0.24 if hot else 0.0), rng.uniform(0.09, 0.125), rgb, front=False)
        bright = rng.choice(["yellow", "golden", "bright", "", "", ""])
        said = f"{rng.choice(['a', 'the', 'a'])} {colour or bright} sun".replace("  ", " ")
    elif roll > 0.93 and name != "overcast":
        scene.put("rainbow", 0.5, 0.66, 0.44, (1, 1, 1), front=False)
        return "a rainbow", None
    if name == "overcast" or (name != "night" and rng.random() < 0.35) or rng.random() < 0.08:
        n, white = rng.randint(1, 3), mix((1, 1, 1), scene.bg[3:6], 0.25 if name != "night" else 0.7)
        for i in range(n):
            cx = (i + rng.uniform(0.2, 0.8)) / n
            scene.put("cloud", cx, rng.uniform(0.12, 0.34), rng.uniform(0.08, 0.14), white, front=False)
        if said is None and rng.random() < 0.7:
            said = rng.choice(["clouds", "white clouds", "fluffy clouds"]) if n > 1 else rng.choice(["a cloud", "a white cloud"])
    return (said if rng.random() < p else None), (x, y)


def creature(rng, airborne, wet):
    if airborne:
        kind = rng.choice(["kite", "balloon", "rocket", "bird", "kite", "balloon"] + SHAPES[:6])
    elif wet:
        kind = rng.choice(["boat", "boat", "boat", "fish"])
    else:
        kind = rng.choice(["house", "tree", "pine", "flower", "mushroom", "cat", "house", "tree"])
    colour = rng.choice([c for c in PALETTE])
    return {"kind": kind, "colour": colour}


NATURAL = {"tree": "green", "pine": "green", "bird": "black", "house": None, "boat": None}


def inhabitants(scene, light, edge, name, moon):
    """Things in the air or on the ground; returns (phrase, preposition, object, count) or None."""
    rng, wet = scene.rng, name == "sea"
    airborne = rng.random() < (0.48 if name != "city" else 1.0)
    if not airborne and name in ("forest", "mountains", "snowy mountains"):
        edge = ground(scene, "meadow" if rng.random() < 0.75 or "snowy" not in name else "snow", light, None, back=True, lift=-0.09)
    obj = creature(rng, airborne, wet)
    said = True
    if obj["kind"] in NATURAL and rng.random() < 0.55:
        obj["colour"], said = NATURAL[obj["kind"]] or rng.choice(["red", "white", "blue", "yellow", "brown"]), False
    n = rng.choice([1, 1, 1, 1, 2, 3]) if obj["kind"] not in SHAPES else 1
    size = rng.uniform(0.11, 0.15) if n == 1 else rng.uniform(0.075, 0.095)
    if obj["kind"] in ("pine", "tree", "house") and n == 1:
        size *= rng.uniform(1.0, 1.35)
    spots = {1: [rng.uniform(0.25, 0.75)], 2: [0.3, 0.7], 3: [0.22, 0.5, 0.78]}[n]
    if airborne and moon and n == 1 and abs(spots[0] - moon[0]) < 0.22:
        spots = [moon[0] + (0.34 if moon[0] < 0.5 else -0.34)]
    for x in spots:
        x += rng.uniform(-0.04, 0.04)
        y = rng.uniform(0.22, 0.36) if airborne else edge(x) - size * (0.80 if not wet else 0.35) + (0.06 if wet else 0.03)
        if wet and obj["kind"] == "fish":
            y = edge(x) + 0.12
        place(scene, obj, x, y, size)
        slot = scene.slots[-1]
        dim = tuple(0.6 + 0.4 * k for k in light)
        slot[6:9] = [c * k for c, k in zip(slot[6:9], dim)]
    words = dict(obj) if said else {"kind": obj["kind"]}
    text = article(rng, phrase(rng, words)) if n == 1 else f"{rng.choice(NUMBERS[n][:2])} {phrase(rng, words, many=True)}"
    return text, airborne, obj if said else None, n


def landscape(scene):
    rng = scene.rng
    time = rng.choice(["day", "day", "day", "sunset", "sunset", "night", "night", "dawn", "overcast"])
    light, sky_words, sky_tag, sky_colour, snowing = sky(scene, time)
    above, moon = heaven(scene, time, 0.75)
    name = rng.choice(list(GROUNDS))
    colour = None
    if rng.random() < COLOURABLE.get(name, 0.0):
        colour = rng.choice(["green", "blue", "purple", "red", "orange", "yellow", "pink", "brown", "black", "teal", "gray"])
    back_words = ""
    if name not in ("mountains", "snowy mountains") and rng.random() < 0.25:
        back = rng.choice(["mountains", "snowy mountains"] + (["hills"] if name in ("sea", "forest", "city") else []))
        ground(scene, back, light, None, back=True, lift=0.08)
        edge = ground(scene, name, light, colour, back=True)
        back_words = rng.choice(GROUNDS[back][0][:2])
    else:
        edge = ground(scene, name, light, colour)
    words = rng.choice(GROUNDS[name][0])
    if colour:
        bare = words.removeprefix("a ").removeprefix("the ").replace("green ", "").replace("mountain peaks", "mountains")
        words = f"{colour_word(rng, colour)} {bare}"
        words = article(rng, words) if bare in ("field", "city", "lake", "forest", "mountain", "desert") else words
    subject = inhabitants(scene, light, edge, name, moon) if rng.random() < 0.62 else None
    scene.expect = {"family": "landscape", "time": time, "ground": name, "ground_colour": colour, "sky_colour": sky_colour,
                    "objects": [subject[2]] if subject and subject[2] else [], "airborne": bool(subject and subject[1]), "count": subject[3] if subject else 0}
    obj = subject[2] if subject and subject[2] else {"kind": None, "colour": None}
    scene.key = ("land", obj["kind"], obj["colour"], name, colour, time)
    said_sky = sky_words if time != "day" or sky_colour or rng.random() < 0.4 else ""
    snow_words = rng.choice(["snowing", "falling snow", "snowfall"]) if snowing else ""
    return compose(rng, subject, words, back_words, above, said_sky, sky_tag, snow_words)


def compose(rng, subject, words, back, above, sky_words, sky_tag, snow):
    """Join the parts of a landscape's caption, as a sentence or as tags."""
    if rng.random() < 0.2:
        tags = [t for t in (subject and subject[0], words, back, above, sky_tag if sky_words else "", snow) if t]
        head, rest = tags[0], tags[1:]
        rng.shuffle(rest)
        return ", ".join([head, *rest])
    if back:
        words = rng.choice([f"{words} in front of {back}", f"{words} and {back}", f"{words} with {back} behind", f"{back} behind {words}"])
    if subject:
        join = rng.choice(["over", "above", "over", "flying over", "in the sky above"]) if subject[1] else rng.choice(["on", "on", "in", "at", "in front of"])
        text = f"{subject[0]} {join} {words}"
        text += f" with {above}" if above and rng.random() < 0.6 else f", {above}" if above else ""
    elif above:
        text = rng.choice([f"{above} over {words}", f"{above} above {words}", f"{words} with {above}", f"{words} and {above}", f"{words} under {above}"])
    else:
        text = words
    text = f"{text} {sky_words}".strip() if rng.random() < 0.75 else f"{text}, {sky_words}".strip(", ")
    return f"{text}, {snow}" if snow else text
