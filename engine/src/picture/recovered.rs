//! A job read back from a picture, with everything that could not be understood.

use std::fmt;

use hearth_protocol::job::{Compat, Upscaler};
use serde::Serialize;
use thiserror::Error;

use super::labels;
use super::settings::{Mention, Settings};

/// Most oddities that are listed.
const ODDITIES_MAX: usize = 64;
/// Longest quotation of a value, in characters.
const QUOTE_LEN_MAX: usize = 80;

/// Settings read from a picture.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Recovered {
    /// What was understood.
    #[serde(flatten)]
    pub settings: Settings,
    /// Whose conventions for emphasis and noise the picture follows.
    pub compat: Option<Compat>,
    /// What was not.
    pub warnings: Vec<Oddity>,
}

/// Something in a picture's text that a job cannot say, or not exactly.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Oddity {
    /// A setting Hearth does not have.
    #[error("{field} '{value}' has no counterpart here and was left out")]
    Unknown {
        /// The setting.
        field: String,
        /// Its value, shortened.
        value: String,
    },
    /// Hearth has something like it.
    #[error("{field} '{value}' was taken as {used}, the nearest there is")]
    Nearest {
        /// The setting.
        field: String,
        /// Its value, shortened.
        value: String,
        /// What it became.
        used: &'static str,
    },
    /// A value that is not what its field holds.
    #[error("{field} '{value}' is not {expected} and was left out")]
    Malformed {
        /// The setting.
        field: String,
        /// Its value, shortened.
        value: String,
        /// What was expected.
        expected: &'static str,
    },
    /// A graph's node that does something no job setting says.
    #[error("node {id} ({class}) was passed over: {why}")]
    Node {
        /// Its id in the graph.
        id: String,
        /// Its class.
        class: String,
        /// What is lost.
        why: &'static str,
    },
    /// The picture was made from another one.
    #[error("it was made from another picture, which this file does not hold: {what}")]
    Picture {
        /// Which picture, and for what.
        what: String,
    },
    /// A part of the file could not be read.
    #[error("{part} is damaged and was skipped")]
    Damaged {
        /// The part.
        part: String,
    },
}

impl Recovered {
    /// Notes what was not understood; the list is bounded.
    pub(super) fn warn(&mut self, oddity: Oddity) {
        if self.warnings.len() < ODDITIES_MAX && !self.warnings.contains(&oddity) {
            self.warnings.push(oddity);
        }
    }

    pub(super) fn unknown(&mut self, field: &str, value: &str) {
        self.warn(Oddity::Unknown {
            field: quote(field),
            value: quote(value),
        });
    }

    pub(super) fn malformed(&mut self, field: &str, value: &str, expected: &'static str) {
        self.warn(Oddity::Malformed {
            field: quote(field),
            value: quote(value),
            expected,
        });
    }

    pub(super) fn picture(&mut self, what: &str) {
        self.warn(Oddity::Picture { what: quote(what) });
    }

    /// Reads a number, or notes that it is none.
    pub(super) fn number<T: std::str::FromStr>(
        &mut self,
        field: &str,
        value: &str,
        expected: &'static str,
    ) -> Option<T> {
        let number = value.trim().parse().ok();
        if number.is_none() {
            self.malformed(field, value, expected);
        }
        number
    }

    /// Reads a number that is finite.
    pub(super) fn decimal(&mut self, field: &str, value: &str) -> Option<f64> {
        self.number::<f64>(field, value, "a number")
            .filter(|number| number.is_finite())
    }

    /// Takes a sampler by any program's label, and the schedule if the label tells it.
    pub(super) fn sampler(&mut self, label: &str) {
        let Some(found) = labels::sampler(label) else {
            return self.unknown("sampler", label);
        };
        self.take(label, found);
    }

    pub(super) fn take(&mut self, label: &str, found: labels::Label) {
        if !found.exact {
            self.warn(Oddity::Nearest {
                field: "sampler".to_owned(),
                value: quote(label),
                used: found.sampler.name(),
            });
        }
        self.settings.sampler = Some(found.sampler);
        self.settings.schedule = found.schedule.or(self.settings.schedule);
    }

    /// Reads A1111's label of an upscaler.
    pub(super) fn upscaler(&mut self, label: &str) -> Upscaler {
        let (upscaler, is_exact) = labels::upscaler(label);
        if !is_exact {
            self.warn(Oddity::Nearest {
                field: "upscaler".to_owned(),
                value: quote(label),
                used: upscaler.name(),
            });
        }
        upscaler
    }

    /// Takes a schedule by any program's label.
    pub(super) fn schedule(&mut self, label: &str) {
        match labels::schedule(label) {
            Some(schedule) => self.settings.schedule = Some(schedule),
            None => self.unknown("noise schedule", label),
        }
    }
}

/// Shortens what is quoted from a stranger's file, and keeps it on one line.
pub(super) fn quote(text: &str) -> String {
    let mut quoted: String = text
        .chars()
        .take(QUOTE_LEN_MAX)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().nth(QUOTE_LEN_MAX).is_some() {
        quoted.push('…');
    }
    quoted
}

impl fmt::Display for Mention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, &self.hash) {
            (Some(name), Some(hash)) => write!(f, "{name} [{hash}]"),
            (Some(text), None) | (None, Some(text)) => f.write_str(text),
            (None, None) => f.write_str("unnamed"),
        }
    }
}

impl fmt::Display for Recovered {
    /// One setting a line, only what is known; then the warnings.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in self.settings.lines() {
            writeln!(f, "{name:<10} {value}")?;
        }
        for warning in &self.warnings {
            writeln!(f, "{:<10} {warning}", "warning")?;
        }
        Ok(())
    }
}

impl Settings {
    /// Returns what is known as pairs of a name and a text.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = Vec::new();
        let mut line = |name, value: Option<String>| {
            lines.extend(
                value
                    .filter(|text| !text.is_empty())
                    .map(|text| (name, text)),
            );
        };
        line("prompt", Some(self.prompt.clone()));
        line("negative", Some(self.negative.clone()));
        line("model", self.model.as_ref().map(Mention::to_string));
        line("vae", self.vae.as_ref().map(Mention::to_string));
        for lora in &self.loras {
            let hash = lora.hash.as_ref().map(|hash| format!(" [{hash}]"));
            let weights = if lora.unet == lora.text {
                lora.unet.to_string()
            } else {
                format!("{}, text {}", lora.unet, lora.text)
            };
            let hash = hash.unwrap_or_default();
            line("lora", Some(format!("{}{hash} at {weights}", lora.name)));
        }
        for embedding in &self.embeddings {
            line("embedding", Some(embedding.to_string()));
        }
        line("size", self.size.map(|(w, h)| format!("{w}x{h}")));
        line("steps", self.steps.map(|n| n.to_string()));
        line("sampler", self.sampler.map(|s| s.to_string()));
        line("schedule", self.schedule.map(|s| s.to_string()));
        line("guidance", self.guidance.map(|x| x.to_string()));
        line("seed", self.seed.map(|n| n.to_string()));
        let variation = self
            .variation
            .map(|v| format!("{} at {}", v.seed, v.strength));
        line("variation", variation);
        line("rng", self.rng.map(|rng| rng.to_string()));
        line("clip skip", self.clip_skip.map(|n| n.to_string()));
        line("denoise", self.denoise.map(|x| x.to_string()));
        line("tiling", self.tiling.then(|| "yes".to_owned()));
        line("hires", self.hires.as_ref().map(ToString::to_string));
        lines
    }
}

impl fmt::Display for super::settings::Hires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.scale.map(|scale| format!("{scale} times")),
            self.size.map(|(w, h)| format!("to {w}x{h}")),
            self.steps.map(|steps| format!("{steps} steps")),
            self.upscaler.map(|upscaler| upscaler.to_string()),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        f.write_str(&parts.join(", "))
    }
}
