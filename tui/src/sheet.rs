//! A page of facts: what detail windows, side panels, the help and answers are made of.
//!
//! Everything put into a sheet is cleaned here, so no caller can forget it.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::text::{self, Side};
use crate::theme::{Theme, Tone};

/// Most parts of a sheet; what a person would scroll through.
const PARTS_MAX: usize = 4_000;

/// A titled page.
#[derive(Debug, Clone)]
pub(crate) struct Sheet {
    pub(crate) title: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Fact {
        label: String,
        value: String,
        tone: Tone,
    },
    Text(Tone, String),
    Gap,
}

impl Sheet {
    pub(crate) fn new(title: &str) -> Self {
        Self {
            title: text::clean(title),
            parts: Vec::new(),
        }
    }

    pub(crate) fn fact(&mut self, label: &str, value: &str) {
        self.toned(label, Tone::Plain, value);
    }

    pub(crate) fn toned(&mut self, label: &str, tone: Tone, value: &str) {
        self.push(Part::Fact {
            label: text::clean(label),
            value: text::clean(value),
            tone,
        });
    }

    pub(crate) fn text(&mut self, tone: Tone, text: &str) {
        self.push(Part::Text(tone, text::clean(text)));
    }

    pub(crate) fn gap(&mut self) {
        self.push(Part::Gap);
    }

    fn push(&mut self, part: Part) {
        if self.parts.len() < PARTS_MAX {
            self.parts.push(part);
        }
    }

    /// Puts another sheet's parts below this one's.
    pub(crate) fn extend(&mut self, other: Self) {
        for part in other.parts {
            self.push(part);
        }
    }

    /// Lays it out in so many cells.
    pub(crate) fn lines(&self, cells: u16, theme: Theme) -> Vec<Line<'static>> {
        let cells = usize::from(cells);
        let labels = self
            .parts
            .iter()
            .filter_map(|part| match part {
                Part::Fact { label, .. } => Some(text::width(label)),
                Part::Text(..) | Part::Gap => None,
            })
            .max()
            .unwrap_or(0)
            .min(cells / 2);
        let mut lines = Vec::new();
        for part in &self.parts {
            match part {
                Part::Gap => lines.push(Line::default()),
                Part::Text(tone, text) => lines.extend(
                    text::wrap(text, cells)
                        .into_iter()
                        .map(|line| Line::styled(line, theme.style(*tone))),
                ),
                Part::Fact { label, value, tone } => {
                    let room = cells.saturating_sub(labels + 2);
                    for (row, value) in text::wrap(value, room).into_iter().enumerate() {
                        let label = if row == 0 { label.as_str() } else { "" };
                        let label = text::fill(label, labels, Side::Left) + "  ";
                        lines.push(Line::from(vec![
                            Span::styled(label, theme.style(Tone::Muted)),
                            Span::styled(value, theme.style(*tone)),
                        ]));
                    }
                }
            }
        }
        lines
    }

    /// Draws as much as there is room for.
    pub(crate) fn draw(&self, buffer: &mut Buffer, area: Rect, theme: Theme) {
        draw_lines(&self.lines(area.width, theme), buffer, area);
    }
}

/// Draws lines from the top of an area, cut at its edges.
pub(crate) fn draw_lines(lines: &[Line<'_>], buffer: &mut Buffer, area: Rect) {
    for (line, row) in lines.iter().zip(area.rows()) {
        line.render(row, buffer);
    }
}
