"""Makes one small file of each kind of adapter and what the reference programs compute with it.

Made with torch 2.15.0, lycoris-lora 4.1.3 and peft 0.21.2 on a CPU, in f32:

    python specs/vectors/engine/make_adapters.py specs/vectors/engine/adapters

Each case is `<case>.safetensors`, an adapter as its tool saves it, and for PEFT `<case>.json`, its adapter_config.json.
`expected.safetensors` has the clean weights of the host's layers (`base.PART.PATH.weight`), and for each case and layer an
input and the reference's output (`CASE.PART.PATH.x` and `.y`). Its metadata lists the layers and the cases' strengths.
Outputs and not weights are compared: LyCORIS 4.1.3 scales LoHa and LoKr twice when it merges, but once when it computes.
"""

import copy
import json
import logging
import sys
from pathlib import Path

import peft
import torch
from lycoris.modules.diag_oft import DiagOFTModule
from lycoris.modules.full import FullModule
from lycoris.modules.ia3 import IA3Module
from lycoris.modules.locon import LoConModule
from lycoris.modules.loha import LohaModule
from lycoris.modules.lokr import LokrModule
from lycoris.modules.norms import NormModule
from safetensors.torch import save_file
from torch import nn

ATTENTION = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
PROJECTION = "down_blocks.0.attentions.0.proj_in"
CONV = "down_blocks.0.resnets.0.conv1"
NORM = "conv_norm_out"
TEXT = "encoder.layers.0.mlp.fc1"
LAYERS = {
    ("unet", ATTENTION): lambda: nn.Linear(16, 24, bias=False),
    ("unet", PROJECTION): lambda: nn.Conv2d(16, 16, 1),
    ("unet", CONV): lambda: nn.Conv2d(12, 16, 3, padding=1),
    ("unet", NORM): lambda: nn.GroupNorm(4, 16),
    ("text", TEXT): lambda: nn.Linear(16, 32),
}
LINEAR = [("unet", ATTENTION), ("text", TEXT)]
PLAIN = [*LINEAR, ("unet", PROJECTION), ("unet", CONV)]
ALL = [*PLAIN, ("unet", NORM)]


def randomise(module):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)


def sample(layer):
    if isinstance(layer, nn.Linear):
        return torch.randn(1, 5, layer.in_features)
    channels = layer.num_channels if isinstance(layer, nn.GroupNorm) else layer.in_channels
    return torch.randn(1, channels, 4, 5)


def lycoris(make, places, settings=None, strength=(0.7, 1.3)):
    """A case by LyCORIS, saved with kohya's names."""

    def case(base, expected, name):
        tensors = {}
        for part, path in places:
            layer = copy.deepcopy(base[part, path])  # some modules take their layer apart
            multiplier = strength[part == "text"]
            prefix = {"unet": "lora_unet_", "text": "lora_te_text_model_"}[part] + path.replace(".", "_")
            arguments = dict(lora_dim=4, alpha=2.0) | (settings or {})
            if make is NormModule:
                arguments = {}
            module = make(prefix, layer, multiplier, **arguments).eval()
            own = [p for n, p in module.named_parameters() if "org_module" not in n]
            with torch.no_grad():
                for parameter in own:
                    parameter.copy_(torch.randn_like(parameter) * 0.3)
                if getattr(module, "wd", False):
                    module.dora_scale.copy_(module.dora_scale.abs() + 0.5)
            module.apply_to()
            x = sample(layer)
            y = module(x)
            expected[f"{name}.{part}.{path}.x"], expected[f"{name}.{part}.{path}.y"] = x, y
            state = module.custom_state_dict() if hasattr(module, "custom_state_dict") else None
            state = state or {k: v for k, v in module.state_dict().items() if k in module.weight_list}
            tensors |= {f"{prefix}.{k}": v.detach().clone().contiguous() for k, v in state.items()}
        return tensors, None, None, strength

    return case


class Host(nn.Module):
    """Layers under their dotted paths, so that PEFT's names are what they are in the wild."""

    def __init__(self, layers):
        super().__init__()
        for path, layer in layers.items():
            *parents, last = path.split(".")
            at = self
            for parent in parents:
                if not hasattr(at, parent):
                    at.add_module(parent, nn.Module())
                at = getattr(at, parent)
            at.add_module(last, layer)


def by_peft(config, places, diffusers=False, strength=(0.7, 1.3)):
    """A case by PEFT: raw with its configuration, or as diffusers saves it with metadata."""

    def case(base, expected, name):
        tensors, metadata, settings = {}, {}, None
        for part in ("unet", "text"):
            inner = "text_model." if part == "text" else ""
            layers = {inner + path: copy.deepcopy(base[p, path]) for p, path in places if p == part}
            if not layers:
                continue
            model = peft.get_peft_model(Host(layers), config(target_modules=list(layers))).eval()
            for key, parameter in model.named_parameters():
                if "base_layer" not in key and not any(key == f"base_model.model.{p}" for p in layers):
                    with torch.no_grad():
                        noise = torch.randn_like(parameter) * 0.3
                        magnitude = "magnitude" in key or "ia3" in key
                        parameter.copy_(parameter.abs() + noise.abs() if magnitude else noise)
            for path in layers:
                wrapped = model.base_model.model.get_submodule(path)
                if hasattr(wrapped, "scaling"):
                    wrapped.scaling["default"] *= strength[part == "text"]
                x, plain = sample(layers[path]), path.removeprefix(inner)
                expected[f"{name}.{part}.{plain}.x"], expected[f"{name}.{part}.{plain}.y"] = x, wrapped(x)
            state = peft.get_peft_model_state_dict(model)
            folder = {"unet": "unet", "text": "text_encoder"}[part]
            settings = model.peft_config["default"].to_dict()
            settings = {k: sorted(v) if isinstance(v, set) else v for k, v in settings.items()}
            if diffusers:
                state = {k.replace("base_model.model", folder): v for k, v in state.items()}
                metadata |= {f"{folder}.{k}": v for k, v in settings.items()}
            tensors |= {k: v.detach().clone().contiguous() for k, v in state.items()}
        if diffusers:
            return tensors, {"lora_adapter_metadata": json.dumps(metadata, indent=2, sort_keys=True)}, None, strength
        return tensors, None, settings, strength

    return case


FULL_STRENGTH = (1.0, 1.0)
CASES = {
    "lora": lycoris(LoConModule, PLAIN),
    "locon-tucker": lycoris(LoConModule, [("unet", CONV)], dict(use_tucker=True)),
    "lora-rs": lycoris(LoConModule, LINEAR, dict(rs_lora=True)),
    "loha": lycoris(LohaModule, PLAIN),
    "loha-tucker": lycoris(LohaModule, [("unet", CONV)], dict(use_tucker=True)),
    "lokr-full": lycoris(LokrModule, PLAIN, dict(full_matrix=True)),
    "lokr-right": lycoris(LokrModule, PLAIN, dict(lora_dim=1, factor=2)),
    "lokr-both": lycoris(LokrModule, PLAIN, dict(lora_dim=1, factor=4, decompose_both=True)),
    "lokr-tucker": lycoris(LokrModule, [("unet", CONV)], dict(lora_dim=2, factor=2, use_tucker=True)),
    "dora-outputs": lycoris(LoConModule, PLAIN, dict(weight_decompose=True), FULL_STRENGTH),
    "dora-inputs": lycoris(LoConModule, PLAIN, dict(weight_decompose=True, wd_on_out=False), FULL_STRENGTH),
    "dora-loha": lycoris(LohaModule, PLAIN, dict(weight_decompose=True), FULL_STRENGTH),
    "dora-lokr": lycoris(LokrModule, PLAIN, dict(lora_dim=1, factor=2, weight_decompose=True), FULL_STRENGTH),
    "ia3-outputs": lycoris(IA3Module, PLAIN),
    "ia3-inputs": lycoris(IA3Module, PLAIN, dict(train_on_input=True)),
    "full": lycoris(FullModule, PLAIN),
    "norm": lycoris(NormModule, [("unet", NORM)]),
    "oft": lycoris(DiagOFTModule, PLAIN, dict(constraint=0)),
    "oft-bounded": lycoris(DiagOFTModule, PLAIN, dict(constraint=0.05, rescaled=True), FULL_STRENGTH),
    "peft-lora": by_peft(lambda **k: peft.LoraConfig(r=4, lora_alpha=6, lora_bias=False, **k), PLAIN),
    "peft-rslora": by_peft(
        lambda **k: peft.LoraConfig(r=4, lora_alpha=6, use_rslora=True, alpha_pattern={"attn1.to_q": 3}, **k), PLAIN
    ),
    "diffusers-dora": by_peft(lambda **k: peft.LoraConfig(r=4, lora_alpha=6, use_dora=True, **k), PLAIN, True, FULL_STRENGTH),
    "diffusers-rslora": by_peft(lambda **k: peft.LoraConfig(r=4, lora_alpha=6, use_rslora=True, **k), PLAIN, True),
    "peft-loha": by_peft(lambda **k: peft.LoHaConfig(r=4, alpha=6, **k), PLAIN),
    "peft-lokr": by_peft(lambda **k: peft.LoKrConfig(r=2, alpha=3, **k), PLAIN),
    "peft-ia3": by_peft(lambda **k: peft.IA3Config(feedforward_modules=[], **k), PLAIN, False, FULL_STRENGTH),
    "peft-ia3-inputs": by_peft(
        lambda **k: peft.IA3Config(feedforward_modules=k["target_modules"], **k), LINEAR, False, FULL_STRENGTH
    ),
}


def kind(layer):
    return {nn.Linear: "linear", nn.Conv2d: "conv", nn.GroupNorm: "norm"}[type(layer)]


def main():
    logging.disable(logging.WARNING)
    torch.manual_seed(40)
    torch.set_num_threads(1)
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    base = {place: make() for place, make in LAYERS.items()}
    expected, layers, strengths = {}, [], {}
    for (part, path), layer in base.items():
        randomise(layer)
        expected[f"base.{part}.{path}.weight"] = layer.weight
        if layer.bias is not None:
            expected[f"base.{part}.{path}.bias"] = layer.bias
        shape = list(layer.weight.shape)
        layers.append(dict(part=part, path=path, kind=kind(layer), shape=shape, bias=layer.bias is not None))
    for name, case in CASES.items():
        tensors, metadata, config, strengths[name] = case(base, expected, name)
        save_file(tensors, out / f"{name}.safetensors", metadata=metadata)
        if config is not None:
            (out / f"{name}.json").write_text(json.dumps(config, indent=1, sort_keys=True, default=str) + "\n")
    metadata = {"layers": json.dumps(layers), "strengths": json.dumps(strengths)}
    expected = {key: value.detach().contiguous() for key, value in expected.items()}
    save_file(expected, out / "expected.safetensors", metadata=metadata)


main()
