//! How the tools of the field name the tensors of an adapter, and what the names give away.

use crate::tensor_file::TensorHeader;

/// What a tensor is to its module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Up,
    Down,
    Alpha,
}

/// Key endings: kohya, PEFT, diffusers old and older.
const ENDINGS: [(&str, Role); 14] = [
    (".lora_up.weight", Role::Up),
    (".lora_down.weight", Role::Down),
    (".alpha", Role::Alpha),
    (".lora_B.weight", Role::Up),
    (".lora_A.weight", Role::Down),
    (".lora_B.default.weight", Role::Up),
    (".lora_A.default.weight", Role::Down),
    (".lora_linear_layer.up.weight", Role::Up),
    (".lora_linear_layer.down.weight", Role::Down),
    (".lora.up.weight", Role::Up),
    (".lora.down.weight", Role::Down),
    ("_lora.up.weight", Role::Up),
    ("_lora.down.weight", Role::Down),
    (".lora_alpha", Role::Alpha),
];

/// Returns the module a key names and what it is to it, or nothing for a key of another kind.
pub(crate) fn split(key: &str) -> Option<(String, Role)> {
    let (name, role) = ENDINGS
        .iter()
        .find_map(|(ending, role)| Some((key.strip_suffix(ending)?, *role)))?;
    // Old diffusers: `attn1.processor.to_out_lora` is the layer `attn1.to_out.0`.
    let name = name.replace(".processor.", ".");
    let name = if name.ends_with(".to_out") {
        format!("{name}.0")
    } else {
        name
    };
    Some((name, role))
}

/// What an adapter was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    /// Stable Diffusion 1, of any size.
    StableDiffusion1,
    /// Something else.
    Other(&'static str),
    /// Nothing in names or shapes tells.
    Unknown,
}

/// Decides an adapter's base from its key names and the width of the text it listens to.
pub(crate) fn base(header: &TensorHeader) -> Base {
    const FOREIGN: [(&str, &str); 9] = [
        ("lora_te2_", "Stable Diffusion XL"),
        ("text_encoder_2.", "Stable Diffusion XL"),
        ("lora_unet_input_blocks_", "Stable Diffusion XL"),
        ("lora_unet_output_blocks_", "Stable Diffusion XL"),
        ("double_blocks", "Flux"),
        ("single_transformer_blocks", "Flux"),
        ("joint_blocks", "Stable Diffusion 3"),
        ("lora_te3_", "Stable Diffusion 3 or Flux"),
        ("transformer.", "a diffusion transformer"),
    ];
    for (mark, base) in FOREIGN {
        let foreign = |key: &str| match mark {
            "transformer." => key.starts_with(mark),
            mark => key.contains(mark),
        };
        if header.tensors.keys().any(|key| foreign(key)) {
            return Base::Other(base);
        }
    }
    let cross = |name: &str| {
        ["attn2_to_k", "attn2.to_k", "attn2_to_v", "attn2.to_v"]
            .iter()
            .any(|m| name.ends_with(m))
    };
    let mut familiar = false;
    for (key, entry) in &header.tensors {
        let Some((name, role)) = split(key) else {
            continue;
        };
        familiar |= [
            "down_blocks",
            "up_blocks",
            "mid_block",
            "lora_te_text_model",
            "text_encoder",
        ]
        .iter()
        .any(|part| name.contains(part));
        match (role, cross(&name), entry.shape.get(1)) {
            (Role::Down, true, Some(1024)) => return Base::Other("Stable Diffusion 2"),
            (Role::Down, true, Some(2048)) => return Base::Other("Stable Diffusion XL"),
            (Role::Up | Role::Down | Role::Alpha, true | false, _) => {}
        }
    }
    if familiar {
        Base::StableDiffusion1
    } else {
        Base::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tools_ending_is_split_off() {
        let cases = [
            (
                "lora_te_x_mlp_fc1.lora_up.weight",
                "lora_te_x_mlp_fc1",
                Role::Up,
            ),
            ("lora_te_x_mlp_fc1.alpha", "lora_te_x_mlp_fc1", Role::Alpha),
            (
                "unet.a.attn1.to_q.lora_A.weight",
                "unet.a.attn1.to_q",
                Role::Down,
            ),
            (
                "unet.a.attn1.processor.to_out_lora.up.weight",
                "unet.a.attn1.to_out.0",
                Role::Up,
            ),
            (
                "text_encoder.a.fc1.lora_linear_layer.down.weight",
                "text_encoder.a.fc1",
                Role::Down,
            ),
        ];
        for (key, name, role) in cases {
            assert_eq!(split(key), Some((name.to_owned(), role)), "{key}");
        }
        assert_eq!(split("lora_unet_x.hada_w1_a"), None);
    }
}
