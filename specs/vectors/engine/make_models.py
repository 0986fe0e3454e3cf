"""Makes the reference values that engine/tests/it/models.rs holds the architectures against, one file a family.

Made with torch 2.15.0, diffusers 0.42.1 and transformers 5.23.0 on a CPU, in f32, from Hearth's own tiny models:

    cargo run -p hearth-engine --example tiny -- /tmp/tiny
    python specs/vectors/engine/make_models.py /tmp/tiny specs/vectors/engine

Sizes are odd on purpose: latents of 9x13 (the UNets halve them twice), a prompt of 200 tokens in three windows. Inputs
called `random(seed)` below are `torch.randn` of that seed, which the tests draw themselves. Each file's metadata says the
weights' SHA-256 and what else a test needs to know.
"""

import hashlib
import json
import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, UNet2DConditionModel
from diffusers.models import downsampling
from diffusers.pipelines.latent_consistency_models.pipeline_latent_consistency_text2img import LatentConsistencyModelPipeline
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

FAMILIES = ("classic", "inpaint", "second", "xl", "distilled")
HEIGHT, WIDTH = 9, 13
TIMESTEP, STEPS, GUIDANCE = 731, 8, 5.0
PROMPT = "a small red fox beside the old bridge under a storm cloud, soft morning light on the river; "
NEGATIVE = "grey, dark snow"
SIZES = [72.0, 104.0, 0.0, 8.0, 72.0, 104.0]


def random(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def config(folder, part):
    return json.loads((folder / part / "config.json").read_text())


def fill(model, path):
    """Loads our weights, all of them; transformers 5 keeps some classes' names without `text_model.`."""
    state, own = load_file(path), model.state_dict()
    state = {key if key in own else key.removeprefix("text_model."): value for key, value in state.items()}
    model.load_state_dict(state, strict=True)
    return model.eval()


def text_models(folder):
    for suffix in ("", "_2"):
        if (folder / f"text_encoder{suffix}").exists():
            settings = config(folder, f"text_encoder{suffix}")
            projects = settings["architectures"] == ["CLIPTextModelWithProjection"]
            model = (CLIPTextModelWithProjection if projects else CLIPTextModel)(CLIPTextConfig(**settings))
            model = fill(model, folder / f"text_encoder{suffix}/model.safetensors")
            yield CLIPTokenizer.from_pretrained(folder / f"tokenizer{suffix}"), model, projects


def windows(tokenizer, text, count):
    """75 tokens at a time between start and end; what is missing is filled up."""
    ids = tokenizer(text, add_special_tokens=False).input_ids[: 75 * count]
    rows = []
    for i in range(count):
        row = [tokenizer.bos_token_id, *ids[75 * i : 75 * i + 75], tokenizer.eos_token_id]
        rows.append(row + [tokenizer.pad_token_id] * (77 - len(row)))
    return torch.tensor(rows), len(ids)


def hidden(model, ids, xl, skip):
    """The hidden state a family listens to, `skip` layers from the end, and the pooled text."""
    out = model(ids, output_hidden_states=True)
    states = out.hidden_states[-1 - skip]
    if not xl:
        inner = getattr(model, "text_model", model)
        states = inner.final_layer_norm(states)
    return states, getattr(out, "text_embeds", None)


def rows(states):
    """Windows side by side: `[1, windows * 77, channels]`."""
    return states.reshape(1, -1, states.shape[-1])


def texts(folder, xl, tensors):
    """Encodes prompt and negative; returns what the UNet gets, negative first, and the pooled texts."""
    contexts, pooled = [], None
    for i, (tokenizer, model, projects) in enumerate(text_models(folder)):
        ids, count = windows(tokenizer, PROMPT * 10, 3)
        assert count == 225, count
        ids[2, 51:76] = tokenizer.pad_token_id  # 200 tokens.
        ids[2, 51] = tokenizer.eos_token_id
        ids[2, 76] = tokenizer.pad_token_id
        negative, _ = windows(tokenizer, NEGATIVE, 3)
        states, pool = hidden(model, ids, xl, 1 if xl else 0)
        low, low_pool = hidden(model, negative, xl, 1 if xl else 0)
        tensors[f"ids_{i}"], tensors[f"negative_ids_{i}"] = ids.float(), negative.float()
        tensors[f"text_{i}"] = states
        tensors[f"skipped_{i}"] = hidden(model, ids[:1], xl, 2)[0]
        if projects:
            tensors["pooled"] = pool
            pooled = torch.stack([low_pool[0], pool[0]])
        contexts.append(torch.cat([rows(low), rows(states)]))
        # An embedding of two vectors in place of tokens 3 and 4.
        table = model.get_input_embeddings().weight
        kept, word = table[[200, 201]].clone(), ids[:1].clone()
        word[0, 3], word[0, 4] = 200, 201
        table[[200, 201]] = 0.5 * random(60 + i, 2, table.shape[1])
        tensors[f"embedded_{i}"] = hidden(model, word, xl, 1 if xl else 0)[0]
        table[[200, 201]] = kept
    return torch.cat(contexts, dim=-1), pooled


def seamless(model, mode):
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.padding_mode = mode


class Wrapped:
    """Lets the VAE's encoder wrap where it pads by hand."""

    def __getattr__(self, name):
        return getattr(torch.nn.functional, name)

    def pad(self, x, pad, mode="constant", value=0):
        return torch.nn.functional.pad(x, pad, mode="circular")


def unets(folder, context, added, tensors, facts):
    unet = fill(UNet2DConditionModel.from_config(config(folder, "unet")), folder / "unet/diffusion_pytorch_model.safetensors")
    channels = unet.config.in_channels
    sample = random(1, 2, channels, HEIGHT, WIDTH)
    kept = dict(encoder_hidden_states=context, added_cond_kwargs=added)
    if unet.config.time_cond_proj_dim:
        embed = LatentConsistencyModelPipeline.get_guidance_scale_embedding
        kept["timestep_cond"] = embed(None, torch.tensor([GUIDANCE - 1.0]), unet.config.time_cond_proj_dim)
    run = lambda **more: unet(sample, TIMESTEP, **kept, **more).sample
    tensors["unet"] = run()
    seamless(unet, "circular")
    tensors["unet_seamless"] = run()
    seamless(unet, "zeros")
    shapes = skips(unet, sample, kept)
    facts["skips"] = shapes
    down = [0.3 * random(100 + i, *shape) for i, shape in enumerate(shapes)]
    middle = 0.3 * random(99, *shapes[-1])
    tensors["unet_control"] = run(down_block_additional_residuals=down, mid_block_additional_residual=middle)
    return unet, kept


def skips(unet, sample, kept):
    """The shapes of what goes from the way down to the way up."""
    shapes = []
    hooks = [unet.conv_in.register_forward_hook(lambda m, i, o: shapes.append(list(o.shape)))]
    for block in unet.down_blocks:
        hooks.append(block.register_forward_hook(lambda m, i, o: shapes.extend(list(x.shape) for x in o[1])))
    unet(sample, TIMESTEP, **kept)
    for hook in hooks:
        hook.remove()
    return shapes


def vaes(folder, tensors):
    vae = fill(AutoencoderKL.from_config(config(folder, "vae")), folder / "vae/diffusion_pytorch_model.safetensors")
    pixels, small = random(3, 1, 3, 40, 56).clamp(-1, 1), random(4, 1, 4, 5, 7)
    for name, mode in (("", "zeros"), ("_seamless", "circular")):
        seamless(vae, mode)
        downsampling.F = torch.nn.functional if mode == "zeros" else Wrapped()
        posterior = vae.encode(pixels).latent_dist
        tensors[f"mean{name}"], tensors[f"deviation{name}"] = posterior.mean, posterior.std
        tensors[f"decoded{name}"] = vae.decode(small / vae.config.scaling_factor).sample
    seamless(vae, "zeros")
    downsampling.F = torch.nn.functional
    posterior = vae.encode(pixels).latent_dist
    tensors["drawn"] = (posterior.mean + posterior.std * random(5, *posterior.mean.shape)) * vae.config.scaling_factor
    return vae


def picture(folder, unet, kept, vae, tensors):
    """Euler's method with guidance; `kept` has the negative first."""
    scheduler = EulerDiscreteScheduler.from_pretrained(folder / "scheduler")
    scheduler.set_timesteps(STEPS)
    tensors["sigmas"], tensors["timesteps"] = scheduler.sigmas.float(), scheduler.timesteps.float()
    latents = random(6, 1, 4, HEIGHT, WIDTH) * scheduler.init_noise_sigma
    more = random(7, 1, unet.config.in_channels - 4, HEIGHT, WIDTH)
    for timestep in scheduler.timesteps:
        sample = torch.cat([scheduler.scale_model_input(latents, timestep), more], dim=1)
        low, high = unet(torch.cat([sample, sample]), timestep, **kept).sample.chunk(2)
        latents = scheduler.step(low + GUIDANCE * (high - low), timestep, latents).prev_sample
    tensors["latents"] = latents
    tensors["image"] = vae.decode(latents / vae.config.scaling_factor).sample


@torch.no_grad()
def family(models, out, name):
    folder, tensors = models / name, {}
    xl = (folder / "text_encoder_2").exists()
    facts = dict(timestep=TIMESTEP, steps=STEPS, guidance=GUIDANCE, sizes=SIZES, height=HEIGHT, width=WIDTH)
    context, pooled = texts(folder, xl, tensors)
    added = {"text_embeds": pooled, "time_ids": torch.tensor([SIZES, SIZES])} if xl else None
    unet, kept = unets(folder, context, added, tensors, facts)
    picture(folder, unet, kept, vaes(folder, tensors), tensors)
    files = sorted(folder.glob("*/*.safetensors"))
    facts["weights_sha256"] = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    tensors = {key: value.contiguous() for key, value in tensors.items()}
    save_file(tensors, out / f"models-{name}.safetensors", {"facts": json.dumps(facts)})
    print(name, {key: f"{value.abs().max():.3f}" for key, value in tensors.items()})


def main():
    torch.set_num_threads(2)
    for name in FAMILIES:
        family(Path(sys.argv[1]), Path(sys.argv[2]), name)


if __name__ == "__main__":
    main()
