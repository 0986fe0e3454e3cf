"""The three networks of Kindling, in plain PyTorch.

They are Stable Diffusion 1.5's architecture at toy size. Module names equal those of
diffusers (`UNet2DConditionModel`, `AutoencoderKL`) and transformers (`CLIPTextModel`), so a
state dict made here loads there with no renaming; `check.py` proves that the outputs agree.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

TOKENS = 77
SIDE = 128
LATENT = 32
TEXT_WIDTH = 128

TEXT_CONFIG = {
    "architectures": ["CLIPTextModel"], "model_type": "clip_text_model", "hidden_act": "quick_gelu",
    "hidden_size": TEXT_WIDTH, "intermediate_size": 512, "num_attention_heads": 4, "num_hidden_layers": 4,
    "max_position_embeddings": TOKENS, "layer_norm_eps": 1e-5, "attention_dropout": 0.0,
    "initializer_factor": 1.0, "initializer_range": 0.02, "projection_dim": TEXT_WIDTH,
}
UNET_CONFIG = {
    "_class_name": "UNet2DConditionModel", "sample_size": LATENT, "in_channels": 4, "out_channels": 4,
    "center_input_sample": False, "flip_sin_to_cos": True, "freq_shift": 0, "act_fn": "silu",
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "block_out_channels": [64, 128, 128], "layers_per_block": 1, "downsample_padding": 1,
    "mid_block_scale_factor": 1, "norm_num_groups": 16, "norm_eps": 1e-5,
    "cross_attention_dim": TEXT_WIDTH, "attention_head_dim": 4, "use_linear_projection": False,
}
VAE_CONFIG = {
    "_class_name": "AutoencoderKL", "in_channels": 3, "out_channels": 3, "latent_channels": 4,
    "down_block_types": ["DownEncoderBlock2D"] * 3, "up_block_types": ["UpDecoderBlock2D"] * 3,
    "block_out_channels": [32, 64, 64], "layers_per_block": 1, "act_fn": "silu",
    "norm_num_groups": 16, "sample_size": SIDE, "scaling_factor": 1.0,
}
SCHEDULER_CONFIG = {
    "_class_name": "EulerDiscreteScheduler", "beta_schedule": "scaled_linear", "beta_start": 0.00085,
    "beta_end": 0.012, "num_train_timesteps": 1000, "prediction_type": "epsilon",
    "timestep_spacing": "leading", "steps_offset": 1, "interpolation_type": "linear",
}


def alphas_cumprod():
    """The products of (1 - beta) of Stable Diffusion's scaled-linear schedule, f64[1000]."""
    s = SCHEDULER_CONFIG
    root = torch.linspace(s["beta_start"] ** 0.5, s["beta_end"] ** 0.5, s["num_train_timesteps"], dtype=torch.float64)
    return torch.cumprod(1 - root**2, 0)


# ---- text encoder ---------------------------------------------------------------------------


class ClipAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x):
        b, n, c = x.shape
        q, k, v = (p(x).view(b, n, self.heads, -1).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj))
        x = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out_proj(x.transpose(1, 2).reshape(b, n, c))


class ClipMlp(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x):
        x = self.fc1(x)
        return self.fc2(x * torch.sigmoid(1.702 * x))


class ClipLayer(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        width = cfg["hidden_size"]
        self.self_attn = ClipAttention(width, cfg["num_attention_heads"])
        self.layer_norm1 = nn.LayerNorm(width, eps=cfg["layer_norm_eps"])
        self.mlp = ClipMlp(width, cfg["intermediate_size"])
        self.layer_norm2 = nn.LayerNorm(width, eps=cfg["layer_norm_eps"])

    def forward(self, x):
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class TextEncoder(nn.Module):
    """CLIP's text transformer; `forward(ids i64[b, 77])` gives the last hidden state after the final norm."""

    def __init__(self, cfg, vocab_size):
        super().__init__()
        width = cfg["hidden_size"]
        m = nn.Module()
        m.embeddings = nn.Module()
        m.embeddings.token_embedding = nn.Embedding(vocab_size, width)
        m.embeddings.position_embedding = nn.Embedding(cfg["max_position_embeddings"], width)
        m.encoder = nn.Module()
        m.encoder.layers = nn.ModuleList(ClipLayer(cfg) for _ in range(cfg["num_hidden_layers"]))
        m.final_layer_norm = nn.LayerNorm(width, eps=cfg["layer_norm_eps"])
        self.text_model = m
        nn.init.normal_(m.embeddings.token_embedding.weight, std=0.02 * 4)
        nn.init.normal_(m.embeddings.position_embedding.weight, std=0.02 * 4)

    def forward(self, ids):
        m = self.text_model
        x = m.embeddings.token_embedding(ids) + m.embeddings.position_embedding.weight[: ids.shape[1]]
        for layer in m.encoder.layers:
            x = layer(x)
        return m.final_layer_norm(x)


# ---- shared blocks --------------------------------------------------------------------------


class ResnetBlock(nn.Module):
    def __init__(self, cin, cout, groups, eps, temb=None):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, cin, eps=eps)
        self.conv1 = nn.Conv2d(cin, cout, 3, padding=1)
        if temb:
            self.time_emb_proj = nn.Linear(temb, cout)
        self.norm2 = nn.GroupNorm(groups, cout, eps=eps)
        self.conv2 = nn.Conv2d(cout, cout, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(cin, cout, 1) if cin != cout else None

    def forward(self, x, temb=None):
        h = self.conv1(F.silu(self.norm1(x)))
        if temb is not None:
            h = h + self.time_emb_proj(F.silu(temb))[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        return (x if self.conv_shortcut is None else self.conv_shortcut(x)) + h


class Downsample(nn.Module):
    """Stride-2 convolution; the VAE pads right and bottom only, the UNet all sides."""

    def __init__(self, channels, asymmetric):
        super().__init__()
        self.asymmetric = asymmetric
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=0 if asymmetric else 1)

    def forward(self, x):
        return self.conv(F.pad(x, (0, 1, 0, 1)) if self.asymmetric else x)


class Upsample(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Attention(nn.Module):
    def __init__(self, width, heads, context, bias):
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=bias)
        self.to_k, self.to_v = nn.Linear(context, width, bias=bias), nn.Linear(context, width, bias=bias)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x, context=None):
        b, n, c = x.shape
        context = x if context is None else context
        q, k, v = (
            p(s).view(b, s.shape[1], self.heads, -1).transpose(1, 2)
            for p, s in ((self.to_q, x), (self.to_k, context), (self.to_v, context))
        )
        x = F.scaled_dot_product_attention(q, k, v)
        return self.to_out[0](x.transpose(1, 2).reshape(b, n, c))


# ---- UNet -----------------------------------------------------------------------------------


class Geglu(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.proj = nn.Linear(width, width * 8)

    def forward(self, x):
        x, gate = self.proj(x).chunk(2, dim=-1)
        return x * F.gelu(gate)


class FeedForward(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.net = nn.ModuleList([Geglu(width), nn.Identity(), nn.Linear(width * 4, width)])

    def forward(self, x):
        return self.net[2](self.net[0](x))


class TransformerBlock(nn.Module):
    def __init__(self, width, heads, context):
        super().__init__()
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn1 = Attention(width, heads, width, bias=False)
        self.attn2 = Attention(width, heads, context, bias=False)
        self.ff = FeedForward(width)

    def forward(self, x, context):
        x = x + self.attn1(self.norm1(x))
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class SpatialTransformer(nn.Module):
    def __init__(self, width, heads, context, groups):
        super().__init__()
        self.norm = nn.GroupNorm(groups, width, eps=1e-6)
        self.proj_in, self.proj_out = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(width, heads, context)])

    def forward(self, x, context):
        b, c, h, w = x.shape
        y = self.proj_in(self.norm(x)).flatten(2).transpose(1, 2)
        y = self.transformer_blocks[0](y, context)
        return x + self.proj_out(y.transpose(1, 2).reshape(b, c, h, w))


def _stage(resnets, attentions, sampler=None, name=None):
    m = nn.Module()
    m.resnets = nn.ModuleList(resnets)
    if attentions:
        m.attentions = nn.ModuleList(attentions)
    if sampler is not None:
        setattr(m, name, nn.ModuleList([sampler]))
    return m


class UNet(nn.Module):
    """`forward(x f[b, 4, h, w], t i64[b], context f[b, 77, c])` predicts the noise."""

    def __init__(self, cfg):
        super().__init__()
        chans, layers, groups = cfg["block_out_channels"], cfg["layers_per_block"], cfg["norm_num_groups"]
        eps, heads, context, temb = cfg["norm_eps"], cfg["attention_head_dim"], cfg["cross_attention_dim"], chans[0] * 4
        self.time_width = chans[0]

        def resnet(cin, cout):
            return ResnetBlock(cin, cout, groups, eps, temb)

        def attention(width):
            return SpatialTransformer(width, heads, context, groups)

        self.conv_in = nn.Conv2d(cfg["in_channels"], chans[0], 3, padding=1)
        self.time_embedding = nn.Module()
        self.time_embedding.linear_1, self.time_embedding.linear_2 = nn.Linear(chans[0], temb), nn.Linear(temb, temb)
        self.down_blocks, self.up_blocks = nn.ModuleList(), nn.ModuleList()
        skips, cin = [chans[0]], chans[0]
        for i, (kind, cout) in enumerate(zip(cfg["down_block_types"], chans)):
            last = i == len(chans) - 1
            rs = [resnet(cin if j == 0 else cout, cout) for j in range(layers)]
            ats = [attention(cout) for _ in range(layers)] if "Cross" in kind else []
            self.down_blocks.append(_stage(rs, ats, None if last else Downsample(cout, False), "downsamplers"))
            skips += [cout] * layers + ([] if last else [cout])
            cin = cout
        self.mid_block = _stage([resnet(cin, cin), resnet(cin, cin)], [attention(cin)])
        for i, (kind, cout) in enumerate(zip(cfg["up_block_types"], reversed(chans))):
            last = i == len(chans) - 1
            rs = []
            for _ in range(layers + 1):
                rs.append(resnet(cin + skips.pop(), cout))
                cin = cout
            ats = [attention(cout) for _ in range(layers + 1)] if "Cross" in kind else []
            self.up_blocks.append(_stage(rs, ats, None if last else Upsample(cout), "upsamplers"))
        self.conv_norm_out = nn.GroupNorm(groups, chans[0], eps=eps)
        self.conv_out = nn.Conv2d(chans[0], cfg["out_channels"], 3, padding=1)

    def embed_time(self, t):
        half = self.time_width // 2
        freq = torch.exp(-math.log(10000.0) * torch.arange(half, device=t.device, dtype=torch.float32) / half)
        angle = t.float()[:, None] * freq
        return torch.cat([angle.cos(), angle.sin()], dim=1)

    def forward(self, x, t, context):
        e = self.time_embedding
        temb = e.linear_2(F.silu(e.linear_1(self.embed_time(t))))
        x = self.conv_in(x)
        skips = [x]
        for block in self.down_blocks:
            for j, resnet in enumerate(block.resnets):
                x = resnet(x, temb)
                if hasattr(block, "attentions"):
                    x = block.attentions[j](x, context)
                skips.append(x)
            if hasattr(block, "downsamplers"):
                x = block.downsamplers[0](x)
                skips.append(x)
        x = self.mid_block.resnets[0](x, temb)
        x = self.mid_block.resnets[1](self.mid_block.attentions[0](x, context), temb)
        for block in self.up_blocks:
            for j, resnet in enumerate(block.resnets):
                x = resnet(torch.cat([x, skips.pop()], dim=1), temb)
                if hasattr(block, "attentions"):
                    x = block.attentions[j](x, context)
            if hasattr(block, "upsamplers"):
                x = block.upsamplers[0](x)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


# ---- VAE ------------------------------------------------------------------------------------


class VaeAttention(nn.Module):
    def __init__(self, width, groups):
        super().__init__()
        self.group_norm = nn.GroupNorm(groups, width, eps=1e-6)
        self.to_q, self.to_k, self.to_v = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, width)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x):
        b, c, h, w = x.shape
        y = self.group_norm(x).flatten(2).transpose(1, 2)[:, None]
        y = F.scaled_dot_product_attention(self.to_q(y), self.to_k(y), self.to_v(y))[:, 0]
        return x + self.to_out[0](y).transpose(1, 2).reshape(b, c, h, w)


def _vae_mid(width, groups):
    m = _stage([ResnetBlock(width, width, groups, 1e-6) for _ in range(2)], [VaeAttention(width, groups)])
    return m


def _run_mid(m, x):
    return m.resnets[1](m.attentions[0](m.resnets[0](x)))


class Encoder(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        chans, layers, groups = cfg["block_out_channels"], cfg["layers_per_block"], cfg["norm_num_groups"]
        self.conv_in = nn.Conv2d(3, chans[0], 3, padding=1)
        self.down_blocks, cin = nn.ModuleList(), chans[0]
        for i, cout in enumerate(chans):
            rs = [ResnetBlock(cin if j == 0 else cout, cout, groups, 1e-6) for j in range(layers)]
            last = i == len(chans) - 1
            self.down_blocks.append(_stage(rs, [], None if last else Downsample(cout, True), "downsamplers"))
            cin = cout
        self.mid_block = _vae_mid(cin, groups)
        self.conv_norm_out = nn.GroupNorm(groups, cin, eps=1e-6)
        self.conv_out = nn.Conv2d(cin, 2 * cfg["latent_channels"], 3, padding=1)

    def forward(self, x):
        x = self.conv_in(x)
        for block in self.down_blocks:
            for resnet in block.resnets:
                x = resnet(x)
            if hasattr(block, "downsamplers"):
                x = block.downsamplers[0](x)
        x = _run_mid(self.mid_block, x)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


class Decoder(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        chans, layers, groups = cfg["block_out_channels"][::-1], cfg["layers_per_block"], cfg["norm_num_groups"]
        self.conv_in = nn.Conv2d(cfg["latent_channels"], chans[0], 3, padding=1)
        self.mid_block = _vae_mid(chans[0], groups)
        self.up_blocks, cin = nn.ModuleList(), chans[0]
        for i, cout in enumerate(chans):
            rs = [ResnetBlock(cin if j == 0 else cout, cout, groups, 1e-6) for j in range(layers + 1)]
            last = i == len(chans) - 1
            self.up_blocks.append(_stage(rs, [], None if last else Upsample(cout), "upsamplers"))
            cin = cout
        self.conv_norm_out = nn.GroupNorm(groups, cin, eps=1e-6)
        self.conv_out = nn.Conv2d(cin, 3, 3, padding=1)

    def forward(self, x):
        x = _run_mid(self.mid_block, self.conv_in(x))
        for block in self.up_blocks:
            for resnet in block.resnets:
                x = resnet(x)
            if hasattr(block, "upsamplers"):
                x = block.upsamplers[0](x)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


class Vae(nn.Module):
    """Pictures in [-1, 1], f[b, 3, 128, 128], to and from latents f[b, 4, 32, 32] (unscaled)."""

    def __init__(self, cfg):
        super().__init__()
        z = cfg["latent_channels"]
        self.encoder, self.decoder = Encoder(cfg), Decoder(cfg)
        self.quant_conv, self.post_quant_conv = nn.Conv2d(2 * z, 2 * z, 1), nn.Conv2d(z, z, 1)

    def encode(self, x):
        """Mean and log variance of the latent."""
        mean, logvar = self.quant_conv(self.encoder(x)).chunk(2, dim=1)
        return mean, logvar.clamp(-30, 20)

    def decode(self, z):
        return self.decoder(self.post_quant_conv(z))


def parameters_of(module):
    return sum(p.numel() for p in module.parameters())
