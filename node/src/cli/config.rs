//! `hearth config`: what is set and where it came from.

use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::session::Session;
use super::table::Table;
use crate::config::{KEYS, template};

/// What to show of the configuration.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigVerb {
    /// Show every key and its value
    Show {
        /// Show where each value came from
        #[arg(long)]
        origin: bool,
    },
    /// Print a commented file with every key and its default
    #[command(before_help = "Example:\n  hearth config template > ~/.config/hearth/config.toml\n")]
    Template,
}

pub(super) fn run(verb: &ConfigVerb, session: &Session) -> anyhow::Result<()> {
    match verb {
        ConfigVerb::Show { origin } => show(*origin, session),
        ConfigVerb::Template => session.printer.raw(&template()),
    }
}

fn show(origin: bool, session: &Session) -> anyhow::Result<()> {
    let settings = session.settings()?;
    let mut values = Map::new();
    let mut origins = Map::new();
    let mut table = if origin {
        Table::new(&["KEY", "VALUE", "FROM"])
    } else {
        Table::new(&["KEY", "VALUE"])
    };
    for key in KEYS {
        let value = key.value(&settings.config);
        let from = settings.origin(key).to_string();
        table.row([key.name.to_owned(), value.to_string(), from.clone()]);
        values.insert(key.name.to_owned(), serde_json::to_value(&value)?);
        origins.insert(key.name.to_owned(), Value::String(from));
    }
    let mut object = json!({ "values": values });
    if origin {
        object["origins"] = origins.into();
    }
    session.printer.json(&object)?;
    session.printer.table(&table)
}
