//! From a person's wish to specs: names become cards, what is left open becomes what the model likes.

use std::path::Path;
use std::sync::LazyLock;

use hearth_engine::{NetworkKind, kindling, network_tags};
use hearth_protocol::card::{Card, CardKind, Settings};
use hearth_protocol::control::{GenerateRequest, Problem};
use hearth_protocol::id::{BlobHash, CardId};
use hearth_protocol::job::{
    Blend, EmbeddingUse, Family, ImageFormat, JobSpec, Latents, LoraUse, Micro, Start,
};

use super::super::{refused, usage};
use crate::switchboard::Switchboard;

/// The file of the model in the binary.
static KINDLING: LazyLock<BlobHash> = LazyLock::new(|| BlobHash::of(kindling::WEIGHTS));

impl Switchboard {
    /// Returns one spec for each picture asked.
    pub(super) fn specs(
        &self,
        request: &GenerateRequest,
        start: &Start,
    ) -> Result<Vec<JobSpec>, Problem> {
        let checkpoint = self.checkpoint(request.model.as_deref())?;
        let settings = self.settings(&checkpoint);
        let (width, height) = request.size.unwrap_or((settings.width, settings.height));
        let first = request.seed.unwrap_or_else(drawn_seed);
        let loras = self.loras(request)?;
        self.check_families(&checkpoint, &loras)?;
        let model = JobSpec {
            vae: self.named(request.vae.as_deref(), CardKind::Vae)?,
            loras,
            embeddings: self.embeddings(request, &checkpoint)?,
            negative: request.negative.clone(),
            blend: request.blend.clone(),
            width,
            height,
            steps: request.steps.unwrap_or(settings.steps),
            guidance: request.guidance.unwrap_or(settings.guidance),
            sampler: request.sampler.unwrap_or(settings.sampler),
            schedule: request.schedule.unwrap_or(settings.schedule),
            penultimate: request.penultimate,
            clip_skip: request.clip_skip.unwrap_or(settings.clip_skip),
            variation: request.variation,
            eta_seed_delta: request.eta_seed_delta,
            rng: request.rng,
            compat: request.compat,
            start: start.clone(),
            hires: request.hires,
            tiling: request.tiling,
            format: format(request),
            latents: if request.save_steps.is_some() {
                Latents::EveryStep
            } else {
                Latents::Dropped
            },
            ..JobSpec::plain(checkpoint, &request.prompt)
        };
        let specs: Vec<JobSpec> = (0..request.count)
            .map(|index| numbered(&model, first, index, request.count))
            .collect();
        for spec in &specs {
            spec.check().map_err(|error| usage(error.to_string()))?;
        }
        Ok(specs)
    }

    fn settings(&self, checkpoint: &CardId) -> Settings {
        let card = self.shelf.card(checkpoint).map(|card| card.trusted());
        card.map_or(Settings::of(Family::Sd15), |card| {
            card.settings.unwrap_or_else(|| Settings::of(card.family))
        })
    }

    /// Refuses adapters made for another family before anybody is asked.
    fn check_families(&self, checkpoint: &CardId, loras: &[LoraUse]) -> Result<(), Problem> {
        let family = |id: &CardId| self.shelf.card(id).map(|card| card.trusted().family);
        let wanted = family(checkpoint);
        let foreign = loras.iter().find(|lora| family(&lora.card) != wanted);
        match (foreign, wanted) {
            (Some(lora), Some(wanted)) => {
                let made_for = family(&lora.card).map_or("another", Family::name);
                let (lora, checkpoint) = (self.title(&lora.card), self.title(checkpoint));
                let what = format!("'{lora}' is for {made_for}, '{checkpoint}' is {wanted}");
                Err(usage(what).hint("choose a LoRA made for it, or another model with --model"))
            }
            (Some(_) | None, None) | (None, Some(_)) => Ok(()),
        }
    }

    fn named(&self, name: Option<&str>, kind: CardKind) -> Result<Option<CardId>, Problem> {
        name.map(|name| self.model_of_kind(name, kind)).transpose()
    }

    fn checkpoint(&self, name: Option<&str>) -> Result<CardId, Problem> {
        if let Some(name) = name {
            return self.model_of_kind(name, CardKind::Checkpoint);
        }
        let known = || {
            self.shelf
                .cards()
                .filter(|(_, card)| card.kind == CardKind::Checkpoint)
        };
        // By its bytes: anybody's card may say it is one of the family.
        let built_in = known().find(|(_, card)| card.files.iter().any(|it| it.blob == *KINDLING));
        match built_in.or_else(|| known().next()) {
            Some((id, _)) => Ok(*id),
            None => {
                Err(refused("no checkpoint is known here").hint("add one: hearth model add PATH"))
            }
        }
    }

    /// Adapters asked for by flag, then those the prompts name in tags.
    fn loras(&self, request: &GenerateRequest) -> Result<Vec<LoraUse>, Problem> {
        let mut loras = Vec::new();
        for ask in &request.loras {
            loras.push(LoraUse {
                card: self.model_of_kind(&ask.model, CardKind::Lora)?,
                unet: ask.unet,
                text: ask.text,
            });
        }
        for text in [&request.prompt, &request.negative] {
            let (_, tags) = network_tags(text).map_err(|error| usage(error.to_string()))?;
            for tag in tags.iter().filter(|tag| tag.kind == NetworkKind::Lora) {
                let card = self.model_of_kind(&tag.name, CardKind::Lora)?;
                if loras.iter().all(|lora| lora.card != card) {
                    loras.push(LoraUse {
                        card,
                        unet: micro(tag.unet)?,
                        text: micro(tag.text)?,
                    });
                }
            }
        }
        Ok(loras)
    }

    /// Textual inversions asked for by flag, then those for the checkpoint's family whose titles stand
    /// in a prompt.
    fn embeddings(
        &self,
        request: &GenerateRequest,
        checkpoint: &CardId,
    ) -> Result<Vec<EmbeddingUse>, Problem> {
        let family = self
            .shelf
            .card(checkpoint)
            .map(|card| card.trusted().family);
        let mut uses = Vec::new();
        let mut add = |card: CardId, title: &str| {
            if uses.iter().all(|it: &EmbeddingUse| it.card != card) {
                let name = title.to_owned();
                uses.push(EmbeddingUse { card, name });
            }
        };
        for name in &request.embeddings {
            let card = self.model_of_kind(name, CardKind::Embedding)?;
            add(card, &self.title(&card));
        }
        let blend = request.blend.iter();
        let texts: Vec<&str> = [request.prompt.as_str(), &request.negative]
            .into_iter()
            .chain(blend.flat_map(|blend| [blend.prompt.as_str(), &blend.negative]))
            .collect();
        let mentioned = |card: &Card| texts.iter().any(|text| says(text, &card.title));
        for (id, card) in self.shelf.cards() {
            let fits = card.kind == CardKind::Embedding && Some(card.family) == family;
            if fits && mentioned(card) {
                add(*id, &card.title);
            }
        }
        Ok(uses)
    }
}

/// Returns the spec of one of several pictures: the next seed, or the next place on the way.
fn numbered(model: &JobSpec, first: u64, index: u32, count: u32) -> JobSpec {
    let mut spec = model.clone();
    spec.seed = first;
    match &mut spec.blend {
        Some(blend) if count > 1 => {
            let share = u64::from(index) * 1_000_000 / u64::from(count - 1);
            let share = i32::try_from(share).unwrap_or(1_000_000);
            blend.amount = Micro::from_millionths(share);
        }
        Some(Blend { .. }) => {}
        None => spec.seed = first.wrapping_add(u64::from(index)),
    }
    spec
}

/// Returns the format asked for, or the one the file's name ends in.
fn format(request: &GenerateRequest) -> ImageFormat {
    let ending = request
        .out
        .as_ref()
        .and_then(|out| Path::new(out).extension())
        .map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    let by_name = match ending.as_deref() {
        Some("webp") => ImageFormat::Webp,
        Some("jpg" | "jpeg") => ImageFormat::Jpeg,
        Some(_) | None => ImageFormat::Png,
    };
    request.format.unwrap_or(by_name)
}

fn micro(weight: f64) -> Result<Micro, Problem> {
    format!("{weight:.6}").parse().map_err(|_| {
        usage(format!("a LoRA weight of {weight}")).hint("weights are between -2000 and 2000")
    })
}

/// Returns whether a text has a title in it, as words of their own, whatever the case.
fn says(text: &str, title: &str) -> bool {
    let (text, title) = (text.to_lowercase(), title.to_lowercase());
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    !title.is_empty()
        && text.match_indices(&title).any(|(at, found)| {
            let before = text[..at].chars().next_back();
            let after = text[at + found.len()..].chars().next();
            !before.is_some_and(is_word) && !after.is_some_and(is_word)
        })
}

fn drawn_seed() -> u64 {
    let bytes = crate::chance::bytes();
    // 32 bits, as people are used to: they read and type seeds.
    u64::from(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_found_as_a_word_of_its_own() {
        assert!(says("ugly, EasyNegative, grey", "easynegative"));
        assert!(says("(easynegative:1.2)", "EasyNegative"));
        assert!(!says("easynegatives", "easynegative"));
        assert!(!says("anything", ""));
    }

    #[test]
    fn pictures_on_a_way_share_a_seed_and_are_spread_evenly() {
        let mut model = JobSpec::plain(CardId::from_bytes([0; 32]), "here");
        assert_eq!(numbered(&model, 5, 2, 3).seed, 7);
        model.blend = Some(Blend {
            prompt: "there".into(),
            negative: String::new(),
            seed: 9,
            amount: Micro::ONE,
        });
        let amounts = [0, 1, 2].map(|index| {
            let spec = numbered(&model, 5, index, 3);
            assert_eq!(spec.seed, 5);
            spec.blend.unwrap().amount.millionths()
        });
        assert_eq!(amounts, [0, 500_000, 1_000_000]);
    }
}
