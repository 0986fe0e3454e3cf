//! Screens at three sizes, what keys do, and the table of keys itself.

mod keys;
mod screens;
mod updates;
pub(crate) mod world;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;

use hearth_protocol::control::Command;
use hearth_protocol::snapshot::Snapshot;
use hearth_protocol::unit::Timestamp;

use crate::keymap::Screen;
use crate::theme::{Depth, Theme};
use crate::{App, Key, Message, update, view};

/// When the tests happen.
const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn app(data: Option<Snapshot>) -> App {
    let mut app = App::new(Theme::new(Depth::True));
    update(&mut app, Message::Tick(NOW));
    if let Some(data) = data {
        update(&mut app, Message::Data(Box::new(data)));
    }
    app
}

fn press(app: &mut App, keys: &str) -> Option<Command> {
    let mut asked = None;
    for key in keys.chars() {
        asked = tap(app, Key::Char(key)).or(asked);
    }
    asked
}

fn tap(app: &mut App, key: Key) -> Option<Command> {
    update(app, Message::Key(key))
}

fn open(app: &mut App, screen: Screen) {
    let number = char::from_digit(u32::try_from(screen.index() + 1).unwrap(), 10).unwrap();
    tap(app, Key::Char(number));
}

fn picture(app: &mut App, (width, height): (u16, u16)) -> Buffer {
    update(app, Message::Resized { width, height });
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view(app, frame)).unwrap();
    terminal.backend().buffer().clone()
}

/// The picture as lines of text.
fn shown(app: &mut App, size: (u16, u16)) -> String {
    let picture = picture(app, size);
    let mut text = String::new();
    for y in 0..size.1 {
        let mut x = 0;
        while x < size.0 {
            let symbol = picture[(x, y)].symbol();
            text.push_str(symbol);
            x += u16::try_from(crate::text::width(symbol).max(1)).unwrap();
        }
        text.push('\n');
    }
    text
}
