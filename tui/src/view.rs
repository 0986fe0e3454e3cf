//! Draws the state. Pure: the same state gives the same picture.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::text::Line;
use ratatui::widgets::Widget;

use crate::app::App;
use crate::{chrome, overlay, screen};

/// Fewest columns that are usable.
pub const WIDTH_MIN: u16 = 40;
/// Fewest rows that are usable.
pub const HEIGHT_MIN: u16 = 12;

/// Draws the dashboard into a frame of any size.
pub fn view(app: &App, frame: &mut Frame<'_>) {
    let area = frame.area();
    let buffer = frame.buffer_mut();
    if area.width < WIDTH_MIN || area.height < HEIGHT_MIN {
        let size = format!("{}x{}", area.width, area.height);
        for (words, row) in ["too small", &size, "need 40x12"].iter().zip(area.rows()) {
            Line::from(*words).render(row, buffer);
        }
        return;
    }
    let [header, tabs, banner, body, footer] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(u16::from(app.feed.is_away())),
        Constraint::Min(1),
        Constraint::Length(1),
    ])
    .areas(area);
    chrome::header(app, buffer, header);
    chrome::tabs(app, buffer, tabs);
    chrome::banner(app, buffer, banner);
    screen::draw(app, buffer, body);
    if app.feed.is_away() {
        buffer.set_style(header, app.theme.faded());
        buffer.set_style(body, app.theme.faded());
    }
    overlay::draw(app, buffer, area);
    chrome::footer(app, buffer, footer);
}
