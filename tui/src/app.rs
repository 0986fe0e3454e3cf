//! The state behind the picture: data, where the person is, and what is asked of them.

use hearth_protocol::control::{Command, Problem, Reply};
use hearth_protocol::snapshot::{Notice, Snapshot};
use hearth_protocol::unit::Timestamp;

use crate::feed::Feed;
use crate::keymap::{Focus, Key, Screen};
use crate::overlay::{Layer, Overlay};
use crate::screen::{self, Row};
use crate::theme::{Theme, Tone};

/// Everything that can happen to the dashboard.
#[derive(Debug)]
pub enum Message {
    /// A key was pressed.
    Key(Key),
    /// The terminal has this size, in cells.
    Resized {
        /// Columns.
        width: u16,
        /// Rows.
        height: u16,
    },
    /// Time passed; it is now so late.
    Tick(Timestamp),
    /// A snapshot came.
    Data(Box<Snapshot>),
    /// A notice came.
    Notice(Notice),
    /// The node does not answer, for this reason.
    Lost(String),
    /// The command that [`update`](crate::update()) returned was answered.
    Answered(Box<Result<Reply, Problem>>),
}

/// The dashboard's state. Changed by [`update`](crate::update()), drawn by [`view`](crate::view()).
#[derive(Debug)]
pub struct App {
    pub(crate) feed: Feed,
    pub(crate) screen: Screen,
    lists: [List; Screen::ALL.len()],
    /// Whether the keys go into the filter.
    pub(crate) typing: bool,
    /// Windows, the one with the keyboard last.
    pub(crate) layers: Vec<Layer>,
    pub(crate) note: Option<Note>,
    /// What is being waited for.
    pub(crate) busy: Option<&'static str>,
    pub(crate) theme: Theme,
    pub(crate) size: (u16, u16),
    pub(crate) now: Timestamp,
    pub(crate) over: bool,
    pub(crate) changed: bool,
}

/// Where a person is in a list.
#[derive(Debug, Default)]
pub(crate) struct List {
    pub(crate) cursor: usize,
    pub(crate) filter: String,
}

/// A line in the footer that goes away by itself.
#[derive(Debug)]
pub(crate) struct Note {
    pub(crate) tone: Tone,
    pub(crate) text: String,
    pub(crate) until: Timestamp,
}

impl App {
    /// Starts without data, on the first screen.
    pub fn new(theme: Theme) -> Self {
        Self {
            feed: Feed::new(),
            screen: Screen::Commons,
            lists: Default::default(),
            typing: false,
            layers: Vec::new(),
            note: None,
            busy: None,
            theme,
            size: (80, 24),
            now: Timestamp::ORIGIN,
            over: false,
            changed: true,
        }
    }

    /// Whether the person has left.
    pub const fn is_over(&self) -> bool {
        self.over
    }

    /// Whether there is something new to draw since the last call.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Returns the screen that is open.
    pub const fn screen(&self) -> Screen {
        self.screen
    }

    pub(crate) const fn list(&self, screen: Screen) -> &List {
        &self.lists[screen.index()]
    }

    pub(crate) const fn list_mut(&mut self, screen: Screen) -> &mut List {
        &mut self.lists[screen.index()]
    }

    /// Returns what the cursor of the open screen is on.
    pub(crate) fn selected(&self) -> Option<Row> {
        let mut rows = screen::rows(self, self.screen);
        let cursor = self.list(self.screen).cursor;
        (cursor < rows.len()).then(|| rows.swap_remove(cursor))
    }

    /// Returns what has the keyboard.
    pub(crate) fn focus(&self) -> Focus {
        match self.layers.last().map(|layer| &layer.overlay) {
            Some(Overlay::Confirm { .. }) => Focus::Confirm,
            Some(Overlay::Help | Overlay::Detail(_) | Overlay::Sheet(_)) => Focus::Overlay,
            None if self.typing => Focus::Filter,
            None => Focus::Screen(self.screen),
        }
    }

    pub(crate) fn open(&mut self, overlay: Overlay) {
        self.layers.push(Layer { overlay, scroll: 0 });
    }

    /// Returns how far a page key goes.
    pub(crate) fn page(&self) -> usize {
        usize::from(self.size.1.saturating_sub(8).max(1))
    }

    pub(crate) fn accept_command(&self) -> Option<Command> {
        match self.layers.last().map(|layer| &layer.overlay) {
            Some(Overlay::Confirm { command, .. }) => Some(command.clone()),
            Some(Overlay::Help | Overlay::Detail(_) | Overlay::Sheet(_)) | None => None,
        }
    }
}
