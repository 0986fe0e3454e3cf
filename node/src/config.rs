//! What a person can set, and where each value came from.
//!
//! Flags win over the environment (`HEARTH_*`), that over the user's file, that over the
//! defaults. [`KEYS`] is the one list of keys: parsing, the commented template, `config show` and
//! the suggestions for misspelt keys all come from it. Plain data; nothing here is global.

mod key;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

pub use key::{KEYS, Key, ValueError};

use crate::home::Home;

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What the node calls itself; empty: its short id.
    pub nickname: String,
    /// The network between members.
    pub network: NetworkConfig,
    /// Where files are given and taken (UDP).
    pub blobs_listen: SocketAddr,
    /// Where the control API is; a loopback address.
    pub control_listen: SocketAddr,
    /// Work for others.
    pub worker: WorkerConfig,
    /// What computes.
    pub engine: EngineChoice,
    /// Whether the models inside the binary are on the shelf.
    pub built_in: bool,
    /// Where pictures go; `None`: the home's own folder.
    pub outputs_dir: Option<PathBuf>,
    /// What is logged, in the form of `RUST_LOG`.
    pub log_level: String,
}

/// The network between members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkConfig {
    /// Where to listen, TCP and UDP.
    pub listen: SocketAddr,
    /// Whether to look for members on the local network.
    pub mdns: bool,
}

/// What computes, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineChoice {
    /// The engine program; `None`: the one for a card where there is one and it works, else this program.
    pub program: Option<PathBuf>,
    /// How weights are kept.
    pub precision: Precision,
}

/// How an engine keeps weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Precision {
    /// As suits the device: full on the processor, half on a card.
    #[default]
    Auto,
    /// In 32 bits.
    Full,
    /// In 16 bits.
    Half,
}

impl Precision {
    /// Returns the word it is set with.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Full => "full",
            Self::Half => "half",
        }
    }

    /// Reads such a word.
    pub fn of(word: &str) -> Option<Self> {
        [Self::Auto, Self::Full, Self::Half]
            .into_iter()
            .find(|precision| precision.word() == word)
    }
}

/// Work for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerConfig {
    /// Whether to take jobs of others.
    pub enabled: bool,
    /// Percent of the charter's price.
    pub price_percent: u16,
    /// Largest picture in pixels; 0: no bound of one's own.
    pub pixels_max: u64,
    /// Most steps; 0: no bound of one's own.
    pub steps_max: u32,
    /// Kudos above which an order waits until members were asked about its requester.
    pub ask_above: u32,
    /// Threads to compute with; 0: all cores.
    pub threads: u32,
    /// What the machine takes while it computes, in watts; 0: unknown.
    pub rated_watts: u32,
}

const fn anywhere(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
}

impl Default for Config {
    fn default() -> Self {
        Self {
            nickname: String::new(),
            network: NetworkConfig {
                listen: anywhere(47_470),
                mdns: true,
            },
            blobs_listen: anywhere(47_471),
            control_listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            worker: WorkerConfig {
                enabled: true,
                price_percent: 100,
                pixels_max: 2048 * 2048,
                steps_max: 200,
                ask_above: 100,
                threads: 0,
                rated_watts: 0,
            },
            engine: EngineChoice::default(),
            built_in: true,
            outputs_dir: None,
            log_level: "info".to_owned(),
        }
    }
}

impl Config {
    /// Returns where pictures go.
    pub fn outputs_dir(&self, home: &Home) -> PathBuf {
        self.outputs_dir
            .clone()
            .unwrap_or_else(|| home.outputs_dir().to_owned())
    }
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The user's file.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// The command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Env(name) => write!(f, "${name}"),
            Self::Flag => f.write_str("command line"),
        }
    }
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{} is not valid TOML", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// No such key.
    #[error("unknown key '{key}' ({origin})")]
    UnknownKey {
        /// The key as written.
        key: String,
        /// Where it was written.
        origin: Origin,
        /// What was probably meant.
        suggestion: Option<&'static str>,
    },
    /// A value of the wrong kind or out of range.
    #[error("bad value for '{key}' ({origin})")]
    Value {
        /// The key.
        key: &'static str,
        /// Where it was written.
        origin: Origin,
        /// What was expected.
        source: ValueError,
    },
}

impl ConfigError {
    /// Returns the next step for a person, where there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownKey { suggestion, .. } => Some(match suggestion {
                Some(name) => format!("did you mean '{name}'?"),
                None => "'hearth config template' lists every key".to_owned(),
            }),
            Self::Read { .. } | Self::Syntax { .. } | Self::Value { .. } => None,
        }
    }
}

/// A configuration with the origin of each value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The values.
    pub config: Config,
    origins: BTreeMap<&'static str, Origin>,
}

impl Settings {
    /// Reads file and environment of this process, then applies `--set` flags.
    ///
    /// # Errors
    /// [`ConfigError`] names the key and where it was written.
    pub fn load(home: &Home, flags: &[(String, String)]) -> Result<Self, ConfigError> {
        let path = home.config_file();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(source) => return Err(ConfigError::Read { path, source }),
        };
        let file = text.as_deref().map(|text| (path.as_path(), text));
        Self::merge(file, |name| std::env::var(name).ok(), flags)
    }

    /// Merges the sources; pure, so that tests can say what the environment is.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn merge(
        file: Option<(&Path, &str)>,
        env: impl Fn(&str) -> Option<String>,
        flags: &[(String, String)],
    ) -> Result<Self, ConfigError> {
        let mut settings = Self {
            config: Config::default(),
            origins: BTreeMap::new(),
        };
        if let Some((path, text)) = file {
            settings.read_file(path, text)?;
        }
        for key in KEYS {
            let name = key.env();
            if let Some(text) = env(&name) {
                settings.set_text(key, &text, Origin::Env(name))?;
            }
        }
        for (name, text) in flags {
            let key = find(name, &Origin::Flag)?;
            settings.set_text(key, text, Origin::Flag)?;
        }
        Ok(settings)
    }

    /// Returns where a key's value came from.
    pub fn origin(&self, key: &Key) -> &Origin {
        self.origins.get(key.name).unwrap_or(&Origin::Default)
    }

    fn read_file(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let table: toml::Table = text.parse().map_err(|source| ConfigError::Syntax {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        let origin = Origin::File(path.to_owned());
        let mut values = Vec::new();
        flatten("", &table, &mut values);
        for (name, value) in values {
            let key = find(&name, &origin)?;
            key.assign(&mut self.config, value)
                .map_err(|source| ConfigError::Value {
                    key: key.name,
                    origin: origin.clone(),
                    source,
                })?;
            self.origins.insert(key.name, origin.clone());
        }
        Ok(())
    }

    fn set_text(&mut self, key: &Key, text: &str, origin: Origin) -> Result<(), ConfigError> {
        key.assign_text(&mut self.config, text)
            .map_err(|source| ConfigError::Value {
                key: key.name,
                origin: origin.clone(),
                source,
            })?;
        self.origins.insert(key.name, origin);
        Ok(())
    }
}

fn flatten<'a>(prefix: &str, table: &'a toml::Table, into: &mut Vec<(String, &'a toml::Value)>) {
    for (name, value) in table {
        let name = format!("{prefix}{name}");
        let section = format!("{name}.");
        let is_known = KEYS.iter().any(|key| key.name.starts_with(&section));
        match value.as_table() {
            Some(table) if is_known || !table.is_empty() => flatten(&section, table, into),
            Some(_) | None => into.push((name, value)),
        }
    }
}

fn find(name: &str, origin: &Origin) -> Result<&'static Key, ConfigError> {
    KEYS.iter()
        .find(|key| key.name == name)
        .ok_or_else(|| ConfigError::UnknownKey {
            key: name.chars().take(64).collect(),
            origin: origin.clone(),
            suggestion: key::suggest(name),
        })
}

/// Returns a commented file with every key at its default.
pub fn template() -> String {
    let mut text = String::from(
        "# Hearth: configuration of one node. Every key is here, commented out, with its default.\n\
         # The environment (HEARTH_NETWORK_LISTEN=...) and --set KEY=VALUE win over this file.\n",
    );
    let config = Config::default();
    let mut section = "";
    for key in KEYS {
        let (of, name) = key.name.split_once('.').unwrap_or(("", key.name));
        if of != section {
            section = of;
            text.push_str("\n[");
            text.push_str(of);
            text.push(']');
        }
        for line in key.doc.lines() {
            text.push_str("\n# ");
            text.push_str(line);
        }
        text.push_str("\n# ");
        text.push_str(name);
        text.push_str(" = ");
        text.push_str(&key.value(&config).to_string());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merge(file: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Settings, String> {
        let env: BTreeMap<_, _> = env.iter().copied().collect();
        let flags: Vec<_> = flags
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        Settings::merge(
            Some((Path::new("config.toml"), file)),
            |name| env.get(name).map(|value| (*value).to_owned()),
            &flags,
        )
        .map_err(|error| match error.hint() {
            Some(hint) => format!("{error}; {hint}"),
            None => format!("{error}: {}", std::error::Error::source(&error).unwrap()),
        })
    }

    fn key(name: &str) -> &'static Key {
        find(name, &Origin::Flag).unwrap()
    }

    #[test]
    fn template_round_trips_to_the_defaults() {
        let template = template();
        let settings = merge(&template, &[], &[]).unwrap();
        assert_eq!(settings.config, Config::default());
        let active: String = template
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(rest)
                    if rest
                        .split_once(" = ")
                        .is_some_and(|(k, _)| !k.contains(' ')) =>
                {
                    format!("{rest}\n")
                }
                Some(_) | None => format!("{line}\n"),
            })
            .collect();
        let settings = merge(&active, &[], &[]).unwrap();
        assert_eq!(settings.config, Config::default());
        for key in KEYS {
            assert_ne!(
                settings.origin(key),
                &Origin::Default,
                "{} is set",
                key.name
            );
        }
    }

    #[test]
    fn flags_win_over_environment_over_file() {
        // C13
        let file = "nickname = 'file'\n[worker]\nsteps_max = 9\nthreads = 3\n";
        let env = [
            ("HEARTH_NICKNAME", "env"),
            ("HEARTH_WORKER_STEPS_MAX", "10"),
        ];
        let settings = merge(file, &env, &[("nickname", "flag")]).unwrap();
        assert_eq!(settings.config.nickname, "flag");
        assert_eq!(settings.config.worker.steps_max, 10);
        assert_eq!(settings.config.worker.threads, 3);
        assert_eq!(settings.origin(key("nickname")), &Origin::Flag);
        assert_eq!(
            settings.origin(key("worker.threads")).to_string(),
            "config.toml"
        );
        assert_eq!(
            settings.origin(key("worker.steps_max")).to_string(),
            "$HEARTH_WORKER_STEPS_MAX"
        );
        assert_eq!(settings.origin(key("log.level")), &Origin::Default);
    }

    #[test]
    fn unknown_key_is_an_error_with_a_suggestion() {
        // C13
        let check = |file: &str, expected: &str| {
            assert_eq!(merge(file, &[], &[]).unwrap_err(), expected);
        };
        check(
            "[network]\nlisen = '0.0.0.0:1'",
            "unknown key 'network.lisen' (config.toml); did you mean 'network.listen'?",
        );
        check(
            "[worker]\nwatts = 3",
            "unknown key 'worker.watts' (config.toml); did you mean 'worker.rated_watts'?",
        );
        check(
            "xyzzy = 3",
            "unknown key 'xyzzy' (config.toml); 'hearth config template' lists every key",
        );
    }

    #[test]
    fn bad_values_say_what_was_expected() {
        // C3
        let check = |file: &str, expected: &str| {
            assert_eq!(merge(file, &[], &[]).unwrap_err(), expected);
        };
        check(
            "[network]\nmdns = 'perhaps'",
            "bad value for 'network.mdns' (config.toml): expected true or false, got 'perhaps'",
        );
        check(
            "[worker]\nsteps_max = -1",
            "bad value for 'worker.steps_max' (config.toml): expected a number from 0 to \
             4294967295, got '-1'",
        );
        check(
            "[control]\nlisten = '0.0.0.0:80'",
            "bad value for 'control.listen' (config.toml): expected a loopback address such as \
             127.0.0.1:0, got '0.0.0.0:80'",
        );
        assert_eq!(
            merge("", &[("HEARTH_NETWORK_LISTEN", "here")], &[]).unwrap_err(),
            "bad value for 'network.listen' ($HEARTH_NETWORK_LISTEN): expected an address such as \
             0.0.0.0:47470, got 'here'"
        );
    }
}
