"""Kindling's tokenizer: CLIP's byte-pair format, its merges learnt from Kindling's own captions.

512 byte symbols come first, so any prompt has tokens; every word of the caption grammar is one token.
`python tokenizer.py` rewrites vocab.json and merges.txt beside this file.
"""

import collections
import json
import pathlib
import random

HERE = pathlib.Path(__file__).parent
BOS, EOS = "<|startoftext|>", "<|endoftext|>"
PATTERN = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""


def byte_symbols():
    """GPT-2's printable stand-ins for the 256 bytes, in CLIP's order."""
    keep = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [b for b in range(256) if b not in keep]
    return [chr(b) for b in keep] + [chr(256 + i) for i in range(len(rest))]


def learn_merges(counts):
    """Byte-pair merges until every word of `counts` is one symbol; ties broken by spelling."""
    words = {w: [*w[:-1], w[-1] + "</w>"] for w in counts}
    merges = []
    while True:
        pairs = collections.Counter()
        for w, symbols in words.items():
            for pair in zip(symbols, symbols[1:]):
                pairs[pair] += counts[w]
        if not pairs:
            return merges
        a, b = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append((a, b))
        for w, symbols in words.items():
            out, i = [], 0
            while i < len(symbols):
                joined = symbols[i : i + 2] == [a, b]
                out.append(a + b if joined else symbols[i])
                i += 2 if joined else 1
            words[w] = out


def caption_words(n=60000, seed=7):
    import draw
    import scenes

    rng, counts = random.Random(seed), collections.Counter()
    extra = [*scenes.BEFORE, *scenes.AFTER, *scenes.NEGATIVES, "in emberglow style"]
    texts = [draw.sample(rng)[1] for _ in range(n)] + extra * 20
    for text in texts:
        counts.update("".join(c if c.isalpha() else " " for c in text.lower()).split())
    return counts


def write():
    merges = learn_merges(caption_words())
    symbols = byte_symbols()
    tokens = symbols + [s + "</w>" for s in symbols] + [a + b for a, b in merges] + [BOS, EOS]
    vocab = {t: i for i, t in enumerate(tokens)}
    assert len(vocab) == len(tokens)
    (HERE / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False))
    (HERE / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    print(f"{len(vocab)} tokens, {len(merges)} merges")


def load():
    """The tokenizer as the `tokenizers` library runs it, the same as transformers' CLIPTokenizer."""
    import tokenizers
    from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

    vocab = json.loads((HERE / "vocab.json").read_text())
    merges = [tuple(line.split()) for line in (HERE / "merges.txt").read_text().splitlines()[1:]]
    t = tokenizers.Tokenizer(models.BPE(vocab, merges, unk_token=EOS, continuing_subword_prefix="", end_of_word_suffix="</w>", fuse_unk=False))
    t.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(tokenizers.Regex(r"\s+"), " "), normalizers.Lowercase()])
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(tokenizers.Regex(PATTERN), behavior="removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    t.decoder = decoders.ByteLevel()
    t.post_processor = processors.TemplateProcessing(single=f"{BOS} $A {EOS}", special_tokens=[(BOS, vocab[BOS]), (EOS, vocab[EOS])])
    t.enable_truncation(77)
    t.enable_padding(pad_id=vocab[EOS], pad_token=EOS, length=77)
    return t


def encode(tokenizer, texts):
    """Ids of each text with its start and end marks, padded with the end mark to 77: a list of lists."""
    return [e.ids for e in tokenizer.encode_batch(list(texts))]


if __name__ == "__main__":
    write()
