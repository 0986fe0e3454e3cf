//! How the tools of the field end the names of an adapter's tensors.
//!
//! A key is a module's name and an ending that says what the tensor is to it. What the module's name
//! means is [`super::names`]' business.

/// What a tensor is to its module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Up,
    Down,
    Mid,
    Alpha,
    /// What PEFT's `lora_bias` adds to the bias, scaled like the product.
    UpBias,
    HadaW1A,
    HadaW1B,
    HadaW2A,
    HadaW2B,
    HadaT1,
    HadaT2,
    LokrW1,
    LokrW1A,
    LokrW1B,
    LokrW2,
    LokrW2A,
    LokrW2B,
    LokrT2,
    /// `LyCORIS`' magnitudes; their shape says which axis they belong to.
    DoraScale,
    /// PEFT's magnitudes, of outputs whatever their shape.
    Magnitude,
    Diff,
    DiffBias,
    NormWeight,
    NormBias,
    /// `LyCORIS`' IA3 vector, but also any tensor called `weight`.
    Weight,
    OnInput,
    /// PEFT's IA3 vector.
    Ia3,
    OftBlocks,
    Rescale,
}

/// Endings, longer ones before those they end with.
const ENDINGS: [(&str, Role); 43] = [
    (".lora_up.weight", Role::Up),
    (".lora_down.weight", Role::Down),
    (".lora_mid.weight", Role::Mid),
    (".lora_B.default.weight", Role::Up),
    (".lora_A.default.weight", Role::Down),
    (".lora_B.default.bias", Role::UpBias),
    (".lora_B.weight", Role::Up),
    (".lora_A.weight", Role::Down),
    (".lora_B.bias", Role::UpBias),
    (".lora_B", Role::Up),
    (".lora_A", Role::Down),
    (".lora_linear_layer.up.weight", Role::Up),
    (".lora_linear_layer.down.weight", Role::Down),
    (".lora.up.weight", Role::Up),
    (".lora.down.weight", Role::Down),
    ("_lora.up.weight", Role::Up),
    ("_lora.down.weight", Role::Down),
    (".alpha", Role::Alpha),
    (".lora_alpha", Role::Alpha),
    (".hada_w1_a", Role::HadaW1A),
    (".hada_w1_b", Role::HadaW1B),
    (".hada_w2_a", Role::HadaW2A),
    (".hada_w2_b", Role::HadaW2B),
    (".hada_t1", Role::HadaT1),
    (".hada_t2", Role::HadaT2),
    (".lokr_w1", Role::LokrW1),
    (".lokr_w1_a", Role::LokrW1A),
    (".lokr_w1_b", Role::LokrW1B),
    (".lokr_w2", Role::LokrW2),
    (".lokr_w2_a", Role::LokrW2A),
    (".lokr_w2_b", Role::LokrW2B),
    (".lokr_t2", Role::LokrT2),
    (".dora_scale", Role::DoraScale),
    (".lora_magnitude_vector.default.weight", Role::Magnitude),
    (".lora_magnitude_vector.weight", Role::Magnitude),
    (".lora_magnitude_vector", Role::Magnitude),
    (".diff", Role::Diff),
    (".diff_b", Role::DiffBias),
    (".w_norm", Role::NormWeight),
    (".b_norm", Role::NormBias),
    (".on_input", Role::OnInput),
    (".ia3_l", Role::Ia3),
    (".oft_blocks", Role::OftBlocks),
];

/// Endings that name a tensor of an adapter only beside one of the above.
const WEAK_ENDINGS: [(&str, Role); 2] = [(".rescale", Role::Rescale), (".weight", Role::Weight)];

/// Returns the module a key names and what it is to it, or nothing for a key of another kind.
pub(crate) fn split(key: &str) -> Option<(String, Role)> {
    // PEFT keeps the adapter's name in LoHa and LoKr keys of unfinished exports.
    let key = key.strip_suffix(".default").unwrap_or(key);
    let (name, role) = ENDINGS
        .iter()
        .chain(&WEAK_ENDINGS)
        .find_map(|(ending, role)| Some((key.strip_suffix(ending)?, *role)))?;
    Some((modern(name), role))
}

/// Returns whether a role shows by itself that its file is an adapter.
pub(crate) fn is_telling(role: Role) -> bool {
    !matches!(
        role,
        Role::Weight | Role::Rescale | Role::Alpha | Role::UpBias
    )
}

/// Replaces the module names of diffusers' attention processors, which named layers their own way.
fn modern(name: &str) -> String {
    let name = name.replace(".processor.", ".");
    for (old, new) in [
        (".self_attn.to_q", ".self_attn.q_proj"),
        (".self_attn.to_k", ".self_attn.k_proj"),
        (".self_attn.to_v", ".self_attn.v_proj"),
        (".self_attn.to_out", ".self_attn.out_proj"),
    ] {
        if let Some(stem) = name.strip_suffix(old) {
            return format!("{stem}{new}");
        }
    }
    if name.ends_with(".to_out") {
        format!("{name}.0")
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tools_ending_is_split_off() {
        let te = "lora_te_x_mlp_fc1";
        let cases = [
            ("lora_te_x_mlp_fc1.lora_up.weight", te, Role::Up),
            ("lora_te_x_mlp_fc1.alpha", te, Role::Alpha),
            ("lora_te_x_mlp_fc1.hada_w1_b", te, Role::HadaW1B),
            ("lora_te_x_mlp_fc1.lokr_w2_a", te, Role::LokrW2A),
            ("lora_te_x_mlp_fc1.diff_b", te, Role::DiffBias),
            ("unet.a.to_q.lora_A.weight", "unet.a.to_q", Role::Down),
            ("a.lora_B.default.bias", "a", Role::UpBias),
            ("a.lora_magnitude_vector", "a", Role::Magnitude),
            (
                "unet.a.attn1.processor.to_out_lora.up.weight",
                "unet.a.attn1.to_out.0",
                Role::Up,
            ),
            (
                "text_encoder.a.self_attn.to_q_lora.up.weight",
                "text_encoder.a.self_attn.q_proj",
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
        assert_eq!(split("lora_unet_x.glora_a1"), None);
    }
}
