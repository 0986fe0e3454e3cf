//! This node: what computes, what it takes, where it listens, what it dropped, what it says.

use hearth_protocol::capacity::Accepting;
use hearth_protocol::snapshot::{LogLine, Snapshot};
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};

use super::commons::device;
use crate::app::App;
use crate::sheet::Sheet;
use crate::table::{self, Cell, Column, cell, left, right};
use crate::text;
use crate::theme::Tone;

const COLUMNS: [Column; 3] = [left("Log", 20, 0), left("Level", 5, 1), right("Age", 4, 2)];

pub(super) fn items<'a>(snapshot: &'a Snapshot, filter: &str) -> Vec<&'a LogLine> {
    let lines = snapshot.log.iter();
    lines
        .filter(|line| text::matches(filter, &[&line.text, &line.level]))
        .collect()
}

pub(super) fn draw(app: &App, snapshot: &Snapshot, buffer: &mut Buffer, area: Rect) {
    let roomy = super::is_roomy(area);
    let wide = area.width >= super::WIDE;
    let facts = facts(app, snapshot);
    let [top, bottom] = if wide {
        Layout::horizontal([Constraint::Length(super::SIDE), Constraint::Min(1)]).areas(area)
    } else {
        let wanted = facts.lines(area.width.saturating_sub(2), app.theme).len() + 2;
        let height = u16::try_from(wanted).unwrap_or(u16::MAX);
        let most = if roomy {
            area.height * 3 / 5
        } else {
            area.height / 2
        };
        Layout::vertical([Constraint::Length(height.min(most)), Constraint::Min(1)]).areas(area)
    };
    let inner = super::panel(buffer, top, app.theme, "Node", roomy);
    facts.draw(buffer, inner, app.theme);

    let items = items(snapshot, &app.list(app.screen).filter);
    let title = super::heading(app, "Log", items.len(), snapshot.log.len());
    let inner = super::panel(buffer, bottom, app.theme, &title, roomy);
    if items.is_empty() {
        super::nothing(app, buffer, inner, &["Nothing to report."]);
        return;
    }
    let cursor = app.list(app.screen).cursor;
    table::draw(
        buffer,
        inner,
        app.theme,
        &COLUMNS,
        (&items, Some(cursor)),
        |line| row(app, line),
    );
}

fn level_tone(level: &str) -> Tone {
    match level {
        "ERROR" => Tone::Error,
        "WARN" => Tone::Warn,
        _ => Tone::Muted,
    }
}

fn row(app: &App, line: &LogLine) -> Vec<Cell> {
    vec![
        cell(Tone::Plain, &line.text),
        cell(level_tone(&line.level), &line.level),
        cell(Tone::Muted, &text::span(app.now.since(line.time))),
    ]
}

/// Everything about the node, what matters most first: small screens cut the rest.
fn facts(app: &App, snapshot: &Snapshot) -> Sheet {
    let status = &snapshot.status;
    let mut sheet = Sheet::new("Node");
    let (tone, takes) = match status.accepting {
        Accepting::Yes => (Tone::Ok, "yes"),
        Accepting::Paused => (Tone::Warn, "paused (p resumes)"),
        Accepting::Never => (Tone::Muted, "never: requester only"),
    };
    sheet.fact(
        "device",
        &format!("{}, {} units", device(&status.device), status.device.units),
    );
    sheet.fact(
        "memory",
        &format!(
            "{} used, {} for models",
            status.memory, status.device.memory
        ),
    );
    sheet.fact("energy", &format!("{:.1} J spent on jobs", status.energy_j));
    sheet.toned("takes jobs", tone, takes);
    sheet.fact(
        "open",
        &format!(
            "{} asked, {} for others",
            status.jobs_open, status.work_open
        ),
    );
    for addr in &status.listening {
        sheet.fact("listening", addr);
    }
    if status.dropped.is_empty() {
        sheet.fact("dropped", "no messages");
    }
    for dropped in &status.dropped {
        sheet.toned(
            "dropped",
            Tone::Warn,
            &format!("{} {}", dropped.count, dropped.reason),
        );
    }
    sheet.fact(
        "balance",
        &format!("{}, of it pending {}", status.balance, status.pending),
    );
    sheet.fact("entries", &status.entries.to_string());
    sheet.fact("digest", status.digest.as_deref().unwrap_or("-"));
    let up = text::span(app.now.since(status.started));
    sheet.fact(
        "running",
        &format!("version {}, pid {}, for {up}", status.version, status.pid),
    );
    sheet.fact("home", &status.home);
    sheet.fact("id", &status.node.to_string());
    sheet
}

pub(super) fn detail(app: &App, snapshot: &Snapshot, line: &LogLine) -> Sheet {
    let mut sheet = Sheet::new("Log line and node");
    sheet.toned("level", level_tone(&line.level), &line.level);
    sheet.fact("when", &text::ago(app.now, line.time));
    sheet.fact("what", &line.text);
    sheet.gap();
    sheet.extend(facts(app, snapshot));
    sheet
}
