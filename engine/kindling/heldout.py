"""The 200 held-out captions: combinations that training never sees, with what must be seen in the picture.

`python heldout.py` rewrites captions-heldout.json; `items()` also gives the true scenes, to validate the judge.
"""

import json
import pathlib
import random

import draw
import landscapes
import scenes

PATH = pathlib.Path(__file__).parent / "captions-heldout.json"
SOLID = {*scenes.SHAPES, "kite", "balloon", "fish", "cat", "rocket"}
QUOTA = {"colour": 50, "position": 10, "size": 10, "relation": 70, "count": 25, "landscape": 35}


def plain_enough(scene):
    objs = scene.expect["objects"]
    return all(o["kind"] in SOLID and o.get("texture", "plain") == "plain" for o in objs)


def wanted(category, e):
    obj = e["objects"][0] if e["objects"] else {}
    if category == "colour":
        return e["ground"] and not e["where"] and not obj.get("size")
    if category == "position":
        return e["where"] and not obj.get("size")
    if category == "size":
        return obj.get("size") and not e["where"]
    if category == "relation":
        return e["relation"] != "next"
    if category == "landscape":
        return obj and e["airborne"] and e["count"] == 1 and e["time"] in ("day", "dawn", "sunset") and not e["sky_colour"] and obj["kind"] in SOLID
    return True


FAMILY = {"colour": scenes.single, "position": scenes.single, "size": scenes.single, "relation": scenes.pair, "count": scenes.count, "landscape": landscapes.landscape}


def items(seed=20261127):
    """Pairs (item, scene vector), 200 of them, always the same for one seed."""
    rng, out = random.Random(seed), []
    for category, quota in QUOTA.items():
        found = 0
        while found < quota:
            scene, text = draw.sample(rng, FAMILY[category], held_out=True)
            e = scene.expect
            if not wanted(category, e) or (category != "landscape" and not plain_enough(scene)):
                continue
            if category == "landscape" and e["objects"][0]["colour"] in ("white", "gray", "black", "brown"):
                continue  # a cloud, a rock or a shadow would pass for these
            out.append(({"id": len(out), "category": category, "caption": text, "expect": e}, scene.vector()))
            found += 1
    return out


if __name__ == "__main__":
    PATH.write_text("[\n" + ",\n".join(json.dumps(i) for i, _ in items()) + "\n]\n")
