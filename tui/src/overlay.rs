//! Windows over a screen: help, details, answers, and the question before something is undone.

use hearth_protocol::control::Command;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Widget};

use crate::app::App;
use crate::keymap::{KEYMAP, Place, Screen};
use crate::screen::{self, Row};
use crate::sheet::{Sheet, draw_lines};
use crate::theme::Tone;

/// Widest useful window.
const WIDTH_MAX: u16 = 78;

/// A window.
#[derive(Debug)]
pub(crate) enum Overlay {
    Help,
    /// Everything about one line, as it is now.
    Detail(Row),
    /// An answer, as it was given.
    Sheet(Sheet),
    /// A question whose default is no.
    Confirm {
        question: String,
        command: Command,
    },
}

/// A window and how far it is scrolled.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) overlay: Overlay,
    pub(crate) scroll: usize,
}

/// The help, from the one table of keys.
pub(crate) fn help() -> Sheet {
    let mut sheet = Sheet::new("Help");
    let places = [Place::Screens]
        .into_iter()
        .chain(Screen::ALL.map(Place::On))
        .chain([
            Place::Filter,
            Place::Overlay,
            Place::Confirm,
            Place::Anywhere,
        ]);
    for place in places {
        let mut bindings = KEYMAP
            .iter()
            .filter(|binding| binding.place == place)
            .peekable();
        if bindings.peek().is_none() {
            continue;
        }
        sheet.text(Tone::Title, place.title());
        for binding in bindings {
            let keys: Vec<String> = binding.keys.iter().map(ToString::to_string).collect();
            sheet.fact(&format!("  {}", keys.join(" ")), binding.help);
        }
        sheet.gap();
    }
    sheet.text(Tone::Title, "Signs");
    sheet.fact("  ● ○", "connected, away");
    sheet.fact("  ✗", "blocked, or failed");
    sheet.fact("  ◆", "pinned: kept and served");
    sheet.fact("  → ←", "asked of a member, done for a member");
    sheet
}

fn page(app: &App, overlay: &Overlay) -> Sheet {
    match overlay {
        Overlay::Help => help(),
        Overlay::Detail(row) => screen::sheet(app, row),
        Overlay::Sheet(sheet) => sheet.clone(),
        Overlay::Confirm { question, .. } => {
            let mut sheet = Sheet::new("Are you sure?");
            sheet.text(Tone::Warn, question);
            sheet.gap();
            sheet.fact("y", "yes");
            sheet.fact("n, Enter", "no (default)");
            sheet
        }
    }
}

/// Lays a window out in an area: its lines and its frame.
fn laid_out(app: &App, overlay: &Overlay, area: Rect) -> (String, Vec<Line<'static>>, Rect) {
    let width = area.width.min(WIDTH_MAX);
    let sheet = page(app, overlay);
    let lines = sheet.lines(width.saturating_sub(4), app.theme);
    let height = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX);
    let height = height.min(area.height);
    let frame = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    };
    (sheet.title, lines, frame)
}

/// The rows that windows may cover: all but the footer.
fn room(area: Rect) -> Rect {
    Rect {
        height: area.height.saturating_sub(1),
        ..area
    }
}

/// Returns how far the top window can be scrolled.
pub(crate) fn scroll_max(app: &App) -> usize {
    let Some(layer) = app.layers.last() else {
        return 0;
    };
    let area = room(Rect::new(0, 0, app.size.0, app.size.1));
    let (_, lines, frame) = laid_out(app, &layer.overlay, area);
    lines
        .len()
        .saturating_sub(usize::from(frame.height.saturating_sub(2)))
}

/// Draws every window, the top one last.
pub(crate) fn draw(app: &App, buffer: &mut Buffer, area: Rect) {
    for layer in &app.layers {
        let (title, lines, frame) = laid_out(app, &layer.overlay, room(area));
        let shown = usize::from(frame.height.saturating_sub(2));
        let last = lines.len().saturating_sub(shown);
        let first = layer.scroll.min(last);
        let mut block = Block::bordered()
            .border_style(app.theme.style(Tone::Accent))
            .title(format!(" {title} "));
        if last > 0 {
            let end = first + shown;
            block = block.title_bottom(format!(" {end}/{} ", lines.len()));
        }
        Clear.render(frame, buffer);
        let inner = block.inner(frame);
        block.render(frame, buffer);
        let inner = Rect {
            x: inner.x + 1,
            width: inner.width.saturating_sub(2),
            ..inner
        };
        draw_lines(&lines[first..], buffer, inner);
    }
}
