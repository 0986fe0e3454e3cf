//! `hearth paths`: where the node keeps its things.

use serde_json::{Map, Value};

use super::session::Session;

pub(super) fn run(session: &Session) -> anyhow::Result<()> {
    let paths = session.home.paths();
    let object: Map<String, Value> = paths
        .iter()
        .map(|(name, path)| ((*name).to_owned(), path.display().to_string().into()))
        .collect();
    session.printer.json(&object)?;
    for (name, path) in paths {
        session
            .printer
            .line(format!("{name:<9}  {}", path.display()))?;
    }
    Ok(())
}
