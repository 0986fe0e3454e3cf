//! Which module an adapter means by a name, whatever tool wrote it.
//!
//! A name is a prefix that says which part, and a path in one of four spellings: diffusers' or CompVis',
//! with dots or with underscores. The table is made from the model's own modules, so nothing is
//! parsed out of a name.

use std::collections::BTreeMap;

use super::Base;
use crate::modules::Module;
use crate::names::{Part, UnetGrid};

/// Prefixes with the part they mean; the first that fits decides. Without a part, the path decides.
const PREFIXES: [(&str, Option<Part>); 17] = [
    ("lora_unet_", Some(Part::Unet)),
    ("lora_te1_", Some(Part::Text)),
    ("lora_te2_", Some(Part::Text2)),
    ("lora_te_", Some(Part::Text)),
    ("lycoris_", None),
    ("base_model.model.unet.", Some(Part::Unet)),
    ("base_model.model.text_encoder.", Some(Part::Text)),
    ("base_model.model.text_encoder_2.", Some(Part::Text2)),
    ("base_model.model.", None),
    ("unet.", Some(Part::Unet)),
    ("model.diffusion_model.", Some(Part::Unet)),
    ("diffusion_model.", Some(Part::Unet)),
    ("text_encoder_2.", Some(Part::Text2)),
    ("text_encoder.", Some(Part::Text)),
    ("text_encoders.clip_g.transformer.", Some(Part::Text2)),
    ("text_encoders.clip_l.transformer.", Some(Part::Text)),
    ("text_encoders.clip_h.transformer.", Some(Part::Text)),
];

/// How a path was written; where a file has a module twice, the first spelling counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Spelling {
    Diffusers,
    Sgm,
}

/// The modules of a model that adapters may name.
#[derive(Debug)]
pub(crate) struct AdapterNames {
    base: Base,
    modules: BTreeMap<(Part, String), Module>,
    /// Any spelling to the canonical path.
    paths: BTreeMap<(Part, String), (Spelling, String)>,
}

impl AdapterNames {
    /// Begins the table of a model of a base.
    pub(crate) fn new(base: Base) -> Self {
        Self {
            base,
            modules: BTreeMap::new(),
            paths: BTreeMap::new(),
        }
    }

    /// Returns the base adapters must be for.
    pub(crate) fn base(&self) -> Base {
        self.base
    }

    /// Adds a part's modules.
    pub(crate) fn add(&mut self, part: Part, modules: Vec<Module>) {
        let grid = (part == Part::Unet).then(|| UnetGrid::of(&modules));
        for module in modules {
            let path = module.path.clone();
            let mut spell = |spelling, name: String| {
                for name in [name.replace('.', "_"), name] {
                    self.paths
                        .entry((part, name))
                        .or_insert_with(|| (spelling, path.clone()));
                }
            };
            spell(Spelling::Diffusers, path.clone());
            if let Some(name) = grid.as_ref().and_then(|grid| grid.compvis(&path)) {
                spell(Spelling::Sgm, name);
            }
            self.modules.insert((part, path), module);
        }
    }

    /// Returns the module of a name without its `.lora_down.weight`-like ending.
    pub(crate) fn find(&self, name: &str) -> Option<(Spelling, Part, &Module)> {
        let fits = |(prefix, part)| Some((name.strip_prefix(prefix)?, part));
        let (path, part) = PREFIXES.into_iter().find_map(fits).unwrap_or((name, None));
        match part {
            Some(part) => self.at(part, path),
            None => self
                .at(Part::Unet, path)
                .or_else(|| self.at(Part::Text, path)),
        }
    }

    fn at(&self, part: Part, path: &str) -> Option<(Spelling, Part, &Module)> {
        let path = match part {
            Part::Unet | Part::Vae => path,
            Part::Text | Part::Text2 => path
                .strip_prefix("text_model.")
                .or_else(|| path.strip_prefix("text_model_"))
                .unwrap_or(path),
        };
        let (spelling, path) = self.paths.get(&(part, path.to_owned()))?;
        let module = &self.modules[&(part, path.clone())];
        Some((*spelling, part, module))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clip::{ClipConfig, ClipText};
    use crate::modules::record;
    use crate::unet::{Unet, UnetConfig};

    fn names() -> AdapterNames {
        let mut names = AdapterNames::new(Base::Sd1);
        let unet = record(|scope| Unet::new(&UnetConfig::stable_diffusion_1(), scope)).unwrap();
        names.add(Part::Unet, unet);
        let text = || record(|scope| ClipText::new(&ClipConfig::clip_l(), scope)).unwrap();
        names.add(Part::Text, text());
        names.add(Part::Text2, text());
        names
    }

    #[test]
    fn e40_module_is_found_by_every_tools_name() {
        let names = names();
        let to_q = "up_blocks.1.attentions.2.transformer_blocks.0.attn1.to_q";
        let flat = to_q.replace('.', "_");
        let sgm = "output_blocks.5.1.transformer_blocks.0.attn1.to_q";
        let cases = [
            (format!("lora_unet_{flat}"), Spelling::Diffusers),
            (format!("lycoris_{flat}"), Spelling::Diffusers),
            (format!("unet.{to_q}"), Spelling::Diffusers),
            (format!("base_model.model.{to_q}"), Spelling::Diffusers),
            (to_q.to_owned(), Spelling::Diffusers),
            (
                format!("lora_unet_{}", sgm.replace('.', "_")),
                Spelling::Sgm,
            ),
            (format!("diffusion_model.{sgm}"), Spelling::Sgm),
        ];
        for (name, spelling) in cases {
            let (got, part, module) = names.find(&name).expect(&name);
            assert_eq!((got, part, &*module.path), (spelling, Part::Unet, to_q));
        }
    }

    #[test]
    fn e40_text_encoders_are_told_apart_by_prefix() {
        let names = names();
        let flat = "text_model_encoder_layers_11_mlp_fc2";
        let dotted = "text_model.encoder.layers.11.mlp.fc2";
        let cases = [
            (format!("lora_te_{flat}"), Part::Text),
            (format!("lora_te1_{flat}"), Part::Text),
            (format!("lora_te2_{flat}"), Part::Text2),
            (format!("text_encoder.{dotted}"), Part::Text),
            (format!("text_encoder_2.{dotted}"), Part::Text2),
            (format!("base_model.model.{dotted}"), Part::Text),
            (
                format!("text_encoders.clip_g.transformer.{dotted}"),
                Part::Text2,
            ),
        ];
        for (name, part) in cases {
            let (_, got, module) = names.find(&name).expect(&name);
            assert_eq!((got, &*module.path), (part, "encoder.layers.11.mlp.fc2"));
        }
        assert!(names.find("lora_unet_down_blocks_9_x").is_none());
    }

    #[test]
    fn e40_sdxl_adapters_by_kohya_find_their_modules() {
        let config = UnetConfig::stable_diffusion_xl();
        let mut names = AdapterNames::new(Base::Sdxl);
        names.add(
            Part::Unet,
            record(|scope| Unet::new(&config, scope)).unwrap(),
        );
        for (name, path) in [
            (
                "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q",
                "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q",
            ),
            (
                "lora_unet_middle_block_1_transformer_blocks_9_ff_net_0_proj",
                "mid_block.attentions.0.transformer_blocks.9.ff.net.0.proj",
            ),
            (
                "lora_unet_output_blocks_2_2_conv",
                "up_blocks.0.upsamplers.0.conv",
            ),
        ] {
            assert_eq!(names.find(name).expect(name).2.path, path);
        }
        let attention = |m: &&Module| m.adaptable() && m.path.contains("attentions");
        let trained = names.modules.values().filter(attention).count();
        assert_eq!(trained, 722, "kohya trains as many");
    }
}
