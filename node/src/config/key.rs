//! The one list of configuration keys: name, words for people, and the place in [`Config`].
//!
//! A key's kind is the kind of its place, so nothing is said twice.

use std::net::SocketAddr;
use std::path::PathBuf;

use hearth_protocol::limits;

use super::{Config, Precision};

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name, with dots.
    pub name: &'static str,
    /// What it does, in words.
    pub doc: &'static str,
    place: fn(&mut Config) -> Place<'_>,
}

enum Place<'a> {
    Text(&'a mut String),
    Nickname(&'a mut String),
    Addr(&'a mut SocketAddr),
    Loopback(&'a mut SocketAddr),
    Switch(&'a mut bool),
    Percent(&'a mut u16),
    Count(&'a mut u32),
    Size(&'a mut u64),
    Precision(&'a mut Precision),
    Folder(&'a mut Option<PathBuf>),
}

/// Every key, in the order of the template.
pub const KEYS: &[Key] = &[
    Key {
        name: "nickname",
        doc: "What this node calls itself; others may give it a petname. Empty: its short id.",
        place: |config| Place::Nickname(&mut config.nickname),
    },
    Key {
        name: "network.listen",
        doc: "Where members reach this node, TCP and UDP. Port 0 takes any free one.",
        place: |config| Place::Addr(&mut config.network.listen),
    },
    Key {
        name: "network.mdns",
        doc: "Look for members on the local network.",
        place: |config| Place::Switch(&mut config.network.mdns),
    },
    Key {
        name: "blobs.listen",
        doc: "Where models and pictures are given and taken (UDP).",
        place: |config| Place::Addr(&mut config.blobs_listen),
    },
    Key {
        name: "control.listen",
        doc: "Where the control API listens: a loopback address. Port 0 takes any free one.",
        place: |config| Place::Loopback(&mut config.control_listen),
    },
    Key {
        name: "worker.enabled",
        doc: "Take jobs of other members.",
        place: |config| Place::Switch(&mut config.worker.enabled),
    },
    Key {
        name: "worker.price_percent",
        doc: "Percent of the charter's price to ask.",
        place: |config| Place::Percent(&mut config.worker.price_percent),
    },
    Key {
        name: "worker.pixels_max",
        doc: "Largest picture to compute for others, in pixels. 0: no bound of one's own.",
        place: |config| Place::Size(&mut config.worker.pixels_max),
    },
    Key {
        name: "worker.steps_max",
        doc: "Most steps to compute for others. 0: no bound of one's own.",
        place: |config| Place::Count(&mut config.worker.steps_max),
    },
    Key {
        name: "worker.ask_above",
        doc: "Kudos an order must ask for, before members are asked about its requester. 0: about every order.",
        place: |config| Place::Count(&mut config.worker.ask_above),
    },
    Key {
        name: "worker.threads",
        doc: "Threads to compute with. 0: all cores.",
        place: |config| Place::Count(&mut config.worker.threads),
    },
    Key {
        name: "worker.rated_watts",
        doc: "What this machine takes while it computes, in watts, for energy accounts. 0: unknown.",
        place: |config| Place::Count(&mut config.worker.rated_watts),
    },
    Key {
        name: "worker.engine",
        doc: "The program that computes. Empty: hearth-engine-cuda where it is found and reports a card, else hearth itself.",
        place: |config| Place::Folder(&mut config.engine.program),
    },
    Key {
        name: "worker.precision",
        doc: "How weights are kept: full (32 bits), half (16 bits), or auto: full on the processor, half on a card.",
        place: |config| Place::Precision(&mut config.engine.precision),
    },
    Key {
        name: "models.built_in",
        doc: "Have Kindling, the small model inside the binary, on the shelf.",
        place: |config| Place::Switch(&mut config.built_in),
    },
    Key {
        name: "outputs.dir",
        doc: "Folder for pictures. Empty: the node's own.",
        place: |config| Place::Folder(&mut config.outputs_dir),
    },
    Key {
        name: "log.level",
        doc: "What is logged: error, warn, info, debug, trace, or any RUST_LOG filter.",
        place: |config| Place::Text(&mut config.log_level),
    },
];

/// Why a value was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, got '{got}'")]
pub struct ValueError {
    expected: Expected,
    got: String,
}

/// What a key wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Expected {
    #[error("text")]
    Text,
    #[error("at most {max} bytes of text on one line", max = limits::NAME_LEN_MAX)]
    Nickname,
    #[error("an address such as 0.0.0.0:47470")]
    Addr,
    #[error("a loopback address such as 127.0.0.1:0")]
    Loopback,
    #[error("true or false")]
    Switch,
    #[error("auto, full or half")]
    Precision,
    #[error("a number from {0} to {1}")]
    Number(u64, u64),
}

impl Key {
    /// Returns the environment variable that sets it.
    pub fn env(&self) -> String {
        format!("HEARTH_{}", self.name.replace('.', "_").to_uppercase())
    }

    /// Returns its value as TOML.
    pub fn value(&self, config: &Config) -> toml::Value {
        let mut config = config.clone();
        match (self.place)(&mut config) {
            Place::Text(text) | Place::Nickname(text) => text.clone().into(),
            Place::Addr(addr) | Place::Loopback(addr) => addr.to_string().into(),
            Place::Switch(on) => (*on).into(),
            Place::Precision(precision) => precision.word().into(),
            Place::Percent(percent) => i64::from(*percent).into(),
            Place::Count(count) => i64::from(*count).into(),
            Place::Size(size) => i64::try_from(*size).unwrap_or(i64::MAX).into(),
            Place::Folder(folder) => folder
                .as_deref()
                .map(|folder| folder.display().to_string())
                .unwrap_or_default()
                .into(),
        }
    }

    pub(super) fn assign(
        &self,
        config: &mut Config,
        value: &toml::Value,
    ) -> Result<(), ValueError> {
        let (text, is_text) = match value {
            toml::Value::String(text) => (text.clone(), true),
            toml::Value::Integer(_)
            | toml::Value::Float(_)
            | toml::Value::Boolean(_)
            | toml::Value::Datetime(_)
            | toml::Value::Array(_)
            | toml::Value::Table(_) => (value.to_string(), false),
        };
        let wants_text = match (self.place)(config) {
            Place::Text(_)
            | Place::Nickname(_)
            | Place::Addr(_)
            | Place::Loopback(_)
            | Place::Precision(_)
            | Place::Folder(_) => true,
            Place::Switch(_) | Place::Percent(_) | Place::Count(_) | Place::Size(_) => false,
        };
        if is_text == wants_text {
            self.assign_text(config, &text)
        } else {
            Err(ValueError {
                expected: self.expected(config),
                got: text,
            })
        }
    }

    pub(super) fn assign_text(&self, config: &mut Config, text: &str) -> Result<(), ValueError> {
        if self.try_assign(config, text).is_some() {
            return Ok(());
        }
        Err(ValueError {
            expected: self.expected(config),
            got: text.chars().take(80).collect(),
        })
    }

    fn try_assign(&self, config: &mut Config, text: &str) -> Option<()> {
        match (self.place)(config) {
            Place::Text(place) => text.clone_into(place),
            Place::Nickname(place) => {
                let fits =
                    text.len() <= limits::NAME_LEN_MAX && !text.chars().any(char::is_control);
                fits.then(|| text.clone_into(place))?;
            }
            Place::Addr(place) => *place = text.parse().ok()?,
            Place::Loopback(place) => {
                let addr: SocketAddr = text.parse().ok()?;
                *place = addr.ip().is_loopback().then_some(addr)?;
            }
            Place::Switch(place) => *place = text.parse().ok()?,
            Place::Precision(place) => *place = Precision::of(text)?,
            Place::Percent(place) => {
                *place = text
                    .parse()
                    .ok()
                    .filter(|percent| (1..=1000).contains(percent))?;
            }
            Place::Count(place) => *place = text.parse().ok()?,
            Place::Size(place) => *place = text.parse().ok()?,
            Place::Folder(place) => {
                *place = match text {
                    "" => None,
                    text => Some(std::path::absolute(text).ok()?),
                };
            }
        }
        Some(())
    }

    fn expected(&self, config: &mut Config) -> Expected {
        match (self.place)(config) {
            Place::Text(_) | Place::Folder(_) => Expected::Text,
            Place::Nickname(_) => Expected::Nickname,
            Place::Addr(_) => Expected::Addr,
            Place::Loopback(_) => Expected::Loopback,
            Place::Switch(_) => Expected::Switch,
            Place::Precision(_) => Expected::Precision,
            Place::Percent(_) => Expected::Number(1, 1000),
            Place::Count(_) => Expected::Number(0, u64::from(u32::MAX)),
            Place::Size(_) => Expected::Number(0, u64::MAX),
        }
    }
}

/// Returns the key a person probably meant.
pub(super) fn suggest(name: &str) -> Option<&'static str> {
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let ends = KEYS.iter().find(|key| {
        let part = last(name);
        part.len() > 3 && last(key.name).ends_with(&part)
    });
    let near = KEYS
        .iter()
        .map(|key| (strsim::jaro_winkler(name, key.name), key))
        .filter(|(score, _)| *score > 0.85)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, key)| key);
    near.or(ends).map(|key| key.name)
}
