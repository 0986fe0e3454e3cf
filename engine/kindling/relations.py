"""A last stage that teaches the order of two objects: pairs only, at the noisiest times only.

    python relations.py --out DIR --steps 600 | --seconds 4000 [--pairs 1000] [--batch 16] [--model kindling.safetensors]

Which of two objects stands left is decided while the signal is under one hundredth of the noise (times above about 900),
and there it moves the loss by less than one hundredth: ordinary training barely feels it. Here three quarters of each batch are
pairs at times 860 to 999, each scene beside its twin with the two objects exchanged, under the same noise, so that only the order
in the caption tells them apart. The rest are ordinary scenes at all times, to keep what was learnt. Only the text encoder and
the UNet's transformer blocks move.
"""

import argparse
import pathlib
import random
import time

import torch

import bundle
import draw
import lora
import scenes
import tokenizer

OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}
FROM = 860


def twin(rng, held_out):
    """Two scenes with the same two objects in exchanged places, and a way to caption each."""
    while True:
        scene, _ = draw.sample(rng, scenes.pair, held_out)
        e = scene.expect
        if e["relation"] in OPPOSITE:
            break
    other = scenes.Scene(rng)
    other.bg, other.slots = scene.bg, [list(s) for s in scene.slots]
    for i in (2, 3):
        other.slots[0][i], other.slots[1][i] = scene.slots[1][i], scene.slots[0][i]
    return scene, other, e


def captions(rng, e):
    """A caption of the scene and one of its twin, in the same words but for the order."""
    a, b = e["objects"]
    relation = e["relation"]
    if rng.random() < 0.5:
        a, b, relation = b, a, OPPOSITE[relation]
    state = rng.getstate()
    first = scenes.with_background(rng, scenes.pair_text(rng, a, b, relation), e["ground"])
    if rng.random() < 0.5:
        rng.setstate(state)
        return first, scenes.with_background(rng, scenes.pair_text(rng, b, a, relation), e["ground"])
    return first, scenes.with_background(rng, scenes.pair_text(rng, a, b, OPPOSITE[relation]), e["ground"])


class Pairs:
    """Latents f16[n, 2, 4, 32, 32] of scenes and their twins, with fresh captions at every draw."""

    def __init__(self, m, n, seed, held_out, device):
        self.rng, self.coder, self.device = random.Random(seed), tokenizer.load(), device
        made = [twin(self.rng, held_out) for _ in range(n)]
        vectors = torch.tensor([s.vector() for a, b, _ in made for s in (a, b)])
        self.latents = latents_of(m, vectors, device).view(n, 2, *m_shape())
        self.expects = [e for _, _, e in made]

    def draw(self, count):
        """Latents f32[2 count, ...] and ids i64[2 count, 77]: each scene, then its twin."""
        index = [self.rng.randrange(len(self.expects)) for _ in range(count)]
        return self.latents[index].flatten(0, 1).float(), self.words(index)

    def words(self, index):
        texts = [t for i in index for t in captions(self.rng, self.expects[i])]
        return torch.tensor(tokenizer.encode(self.coder, texts), device=self.device)


@torch.no_grad()
def latents_of(m, vectors, device):
    """Latents f16[n, 4, 32, 32] of scenes."""
    pictures = (draw.render(part, "plain", device) * 2 - 1 for part in vectors.split(32))
    means = [m.vae.encode(x.to(memory_format=torch.channels_last))[0] * m.scaling for x in pictures]
    return torch.cat(means).half()


def m_shape():
    return 4, draw.SIDE // 4, draw.SIDE // 4


def noisy(alphas, x, t, noise):
    a = alphas[t][:, None, None, None]
    return a.sqrt() * x + (1 - a).sqrt() * noise


@torch.no_grad()
def margin(m, pairs, alphas, seed=0):
    """Share of held-out pairs whose own caption explains the latent better than the twin's, at time 940 (chance: one half)."""
    g = torch.Generator().manual_seed(seed)
    pairs.rng = random.Random(seed)
    n = len(pairs.expects)
    x, words = pairs.latents.flatten(0, 1).float(), pairs.words(range(n))
    noise = torch.randn(n, 1, *m_shape(), generator=g).to(x.device).expand(-1, 2, -1, -1, -1).flatten(0, 1)
    t = torch.full((2 * n,), 940, device=x.device)
    swapped = words.view(n, 2, -1).flip(1).flatten(0, 1)
    errors = [(m.unet(noisy(alphas, x, t, noise), t, m.text_encoder(w)) - noise).square().mean((1, 2, 3)) for w in (words, swapped)]
    return (errors[0] < errors[1]).float().mean().item(), (errors[1] - errors[0]).mean().item()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--out", default="out")
    p.add_argument("--model", default=str(bundle.HERE / "kindling.safetensors"))
    p.add_argument("--steps", type=int, default=600)
    p.add_argument("--seconds", type=float, help="a time for the training instead of a number of steps")
    p.add_argument("--pairs", type=int, default=1000)
    p.add_argument("--others", type=int, default=300)
    p.add_argument("--batch", type=int, default=16)
    p.add_argument("--lr", type=float, default=5e-4)
    p.add_argument("--seed", type=int, default=21)
    p.add_argument("--every", type=int, default=50)
    a = p.parse_args()
    torch.manual_seed(a.seed)
    out, start = pathlib.Path(a.out), time.time()
    out.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    m = bundle.load(a.model, device).requires_grad_(False)
    test, pairs = Pairs(m, 24, 99, True, device), Pairs(m, a.pairs, a.seed, False, device)
    vectors, other_ids, _ = lora.make_chunk((a.seed, a.others))
    others, other_ids = latents_of(m, vectors, device), other_ids.to(device).long()
    train(a, m, pairs, test, others, other_ids, out, start)


def train(a, m, pairs, test, others, other_ids, out, start):
    from model import alphas_cumprod

    device = others.device
    alphas, empty = alphas_cumprod().float().to(device), bundle.ids_of([""]).to(device)
    moving = [*m.text_encoder.parameters(), *(p for n, p in m.unet.named_parameters() if "transformer_blocks" in n)]
    for p in moving:
        p.requires_grad_(True)
    opt = torch.optim.AdamW(moving, lr=a.lr, betas=(0.9, 0.99), weight_decay=0.01)
    count, rest = a.batch * 3 // 8, a.batch - 2 * (a.batch * 3 // 8)
    total, step, shown, done, begin = 0.0, 0, 0, 0.0, time.time()
    while True:
        if step % a.every == 0 or done >= 1:
            share, gap = margin(m, test, alphas)
            print(f"[{time.time() - start:6.1f}s] relations {step} loss {total / max(1, step - shown):.5f} held-out order {100 * share:.1f} % gap {gap:.6f}", flush=True)
            bundle.save(m, out / "kindling.safetensors")
            total, shown = 0.0, step
        if done >= 1:
            return
        for g in opt.param_groups:
            g["lr"] = a.lr * min(1, (step + 1) / 20) * max(0.02, 1 - done)
        x, words = pairs.draw(count)
        index = torch.randint(0, len(others), (rest,), device=device)
        more = torch.where(torch.rand(rest, 1, device=device) < 0.15, empty, other_ids[index])
        x, words = torch.cat([x, others[index].float()]), torch.cat([words, more])
        t = torch.randint(FROM, 1000, (count,), device=device).repeat_interleave(2)
        t = torch.cat([t, torch.randint(0, 1000, (rest,), device=device)])
        noise = torch.randn(count + rest, *m_shape(), device=device) + 0.05 * torch.randn(count + rest, 4, 1, 1, device=device)
        noise = torch.cat([noise[:count].repeat_interleave(2, 0), noise[count:]])
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            eps = m.unet(noisy(alphas, x, t, noise), t, m.text_encoder(words))
        each = (eps.float() - noise).square().mean((1, 2, 3))
        boost = torch.where(t >= FROM, 0.05 * (1 - alphas[t]) / alphas[t], (5.0 * (1 - alphas[t]) / alphas[t]).clamp(max=1.0))
        loss = (each * boost.clamp(max=8.0)).mean()
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(moving, 1.0)
        opt.step()
        total += loss.item()
        step += 1
        done = (time.time() - begin) / a.seconds if a.seconds else step / a.steps


if __name__ == "__main__":
    main()
