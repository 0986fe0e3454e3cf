//! Where log lines go: standard error, the home's log file, and a short memory for the dashboard.
//!
//! Tracing has one subscriber a process, so the memory is the process's too. `RUST_LOG` wins over
//! every other wish.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hearth_protocol::limits;
use hearth_protocol::snapshot::LogLine;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, fmt as text};

/// A log file above this size is moved aside at the next start.
const FILE_LEN_MAX: u64 = 8 * 1024 * 1024;
/// Longest line remembered.
const LINE_LEN_MAX: usize = 500;

static RECENT: Mutex<VecDeque<LogLine>> = Mutex::new(VecDeque::new());

/// What is logged, and where.
#[derive(Debug, Clone)]
pub struct LogPlan {
    /// Level or filter, unless `RUST_LOG` is set.
    pub filter: String,
    /// Whether standard error gets it, and if with colour.
    pub stderr: Stderr,
    /// The file, if any.
    pub file: Option<PathBuf>,
}

/// What standard error gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stderr {
    /// Nothing.
    Off,
    /// Text.
    Plain,
    /// Text with colours.
    Colour,
}

/// Why logging cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is malformed.
    #[error("'{filter}' is no log filter")]
    Filter {
        /// The filter.
        filter: String,
        /// Why.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The file cannot be opened.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Logging began already.
    #[error("logging began already")]
    Twice(#[from] TryInitError),
}

/// Begins logging for this process.
///
/// # Errors
/// [`LogError`] when the filter is malformed or the file cannot be opened.
pub fn begin(plan: &LogPlan) -> Result<(), LogError> {
    let wish = std::env::var("RUST_LOG").unwrap_or_else(|_| quieten(&plan.filter));
    let filter = EnvFilter::try_new(&wish).map_err(|source| LogError::Filter {
        filter: wish,
        source,
    })?;
    let stderr = (plan.stderr != Stderr::Off).then(|| {
        text::layer()
            .with_writer(io::stderr)
            .with_ansi(plan.stderr == Stderr::Colour)
    });
    let file = match &plan.file {
        Some(path) => {
            let file = open(path).map_err(|source| LogError::File {
                path: path.clone(),
                source,
            })?;
            Some(text::layer().with_writer(Mutex::new(file)).with_ansi(false))
        }
        None => None,
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(stderr)
        .with(file)
        .with(Memory.with_filter(LevelFilter::INFO))
        .try_init()?;
    Ok(())
}

/// Returns the newest lines, newest last, at most [`limits::LOG_LINES_MAX`].
pub fn recent() -> Vec<LogLine> {
    memory().iter().cloned().collect()
}

/// A plain level is meant for Hearth; the libraries below it then only warn, and gossip, which
/// warns of every message that two ways bring, only of errors.
fn quieten(filter: &str) -> String {
    match filter.parse::<LevelFilter>() {
        Ok(level) => format!("warn,libp2p_gossipsub=error,hearth={level}"),
        Err(_) => filter.to_owned(),
    }
}

fn open(path: &Path) -> io::Result<File> {
    if fs::metadata(path).is_ok_and(|metadata| metadata.len() > FILE_LEN_MAX) {
        fs::rename(path, path.with_extension("log.1"))?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

fn memory() -> MutexGuard<'static, VecDeque<LogLine>> {
    RECENT.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Memory;

impl<S: Subscriber> Layer<S> for Memory {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        let mut memory = memory();
        if memory.len() == limits::LOG_LINES_MAX {
            memory.pop_front();
        }
        memory.push_back(LogLine {
            time: crate::clock::now(),
            level: event.metadata().level().to_string(),
            text: line.0.chars().take(LINE_LEN_MAX).collect(),
        });
    }
}

/// The message first, then its fields.
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}{}", self.0);
        } else {
            // Writing to a string cannot fail.
            let _ = write!(self.0, " {}={value:?}", field.name());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{}", value.escape_debug()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_levels_quieten_the_libraries() {
        assert_eq!(quieten("debug"), "warn,libp2p_gossipsub=error,hearth=debug");
        assert_eq!(quieten("info,iroh=trace"), "info,iroh=trace");
    }

    #[test]
    fn memory_keeps_the_newest_lines_with_their_fields() {
        let subscriber = tracing_subscriber::registry().with(Memory);
        tracing::subscriber::with_default(subscriber, || {
            for index in 0..=limits::LOG_LINES_MAX {
                tracing::info!(index, name = "a\nb", "line was written");
            }
        });
        let lines = recent();
        assert_eq!(lines.len(), limits::LOG_LINES_MAX);
        let last = &lines[lines.len() - 1];
        assert_eq!(last.text, "line was written index=200 name=a\\nb");
        assert_eq!(last.level, "INFO");
    }
}
