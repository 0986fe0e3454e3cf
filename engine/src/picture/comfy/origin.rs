//! Where a sampler's latents come from: nothing, a picture, or another sampler, perhaps enlarged.

use crate::picture::loose_json::{decimal, small};

use super::HOPS_MAX;
use super::graph::{Graph, Node};

/// Inputs that lead on from a node between two samplers.
const ONWARD: [&str; 7] = [
    "samples",
    "latent",
    "latent_image",
    "pixels",
    "image",
    "images",
    "samples1",
];
/// Nodes that leave latents as they are, for our purpose.
const PLAIN: [&str; 7] = [
    "VAEDecode",
    "VAEDecodeTiled",
    "VAEEncode",
    "VAEEncodeTiled",
    "Reroute",
    "LatentFromBatch",
    "RepeatLatentBatch",
];

/// A sampler's way back.
pub(super) struct Origin<'a> {
    pub(super) start: Start<'a>,
    /// Whether it was enlarged on the way.
    pub(super) enlarged: Option<Enlarged>,
    /// Nodes on the way that do something else.
    pub(super) passed: Vec<Node<'a>>,
}

/// How it grew.
pub(super) struct Enlarged {
    pub(super) scale: Option<f64>,
    pub(super) size: Option<(u32, u32)>,
    /// A1111's label or the name of a model.
    pub(super) upscaler: Option<String>,
}

/// What stands at its beginning.
pub(super) enum Start<'a> {
    /// Empty latents of this size in pixels.
    Empty(Option<(u32, u32)>),
    /// A picture, by its file's name.
    Picture(String),
    /// Another sampler.
    Sampler(Node<'a>),
    /// The way is lost.
    Unknown,
}

impl<'a> Origin<'a> {
    /// Walks back from a sampler's `latent_image`.
    pub(super) fn of(graph: Graph<'a>, sampler: Node<'a>) -> Self {
        let mut origin = Self {
            start: Start::Unknown,
            enlarged: None,
            passed: Vec::new(),
        };
        let mut next = graph.source(sampler, "latent_image");
        for _ in 0..HOPS_MAX {
            let Some(node) = next else { break };
            if node.is_sampler() {
                origin.start = Start::Sampler(node);
                break;
            }
            if let Some(start) = start(graph, node) {
                origin.start = start;
                break;
            }
            if let Some(enlarged) = enlarged(graph, node) {
                origin.enlarged = Some(enlarged);
            } else if !PLAIN.contains(&node.class) {
                origin.passed.push(node);
            }
            next = ONWARD.iter().find_map(|input| graph.source(node, input));
        }
        origin
    }
}

fn start<'a>(graph: Graph<'a>, node: Node<'a>) -> Option<Start<'a>> {
    let side = |input| small(graph.literal(node, input).as_ref());
    if node.class.starts_with("Empty") && node.class.contains("Latent") {
        return Some(Start::Empty(side("width").zip(side("height"))));
    }
    if node.class.starts_with("LoadImage") {
        let name = graph.text(node, "image").unwrap_or_default();
        return Some(Start::Picture(name));
    }
    if node.class == "LoadLatent" {
        let name = graph.text(node, "latent").unwrap_or_default();
        return Some(Start::Picture(name));
    }
    None
}

/// Reads nodes that enlarge latents or pixels.
fn enlarged<'a>(graph: Graph<'a>, node: Node<'a>) -> Option<Enlarged> {
    let number = |input| graph.literal(node, input);
    let method = graph.text(node, "upscale_method");
    let (scale, size, upscaler) = match node.class {
        "LatentUpscaleBy" => (
            decimal(number("scale_by").as_ref()),
            None,
            Some(latent(method)),
        ),
        "ImageScaleBy" => (decimal(number("scale_by").as_ref()), None, pixels(method)),
        "LatentUpscale" | "ImageScale" => {
            let side = |input| small(number(input).as_ref());
            let size = side("width").zip(side("height"));
            let is_latent = node.class == "LatentUpscale";
            (
                None,
                size,
                if is_latent {
                    Some(latent(method))
                } else {
                    pixels(method)
                },
            )
        }
        "ImageUpscaleWithModel" => {
            let loader = graph.source(node, "upscale_model");
            (
                None,
                None,
                loader.and_then(|loader| graph.text(loader, "model_name")),
            )
        }
        _ => return None,
    };
    Some(Enlarged {
        scale,
        size,
        upscaler,
    })
}

/// A1111's word for enlarging latents by a method.
fn latent(method: Option<String>) -> String {
    match method.as_deref() {
        None | Some("bilinear") => "Latent".to_owned(),
        Some("nearest-exact") => "Latent (nearest)".to_owned(),
        Some(method) => format!("Latent ({method})"),
    }
}

/// The same for pixels: methods are spelled as here but for the capital.
fn pixels(method: Option<String>) -> Option<String> {
    method.map(|method| match method.as_str() {
        "lanczos" => "Lanczos".to_owned(),
        _ => method,
    })
}
