//! Tells the demonstration: a line and a duration for each step that held.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hearth_protocol::unit::{Balance, Millis};
use serde_json::{Value, json};

use super::actor::Part;
use super::stage::Stage;
use crate::cli::printer::{Printer, Role};
use crate::cli::progress::Bar;
use crate::cli::wording::{printable, span};

/// The steps so far.
pub(super) struct Story {
    printer: Printer,
    bar: Bar,
    steps: Vec<(&'static str, Millis)>,
    current: &'static str,
    since: Instant,
    begun: Instant,
}

impl Story {
    pub(super) fn new(printer: &Printer) -> Self {
        let now = Instant::now();
        Self {
            bar: Bar::steps(printer, ""),
            printer: printer.clone(),
            steps: Vec::new(),
            current: "begin",
            since: now,
            begun: now,
        }
    }

    /// Begins a step.
    pub(super) fn begin(&mut self, name: &'static str, doing: &str) {
        self.current = name;
        self.since = Instant::now();
        self.bar.at(0, 0);
        self.bar.say(doing);
    }

    /// Shows how far the step is.
    pub(super) fn progress(&self, done: u32, all: u32, doing: &str) {
        self.bar.at(done.into(), all.into());
        self.bar.say(doing);
    }

    /// Ends the step: it held.
    pub(super) fn held(&mut self, what: &str) -> anyhow::Result<()> {
        let took = millis(self.since.elapsed());
        self.told(self.current, took, what)
    }

    /// Tells a step that was timed elsewhere.
    pub(super) fn told(
        &mut self,
        name: &'static str,
        took: Millis,
        what: &str,
    ) -> anyhow::Result<()> {
        self.steps.push((name, took));
        let mark = self.printer.paint(Role::Good, "✓");
        let time = self
            .printer
            .paint(Role::Muted, format!("{:>7}", span(took)));
        self.bar.above(|| {
            self.printer
                .line(format!("{mark} {time}  {}", printable(what)))
        })
    }

    /// Returns the step under way.
    pub(super) const fn current(&self) -> &'static str {
        self.current
    }

    /// Takes the progress bar off the screen.
    pub(super) fn clear(&self) {
        self.bar.clear();
    }

    /// Tells how it ended.
    pub(super) fn end(&self, stage: &Stage<'_>, kept: Option<&PathBuf>) -> anyhow::Result<()> {
        self.clear();
        let total = millis(self.begun.elapsed());
        let steps: Vec<Value> = self
            .steps
            .iter()
            .map(|(name, ms)| json!({ "name": name, "ms": ms }))
            .collect();
        let picture = stage.picture().display().to_string();
        let mut object = json!({
            "image": picture,
            "steps": steps,
            "balances": named(stage.balances(), |balance| json!(balance)),
            "digests": named(stage.digests(), |digest| json!(digest)),
            "audit": named(stage.audits(), |audit| json!(audit)),
            "total_ms": total,
        });
        if let Some(dir) = kept {
            object["dir"] = json!(dir.display().to_string());
        }
        self.printer.json(&object)?;
        self.printer.line("")?;
        for (part, balance) in stage.balances() {
            let kudos = kudos(*balance);
            self.printer
                .line(format!("  {:<9}  {kudos:>8} kudos", part.name()))?;
        }
        self.printer.line("")?;
        let path = self.printer.paint(Role::Strong, picture);
        self.printer.line(format!(
            "Every step held, in {}. The picture: {path}",
            span(total)
        ))?;
        self.printer.note(
            "Drawn by Kindling, the small model in this binary; 'hearth generate' has it, too.",
        );
        if let Some(dir) = kept {
            self.printer
                .note(format!("The nodes' folders are in {}", dir.display()));
        }
        Ok(())
    }
}

fn kudos(balance: Balance) -> String {
    if balance.mk() > 0 {
        format!("+{balance}")
    } else {
        balance.to_string()
    }
}

fn named<T>(map: &BTreeMap<Part, T>, value: impl Fn(&T) -> Value) -> Value {
    map.iter()
        .map(|(part, item)| (part.name().to_owned(), value(item)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Returns a span in whole milliseconds.
pub(super) fn millis(span: Duration) -> Millis {
    Millis::new(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}
