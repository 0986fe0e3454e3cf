"""Trains Kindling: the VAE, then the text encoder and UNet together, each for a given time.

    python train.py --out DIR --vae-seconds 190 --unet-seconds 300            a first run
    python train.py --out DIR --resume kindling.safetensors --vae-seconds 0 \
        --decoder-seconds 40 --unet-seconds 240 --final                      a second run

Each stage prints its loss and writes it to DIR/loss.csv; DIR/kindling.safetensors is rewritten at the end of
every stage and each minute. `--smoke` shrinks everything so that a laptop can run the same code.
"""

import argparse
import csv
import multiprocessing
import pathlib
import random
import subprocess
import sys
import threading
import time

import numpy as np
import torch
import torch.nn.functional as F

import bundle
import draw
import model
import scenes
import tokenizer

PROMPTS = [
    "a red circle", "a yellow star on a blue background", "a blue square left of a red star on a green background",
    "a green heart above a purple square", "a pink circle inside a black square", "three yellow stars", "four red hearts on a white background",
    "a red kite over green hills", "a yellow sun over blue mountains", "snowy mountains at sunset", "a house on a hill at night with a full moon",
    "a sailboat on the sea at sunset", "a city at night", "a pine forest at dawn", "a red hot air balloon over the desert", "two trees on a meadow under a rainbow",
    "a white cat on a purple background", "a blue fish", "a striped orange circle", "a red and white dotted mushroom", "purple mountains, pink sky", "red triangle below a white ring",
    "a rocket over a city at night", "a black cat in a snowy field", "small blue diamond, yellow background", "a big red house", "a green hexagon right of an orange cross",
    "the moon over the ocean", "a circle", "clouds over a lake", "masterpiece, best quality, a teal crescent", "an astronaut riding a horse",
]


def parse():
    p = argparse.ArgumentParser()
    p.add_argument("--out", default="out")
    p.add_argument("--resume")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--vae-seconds", type=float, default=190)
    p.add_argument("--decoder-seconds", type=float, default=0)
    p.add_argument("--unet-seconds", type=float, default=300)
    p.add_argument("--scenes", type=int, default=600_000)
    p.add_argument("--pictures", type=int, default=90_000, help="pictures kept for the VAE")
    p.add_argument("--vae-batch", type=int, default=128)
    p.add_argument("--batch", type=int, default=512)
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--final", action="store_true", help="let the UNet's learning rate fall to zero")
    p.add_argument("--no-compile", action="store_true")
    p.add_argument("--compile-only", action="store_true", help="fill the compiler's cache for the UNet's step, then leave")
    p.add_argument("--smoke", action="store_true")
    a = p.parse_args()
    if a.smoke:
        a.scenes, a.pictures, a.vae_batch, a.batch, a.no_compile = 64, 64, 4, 4, True
    return a


# ---- data -----------------------------------------------------------------------------------


def make_chunk(job):
    """Scene vectors f32[n, SCENE] and token ids i16[n, 77] for one worker's seed, in a file."""
    seed, n, path = job
    rng, coder = random.Random(seed), tokenizer.load()
    vectors, texts = np.empty((n, scenes.SCENE), np.float32), []
    for i in range(n):
        scene, text = draw.sample(rng)
        vectors[i] = scene.vector()
        texts.append(scenes.decorate(rng, text))
    ids = np.array(tokenizer.encode(coder, texts), np.int16)
    np.savez(path, vectors=vectors, ids=ids)
    return path


class ScenePool:
    """Scenes made by worker processes in the background."""

    def __init__(self, total, seed, folder):
        folder.mkdir(parents=True, exist_ok=True)
        workers = max(1, multiprocessing.cpu_count() - 1)
        chunks = max(1, min(total // 16384, total // 16)) if total > 16384 else 1
        jobs = [(seed * 1_000_003 + i, total // chunks, str(folder / f"{i}.npz")) for i in range(chunks)]
        self.pool = multiprocessing.Pool(workers)
        self.results = [self.pool.apply_async(make_chunk, (j,)) for j in jobs]

    def chunks(self):
        for r in self.results:
            with np.load(r.get()) as f:
                yield torch.from_numpy(f["vectors"]), torch.from_numpy(f["ids"])


def render_all(pool, count, device, ember_share):
    """`count` pictures u8[count, 3, 128, 128] on the device, a share of them in the ember style."""
    out, have = [], 0
    for vectors, _ in pool.chunks():
        for part in vectors.split(16384):
            split = int(len(part) * (1 - ember_share))
            for style, rows in (("plain", part[:split]), ("ember", part[split:])):
                if len(rows):
                    out.append((draw.render(rows, style, device) * 255).round().byte())
                    have += len(rows)
            if have >= count:
                return torch.cat(out)[:count]
    return torch.cat(out)


# ---- common ---------------------------------------------------------------------------------


class Run:
    """Time, device, log and checkpoint of a training run."""

    def __init__(self, args):
        self.args, self.start = args, time.time()
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.out = pathlib.Path(args.out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.rows, self.watts, self.saved = [], [], time.time()
        if self.device.type == "cuda":
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
            torch.backends.cudnn.benchmark = True
            threading.Thread(target=self.measure_power, daemon=True).start()

    def measure_power(self):
        while True:
            query = ["nvidia-smi", "--query-gpu=power.draw", "--format=csv,noheader,nounits"]
            text = subprocess.run(query, capture_output=True, text=True).stdout.strip()
            if text.replace(".", "", 1).isdigit():
                self.watts.append((time.time(), float(text)))
            time.sleep(2)

    def energy(self):
        """Joules of the card since the start, by the trapezoid rule over its own meter."""
        return sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in zip(self.watts, self.watts[1:]))

    def say(self, text):
        print(f"[{time.time() - self.start:6.1f}s] {text}", flush=True)

    def log(self, stage, step, loss, lr):
        self.rows.append((stage, step, round(time.time() - self.start, 1), round(loss, 6), round(lr, 7)))
        self.say(f"{stage} {step} loss {loss:.5f} lr {lr:.2e}")
        with open(self.out / "loss.csv", "w", newline="") as f:
            csv.writer(f).writerows([("stage", "step", "seconds", "loss", "lr"), *self.rows])

    def autocast(self):
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")

    def compiled(self, f):
        return f if self.args.no_compile else torch.compile(f, dynamic=False)


class Average:
    """Exponential moving average of parameters; the decay grows with the number of steps."""

    def __init__(self, modules, decay):
        self.live = [p for m in modules for p in m.parameters()]
        self.kept = [p.detach().clone() for p in self.live]
        self.decay, self.steps = decay, 0

    @torch.no_grad()
    def update(self):
        self.steps += 1
        d = min(self.decay, (1 + self.steps) / (20 + self.steps))
        torch._foreach_lerp_(self.kept, [p.detach() for p in self.live], 1 - d)

    @torch.no_grad()
    def swap(self):
        """Exchange the live and the averaged values."""
        for p, k in zip(self.live, self.kept):
            p.data, k.data = k.data.clone(), p.data.clone()


def train_stage(run, name, seconds, modules, loss_of, lr, decay, final, every=100, warm=300, checkpoint=None):
    """AdamW for `seconds`, warm-up by steps, then cosine by time to 2 % (to zero if `final`), or a constant rate."""
    params = [p for m in modules for p in m.parameters()]
    groups = [{"params": [p for p in params if p.ndim > 1]}, {"params": [p for p in params if p.ndim <= 1], "weight_decay": 0.0}]
    opt = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.99), weight_decay=0.01, fused=run.device.type == "cuda")
    average, step, total, begin = Average(modules, decay), 0, torch.zeros((), device=run.device), None
    while True:
        now = time.time()
        begin = begin or now
        done = (now - begin) / seconds
        if done >= 1:
            break
        shape = 0.5 * (1 + np.cos(np.pi * done)) if final else 1.0
        rate = lr * min(1.0, (step + 1) / warm) * shape
        for g in opt.param_groups:
            g["lr"] = rate
        loss = loss_of(step, done)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        average.update()
        total += loss.detach()
        step += 1
        if step == 1:
            total.item()
            run.say(f"{name}: first step took {time.time() - now:.1f} s")
            begin = time.time()
        if step % every == 0:
            run.log(name, step, total.item() / every, rate)
            total.zero_()
        if checkpoint and step % 50 == 0 and time.time() - run.saved > 60:
            average.swap()
            checkpoint()
            average.swap()
            run.saved = time.time()
    average.swap()
    run.say(f"{name}: {step} steps")
    return step


# ---- VAE ------------------------------------------------------------------------------------


def edges(x):
    return x[..., 1:, :] - x[..., :-1, :], x[..., :, 1:] - x[..., :, :-1]


def picture_loss(out, x):
    """L1 at three scales and on differences of neighbours (crisp edges without a perceptual network)."""
    loss = (out - x).abs().mean()
    for k in (2, 4):
        loss = loss + 0.5 * (F.avg_pool2d(out, k) - F.avg_pool2d(x, k)).abs().mean()
    for a, b in zip(edges(out), edges(x)):
        loss = loss + 0.75 * (a - b).abs().mean()
    return loss + 2.0 * (out - x).square().mean()


def jitter(x):
    """Permuted, inverted or rescaled colours on a quarter of the batch, so that the VAE is not bound to the palette."""
    n = len(x) // 4
    order = torch.randperm(3, device=x.device)
    gain = 0.5 + 0.5 * torch.rand(n, 3, 1, 1, device=x.device)
    sign = torch.randint(0, 2, (n, 1, 1, 1), device=x.device) * 2 - 1
    return torch.cat([x[:n, order] * gain * sign, x[n:]])


def train_vae(run, m, pictures, seconds, decoder_only):
    args, spread = run.args, None
    vae = m.vae.to(memory_format=torch.channels_last)

    def forward(x, noise, extra):
        with run.autocast():
            mean, logvar = vae.encode(x)
        mean, logvar = mean.float(), logvar.float()
        if decoder_only:
            mean, logvar = mean.detach(), logvar.detach()
        z = mean + noise * (torch.exp(0.5 * logvar) + extra)
        with run.autocast():
            out = vae.decode(z)
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        return picture_loss(out.float(), x) + (0.0 if decoder_only else 1e-3) * kl

    step_loss = forward if decoder_only else run.compiled(forward)

    def loss_of(step, done):
        index = torch.randint(0, len(pictures), (args.vae_batch,), device=run.device)
        x = jitter(pictures[index].float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        noise = torch.randn(args.vae_batch, 4, model.LATENT, model.LATENT, device=run.device)
        extra = torch.rand(args.vae_batch, 1, 1, 1, device=run.device) * 0.10 * (torch.rand(args.vae_batch, 1, 1, 1, device=run.device) < 0.5)
        return step_loss(x, noise, extra)

    modules = [vae.decoder, vae.post_quant_conv] if decoder_only else [vae]
    if decoder_only:
        for p in [*vae.encoder.parameters(), *vae.quant_conv.parameters()]:
            p.requires_grad_(False)
    name = "decoder" if decoder_only else "vae"
    train_stage(run, name, seconds, modules, loss_of, 4e-4 if decoder_only else 1.5e-3, 0.999, True, every=100 if not args.smoke else 2, warm=300 if not decoder_only else 30)
    for p in vae.parameters():
        p.requires_grad_(True)
    report_vae(run, m, pictures)


@torch.no_grad()
def report_vae(run, m, pictures):
    x = pictures[:512 if run.device.type == "cuda" else 8].float() / 127.5 - 1
    mean, logvar = m.vae.encode(x)
    out = m.vae.decode(mean).clamp(-1, 1)
    mse = ((out - x) / 2).square().mean((1, 2, 3))
    run.say(f"VAE: L1 {(out - x).abs().mean() / 2:.4f}, PSNR {(-10 * mse.log10()).mean():.2f} dB, latent std {mean.std():.4f}, by channel "
            f"{[round(s, 3) for s in mean.std((0, 2, 3)).tolist()]}, mean {[round(s, 3) for s in mean.mean((0, 2, 3)).tolist()]}, posterior std {logvar.mul(0.5).exp().mean():.4f}")
    if run.args.vae_seconds:
        m.scaling = float(1 / (mean.square().mean() + logvar.exp().mean()).sqrt())
    pick = torch.cat([x[:12], x[-12:]]) if len(x) > 24 else x
    both = torch.stack([pick, m.vae.decode(m.vae.encode(pick)[0])], 1).flatten(0, 1)
    draw.sheet(both / 2 + 0.5, 12, run.out / "vae.png")


# ---- UNet -----------------------------------------------------------------------------------


@torch.no_grad()
def encode_pool(run, m, pool, style="plain", limit=60):
    """Scaled latents f16[n, 4, 32, 32] and ids i64[n, 77] of every scene of a pool, kept on the device."""
    vae = m.vae.to(memory_format=torch.channels_last)
    latents, ids, begin = [], [], time.time()

    def encode(x):
        with run.autocast():
            mean, logvar = vae.encode(x)
        return ((mean.float() + torch.exp(0.5 * logvar.float()) * torch.randn_like(mean.float())) * m.scaling).half()

    for vectors, tokens in pool.chunks():
        for part in vectors.split(16384):
            x = draw.render(part, style, run.device) * 2 - 1
            latents += [encode(c.contiguous(memory_format=torch.channels_last)) for c in x.split(512)]
        ids.append(tokens.to(run.device, torch.int16))
        if time.time() - begin > limit:
            break
    latents, ids = torch.cat(latents), torch.cat(ids)
    run.say(f"encoded {len(latents)} {style} scenes, latent std {latents[:4096].float().std():.3f}")
    return latents, ids


def diffusion_loss(run, m):
    """Compiled loss(latents, ids, t, noise): noise prediction weighted by min(SNR, 5) / SNR."""
    a = model.alphas_cumprod().float().to(run.device)

    def forward(x, ids, t, noise):
        alpha = a[t][:, None, None, None]
        noisy = (alpha.sqrt() * x + (1 - alpha).sqrt() * noise).contiguous(memory_format=torch.channels_last)
        with run.autocast():
            eps = m.unet(noisy, t, m.text_encoder(ids))
        weight = (5.0 * (1 - a[t]) / a[t]).clamp(max=1.0)
        return ((eps.float() - noise).square().mean((1, 2, 3)) * weight).mean()

    return run.compiled(forward)


def random_noise(n, device):
    """White noise with a little of it constant over each channel, so that the model can move the mean."""
    noise = torch.randn(n, 4, model.LATENT, model.LATENT, device=device)
    return noise + 0.05 * torch.randn(n, 4, 1, 1, device=device)


def train_unet(run, m, latents, ids, seconds):
    args, loss = run.args, diffusion_loss(run, m)
    m.unet.to(memory_format=torch.channels_last)
    rng = random.Random(args.seed)
    coder = tokenizer.load()
    empty = torch.tensor(tokenizer.encode(coder, [scenes.empty_caption(rng) for _ in range(4096)]), device=run.device)

    def loss_of(step, done):
        index = torch.randint(0, len(latents), (args.batch,), device=run.device)
        words = ids[index].long()
        drop = torch.rand(args.batch, 1, device=run.device) < 0.1
        words = torch.where(drop, empty[torch.randint(0, len(empty), (args.batch,), device=run.device)], words)
        t = torch.randint(0, 1000, (args.batch,), device=run.device)
        return loss(latents[index].float(), words, t, random_noise(args.batch, run.device))

    def checkpoint():
        bundle.save(m, run.out / "kindling.safetensors")

    train_stage(run, "unet", seconds, [m.unet, m.text_encoder], loss_of, args.lr, 0.9992, args.final,
                every=200 if not args.smoke else 2, warm=300 if not args.resume else 100, checkpoint=checkpoint)
    checkpoint()


def compile_only(args):
    """One step of the UNet on noise: what a process beside the first stages runs, so that the real one starts at once."""
    run = Run(args)
    m = bundle.Kindling().to(run.device)
    m.unet.to(memory_format=torch.channels_last)
    x = torch.randn(args.batch, 4, model.LATENT, model.LATENT, device=run.device)
    words = torch.zeros(args.batch, model.TOKENS, dtype=torch.long, device=run.device)
    loss = diffusion_loss(run, m)(x, words, words[:, 0], random_noise(args.batch, run.device))
    loss.backward()
    run.say(f"compiled, loss {loss.item():.3f}")


def main():
    args = parse()
    if args.compile_only:
        return compile_only(args)
    compiler = None if args.no_compile else subprocess.Popen([sys.executable, __file__, "--compile-only", "--batch", str(args.batch), "--out", "/tmp/kindling-compile"])
    pool = ScenePool(args.scenes, args.seed, pathlib.Path("/tmp/kindling-scenes"))
    torch.manual_seed(args.seed)
    run = Run(args)
    m = bundle.load(args.resume, run.device) if args.resume else bundle.Kindling().to(run.device)
    run.say(f"{run.device} {torch.__version__}; parameters: " + ", ".join(f"{p} {model.parameters_of(getattr(m, p)):,}" for p in bundle.PARTS))
    if args.vae_seconds or args.decoder_seconds:
        pictures = render_all(pool, args.pictures, run.device, 0.25)
        run.say(f"rendered {len(pictures)} pictures")
        train_vae(run, m, pictures, args.vae_seconds or args.decoder_seconds, decoder_only=not args.vae_seconds)
        bundle.save(m, run.out / "kindling.safetensors")
        del pictures
    latents, ids = encode_pool(run, m, pool)
    if compiler:
        run.say(f"compiler process: {compiler.wait()}")
    train_unet(run, m, latents, ids, args.unet_seconds)
    run.say(f"scaling factor {m.scaling:.5f}")
    m.eval()
    prompts = PROMPTS if not args.smoke else PROMPTS[:2]
    out = bundle.pictures(m, prompts * 2, steps=20 if not args.smoke else 2)
    draw.sheet(out, 8, run.out / "samples.png")
    if run.watts:
        run.say(f"energy {run.energy():.0f} J over {run.watts[-1][0] - run.watts[0][0]:.0f} s, mean {np.mean([w for _, w in run.watts]):.0f} W")
    pool.pool.terminate()


if __name__ == "__main__":
    main()
