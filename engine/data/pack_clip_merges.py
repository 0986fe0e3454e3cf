"""Packs CLIP's merges: `python pack_clip_merges.py bpe_simple_vocab_16e6.txt.gz clip_merges.bin`.

The input ships with OpenAI's CLIP and with the PyPI packages clip-anytorch and open_clip_torch. Of its 262,144 merges CLIP
uses the first 48,894. A token is one of 256 bytes, one of 256 bytes that end a word, or the result of a merge, in this
order, so each merge is two numbers below 2^16, written little endian.
"""

import gzip
import struct
import sys

VOCABULARY, SPECIALS = 49152, 2


def alphabet():
    """GPT-2's printable stand-ins for bytes, in the order of their tokens."""
    shown = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [b for b in range(256) if b not in shown]
    return [chr(b) for b in shown] + [chr(256 + i) for i in range(len(hidden))]


def main():
    lines = gzip.open(sys.argv[1]).read().decode("utf-8").split("\n")
    merges = [tuple(line.split()) for line in lines[1 : VOCABULARY - 256 - SPECIALS + 1]]
    tokens = alphabet()
    tokens += [token + "</w>" for token in tokens]
    ids = {token: i for i, token in enumerate(tokens)}
    with open(sys.argv[2], "wb") as out:
        for first, second in merges:
            out.write(struct.pack("<HH", ids[first], ids[second]))
            ids[first + second] = len(ids)
    print(len(merges), "merges,", len(ids) + SPECIALS, "tokens")


if __name__ == "__main__":
    main()
