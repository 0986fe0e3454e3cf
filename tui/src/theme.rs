//! Looks by meaning: screens name a [`Tone`], the theme decides what that looks like.
//!
//! No meaning rests on colour alone: a symbol or a word always says the same. Without colour the
//! theme asks for none at all, instead of asking and having it dropped on the way.

use ratatui::style::{Color, Modifier, Style};

/// How much colour the terminal shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// None: bold, dim and reverse only.
    Mono,
    /// The 16 and 256 colour palettes.
    Palette,
    /// 24 bits.
    True,
}

/// What a piece of text means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Ok,
    Warn,
    Error,
    Accent,
    Muted,
    Title,
}

/// A way to draw tones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Theme {
    depth: Depth,
}

impl Theme {
    /// Makes a theme for a depth.
    pub const fn new(depth: Depth) -> Self {
        Self { depth }
    }

    /// Chooses by the values of `NO_COLOR`, `COLORTERM` and `TERM`.
    pub fn chosen_by(no_color: Option<&str>, colorterm: Option<&str>, term: Option<&str>) -> Self {
        let depth = if no_color.is_some_and(|value| !value.is_empty()) || term == Some("dumb") {
            Depth::Mono
        } else if matches!(colorterm, Some("truecolor" | "24bit")) {
            Depth::True
        } else {
            Depth::Palette
        };
        Self { depth }
    }

    pub(crate) fn style(self, tone: Tone) -> Style {
        let style = Style::new();
        if self.depth == Depth::Mono {
            return match tone {
                Tone::Plain | Tone::Ok => style,
                Tone::Warn | Tone::Accent | Tone::Title => style.add_modifier(Modifier::BOLD),
                Tone::Error => style.add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
                Tone::Muted => style.add_modifier(Modifier::DIM),
            };
        }
        match tone {
            Tone::Plain => style,
            Tone::Ok => style.fg(Color::Green),
            Tone::Warn => style.fg(Color::Yellow),
            Tone::Error => style.fg(Color::Red).add_modifier(Modifier::BOLD),
            Tone::Accent => style.fg(Color::Cyan),
            Tone::Muted => style.fg(Color::DarkGray),
            Tone::Title => style.add_modifier(Modifier::BOLD),
        }
    }

    /// The chosen row, tab or answer.
    pub(crate) fn selection(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// A line across the screen that must be seen.
    pub(crate) fn banner(self) -> Style {
        match self.depth {
            Depth::Mono => Style::new().add_modifier(Modifier::BOLD | Modifier::REVERSED),
            Depth::Palette | Depth::True => Style::new().fg(Color::Black).bg(Color::Yellow),
        }
    }

    /// Laid over data that may be old.
    pub(crate) fn faded(self) -> Style {
        let style = Style::new()
            .remove_modifier(Modifier::BOLD)
            .add_modifier(Modifier::DIM);
        match self.depth {
            Depth::Mono => style,
            Depth::Palette | Depth::True => style.fg(Color::DarkGray).bg(Color::Reset),
        }
    }

    /// Returns the colour of a pixel, if there are colours.
    pub(crate) fn pixel(self, [red, green, blue]: [u8; 3]) -> Option<Color> {
        match self.depth {
            Depth::Mono => None,
            Depth::True => Some(Color::Rgb(red, green, blue)),
            Depth::Palette => {
                // The 6x6x6 cube of the 256-colour palette.
                let level = |part: u8| u8::try_from((u16::from(part) * 5 + 127) / 255).unwrap_or(5);
                let index = 16 + 36 * level(red) + 6 * level(green) + level(blue);
                Some(Color::Indexed(index))
            }
        }
    }
}
