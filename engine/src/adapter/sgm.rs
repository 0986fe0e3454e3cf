//! SGM's names of a UNet's modules (`input_blocks.4.1...`), as trained by kohya for SDXL.
//!
//! Derived from the list of modules itself: how many residual blocks a level has gives the numbering.

use std::collections::BTreeSet;

use crate::modules::Module;

/// Translates diffusers' paths of one UNet.
#[derive(Debug)]
pub(crate) struct SgmNames {
    /// Residual blocks of a level on the way down.
    depth: usize,
    /// Levels of the way up that have attention.
    attentive: BTreeSet<usize>,
}

impl SgmNames {
    /// Reads the layout off a UNet's modules.
    pub(crate) fn of(modules: &[Module]) -> Self {
        let mut depth = 0;
        let mut attentive = BTreeSet::new();
        for module in modules {
            match place(&module.path) {
                Some(("down_blocks", _, "resnets", i, _)) => depth = depth.max(i + 1),
                Some(("up_blocks", level, "attentions", _, _)) => {
                    attentive.insert(level);
                }
                Some(_) | None => {}
            }
        }
        Self { depth, attentive }
    }

    /// Returns the SGM name of a path, or nothing where SGM has no such module.
    pub(crate) fn name(&self, path: &str) -> Option<String> {
        const OUTER: [(&str, &str); 8] = [
            ("conv_in", "input_blocks.0.0"),
            ("time_embedding.linear_1", "time_embed.0"),
            ("time_embedding.linear_2", "time_embed.2"),
            ("add_embedding.linear_1", "label_emb.0.0"),
            ("add_embedding.linear_2", "label_emb.0.2"),
            ("conv_norm_out", "out.0"),
            ("conv_out", "out.2"),
            ("mid_block.attentions.0", "middle_block.1"),
        ];
        if let Some((_, name)) = OUTER.iter().find(|(outer, _)| *outer == path) {
            return Some((*name).to_owned());
        }
        if let Some(rest) = path.strip_prefix("mid_block.attentions.0.") {
            return Some(format!("middle_block.1.{rest}"));
        }
        if let Some(rest) = path.strip_prefix("mid_block.resnets.") {
            let (i, rest) = rest.split_once('.')?;
            let i = 2 * i.parse::<usize>().ok()?;
            return Some(format!("middle_block.{i}.{}", resnet(rest)?));
        }
        let (side, level, kind, i, rest) = place(path)?;
        let (blocks, block) = match side {
            "down_blocks" => ("input_blocks", 1 + level * (self.depth + 1)),
            "up_blocks" => ("output_blocks", level * (self.depth + 1)),
            _ => return None,
        };
        Some(match kind {
            "resnets" => format!("{blocks}.{}.0.{}", block + i, resnet(rest)?),
            "attentions" => format!("{blocks}.{}.1.{rest}", block + i),
            "downsamplers" => format!("{blocks}.{}.0.op", block + self.depth),
            "upsamplers" => {
                let slot = 1 + usize::from(self.attentive.contains(&level));
                format!("{blocks}.{}.{slot}.conv", block + self.depth)
            }
            _ => return None,
        })
    }
}

/// Takes `down_blocks.1.resnets.0.conv1` apart.
fn place(path: &str) -> Option<(&str, usize, &str, usize, &str)> {
    let mut parts = path.splitn(5, '.');
    let side = parts.next()?;
    let level = parts.next()?.parse().ok()?;
    let kind = parts.next()?;
    let i = parts.next()?.parse().ok()?;
    Some((side, level, kind, i, parts.next()?))
}

fn resnet(module: &str) -> Option<&'static str> {
    Some(match module {
        "norm1" => "in_layers.0",
        "conv1" => "in_layers.2",
        "time_emb_proj" => "emb_layers.1",
        "norm2" => "out_layers.0",
        "conv2" => "out_layers.3",
        "conv_shortcut" => "skip_connection",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::record;
    use crate::unet::{Unet, UnetConfig};

    #[test]
    fn stable_diffusion_1_modules_have_their_published_names() {
        let modules = record(|scope| Unet::new(&UnetConfig::stable_diffusion_1(), scope)).unwrap();
        let names = SgmNames::of(&modules);
        for (path, name) in [
            ("conv_in", "input_blocks.0.0"),
            ("down_blocks.0.downsamplers.0.conv", "input_blocks.3.0.op"),
            (
                "down_blocks.1.resnets.0.conv_shortcut",
                "input_blocks.4.0.skip_connection",
            ),
            (
                "down_blocks.2.attentions.1.proj_in",
                "input_blocks.8.1.proj_in",
            ),
            ("mid_block.attentions.0.norm", "middle_block.1.norm"),
            ("mid_block.resnets.1.conv2", "middle_block.2.out_layers.3"),
            ("up_blocks.0.upsamplers.0.conv", "output_blocks.2.1.conv"),
            ("up_blocks.1.upsamplers.0.conv", "output_blocks.5.2.conv"),
            (
                "up_blocks.3.resnets.2.time_emb_proj",
                "output_blocks.11.0.emb_layers.1",
            ),
            ("conv_out", "out.2"),
        ] {
            assert_eq!(names.name(path).as_deref(), Some(name), "{path}");
        }
        let all: BTreeSet<_> = modules.iter().map(|m| names.name(&m.path)).collect();
        assert_eq!(
            all.len(),
            modules.len(),
            "names are distinct and none is missing"
        );
    }
}
