use std::collections::BTreeMap;

use super::*;
use crate::modules::record;
use crate::unet::{Unet, UnetConfig};
use crate::vae::{Vae, VaeConfig};

fn unet(json: serde_json::Value) -> Vec<Module> {
    let config: UnetConfig = serde_json::from_value(json).unwrap();
    record(|scope| Unet::new(&config, scope)).unwrap()
}

fn stable_diffusion_1() -> Vec<Module> {
    record(|scope| Unet::new(&UnetConfig::stable_diffusion_1(), scope)).unwrap()
}

fn sdxl() -> Vec<Module> {
    record(|scope| Unet::new(&UnetConfig::stable_diffusion_xl(), scope)).unwrap()
}

#[test]
fn e10_unet_layers_have_their_compvis_names() {
    let grid = UnetGrid::of(&stable_diffusion_1());
    for (path, compvis) in [
        ("conv_in", "input_blocks.0.0"),
        ("time_embedding.linear_2", "time_embed.2"),
        (
            "down_blocks.0.resnets.0.norm1",
            "input_blocks.1.0.in_layers.0",
        ),
        (
            "down_blocks.0.resnets.1.conv1",
            "input_blocks.2.0.in_layers.2",
        ),
        ("down_blocks.0.downsamplers.0.conv", "input_blocks.3.0.op"),
        (
            "down_blocks.1.resnets.0.conv_shortcut",
            "input_blocks.4.0.skip_connection",
        ),
        (
            "down_blocks.1.attentions.0.proj_in",
            "input_blocks.4.1.proj_in",
        ),
        (
            "down_blocks.3.resnets.1.conv2",
            "input_blocks.11.0.out_layers.3",
        ),
        (
            "mid_block.resnets.0.time_emb_proj",
            "middle_block.0.emb_layers.1",
        ),
        ("mid_block.attentions.0.norm", "middle_block.1.norm"),
        ("mid_block.resnets.1.norm2", "middle_block.2.out_layers.0"),
        (
            "up_blocks.0.resnets.2.conv1",
            "output_blocks.2.0.in_layers.2",
        ),
        ("up_blocks.0.upsamplers.0.conv", "output_blocks.2.1.conv"),
        ("up_blocks.1.upsamplers.0.conv", "output_blocks.5.2.conv"),
        (
            "up_blocks.3.attentions.2.proj_out",
            "output_blocks.11.1.proj_out",
        ),
        ("conv_norm_out", "out.0"),
        ("conv_out", "out.2"),
    ] {
        assert_eq!(grid.compvis(path).as_deref(), Some(compvis), "{path}");
    }
}

#[test]
fn e10_unet_layers_of_xl_have_their_sgm_names() {
    let grid = UnetGrid::of(&sdxl());
    let block = "transformer_blocks.0.attn1.to_q";
    for (path, compvis) in [
        (
            format!("down_blocks.1.attentions.0.{block}"),
            format!("input_blocks.4.1.{block}"),
        ),
        (
            format!("down_blocks.2.attentions.1.{block}"),
            format!("input_blocks.8.1.{block}"),
        ),
        (
            format!("up_blocks.0.attentions.0.{block}"),
            format!("output_blocks.0.1.{block}"),
        ),
        (
            "up_blocks.0.upsamplers.0.conv".to_owned(),
            "output_blocks.2.2.conv".to_owned(),
        ),
        (
            "up_blocks.1.upsamplers.0.conv".to_owned(),
            "output_blocks.5.2.conv".to_owned(),
        ),
        (
            "up_blocks.2.resnets.0.norm1".to_owned(),
            "output_blocks.6.0.in_layers.0".to_owned(),
        ),
        (
            "add_embedding.linear_1".to_owned(),
            "label_emb.0.0".to_owned(),
        ),
    ] {
        assert_eq!(grid.compvis(&path), Some(compvis), "{path}");
    }
}

#[test]
fn e10_counts_follow_any_number_of_levels_and_layers() {
    let tiny = unet(serde_json::json!({
        "block_out_channels": [32, 64], "layers_per_block": 1, "norm_num_groups": 8,
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    }));
    let grid = UnetGrid::of(&tiny);
    for (path, compvis) in [
        ("down_blocks.0.downsamplers.0.conv", "input_blocks.2.0.op"),
        (
            "down_blocks.1.resnets.0.conv1",
            "input_blocks.3.0.in_layers.2",
        ),
        ("up_blocks.0.upsamplers.0.conv", "output_blocks.1.1.conv"),
        ("up_blocks.1.attentions.1.norm", "output_blocks.3.1.norm"),
    ] {
        assert_eq!(grid.compvis(path).as_deref(), Some(compvis), "{path}");
    }
}

#[test]
fn e10_no_two_layers_share_a_name() {
    for modules in [stable_diffusion_1(), sdxl()] {
        let grid = UnetGrid::of(&modules);
        let mut seen = BTreeMap::new();
        for module in &modules {
            let compvis = grid.compvis(&module.path).expect(&module.path);
            assert_eq!(seen.insert(compvis, &module.path), None, "{}", module.path);
        }
    }
}

#[test]
fn e10_autoencoder_layers_have_their_compvis_names() {
    for (path, compvis) in [
        ("post_quant_conv", "post_quant_conv"),
        ("encoder.conv_in", "encoder.conv_in"),
        ("decoder.conv_norm_out", "decoder.norm_out"),
        (
            "encoder.down_blocks.0.resnets.1.conv1",
            "encoder.down.0.block.1.conv1",
        ),
        (
            "encoder.down_blocks.2.downsamplers.0.conv",
            "encoder.down.2.downsample.conv",
        ),
        (
            "decoder.up_blocks.0.resnets.2.norm2",
            "decoder.up.3.block.2.norm2",
        ),
        (
            "decoder.up_blocks.2.resnets.0.conv_shortcut",
            "decoder.up.1.block.0.nin_shortcut",
        ),
        (
            "decoder.up_blocks.2.upsamplers.0.conv",
            "decoder.up.1.upsample.conv",
        ),
        (
            "decoder.mid_block.resnets.1.norm1",
            "decoder.mid.block_2.norm1",
        ),
        (
            "decoder.mid_block.attentions.0.group_norm",
            "decoder.mid.attn_1.norm",
        ),
        (
            "encoder.mid_block.attentions.0.to_out.0",
            "encoder.mid.attn_1.proj_out",
        ),
    ] {
        assert_eq!(vae_compvis(path, 4).as_deref(), Some(compvis), "{path}");
    }
    let config: VaeConfig = serde_json::from_value(serde_json::json!({
        "block_out_channels": [32, 64, 64], "layers_per_block": 2
    }))
    .unwrap();
    for module in record(|scope| Vae::new(&config, scope)).unwrap() {
        assert!(vae_compvis(&module.path, 3).is_some(), "{}", module.path);
    }
}

#[test]
fn e10_open_clip_fuses_attention_and_transposes_its_projection() {
    let stored = |name: &str, view| {
        Some(Stored {
            name: name.to_owned(),
            view,
        })
    };
    let layer = "encoder.layers.3.self_attn";
    for (tensor, expected) in [
        (
            "embeddings.position_embedding.weight".to_owned(),
            stored("positional_embedding", View::Whole),
        ),
        (
            "text_projection.weight".to_owned(),
            stored("text_projection", View::Transposed),
        ),
        (
            format!("{layer}.q_proj.weight"),
            stored(
                "transformer.resblocks.3.attn.in_proj_weight",
                View::Third(0),
            ),
        ),
        (
            format!("{layer}.v_proj.bias"),
            stored("transformer.resblocks.3.attn.in_proj_bias", View::Third(2)),
        ),
        (
            format!("{layer}.out_proj.bias"),
            stored("transformer.resblocks.3.attn.out_proj.bias", View::Whole),
        ),
        (
            "encoder.layers.0.mlp.fc2.weight".to_owned(),
            stored("transformer.resblocks.0.mlp.c_proj.weight", View::Whole),
        ),
        (
            "final_layer_norm.bias".to_owned(),
            stored("ln_final.bias", View::Whole),
        ),
    ] {
        assert_eq!(open_clip(&tensor), expected, "{tensor}");
    }
}
