//! The five screens, one file each: what rows there are, how they look, what is behind one.

mod commons;
mod jobs;
mod ledger;
mod models;
mod node;

use hearth_protocol::id::{CardId, EntryHash, JobId, NodeId};
use hearth_protocol::unit::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Block, Widget};

use crate::app::App;
use crate::feed::Link;
use crate::keymap::Screen;
use crate::sheet::{Sheet, draw_lines};
use crate::text;
use crate::theme::{Theme, Tone};

/// From this width on, what is behind the chosen line stands beside the list.
const WIDE: u16 = 110;
/// How wide that is.
const SIDE: u16 = 46;

/// Names a line of a list, whatever happens to the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Row {
    Peer(NodeId),
    Job(JobId),
    Card(CardId),
    Entry(EntryHash),
    Log(Timestamp, String),
}

/// Returns the lines of a screen, filtered, in order.
pub(crate) fn rows(app: &App, screen: Screen) -> Vec<Row> {
    let Some(snapshot) = app.feed.snapshot() else {
        return Vec::new();
    };
    let filter = app.list(screen).filter.as_str();
    match screen {
        Screen::Commons => commons::items(snapshot, filter)
            .iter()
            .map(|peer| Row::Peer(peer.node))
            .collect(),
        Screen::Jobs => jobs::items(app, snapshot, filter)
            .iter()
            .map(|job| Row::Job(job.job))
            .collect(),
        Screen::Models => models::items(app, snapshot, filter)
            .iter()
            .map(|card| Row::Card(card.card))
            .collect(),
        Screen::Ledger => ledger::items(app, snapshot, filter)
            .iter()
            .map(|entry| Row::Entry(entry.entry))
            .collect(),
        Screen::Node => node::items(snapshot, filter)
            .iter()
            .map(|line| Row::Log(line.time, line.text.clone()))
            .collect(),
    }
}

/// Returns everything about a line.
pub(crate) fn sheet(app: &App, row: &Row) -> Sheet {
    let found = app.feed.snapshot().and_then(|snapshot| match row {
        Row::Peer(node) => {
            let peer = snapshot.peers.iter().find(|peer| peer.node == *node);
            peer.map(|peer| commons::detail(app, snapshot, peer))
        }
        Row::Job(id) => {
            let job = snapshot.jobs.iter().find(|job| job.job == *id);
            job.map(|job| jobs::detail(app, job))
        }
        Row::Card(id) => {
            let card = snapshot.cards.iter().find(|card| card.card == *id);
            card.map(|card| models::detail(app, card))
        }
        Row::Entry(hash) => {
            let entry = snapshot.entries.iter().find(|entry| entry.entry == *hash);
            entry.map(|entry| ledger::detail(app, entry))
        }
        Row::Log(time, words) => {
            let mut lines = snapshot.log.iter();
            let line = lines.find(|line| line.time == *time && line.text == *words);
            line.map(|line| node::detail(app, snapshot, line))
        }
    });
    found.unwrap_or_else(|| {
        let mut sheet = Sheet::new("Gone");
        sheet.text(Tone::Muted, "This is no longer among what the node shows.");
        sheet
    })
}

/// Draws the open screen.
pub(crate) fn draw(app: &App, buffer: &mut Buffer, area: Rect) {
    let Some(snapshot) = app.feed.snapshot() else {
        let words: &[&str] = match app.feed.link() {
            Link::Waiting | Link::Up => &["Looking for the node …"],
            Link::Away(_) => &[
                "The node does not answer.",
                "Start it with: hearth up",
                "This page goes on by itself.",
            ],
        };
        empty(buffer, area, app.theme, words);
        return;
    };
    match app.screen {
        Screen::Commons => commons::draw(app, snapshot, buffer, area),
        Screen::Jobs => jobs::draw(app, snapshot, buffer, area),
        Screen::Models => models::draw(app, snapshot, buffer, area),
        Screen::Ledger => ledger::draw(app, snapshot, buffer, area),
        Screen::Node => node::draw(app, snapshot, buffer, area),
    }
}

/// Whether there is room for frames and second panels.
const fn is_roomy(area: Rect) -> bool {
    area.width >= 60 && area.height >= 16
}

/// Draws a frame with a title and returns what is inside; without room, neither.
fn panel(buffer: &mut Buffer, area: Rect, theme: Theme, title: &str, framed: bool) -> Rect {
    if !framed {
        return area;
    }
    let block = Block::bordered()
        .border_style(theme.style(Tone::Muted))
        .title(Line::styled(format!(" {title} "), theme.style(Tone::Title)));
    let inner = block.inner(area);
    block.render(area, buffer);
    inner
}

/// Returns a list's title: its name, how far the cursor is, and of how many.
fn heading(app: &App, name: &str, shown: usize, total: usize) -> String {
    let list = app.list(app.screen);
    let at = if shown == 0 { 0 } else { list.cursor + 1 };
    if list.filter.is_empty() {
        format!("{name} {at}/{shown}")
    } else {
        format!("{name} {at}/{shown} of {total}, with '{}'", list.filter)
    }
}

/// Says why there is nothing.
fn empty(buffer: &mut Buffer, area: Rect, theme: Theme, words: &[&str]) {
    let cells = usize::from(area.width.saturating_sub(2));
    let lines: Vec<Line<'_>> = words
        .iter()
        .flat_map(|words| text::wrap(words, cells))
        .map(|words| Line::styled(format!(" {words}"), theme.style(Tone::Muted)))
        .collect();
    draw_lines(&lines, buffer, area);
}

/// Says that a filter hides everything, or else why there is nothing.
fn nothing(app: &App, buffer: &mut Buffer, area: Rect, words: &[&str]) {
    let filter = &app.list(app.screen).filter;
    if filter.is_empty() {
        empty(buffer, area, app.theme, words);
    } else {
        let words = format!("Nothing contains '{filter}'. Esc clears the filter.");
        empty(buffer, area, app.theme, &[&words]);
    }
}

/// Draws what is behind the chosen line.
fn beside(app: &App, buffer: &mut Buffer, area: Rect) {
    let Some(row) = app.selected() else {
        panel(buffer, area, app.theme, "Nothing chosen", true);
        return;
    };
    let sheet = sheet(app, &row);
    let inner = panel(buffer, area, app.theme, &sheet.title, true);
    sheet.draw(buffer, inner, app.theme);
}
