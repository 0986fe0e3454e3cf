//! What surrounds every screen: header, tabs, the banner while the node is away, footer.

use hearth_protocol::capacity::Accepting;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::app::App;
use crate::feed::Link;
use crate::keymap::{Action, Focus, KEYMAP, Screen};
use crate::screen::Row;
use crate::text::{self, Side};
use crate::theme::Tone;
use crate::update::applies;

/// Below this width words are shortened.
const NARROW: u16 = 70;

/// Who this is, and how it is doing.
pub(crate) fn header(app: &App, buffer: &mut Buffer, area: Rect) {
    let narrow = area.width < NARROW;
    let Some(snapshot) = app.feed.snapshot() else {
        let words = match app.feed.link() {
            Link::Waiting | Link::Up => "hearth · looking for the node",
            Link::Away(_) => "hearth · no data yet",
        };
        Line::styled(words, app.theme.style(Tone::Title)).render(area, buffer);
        return;
    };
    let status = &snapshot.status;
    let mut facts = Vec::new();
    if app.feed.is_frozen() {
        facts.push("FROZEN".to_owned());
    }
    if status.accepting == Accepting::Paused {
        facts.push("paused".to_owned());
    }
    facts.push(format!("{} kudos", status.balance));
    let connected = if narrow { "up" } else { "connected" };
    facts.push(format!("{} {connected}", status.connected));
    let age = app.now.since(app.feed.at());
    facts.push(if narrow {
        text::span(age)
    } else {
        text::ago(app.now, app.feed.at())
    });
    let facts = facts.join(" · ");

    let commons = status
        .commons
        .as_ref()
        .map(|commons| text::clean(&commons.name));
    let name = match text::clean(&status.nickname) {
        name if name.trim().is_empty() => status.node.short(),
        name => name,
    };
    let mut who = if narrow {
        name
    } else {
        format!("hearth · {name}")
    };
    who += " · ";
    who += commons.as_deref().unwrap_or("no commons");
    let room = usize::from(area.width).saturating_sub(text::width(&facts) + 1);
    Line::from(vec![
        Span::styled(
            text::fill(&who, room, Side::Left),
            app.theme.style(Tone::Title),
        ),
        Span::raw(" "),
        Span::raw(facts),
    ])
    .render(area, buffer);
}

/// The five screens by number.
pub(crate) fn tabs(app: &App, buffer: &mut Buffer, area: Rect) {
    let narrow = area.width < NARROW;
    let mut spans = Vec::new();
    for screen in Screen::ALL {
        let number = screen.index() + 1;
        let words = if narrow {
            format!("{number}{}", screen.title())
        } else {
            format!(" {number} {} ", screen.title())
        };
        let style = if screen == app.screen {
            app.theme.selection()
        } else {
            app.theme.style(Tone::Muted)
        };
        spans.push(Span::styled(words, style));
        spans.push(Span::raw(" "));
    }
    Line::from(spans).render(area, buffer);
}

/// Says that the node is away, why, and how old the data is.
pub(crate) fn banner(app: &App, buffer: &mut Buffer, area: Rect) {
    let Link::Away(why) = app.feed.link() else {
        return;
    };
    let mut words = String::from("reconnecting");
    if app.feed.snapshot().is_some() {
        let age = text::span(app.now.since(app.feed.at()));
        words = format!("{words} · data {age} old");
    }
    let words = format!(" {words} · {why}");
    let words = text::fill(&words, usize::from(area.width), Side::Left);
    Line::styled(words, app.theme.banner()).render(area, buffer);
}

/// What is going on, or else which keys apply.
pub(crate) fn footer(app: &App, buffer: &mut Buffer, area: Rect) {
    let cells = usize::from(area.width);
    if let Some(busy) = app.busy {
        Line::styled(format!("… {busy}"), app.theme.style(Tone::Accent)).render(area, buffer);
        return;
    }
    if let Some(note) = &app.note {
        let text = text::cut(&note.text, cells);
        Line::styled(text, app.theme.style(note.tone)).render(area, buffer);
        return;
    }
    let mut spans = Vec::new();
    let mut used = 0;
    let filter = &app.list(app.screen).filter;
    if app.focus() == Focus::Filter || !filter.is_empty() {
        let cursor = if app.typing { "▏" } else { "" };
        let words = text::cut(&format!("/{filter}{cursor}"), cells / 2);
        used = text::width(&words) + 2;
        spans.push(Span::styled(words, app.theme.style(Tone::Accent)));
        spans.push(Span::raw("  "));
    }
    for (key, short) in keys(app) {
        let more = text::width(&key) + 1 + text::width(short) + 2;
        if used + more > cells + 2 {
            break;
        }
        used += more;
        spans.push(Span::styled(key, app.theme.style(Tone::Accent)));
        spans.push(Span::styled(
            format!(" {short}  "),
            app.theme.style(Tone::Muted),
        ));
    }
    Line::from(spans).render(area, buffer);
}

/// Returns the keys that do something now, most useful first.
fn keys(app: &App) -> impl Iterator<Item = (String, &'static str)> {
    let focus = app.focus();
    KEYMAP
        .iter()
        .filter(move |binding| focus.has(binding.place) && !binding.short.is_empty())
        .filter(|binding| applies(app, binding.action))
        .map(|binding| {
            let short = if binding.action == Action::PauseOrResume && is_paused(app) {
                "resume"
            } else if binding.action == Action::Freeze && app.feed.is_frozen() {
                "unfreeze"
            } else if binding.action == Action::PinOrUnpin && is_pinned(app) {
                "unpin"
            } else {
                binding.short
            };
            (binding.keys[0].to_string(), short)
        })
}

fn is_paused(app: &App) -> bool {
    let snapshot = app.feed.snapshot();
    snapshot.is_some_and(|snapshot| snapshot.status.accepting == Accepting::Paused)
}

fn is_pinned(app: &App) -> bool {
    let selected = app.selected();
    app.feed.snapshot().is_some_and(|snapshot| {
        snapshot
            .cards
            .iter()
            .any(|card| card.pinned && selected == Some(Row::Card(card.card)))
    })
}
