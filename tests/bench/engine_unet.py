"""Hearth's kernels against diffusers on torch, one run side by side.

    cargo build --release -p hearth-engine --example bench
    python tests/bench/engine_unet.py [--family sd1|sdxl] [--threads 2] [--rounds 3] [--half] [WORK...]

Both sides have random weights of the published sizes and so many threads, and take turns: a round
evaluates one after the other, the best round of each counts. WORK is unet512, unet256, decode512 or
decode256 (all of them by default; a UNet sees a batch of two, as guidance needs). Prints one Markdown row for each work;
the last column is Hearth's seconds by the peer's. Processor seconds are those of all threads: what
counts where other programs run. Needs torch and diffusers; prints their versions.
"""

import argparse
import os
import pathlib
import subprocess
import time

import diffusers
import torch


def build(family):
    xl = dict(
        block_out_channels=(320, 640, 1280),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=2048,
        attention_head_dim=(5, 10, 20),
        transformer_layers_per_block=(1, 2, 10),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
    )
    unet = diffusers.UNet2DConditionModel(
        sample_size=64, **(xl if family == "sdxl" else dict(cross_attention_dim=768))
    )
    names = lambda kind: (kind,) * 4
    vae = diffusers.AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        down_block_types=names("DownEncoderBlock2D"),
        up_block_types=names("UpDecoderBlock2D"),
        latent_channels=4,
    )
    return unet.eval(), vae.eval()


class Hearth:
    def __init__(self, program, family, threads, storage):
        environment = dict(os.environ, RAYON_NUM_THREADS=str(threads))
        self.process = subprocess.Popen(
            [program, family, storage],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )
        assert self.process.stdout.readline() == "ready\n"

    def processor_seconds(self):
        total = 0
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def time(self, work):
        before = self.processor_seconds()
        self.process.stdin.write(work + "\n")
        self.process.stdin.flush()
        seconds = float(self.process.stdout.readline())
        return seconds, self.processor_seconds() - before

    def peak_gigabytes(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1e6


def peer(unet, vae, family, work, size):
    side = size // 8
    if work == "decode":
        latents = torch.randn(1, 4, side, side)
        return lambda: vae.decode(latents).sample
    latents, text = torch.randn(2, 4, side, side), torch.randn(2, 77, unet.config.cross_attention_dim)
    added = {"text_embeds": torch.randn(2, 1280), "time_ids": torch.randn(2, 6)} if family == "sdxl" else None
    return lambda: unet(latents, 501, text, added_cond_kwargs=added).sample


def measure(f):
    wall, processor = time.perf_counter(), time.process_time()
    f()
    return time.perf_counter() - wall, time.process_time() - processor


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--family", choices=["sd1", "sdxl"], default="sd1")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--half", action="store_true")
    parser.add_argument("--program", default="target/release/examples/bench")
    parser.add_argument("work", nargs="*", default=["unet512", "unet256", "decode512", "decode256"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    hearth = Hearth(options.program, options.family, options.threads, "half" if options.half else "full")
    unet, vae = build(options.family)
    print(f"torch {torch.__version__}, diffusers {diffusers.__version__}, {options.threads} threads, {options.family},",
          f"load {os.getloadavg()[0]:.1f}")
    print("| work | Hearth s | torch s | ratio | Hearth processor s | torch processor s | ratio |")
    print("|---|---|---|---|---|---|---|")
    with torch.inference_mode():
        for name in options.work:
            work, size = name[:-3], int(name[-3:])
            request = f"unet 2 {size // 8}" if work == "unet" else f"decode {size // 8}"
            torch_work = peer(unet, vae, options.family, work, size)
            hearth.time(request), measure(torch_work)
            ours, theirs = zip(*((hearth.time(request), measure(torch_work)) for _ in range(options.rounds)))
            ours, theirs = [list(map(min, zip(*rounds))) for rounds in (ours, theirs)]
            row = [ours[0], theirs[0], ours[0] / theirs[0], ours[1], theirs[1], ours[1] / theirs[1]]
            print(f"| {name} | " + " | ".join(f"{v:.2f}" for v in row) + " |", flush=True)
    print(f"peak of Hearth's process {hearth.peak_gigabytes():.2f} GB")


if __name__ == "__main__":
    main()
