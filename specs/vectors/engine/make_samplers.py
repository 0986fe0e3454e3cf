"""Makes the reference values that engine/src/sampler/tests.rs holds schedules, samplers and noise against.

Made with torch 2.15.0, diffusers 0.42.1, k-diffusion 0.1.1.post1 and torchsde 0.2.6 on a CPU:

    python specs/vectors/engine/make_samplers.py specs/vectors/engine

`samplers.safetensors` holds a run of ten steps for each case: `NAME.sigmas`, `NAME.timesteps` (what the network was told, in
order of evaluation) and `NAME.x` (the first latents, then those behind every step). The network is a formula, below, that sees
scaled latents and a timestep as a real one does. The metadata says what each case is:

* program `diffusers`: the scheduler's own loop, exactly as a pipeline drives it.
* program `a1111`, `comfy`: k-diffusion's functions, in double precision but for the noise, over the noise levels of that program;
  where these programs have a sampler that k-diffusion has not (DDIM, PLMS, UniPC, DDPM, LCM) its published formula is
  written out here.
* `single`: the same in single precision, as these programs run; only Brownian samplers, which feel the last digit of a level.

`brownian.safetensors` holds increments of torchsde's tree as k-diffusion asks for them.
"""

import json
import math
import sys
import warnings
from pathlib import Path

import diffusers
import numpy as np
import scipy.stats
import torch
from k_diffusion import sampling as k
from safetensors.torch import save_file

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
SHAPE, STEPS, SEED = (1, 4, 6, 5), 10, 1234
BETAS = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
KEPT = torch.cumprod(1 - BETAS, 0)
SIGMAS = ((1 - KEPT) / KEPT) ** 0.5
LOGS = SIGMAS.log().numpy()


def randn(generator):
    return torch.randn(SHAPE, generator=generator)


FIXED = torch.Generator().manual_seed(99)
CENTRE, SPREAD = randn(FIXED), 0.4 + randn(FIXED).abs()


def sigma_of(t):
    return float(np.exp(np.interp(float(t), np.arange(1000), LOGS)))


def timestep_of(sigma):
    return float(np.interp(math.log(float(sigma)), LOGS, np.arange(1000)))


class Network:
    """Nearly the best guess for pictures that are Gaussian, plus a ripple; remembers what it was told."""

    def __init__(self, prediction):
        self.prediction, self.told = prediction, []

    def __call__(self, x, t):
        self.told.append(float(t))
        sigma, centre, spread = sigma_of(t), CENTRE.to(x.dtype), SPREAD.to(x.dtype)
        noisy = x * math.hypot(sigma, 1)
        eps = sigma * (noisy - centre) / (spread**2 + sigma**2) + 0.1 * torch.sin(2 * x) * math.cos(0.003 * float(t))
        if self.prediction == "epsilon":
            return eps
        return (eps * math.hypot(sigma, 1) - sigma * x) if self.prediction == "v_prediction" else None


class Denoiser:
    """k-diffusion's wrapper around a network that predicts noise or velocity."""

    def __init__(self, network, nearest):
        self.network, self.nearest = network, nearest

    def __call__(self, x, sigma):
        sigma = float(sigma.flatten()[0])
        t = timestep_of(sigma)
        t = float(np.abs(math.log(sigma) - LOGS).argmin()) if self.nearest else t
        out = self.network(x / math.hypot(sigma, 1), t)
        if self.network.prediction == "epsilon":
            return x - sigma * out
        return x / (sigma**2 + 1) - out * sigma / math.hypot(sigma, 1)


class Cases:
    def __init__(self):
        self.tensors, self.about = {}, {}

    def add(self, name, xs, sigmas, told, **about):
        assert len(xs) == len(sigmas), (name, len(xs), len(sigmas))
        self.tensors[f"{name}.x"] = torch.stack([x.float() for x in xs])[:, 0].contiguous()
        self.tensors[f"{name}.sigmas"] = torch.tensor([float(s) for s in sigmas], dtype=torch.float64)
        self.tensors[f"{name}.timesteps"] = torch.tensor(told, dtype=torch.float64)
        self.about[name] = about


# Schedules of A1111 and ComfyUI, n levels and where they end.


def from_times(times):
    return [sigma_of(t) for t in times]


def schedule(name, program, n):
    # Both keep levels in single precision; A1111 the shares they are made of, too.
    kept = KEPT.float()
    table = ((1 - kept) / kept) ** 0.5 if program == "a1111" else SIGMAS.float()
    low, high = float(table[0]), float(table[-1])
    double = lambda levels: [float(s) for s in levels]
    if name == "karras":
        return double(k.get_sigmas_karras(n, low, high))
    if name == "exponential":
        return double(k.get_sigmas_exponential(n, low, high))
    if name == "normal":
        return from_times(np.linspace(999, 0, n)) + [0.0]
    if name == "sgm_uniform":
        return from_times(np.linspace(999, 0, n + 1)[:-1]) + [0.0]
    if name == "simple":
        return [float(SIGMAS[-(1 + int(i * 1000 / n))]) for i in range(n)] + [0.0]
    if name == "ddim_uniform":
        return [float(s) for s in SIGMAS[1 :: max(1000 // n, 1)]][::-1] + [0.0]
    if name == "beta":
        if program == "comfy":
            times = np.rint(scipy.stats.beta.ppf(1 - np.linspace(0, 1, n, endpoint=False), 0.6, 0.6) * 999)
            return [float(SIGMAS[int(t)]) for i, t in enumerate(times) if i == 0 or t != times[i - 1]] + [0.0]
        return [low + x * (high - low) for x in scipy.stats.beta.ppf(1 - np.linspace(0, 1, n), 0.6, 0.6)] + [0.0]
    if name == "align_your_steps":
        published = np.array([14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029])
        points = n + 1 if program == "comfy" else n
        levels = np.exp(np.interp(np.linspace(0, 1, points), np.linspace(0, 1, 11), np.log(published)))
        return double(levels[:n]) + [0.0]
    assert name == "kl_optimal"
    whole = n - 1 if program == "comfy" else n
    points = [math.tan(i / whole * math.atan(low) + (1 - i / whole) * math.atan(high)) for i in range(whole + 1)]
    return points + ([0.0] if program == "comfy" else [])


DISCARDS = {
    "a1111": ("dpm_2", "dpm_2_a", "dpmpp_3m_sde"),
    "comfy": ("dpm_2", "dpm_2_a", "unipc"),
}


def levels_for(sampler, name, program):
    if sampler in DISCARDS[program]:
        levels = schedule(name, program, STEPS + 1)
        return levels[:-2] + levels[-1:]
    return schedule(name, program, STEPS)


# k-diffusion and formulas beside it.

K = dict(
    euler="euler", euler_a="euler_ancestral", heun="heun", dpm_2="dpm_2", dpm_2_a="dpm_2_ancestral", dpmpp_2s_a="dpmpp_2s_ancestral",
    dpmpp_2m="dpmpp_2m", dpmpp_sde="dpmpp_sde", dpmpp_2m_sde="dpmpp_2m_sde", dpmpp_3m_sde="dpmpp_3m_sde", lms="lms",
)
BROWNIAN = ("dpmpp_sde", "dpmpp_2m_sde", "dpmpp_3m_sde")


def comfy_ddpm(model, x, sigmas, noise_sampler):
    xs = []
    for s, n in zip(sigmas[:-1], sigmas[1:]):
        kept, next_kept = 1 / (s**2 + 1), 1 / (n**2 + 1)
        eps = (x - model(x, s)) / s
        alpha = kept / next_kept
        mu = (1 / alpha) ** 0.5 * (x / (1 + s**2) ** 0.5 - (1 - alpha) * eps / (1 - kept) ** 0.5)
        if n > 0:
            mu = mu + ((1 - alpha) * (1 - next_kept) / (1 - kept)) ** 0.5 * noise_sampler(s, n)
        x = mu * (1 + n**2) ** 0.5
        xs.append(x)
    return xs


def comfy_lcm(model, x, sigmas, noise_sampler):
    xs = []
    for s, n in zip(sigmas[:-1], sigmas[1:]):
        x = model(x, s)
        x = x + n * noise_sampler(s, n) if n > 0 else x
        xs.append(x)
    return xs


def sigma_space(cases, sampler, name, program, single=False, prediction="epsilon", **options):
    levels = levels_for(sampler, name, program)
    dtype = torch.float32 if single else torch.float64
    sigmas = torch.tensor(levels, dtype=dtype)
    generator = torch.Generator().manual_seed(SEED)
    scale = math.hypot(levels[0], 1) if program == "comfy" else levels[0]
    x = randn(generator).to(dtype) * scale
    network = Network(prediction)
    model = Denoiser(network, program == "comfy")
    if program == "comfy":
        generator = torch.Generator().manual_seed(SEED + 1)
    noise = lambda *_: randn(generator).to(dtype)
    if sampler in BROWNIAN:
        positive = sigmas[sigmas > 0].float()
        seed = SEED if program == "comfy" else [SEED]
        tree = k.BrownianTreeNoiseSampler(x.float(), positive.min(), positive.max(), seed=seed)
        noise = lambda s, n: tree(s.float(), n.float()).to(dtype)
    if sampler in ("ddpm", "lcm"):
        xs = [x] + dict(ddpm=comfy_ddpm, lcm=comfy_lcm)[sampler](model, x, sigmas, noise)
    else:
        xs = []
        arguments = dict(options, callback=lambda info: xs.append(info["x"]), disable=True)
        if sampler in ("euler_a", "dpm_2_a", "dpmpp_2s_a") + BROWNIAN:
            arguments["noise_sampler"] = noise
        xs.append(getattr(k, "sample_" + K[sampler])(model, x, sigmas, **arguments))
    if program == "comfy" and sampler == "lms":
        return
    suffix = "".join(f"-{value}" for value in options.values()) + ("-single" if single else "")
    suffix += "-v" if prediction != "epsilon" else ""
    cases.add(
        f"{program}-{sampler}-{name}{suffix}", xs, levels, network.told, program=program, sampler=sampler, schedule=name,
        single=single, prediction=prediction, **options,
    )


def a1111_times(cases, sampler, eta=0.0):
    """The samplers A1111 took over from latent-diffusion, in variance-preserving form."""
    times = [min(t + 1, 999) for t in range(0, 1000, 1000 // STEPS)][::-1]
    generator = torch.Generator().manual_seed(SEED)
    x = randn(generator).double()
    xs, network, old = [x], Network("epsilon"), []

    def move(x, eps, t, to, noise=0.0):
        a, b = KEPT[t], KEPT[to]
        s = noise * ((1 - b) / (1 - a) * (1 - a / b)) ** 0.5
        x = b**0.5 * (x - (1 - a) ** 0.5 * eps) / a**0.5 + (1 - b - s**2) ** 0.5 * eps
        return x + s * randn(generator).double() if noise else x

    for t, to in zip(times[:-1], times[1:]):
        eps = network(x, t)
        if sampler == "ddim":
            x = move(x, eps, t, to, eta)
        else:
            if len(old) == 0:
                mixed = (eps + network(move(x, eps, t, to), to)) / 2
            elif len(old) == 1:
                mixed = (3 * eps - old[0]) / 2
            elif len(old) == 2:
                mixed = (23 * eps - 16 * old[0] + 5 * old[1]) / 12
            else:
                mixed = (55 * eps - 59 * old[0] + 37 * old[1] - 9 * old[2]) / 24
            x = move(x, mixed, t, to)
            old = [eps] + old[:2]
        xs.append(x)
    sigmas = [float(SIGMAS[t]) for t in times]
    name = f"a1111-{sampler}-model" + (f"-{eta}" if eta else "")
    cases.add(name, xs, sigmas, network.told, program="a1111", sampler=sampler, schedule="model", scaled=True, eta=eta)


# diffusers.


def drive(cases, name, scheduler, about, generator_from=SEED, sigmas=None, step_arguments={}):
    prediction = scheduler.config.prediction_type
    if sigmas is None:
        scheduler.set_timesteps(STEPS)
    generator = torch.Generator().manual_seed(generator_from)
    network = Network(prediction)
    x = randn(generator) * scheduler.init_noise_sigma
    xs = [x]
    accepted = scheduler.step.__code__.co_varnames
    arguments = dict(generator=generator) if "generator" in accepted else {}
    count = len(scheduler.timesteps)
    for i, t in enumerate(scheduler.timesteps):
        out = network(scheduler.scale_model_input(x, t), t)
        x = scheduler.step(out, t, x, **arguments, **step_arguments).prev_sample
        half = count == 2 * STEPS - 1 and i % 2 == 0 and i + 1 < count
        if not half and not (count == STEPS + 1 and i == 0):
            xs.append(x)
    if sigmas is None:
        if hasattr(scheduler, "sigmas"):
            sigmas = [float(s) for s in scheduler.sigmas]
            unique = [s for i, s in enumerate(sigmas) if i == 0 or s != sigmas[i - 1]]
            sigmas = unique
        else:
            final = getattr(scheduler, "final_alpha_cumprod", torch.tensor(1.0))
            times = list(dict.fromkeys(int(t) for t in scheduler.timesteps))
            kept = [float(scheduler.alphas_cumprod[t]) for t in times] + [float(final)]
            kept = [max(a, 2**-24) for a in kept]
            kept = kept[:-1] + [1.0] if about["sampler"] in ("lcm", "ddpm") else kept
            sigmas = [((1 - a) / a) ** 0.5 for a in kept]
    cases.add(name, xs, sigmas, network.told, program="diffusers", prediction=prediction, **about)


def diffusers_cases(cases):
    from diffusers import (
        DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, DPMSolverSDEScheduler, EulerAncestralDiscreteScheduler,
        EulerDiscreteScheduler, HeunDiscreteScheduler, KDPM2AncestralDiscreteScheduler, KDPM2DiscreteScheduler, LCMScheduler,
        LMSDiscreteScheduler, PNDMScheduler, UniPCMultistepScheduler,
    )

    def run(sampler, kind, spacing="leading", schedule="model", v=False, scaled=False, extra="", step={}, about={}, **config):
        base = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing=spacing)
        if kind not in (EulerAncestralDiscreteScheduler,) or True:
            base["steps_offset"] = 1
        if schedule != "model":
            base[f"use_{schedule}_sigmas"] = True
        base["prediction_type"] = "v_prediction" if v else "epsilon"
        name = f"diffusers-{sampler}-{spacing}-{schedule}" + ("-v" if v else "") + extra
        details = dict(sampler=sampler, schedule=schedule, spacing=spacing, scaled=scaled, **about)
        drive(cases, name, kind(**base, **config), details, step_arguments=step)

    for schedule in ("model", "karras"):
        run("euler", EulerDiscreteScheduler, schedule=schedule)
        run("heun", HeunDiscreteScheduler, schedule=schedule)
        run("dpm_2", KDPM2DiscreteScheduler, schedule=schedule)
        run("dpm_2_a", KDPM2AncestralDiscreteScheduler, schedule=schedule)
        run("lms", LMSDiscreteScheduler, schedule=schedule)
        run("dpmpp_2m", DPMSolverMultistepScheduler, schedule=schedule, scaled=True)
        run("dpmpp_2m_sde", DPMSolverMultistepScheduler, schedule=schedule, scaled=True, algorithm_type="sde-dpmsolver++")
        run("unipc", UniPCMultistepScheduler, schedule=schedule, scaled=True)
    run("euler", EulerDiscreteScheduler, schedule="exponential", spacing="linspace")
    run("euler", EulerDiscreteScheduler, schedule="beta", spacing="linspace")
    run("euler", EulerDiscreteScheduler, spacing="trailing", v=True)
    run("euler", EulerDiscreteScheduler, spacing="trailing", v=True, extra="-zero", about=dict(zero=True), rescale_betas_zero_snr=True)
    run("euler_a", EulerAncestralDiscreteScheduler)
    run("euler_a", EulerAncestralDiscreteScheduler, spacing="trailing")
    run("dpmpp_2m", DPMSolverMultistepScheduler, spacing="linspace", scaled=True)
    run("dpmpp_2m", DPMSolverMultistepScheduler, spacing="trailing", v=True, scaled=True)
    run("dpmpp_2m_sde", DPMSolverMultistepScheduler, scaled=True, extra="-heun", about=dict(solver_type="heun"),
        algorithm_type="sde-dpmsolver++", solver_type="heun")
    run("dpmpp_sde", DPMSolverSDEScheduler, schedule="karras", noise_sampler_seed=SEED)
    run("unipc", UniPCMultistepScheduler, spacing="linspace", scaled=True)
    run("ddim", DDIMScheduler, scaled=True, clip_sample=False, set_alpha_to_one=False, about=dict(noisy_end=True))
    run("ddim", DDIMScheduler, spacing="trailing", v=True, scaled=True, clip_sample=False)
    run("ddim", DDIMScheduler, scaled=True, clip_sample=False, extra="-eta", step=dict(eta=0.7), about=dict(eta=0.7))
    run("plms", PNDMScheduler, scaled=True, skip_prk_steps=True, set_alpha_to_one=False, about=dict(noisy_end=True))
    run("ddpm", DDPMScheduler, scaled=True, clip_sample=False)
    run("lcm", LCMScheduler, scaled=True)

    # UniPC as A1111 and ComfyUI run it: order 3, bh1, over their levels.
    for program in ("a1111", "comfy"):
        if program == "a1111":
            times = np.linspace(999, 0, STEPS + 1)
            sigmas, times, about = from_times(times), times[:-1], dict(schedule="model", scaled=True)
        else:
            sigmas = levels_for("unipc", "karras", "comfy")[:-1] + [0.001]
            times = [float(np.abs(math.log(s) - LOGS).argmin()) for s in sigmas[:-1]]
            about = dict(schedule="karras", scaled=False)
        scheduler = UniPCMultistepScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", solver_order=3, solver_type="bh1"
        )
        scheduler.set_timesteps(STEPS)
        scheduler.sigmas, scheduler.timesteps = torch.tensor(sigmas), torch.tensor(times)
        local = Cases()
        drive(local, "it", scheduler, dict(sampler="unipc"), sigmas=sigmas)
        xs = list(local.tensors["it.x"][:, None])
        if program == "comfy":
            xs = [x * math.hypot(s, 1) for x, s in zip(xs, sigmas)]
        told = local.tensors["it.timesteps"].tolist()
        cases.add(f"{program}-unipc-{about['schedule']}", xs, sigmas, told, program=program, sampler="unipc", **about)


def brownian(out):
    tensors = {}
    queries = [(14.614643, 8.25), (14.614643, 3.5), (3.5, 1.2345678), (0.7, 0.2), (0.2, 0.0291675), (0.0413, 0.0412)]
    for seed in (0, 7, 2**32 + 3, 2**63 - 1):
        for shape in ((1, 2, 5, 5), (1, 1, 3, 4)):
            x = torch.zeros(shape)
            tree = k.BrownianTreeNoiseSampler(x, torch.tensor(0.0291675), torch.tensor(14.614643), seed=[seed])
            values = [tree(torch.tensor(a), torch.tensor(b))[0] for a, b in queries]
            tensors[f"{seed}-{shape[1]}x{shape[2]}x{shape[3]}"] = torch.stack(values)
    save_file(tensors, out / "brownian.safetensors", {"queries": json.dumps(queries)})


def main():
    out = Path(sys.argv[1])
    cases = Cases()
    for sampler in K:
        # Only in single precision does dpmpp_sde ask its path where programs do.
        single = sampler == "dpmpp_sde"
        sigma_space(cases, sampler, "karras", "a1111", single)
        sigma_space(cases, sampler, "karras" if single else "normal", "comfy", single)
    for sampler in ("dpmpp_2m_sde", "dpmpp_3m_sde"):
        sigma_space(cases, sampler, "karras", "a1111", single=True)
    sigma_space(cases, "dpmpp_2m_sde", "exponential", "a1111", solver_type="heun")
    sigma_space(cases, "dpmpp_2m", "karras", "comfy", prediction="v_prediction")
    sigma_space(cases, "euler_a", "karras", "a1111", prediction="v_prediction")
    sigma_space(cases, "ddpm", "simple", "comfy")
    sigma_space(cases, "lcm", "sgm_uniform", "comfy")
    for name in ("exponential", "sgm_uniform", "simple", "ddim_uniform", "beta", "align_your_steps", "kl_optimal"):
        for program in ("a1111", "comfy"):
            sigma_space(cases, "euler", name, program)
    a1111_times(cases, "ddim")
    a1111_times(cases, "ddim", eta=0.5)
    a1111_times(cases, "plms")
    diffusers_cases(cases)
    fixed = {"network.centre": CENTRE[0].contiguous(), "network.spread": SPREAD[0].contiguous()}
    about = dict(cases=cases.about, steps=STEPS, seed=SEED, diffusers=diffusers.__version__, torch=torch.__version__)
    save_file({**cases.tensors, **fixed}, out / "samplers.safetensors", {"about": json.dumps(about)})
    brownian(out)
    print(len(cases.about), "cases")


if __name__ == "__main__":
    main()
