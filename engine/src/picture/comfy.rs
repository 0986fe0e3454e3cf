//! `ComfyUI`: a graph of nodes in API form, walked backwards from the picture.
//!
//! The last sampler before a saved picture is found first, then the one its latents come from, if
//! there are two passes; from there model, prompts and size are followed link by link. Nodes that
//! change the picture in ways no job setting says are named in the warnings. Walking is bounded:
//! a graph may be a circle.

mod conditioning;
mod graph;
mod model;
mod origin;

use hearth_protocol::job::{Compat, Rng};

use super::loose_json::{decimal, small, whole};
use super::recovered::{Oddity, Recovered, quote};
use super::settings::{Hires, Mention};
use graph::{Graph, Node};
use origin::{Origin, Start};

/// Most nodes that are passed on one way.
const HOPS_MAX: usize = 256;
/// Most samplers in a row.
const PASSES_MAX: usize = 8;

/// Reads the text under `prompt`.
pub(super) fn read(json: &str) -> Option<Recovered> {
    let map = super::loose_json::object(json)?;
    let graph = Graph::new(&map)?;
    let mut walk = Walk {
        graph,
        recovered: Recovered {
            compat: Some(Compat::Comfy),
            ..Recovered::default()
        },
    };
    // ComfyUI draws on the CPU.
    walk.recovered.settings.rng = Some(Rng::TorchCpu);
    match walk.graph.last_sampler() {
        Some(sampler) => walk.passes(sampler),
        None => walk
            .recovered
            .unknown("graph", "no sampler before a saved picture"),
    }
    Some(walk.recovered)
}

struct Walk<'a> {
    graph: Graph<'a>,
    recovered: Recovered,
}

impl<'a> Walk<'a> {
    /// Notes a node that no job setting stands for.
    fn pass_over(&mut self, node: Node<'_>, why: &'static str) {
        self.recovered.warn(Oddity::Node {
            id: quote(node.id),
            class: quote(node.class),
            why,
        });
    }

    /// Goes back to the first pass, keeping what the second one adds.
    fn passes(&mut self, last: Node<'a>) {
        let mut sampler = last;
        for _ in 0..PASSES_MAX {
            let origin = Origin::of(self.graph, sampler);
            for node in &origin.passed {
                self.pass_over(*node, "it changes the latents");
            }
            let Start::Sampler(before) = origin.start else {
                self.start(sampler, &origin);
                break;
            };
            match origin.enlarged {
                Some(enlarged) => {
                    let hires = Hires {
                        scale: enlarged.scale,
                        size: enlarged.size,
                        steps: self.steps(sampler),
                        upscaler: enlarged
                            .upscaler
                            .map(|label| self.recovered.upscaler(&label)),
                    };
                    self.recovered.settings.denoise = self.denoise(sampler);
                    self.recovered.settings.hires = Some(hires);
                }
                None => self.pass_over(sampler, "a second sampler goes on where the first ends"),
            }
            sampler = before;
        }
        self.sampler(sampler);
        self.model(sampler);
        self.prompts(sampler);
        self.vae();
    }

    fn start(&mut self, sampler: Node<'a>, origin: &Origin<'a>) {
        match &origin.start {
            Start::Empty(size) => self.recovered.settings.size = *size,
            Start::Picture(name) => {
                self.recovered.settings.denoise = self.denoise(sampler);
                self.recovered.picture(name);
            }
            Start::Sampler(_) | Start::Unknown => {}
        }
    }

    /// Reads seed, steps, guidance, sampler and schedule of one pass.
    fn sampler(&mut self, node: Node<'a>) {
        let graph = self.graph;
        let noise = graph.source(node, "noise").unwrap_or(node);
        let seed = ["noise_seed", "seed"]
            .into_iter()
            .find_map(|key| whole(graph.literal(noise, key).as_ref()));
        let guider = graph.source(node, "guider").unwrap_or(node);
        let unguided = (guider.class == "BasicGuider").then_some(1.0);
        let guidance = decimal(graph.literal(guider, "cfg").as_ref()).or(unguided);
        let steps = self.steps(node);
        let settings = &mut self.recovered.settings;
        settings.seed = seed;
        settings.guidance = guidance;
        settings.steps = steps;
        self.labels(node);
    }

    fn labels(&mut self, node: Node<'a>) {
        let graph = self.graph;
        let chosen = graph.source(node, "sampler").unwrap_or(node);
        if let Some(label) = graph.text(chosen, "sampler_name") {
            self.recovered.sampler(&label);
        } else if let Some(name) = chosen.class.strip_prefix("Sampler") {
            // Nodes for one sampler each: `SamplerEulerAncestral`, `SamplerDPMPP_2M_SDE`.
            let name = match name {
                "EulerAncestral" => "euler_ancestral".to_owned(),
                "LCMUpscale" => "lcm".to_owned(),
                _ => name.to_lowercase(),
            };
            self.recovered.sampler(&name);
        }
        let sigmas = self.sigmas(node).unwrap_or(node);
        let schedule = match sigmas.class {
            "KarrasScheduler" => Some("karras".to_owned()),
            "ExponentialScheduler" => Some("exponential".to_owned()),
            "PolyexponentialScheduler" => Some("polyexponential".to_owned()),
            "AlignYourStepsScheduler" => Some("align_your_steps".to_owned()),
            "BetaSamplingScheduler" => Some("beta".to_owned()),
            "SDTurboScheduler" => Some("normal".to_owned()),
            _ => graph.text(sigmas, "scheduler"),
        };
        if let Some(label) = schedule {
            self.recovered.schedule(&label);
        }
    }

    /// Returns the node that makes a custom sampler's sigmas, through nodes that cut them.
    fn sigmas(&self, node: Node<'a>) -> Option<Node<'a>> {
        let mut sigmas = self.graph.source(node, "sigmas")?;
        for _ in 0..HOPS_MAX {
            match self.graph.source(sigmas, "sigmas") {
                Some(before) => sigmas = before,
                None => break,
            }
        }
        Some(sigmas)
    }

    fn steps(&self, node: Node<'a>) -> Option<u32> {
        let sigmas = self.sigmas(node).unwrap_or(node);
        small(self.graph.literal(sigmas, "steps").as_ref())
    }

    fn denoise(&self, node: Node<'a>) -> Option<f64> {
        let sigmas = self.sigmas(node).unwrap_or(node);
        let strength = decimal(self.graph.literal(sigmas, "denoise").as_ref());
        strength.or_else(|| {
            // KSamplerAdvanced starts in the middle instead.
            let steps = decimal(self.graph.literal(node, "steps").as_ref())?;
            let start = decimal(self.graph.literal(node, "start_at_step").as_ref())?;
            Some(1.0 - start / steps).filter(|part| (0.0..=1.0).contains(part))
        })
    }

    /// Reads a VAE of its own from the node that decodes the picture.
    fn vae(&mut self) {
        let graph = self.graph;
        let decoder = graph
            .nodes()
            .find(|node| node.class.starts_with("VAEDecode"));
        let loader = decoder.and_then(|decoder| graph.source(decoder, "vae"));
        let name = loader.and_then(|loader| graph.text(loader, "vae_name"));
        self.recovered.settings.vae = name.map(|name| Mention::named(model::file_name(&name)));
    }
}
