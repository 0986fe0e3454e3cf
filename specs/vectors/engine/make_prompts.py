"""Makes the reference values that engine/tests hold Hearth's reading of prompts against.

Made with transformers 5.23.0, lark 1.3.1 and torch 2.15.0. Token ids are transformers' own; schedules come from a lark
grammar, emphasis and windows from the few lines of Python below, both written from the description of the syntax, not
from the Rust they check; weighed vectors from torch.

    cargo run -p hearth-engine --example tiny -- /tmp/tiny
    python specs/vectors/engine/make_prompts.py /tmp/tiny/classic/tokenizer engine specs/vectors/engine
"""

import json
import random
import re
import struct
import sys
from pathlib import Path

import lark
import torch
from transformers import CLIPTokenizer

RNG = random.Random(20)

# ---------------------------------------------------------------------------------------------------------------------
# Token ids

STRINGS = [
    "", " ", "a red fox", "A RED Fox", "  a\t red\n\nfox  ", "foxes don't, they've; it's I'M we'LL he'd", "1girl, 2024-06-01",
    "it''s 'sup 'Re", "(a:1.2) [b] {c} <d>", "a,b , c,,d ,", "!!! ... ?!", "under_score __init__", "https://example.org/?q=1",
    "café CAFÉ cafe\u0301", "ein Kreis über dem Fluß", "ΑΓΓΕΛΟΣ ς σ", "İstanbul ıI", "красная лиса", "赤い狐と川", "빨간 여우",
    "ثعلب أحمر", "लाल लोमड़ी", "🦊🔥", "👩‍👩‍👧 family", "a\u00a0b\u2003c\u3000d", "a\u200bb\u200dc", "a\u0000b\u0007c", "½ ² ① Ⅷ ٣",
    "ﬁne ﬂow ㎞", "…—–“quoted”", "<|startoftext|> a", "a <|endoftext|> b", "<|ENDOFTEXT|>", "<|endoftext|", "a</w> b", "Ġa Ċ",
    "\ufeffbom", "\u0301combining first", "x\u0323\u0307y", "𝔣𝔬𝔵 𝕱", "ｆｕｌｌ　ｗｉｄｔｈ", "\x1c\x1d\x85\u2028line", "'", "''", "a'", "'a",
    "supercalifragilisticexpialidocious" * 3, "aaaaaaaaaaaaaaaaaaaaaaaa", "emberglow", "ember glow", "ember-glow", "n't can't",
]
PIECES = [
    "a", "red", "fox", "circle", "glow", "ember", "Sea", "LAKE", "xyzzy", "ß", "é", "狐", "🦊", "1", "42", "3.14", ",", ".", "!", "'s",
    "'LL", "-", "_", "(", ")", ":", "|", "  ", "\n", "\t", "\u00a0", "e\u0301", "Σ", "№", "<", ">", "\\", "/", "``", "\U0001f1e9\U0001f1ea",
]


def strings():
    made = ["".join(RNG.choice(PIECES) + RNG.choice(["", " "]) for _ in range(RNG.randint(1, 12))) for _ in range(280)]
    points = ["".join(chr(RNG.choice([RNG.randrange(0x20, 0x3000), RNG.randrange(0x1F300, 0x1F700)])) for _ in range(8))
              for _ in range(120)]
    return STRINGS + made + points


def ids(tokenizer, text):
    return tokenizer(text, add_special_tokens=False).input_ids


# ---------------------------------------------------------------------------------------------------------------------
# Schedules: brackets of two kinds that may stand alone at the outermost level only

PARSER = lark.Lark(r"""
text: (part | STRAY)*
part: (pair | change | turns | PLAIN)*
!pair: "(" part ")" | "(" part ":" part ")" | "[" part "]"
change: "[" [part ":"] part ":" WHEN "]"
turns: "[" part ("|" part)+ "]"
STRAY: /[][():]/
PLAIN: /([^\\\[\]():|]|\\.)+/
WHEN: /\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*/
""", start="text")
# The grammar is ambiguous: any bracket may stand alone. `tree` takes the reading in which every pair that means
# something does; where lark resolves a text to another one, the text is left out.
SPECIAL = re.compile(r"((?:\\.|[^\\\[\]():|])+|[\[\]():|])")
WHEN = re.compile(r"\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)\s*")


def tree(text):
    """Nested lists: str, ("pair", items), ("change", before, after, when), ("turns", options); None if not in the language."""
    if "".join(SPECIAL.findall(text)) != text:
        return None
    root, stack = [], []  # stack of [bracket, segments, separators]

    def target():
        return stack[-1][1][-1] if stack else root

    def spill():
        """Open brackets turn out to be plain text: everything inside moves to the outermost level."""
        for bracket, segments, separators in stack:
            root.append(bracket)
            for i, segment in enumerate(segments):
                root.extend(segment)
                if i < len(separators):
                    root.append(separators[i])
        stack.clear()

    for token in SPECIAL.findall(text):
        if token in "[(":
            stack.append([token, [[]], []])
        elif token in ":|":
            if stack:
                stack[-1][2].append(token)
                stack[-1][1].append([])
            else:
                root.append(token)
        elif token in "])":
            node = None
            if stack and "[(".index(stack[-1][0]) == "])".index(token):
                _, segments, separators = stack[-1]
                kinds = "".join(separators)
                last = WHEN.fullmatch(segments[-1][0]) if len(segments[-1]) == 1 and isinstance(segments[-1][0], str) else None
                if kinds == "" or (token == ")" and kinds == ":"):
                    inner = segments[0] + ([":"] + segments[1] if kinds else [])
                    node = ("pair", ["[(" ["])".index(token)]] + inner + [token])
                elif token == "]" and set(kinds) == {"|"}:
                    node = ("turns", segments)
                elif token == "]" and kinds == ":" and last:
                    node = ("change", [], segments[0], last[1])
                elif token == "]" and kinds == "::" and last:
                    node = ("change", segments[0], segments[1], last[1])
            if node:
                stack.pop()
                target().append(node)
            else:
                spill()
                root.append(token)
        else:
            target().append(token)
    spill()
    return None if "|" in root else root


def moments(items, moment, steps):
    for item in items:
        if isinstance(item, str):
            continue
        if item[0] == "pair":
            yield from moments(item[1], moment, steps)
        elif item[0] == "turns":
            yield from range(1, steps + 1)
            for option in item[1]:
                yield from moments(option, moment, steps)
        else:
            if moment(item[3]) >= 1:
                yield moment(item[3])
            yield from moments(item[1], moment, steps)
            yield from moments(item[2], moment, steps)


def spoken(items, step, moment):
    def say(item):
        if isinstance(item, str):
            return item
        if item[0] == "pair":
            return spoken(item[1], step, moment)
        if item[0] == "turns":
            return spoken(item[1][(step - 1) % len(item[1])], step, moment)
        return spoken(item[1] if step <= moment(item[3]) else item[2], step, moment)

    return "".join(map(say, items))


def schedule(text, items, steps, base=None):
    if items is None:
        return [[steps, text]]

    def moment(number):
        value = float(number)
        if "." in number:
            value = (value - (0 if base is None else 1)) * steps
        else:
            value -= base or 0
        return max(min(steps, int(value)), -1)

    ends = sorted({steps, *moments(items, moment, steps)})
    spans = [[end, spoken(items, end, moment)] for end in ends]
    return [span for i, span in enumerate(spans) if i + 1 == len(spans) or spans[i + 1][1] != span[1]]


def parsed(text):
    """As `tree`, by lark; the pieces of a pair are in one list."""
    def items(node):
        if node is None:
            return []
        if not isinstance(node, lark.Tree):
            return [str(node)]
        if node.data == "turns":
            return [("turns", [items(option) for option in node.children])]
        if node.data == "change":
            before, after, when = node.children
            return [("change", items(before), items(after), str(when))]
        return [item for child in node.children for item in items(child)]

    try:
        return items(PARSER.parse(text))
    except lark.exceptions.LarkError:
        return None


SCHEDULES = [
    "test", "a [b:3]", "a [b: 3]", "a [[[b]]:2]", "[(a:2):3]", "a [b : c : 1] d", "a[b:[c:d:2]:1]e", "a [unbalanced", "a [b:.5] c",
    "((a][:b:c [d:3]", "[a|(b:1.1)]", "[fe|]male", "[fe|||]male", "[a::4]", "[:4]", "[::4]", "[a:b:c:4]", "[a:b:1e0]", "[a:b:-1]",
    "[a:b:+2]", "[a:b:1.5]", "[a:b:99]", "[a|b:3]", "a|b [c:3]", "\\[a:b:3\\]", "[a\\:b:3]", "[a:b:3\\]", "x\\", "[a:b:3]\\\n", "[b:3]\\n",
    "[[a|b]|[c|d]]", "[[a:b:2]|c]", "([a:b:2]:1.2)", "[(a|b):2]", "(a:b:c) [d:5]", "[]", "[|]", "()", "[a]b:3]", "[[a:b:3]", "[a:b:3]]",
    "[a:[b:3]", "[a:b:0.]", "[a: b :\t.25 ]", "[a:b:2", "", "[BREAK:AND:2]", "[赤:青:0.4]い",
]
FRAGMENTS = ["a", "b ", " c", "[", "]", "(", ")", ":", "|", "3", ".5", "[x:", "y:2]", "[p|q]", "[r:4]", "[s:t:0.3]", "\\[", "\\)", "1.5", "[u::7]"]


def schedules():
    made = ["".join(RNG.choice(FRAGMENTS) for _ in range(RNG.randint(2, 9))) for _ in range(220)]
    texts = SCHEDULES + made

    def case(text, read):
        return {"text": text, "base": schedule(text, read(text), 10), "hires": schedule(text, read(text), 8, base=10)}

    cases = [case(text, tree) for text in texts]
    agreed = [ours for ours in cases if ours == case(ours["text"], parsed)]
    assert len(agreed) > 0.98 * len(cases), (len(agreed), len(cases))
    return agreed


# ---------------------------------------------------------------------------------------------------------------------
# Emphasis

A1111 = re.compile(r"\\[()\[\]\\]|\\|\(|\[|:\s*([+-]?[.\d]+)\s*\)|\)|\]|[^\\()\[\]:]+|:")
BREAK = re.compile(r"\s*\bBREAK\b\s*")


def is_number(text):
    try:
        float(text)
        return True
    except ValueError:
        return False


def a1111(text):
    """Runs [text, weight] or None for a break."""
    runs, brackets = [], {"(": [], "[": []}

    def scale(start, factor):
        for run in runs[start:]:
            if run is not None:
                run[1] *= factor

    at = 0
    while at < len(text):
        match = A1111.match(text, at)
        token, weight = match[0], match[1]
        if weight is not None and not (brackets["("] and is_number(weight)):
            token, weight = ":", None
        at += len(token)
        if token[0] == "\\":
            runs.append([token[1:], 1.0])
        elif token in brackets:
            brackets[token].append(len(runs))
        elif weight is not None:
            scale(brackets["("].pop(), float(weight))
        elif token == ")" and brackets["("]:
            scale(brackets["("].pop(), 1.1)
        elif token == "]" and brackets["["]:
            scale(brackets["["].pop(), 1 / 1.1)
        else:
            for i, part in enumerate(BREAK.split(token)):
                runs += [None] if i else []
                runs.append([part, 1.0])
    for start in brackets["("]:
        scale(start, 1.1)
    for start in brackets["["]:
        scale(start, 1 / 1.1)
    joined = []
    for run in runs or [["", 1.0]]:
        if joined and run and joined[-1] and joined[-1][1] == run[1]:
            joined[-1][0] += run[0]
        else:
            joined.append(run)
    return joined


def comfy(text):
    def outermost(text):
        parts, part, level = [], "", 0
        for char in text:
            if char == "(":
                level += 1
                if level == 1 and part:
                    parts.append(part)
                    part = ""
            part += char
            if char == ")":
                level -= 1
                if level == 0:
                    parts.append(part)
                    part = ""
        return parts + ([part] if part else [])

    def weigh(text, weight):
        for part in outermost(text):
            if len(part) > 1 and part[0] == "(" and part[-1] == ")":
                inner, colon, number = part[1:-1].rpartition(":")
                if colon and inner and is_number(number):
                    yield from weigh(inner, float(number))
                else:
                    yield from weigh(part[1:-1], weight * 1.1)
            else:
                yield [part.replace("\0\1", ")").replace("\0\2", "("), weight]

    return list(weigh(text.replace("\\)", "\0\1").replace("\\(", "\0\2"), 1.0))


EMPHASES = [
    "normal text", "an (important) word", "(unbalanced", "\\(literal\\]", "(unnecessary)(parens)",
    "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).", "((a:1.2) b:1.3)", "[[a]]", "[a:1.2]", "(a:1.2", "a:1.2)", "(a: 1.2 )", "(:1.2)",
    "()", "(a)b)", "[a (b] c)", "(a [b) c]", "a BREAK b", "BREAK", "BREAK a", "a BREAK", "aBREAK b", "a BREAK BREAK b", "(a:1.2) BREAK (b:.5)",
    "(a:1.2.3)", "(a:.)", "(a:-0.5)", "(a:+2)", "a\\\\(b)", "a\\b", "\\", "(a (b)", "a) (b)", ")(", "((a)(b:2)c)", "(a:b:1.4)", "(a\n:1.4\n)",
]
MARKS = ["red", "fox ", " sea", "(", ")", "[", "]", ":", ":1.3)", ":0.5)", ": .25 )", "\\(", "\\]", "\\", ", ", "BREAK", " BREAK ", "((", "))"]


def emphases():
    made = ["".join(RNG.choice(MARKS) for _ in range(RNG.randint(2, 10))) for _ in range(200)]
    return [{"text": text, "a1111": a1111(text), "comfy": comfy(text)} for text in EMPHASES + made]


# ---------------------------------------------------------------------------------------------------------------------
# Windows of 75 tokens

ROOM = 75
EMBEDDINGS = [("ember", 3), ("Ember-Glow", 8), ("lake house", 1), ("wide", 30)]


def found_at(tokenizer, tokens, at):
    known = [(ids(tokenizer, name), index) for index, (name, _) in enumerate(EMBEDDINGS)]
    known.sort(key=lambda item: -len(item[0]))
    return next(((index, len(name)) for name, index in known if tokens[at:at + len(name)] == name), None)


def vectors(index):
    return [[index, row] for row in range(EMBEDDINGS[index][1])]


def a1111_windows(tokenizer, text):
    comma = ids(tokenizer, ",")[0]
    windows, window, last_comma = [], [], None
    for run in a1111(text):
        if run is None:
            windows.append(window)
            window, last_comma = [], None
            continue
        tokens = ids(tokenizer, run[0])
        at = 0
        while at < len(tokens):
            if tokens[at] == comma:
                last_comma = len(window)
            elif len(window) == ROOM and last_comma is not None and ROOM - last_comma <= 20:
                windows.append(window[:last_comma + 1])
                window, last_comma = window[last_comma + 1:], None
            if len(window) == ROOM:
                windows.append(window)
                window, last_comma = [], None
            found = found_at(tokenizer, tokens, at)
            pieces, taken = (vectors(found[0]), found[1]) if found else ([tokens[at]], 1)
            if len(window) + len(pieces) > ROOM:
                windows.append(window)
                window, last_comma = [], None
            window = window + [[piece, run[1]] for piece in pieces]
            at += taken
    return windows + ([window] if window or not windows else [])


def comfy_windows(tokenizer, text):
    groups = []
    for words, weight in comfy(text):
        for word in filter(None, words.replace("\n", " ").split(" ")):
            if word.startswith("embedding:"):
                name = word.removeprefix("embedding:")
                bare = name.strip(",")
                index = next((i for i, (known, _) in enumerate(EMBEDDINGS) if known == bare), None)
                if index is not None:
                    groups.append([[piece, weight] for piece in vectors(index)])
                word = name[len(bare):]
            groups.append([[token, weight] for token in ids(tokenizer, word)])
    windows = [[]]
    for group in groups:
        whole = len(group) < 8
        while group:
            room = ROOM - len(windows[-1])
            if len(group) <= room:
                windows[-1] += group
                break
            if not whole:
                windows[-1] += group[:room]
                group = group[room:]
            windows.append([])
    return windows


def windows(tokenizer):
    word = ["red", "fox", "sea,", "lake", "ember,", "glow", "xy", "lake house", "Ember-Glow,", "(night:1.2),", "[quiet]", "BREAK", "storm", "wide",
            "embedding:ember", "(embedding:wide:0.5)", "embedding:none", "embedding:ember,", "supercalifragilistic", "tree, tree"]
    texts = ["", "BREAK", "BREAK a", "a BREAK", "red fox", "wide " * 4, ("red " * 74) + "sea, fox", ("red " * 70) + ", " + "fox " * 10,
             ("red " * 54) + ", " + "fox " * 30, ("red " * 55) + ", " + "fox " * 30, "red " * 75, ("red " * 75) + ",", "(red:1.5) " * 90,
             ("red " * 73) + "ember", ("red " * 72) + "ember fox", ("a " * 70) + "xyzzyxyzzy plugh", "EMBER ember-GLOW Lake House emberglow"]
    texts += [" ".join(RNG.choice(word) for _ in range(RNG.randint(20, 110))) for _ in range(16)]
    return [{"text": text, "a1111": a1111_windows(tokenizer, text), "comfy": comfy_windows(tokenizer, text)} for text in texts]


# ---------------------------------------------------------------------------------------------------------------------
# Weighing


def weighings():
    torch.manual_seed(20)
    cases = []
    for weights in ([1, 1, 1, 1, 1], [1, 1.1, 1.21, 0.5, 1], [1, -1, 0, 2, 1]):
        z, empty, w = torch.randn(1, 5, 4), torch.randn(1, 5, 4), torch.tensor(weights).view(1, 5, 1)
        original = z * w
        original = original * (z.mean() / original.mean())
        cases.append({
            "hidden": z.flatten().tolist(), "empty": empty.flatten().tolist(), "weights": weights,
            "a1111": original.flatten().tolist(), "comfy": ((z - empty) * w + empty).flatten().tolist(),
        })
    return cases


def clip(packed):
    """CLIP's own tokenizer from its merges as pairs of token numbers."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    tokens = [chr(n) for n in printable] + [chr(0x100 + n) for n in range(256 - len(printable))]
    tokens += [token + "</w>" for token in tokens]
    merges = []
    for first, second in struct.iter_unpack("<HH", packed):
        merges.append((tokens[first], tokens[second]))
        tokens.append(tokens[first] + tokens[second])
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: n for n, token in enumerate(tokens)}, merges=merges)


def main():
    tiny, engine, out = map(Path, sys.argv[1:])
    kindling = engine / "kindling"
    tokenizers = {"tiny": CLIPTokenizer.from_pretrained(tiny)}
    tokenizers["kindling"] = CLIPTokenizer(
        vocab=json.loads((kindling / "vocab.json").read_text()),
        merges=[tuple(line.split()) for line in (kindling / "merges.txt").read_text().splitlines()
                if line.strip() and not line.startswith("#")],
    )
    tokenizers["clip"] = clip((engine / "data/clip_merges.bin").read_bytes())
    assert ids(tokenizers["clip"], "a photo of a cat, 2024") == [320, 1125, 539, 320, 2368, 267, 273, 271, 273, 275]
    texts = strings()
    value = {
        "strings": [{"text": text, **{name: ids(t, text) for name, t in tokenizers.items()}} for text in texts],
        "schedules": schedules(),
        "emphases": emphases(),
        "embeddings": EMBEDDINGS,
        "descriptions": [tokenizers["tiny"].backend_tokenizer.to_str()],
        "windows": windows(tokenizers["tiny"]),
        "weighings": weighings(),
    }
    lines = [f'"{name}": [\n' + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]" for name, cases in value.items()]
    (out / "prompts.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
