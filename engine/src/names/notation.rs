//! What a part's tensors are called in its files: a prefix, and one of the field's notations.

use super::{Stored, UnetGrid, View, open_clip, vae_compvis};

/// Prefix and notation of a part's tensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Naming {
    pub(crate) prefix: &'static str,
    pub(crate) notation: Notation,
}

/// One of the ways tensors are named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notation {
    /// diffusers' and transformers', old and new.
    Diffusers,
    /// A UNet of CompVis, Stability or `ComfyUI`.
    Compvis(UnetGrid),
    /// The same as a running average keeps it: without dots.
    Average(UnetGrid),
    /// An autoencoder of CompVis, of so many resolutions.
    Autoencoder(usize),
    /// A text encoder of `OpenCLIP`.
    OpenClip,
}

/// What old diffusers called the autoencoder's attention.
const OLD_ATTENTION: [(&str, &str); 4] = [
    (".to_q.", ".query."),
    (".to_k.", ".key."),
    (".to_v.", ".value."),
    (".to_out.0.", ".proj_attn."),
];

impl Naming {
    /// diffusers' own folder: no prefix.
    pub(crate) const FOLDER: Self = Self {
        prefix: "",
        notation: Notation::Diffusers,
    };

    /// Returns the names a canonical tensor (`path.weight` or `path.bias`) may have, likeliest first.
    pub(crate) fn stored(&self, tensor: &str) -> Vec<Stored> {
        let mut stored = match &self.notation {
            Notation::Diffusers => diffusers(tensor),
            Notation::Compvis(grid) => compvis(tensor, |path| grid.compvis(path)),
            Notation::Average(grid) => {
                let mut stored = compvis(tensor, |path| grid.compvis(path));
                for stored in &mut stored {
                    stored.name = averaged(&stored.name);
                }
                stored
            }
            Notation::Autoencoder(levels) => compvis(tensor, |path| vae_compvis(path, *levels)),
            Notation::OpenClip => open_clip(tensor).into_iter().collect(),
        };
        for stored in &mut stored {
            stored.name.insert_str(0, self.prefix);
        }
        stored
    }
}

/// Returns a running average's name of a UNet's tensor, behind `model_ema.`: its module's with it.
pub(crate) fn averaged(compvis: &str) -> String {
    format!("diffusion_model.{compvis}").replace('.', "")
}

fn diffusers(tensor: &str) -> Vec<Stored> {
    let mut names = vec![tensor.to_owned(), format!("text_model.{tensor}")];
    if tensor.contains("mid_block.attentions.0.") {
        let old = OLD_ATTENTION
            .iter()
            .find(|(new, _)| tensor.contains(new))
            .map(|(new, old)| tensor.replace(new, old));
        names.extend(old);
    }
    names.into_iter().map(Stored::whole).collect()
}

fn compvis(tensor: &str, path: impl Fn(&str) -> Option<String>) -> Vec<Stored> {
    let stored = tensor.rsplit_once('.').and_then(|(module, end)| {
        Some(Stored {
            name: format!("{}.{end}", path(module)?),
            view: View::Whole,
        })
    });
    stored.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(naming: &Naming, tensor: &str) -> String {
        naming.stored(tensor)[0].name.clone()
    }

    #[test]
    fn e10_every_notation_names_a_tensor() {
        let named = |prefix, notation| Naming { prefix, notation };
        let naming = named("first_stage_model.", Notation::Autoencoder(4));
        assert_eq!(
            first(&naming, "decoder.mid_block.attentions.0.to_q.weight"),
            "first_stage_model.decoder.mid.attn_1.q.weight"
        );
        let naming = named("cond_stage_model.model.", Notation::OpenClip);
        assert_eq!(
            first(&naming, "encoder.layers.2.mlp.fc1.bias"),
            "cond_stage_model.model.transformer.resblocks.2.mlp.c_fc.bias"
        );
        let naming = named("model_ema.", Notation::Average(UnetGrid::default()));
        assert_eq!(
            first(&naming, "conv_norm_out.weight"),
            "model_ema.diffusion_modelout0weight"
        );
        assert_eq!(naming.stored("no_such_layer.weight"), []);
    }

    #[test]
    fn e10_old_and_prefixed_names_are_tried_too() {
        let names = |tensor| {
            let stored = Naming::FOLDER.stored(tensor).into_iter();
            stored.map(|s| s.name).collect::<Vec<_>>()
        };
        assert!(
            names("decoder.mid_block.attentions.0.to_out.0.bias")
                .contains(&"decoder.mid_block.attentions.0.proj_attn.bias".to_owned())
        );
        assert!(
            names("final_layer_norm.bias").contains(&"text_model.final_layer_norm.bias".to_owned())
        );
    }
}
