"""Makes the reference values that engine/tests hold Hearth's own models against.

Made with torch 2.15.0, diffusers 0.42.1, transformers 5.23.0 and peft 0.21.2 on a CPU, in f32. The weights are Hearth's
own tiny ones, so nothing is downloaded and only kilobytes are committed:

    cargo run -p hearth-engine --example tiny -- /tmp/tiny
    python specs/vectors/engine/make_vectors.py /tmp/tiny specs/vectors/engine

Each case is a safetensors file with the token ids, text embeddings, one UNet evaluation, the latents after 20 Euler steps
at guidance 7.5, and the decoded image. Its metadata repeats the request and the SHA-256 of the weights it was made from.
"""

import hashlib
import json
import sys
from pathlib import Path

import diffusers
import peft
import torch
import transformers
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

PROMPT = "a red fox beside the river, ember glow at night"
NEGATIVE = "grey, dark snow"
CASES = {
    "classic": dict(model="classic", width=64, height=64, seed=42, lora=None, schedule="model"),
    "classic-lora": dict(model="classic", width=96, height=64, seed=43, lora=(0.8, 0.6), schedule="model"),
    "varied": dict(model="varied", width=72, height=104, seed=44, lora=None, schedule="model"),
    "varied-lora": dict(model="varied", width=104, height=72, seed=45, lora=(0.7, 1.1), schedule="karras"),
}
STEPS, GUIDANCE, TIMESTEP = 20, 7.5, 501


def fill(model, path, prefix=""):
    """Loads our weights, all of them."""
    state = {key.removeprefix("text_model."): value for key, value in load_file(path).items()}
    state = {prefix + key: value for key, value in state.items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected, unexpected
    assert all("position_ids" in key for key in missing), missing
    return model.eval()


def load(folder):
    def config(part):
        return json.loads((folder / part / "config.json").read_text())

    text = CLIPTextModel(CLIPTextConfig(**config("text_encoder")))
    prefix = "text_model." if any(key.startswith("text_model.") for key in text.state_dict()) else ""
    weights = "diffusion_pytorch_model.safetensors"
    return StableDiffusionPipeline(
        vae=fill(AutoencoderKL.from_config(config("vae")), folder / "vae" / weights),
        text_encoder=fill(text, folder / "text_encoder/model.safetensors", prefix),
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        unet=fill(UNet2DConditionModel.from_config(config("unet")), folder / "unet" / weights),
        scheduler=EulerDiscreteScheduler.from_pretrained(folder / "scheduler"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def digest(paths):
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


@torch.no_grad()
def case(models, out, name, model, width, height, seed, lora, schedule):
    folder = models / model
    pipe = load(folder)
    files = [folder / "text_encoder/model.safetensors"]
    files += [folder / part / "diffusion_pytorch_model.safetensors" for part in ("unet", "vae")]
    if lora:
        file = models / f"{model}-lora.safetensors"
        pipe.load_lora_weights(str(models), weight_name=file.name, adapter_name="x")
        pipe.set_adapters(["x"], [{"unet": lora[0], "text_encoder": lora[1]}])
        files.append(file)
    if schedule == "karras":
        pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config, use_karras_sigmas=True)
    tensors = {}
    ids = pipe.tokenizer(PROMPT, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
    tensors["ids"] = ids.float()
    text = pipe.text_encoder(ids)[0]
    tensors["text"] = text
    factor = pipe.vae_scale_factor
    sample = torch.randn((1, 4, height // factor, width // factor), generator=torch.Generator().manual_seed(1))
    tensors["unet_in"] = sample
    tensors["unet_out"] = pipe.unet(sample, TIMESTEP, encoder_hidden_states=text).sample
    latents = pipe(
        PROMPT,
        negative_prompt=NEGATIVE,
        width=width,
        height=height,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        generator=torch.Generator().manual_seed(seed),
        output_type="latent",
    ).images
    tensors["latents"] = latents
    tensors["image"] = pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample
    request = dict(
        model=model, width=width, height=height, seed=seed, lora=lora, schedule=schedule, prompt=PROMPT,
        negative=NEGATIVE, steps=STEPS, guidance=GUIDANCE, timestep=TIMESTEP,
    )
    metadata = {"request": json.dumps(request), "weights_sha256": digest(files)}
    save_file({key: value.contiguous() for key, value in tensors.items()}, out / f"{name}.safetensors", metadata)
    print(name, {key: f"{value.abs().max():.3f}" for key, value in tensors.items()})


def noise(out):
    tensors = {}
    for seed in (0, 1, 42, 2**32 - 1, 2**32 + 5):
        for count in (4, 15, 16, 17, 100, 1024):
            tensors[f"{seed}-{count}"] = torch.randn(count, generator=torch.Generator().manual_seed(seed))
    save_file(tensors, out / "noise.safetensors", {"torch": torch.__version__})


def schedules(out):
    tensors = {}
    for spacing in ("linspace", "leading", "trailing"):
        for kind in ("model", "karras", "exponential"):
            for steps in (5, 7, 20, 30):
                scheduler = EulerDiscreteScheduler(
                    beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1,
                    timestep_spacing=spacing, use_karras_sigmas=kind == "karras",
                    use_exponential_sigmas=kind == "exponential",
                )
                scheduler.set_timesteps(steps)
                tensors[f"{spacing}-{kind}-{steps}-sigmas"] = scheduler.sigmas.float()
                tensors[f"{spacing}-{kind}-{steps}-timesteps"] = scheduler.timesteps.float()
    save_file(tensors, out / "schedules.safetensors", {"diffusers": diffusers.__version__})


def main():
    models, out = Path(sys.argv[1]), Path(sys.argv[2])
    print(torch.__version__, diffusers.__version__, transformers.__version__, peft.__version__)
    noise(out)
    schedules(out)
    for name, settings in CASES.items():
        case(models, out, name, **settings)


if __name__ == "__main__":
    main()
