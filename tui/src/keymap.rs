//! What keys do: one table that decides, and that the help and the footer are made from.

use std::fmt;

/// A key as pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A character, capitals with their shift.
    Char(char),
    /// A character with Ctrl, lower case.
    Ctrl(char),
    /// Enter.
    Enter,
    /// Escape.
    Esc,
    /// Tab.
    Tab,
    /// Shift-Tab.
    BackTab,
    /// Arrow up.
    Up,
    /// Arrow down.
    Down,
    /// Arrow left.
    Left,
    /// Arrow right.
    Right,
    /// Home.
    Home,
    /// End.
    End,
    /// Page up.
    PageUp,
    /// Page down.
    PageDown,
    /// Backspace.
    Backspace,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Char(letter) => write!(f, "{letter}"),
            Self::Ctrl(letter) => write!(f, "Ctrl-{}", letter.to_ascii_uppercase()),
            Self::Enter => f.write_str("Enter"),
            Self::Esc => f.write_str("Esc"),
            Self::Tab => f.write_str("Tab"),
            Self::BackTab => f.write_str("Shift-Tab"),
            Self::Up => f.write_str("↑"),
            Self::Down => f.write_str("↓"),
            Self::Left => f.write_str("←"),
            Self::Right => f.write_str("→"),
            Self::Home => f.write_str("Home"),
            Self::End => f.write_str("End"),
            Self::PageUp => f.write_str("PgUp"),
            Self::PageDown => f.write_str("PgDn"),
            Self::Backspace => f.write_str("Backspace"),
        }
    }
}

/// One of the five screens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Screen {
    /// Members and what they can do.
    Commons,
    /// Jobs, their steps and previews.
    Jobs,
    /// Cards, seeders and transfers.
    Models,
    /// Balances and entries.
    Ledger,
    /// The node itself and its log.
    Node,
}

impl Screen {
    /// All of them, in order of their numbers.
    pub const ALL: [Self; 5] = [
        Self::Commons,
        Self::Jobs,
        Self::Models,
        Self::Ledger,
        Self::Node,
    ];

    /// Returns its place among all.
    pub const fn index(self) -> usize {
        match self {
            Self::Commons => 0,
            Self::Jobs => 1,
            Self::Models => 2,
            Self::Ledger => 3,
            Self::Node => 4,
        }
    }

    /// Returns its name.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Commons => "Commons",
            Self::Jobs => "Jobs",
            Self::Models => "Models",
            Self::Ledger => "Ledger",
            Self::Node => "Node",
        }
    }

    /// Returns the screen so many to the right, round and round.
    #[must_use]
    pub const fn shifted(self, by: usize) -> Self {
        Self::ALL[(self.index() + by) % Self::ALL.len()]
    }
}

/// What a key makes happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Quit,
    Back,
    Go(Screen),
    NextScreen,
    PreviousScreen,
    Up,
    Down,
    First,
    Last,
    PageUp,
    PageDown,
    Detail,
    Filter,
    FilterKeep,
    FilterErase,
    FilterClear,
    Freeze,
    Help,
    PauseOrResume,
    Cancel,
    PinOrUnpin,
    Why,
    Audit,
    Yes,
    No,
}

/// Where a binding holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Anywhere,
    Screens,
    On(Screen),
    Filter,
    Overlay,
    Confirm,
}

impl Place {
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Anywhere => "Anywhere",
            Self::Screens => "On every screen",
            Self::On(screen) => screen.title(),
            Self::Filter => "While filtering",
            Self::Overlay => "In a window",
            Self::Confirm => "When asked",
        }
    }
}

/// What has the keyboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Focus {
    Screen(Screen),
    Filter,
    Overlay,
    Confirm,
}

impl Focus {
    pub(crate) fn has(self, place: Place) -> bool {
        match place {
            Place::Anywhere => true,
            Place::Screens => matches!(self, Self::Screen(_)),
            Place::On(screen) => self == Self::Screen(screen),
            Place::Filter => self == Self::Filter,
            Place::Overlay => self == Self::Overlay,
            Place::Confirm => self == Self::Confirm,
        }
    }
}

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Binding {
    pub(crate) keys: &'static [Key],
    pub(crate) action: Action,
    pub(crate) place: Place,
    /// For the help.
    pub(crate) help: &'static str,
    /// For the footer; empty keeps it out.
    pub(crate) short: &'static str,
}

const fn bind(
    place: Place,
    keys: &'static [Key],
    action: Action,
    help: &'static str,
    short: &'static str,
) -> Binding {
    Binding {
        keys,
        action,
        place,
        help,
        short,
    }
}

/// Every key there is. The footer shows bindings in this order.
pub(crate) const KEYMAP: &[Binding] = {
    use Key::{Backspace, Char, Ctrl, Down, End, Enter, Esc, Home, Left, PageDown, PageUp, Right};
    use Place::{Anywhere, Confirm, Filter, On, Overlay, Screens};
    &[
        bind(
            Screens,
            &[Char('?')],
            Action::Help,
            "show this help",
            "help",
        ),
        bind(
            Screens,
            &[Char('q'), Esc],
            Action::Back,
            "clear the filter, or quit",
            "quit",
        ),
        bind(
            On(Screen::Commons),
            &[Char('w')],
            Action::Why,
            "explain this member's balance",
            "why",
        ),
        bind(
            On(Screen::Jobs),
            &[Char('c')],
            Action::Cancel,
            "cancel this job (asks first)",
            "cancel",
        ),
        bind(
            On(Screen::Models),
            &[Char('P')],
            Action::PinOrUnpin,
            "pin or unpin this model",
            "pin",
        ),
        bind(
            On(Screen::Ledger),
            &[Char('w')],
            Action::Why,
            "explain my balance, line by line",
            "why",
        ),
        bind(
            On(Screen::Ledger),
            &[Char('a')],
            Action::Audit,
            "check everything from the signed bytes",
            "audit",
        ),
        bind(
            Screens,
            &[Enter],
            Action::Detail,
            "show everything about this line",
            "detail",
        ),
        bind(
            Screens,
            &[Char('/')],
            Action::Filter,
            "show only lines that contain a text",
            "filter",
        ),
        bind(
            Screens,
            &[Char('p')],
            Action::PauseOrResume,
            "pause or resume taking jobs",
            "pause",
        ),
        bind(
            Screens,
            &[Char('f')],
            Action::Freeze,
            "freeze the data, or let it move again",
            "freeze",
        ),
        bind(
            Screens,
            &[Char('1')],
            Action::Go(Screen::Commons),
            "members",
            "",
        ),
        bind(Screens, &[Char('2')], Action::Go(Screen::Jobs), "jobs", ""),
        bind(
            Screens,
            &[Char('3')],
            Action::Go(Screen::Models),
            "models",
            "",
        ),
        bind(
            Screens,
            &[Char('4')],
            Action::Go(Screen::Ledger),
            "ledger",
            "",
        ),
        bind(
            Screens,
            &[Char('5')],
            Action::Go(Screen::Node),
            "this node",
            "",
        ),
        bind(
            Screens,
            &[Key::Tab, Right, Char('l')],
            Action::NextScreen,
            "next screen",
            "",
        ),
        bind(
            Screens,
            &[Key::BackTab, Left, Char('h')],
            Action::PreviousScreen,
            "previous screen",
            "",
        ),
        bind(
            Screens,
            &[Down, Char('j')],
            Action::Down,
            "one line down",
            "",
        ),
        bind(
            Screens,
            &[Key::Up, Char('k')],
            Action::Up,
            "one line up",
            "",
        ),
        bind(
            Screens,
            &[PageDown, Ctrl('d')],
            Action::PageDown,
            "a page down",
            "",
        ),
        bind(
            Screens,
            &[PageUp, Ctrl('u')],
            Action::PageUp,
            "a page up",
            "",
        ),
        bind(Screens, &[Char('g'), Home], Action::First, "first line", ""),
        bind(Screens, &[Char('G'), End], Action::Last, "last line", ""),
        bind(
            Filter,
            &[Enter],
            Action::FilterKeep,
            "keep the filter",
            "keep",
        ),
        bind(
            Filter,
            &[Esc],
            Action::FilterClear,
            "clear the filter",
            "clear",
        ),
        bind(
            Filter,
            &[Backspace],
            Action::FilterErase,
            "erase a letter",
            "",
        ),
        bind(
            Overlay,
            &[Esc, Char('q'), Enter, Char('?')],
            Action::Back,
            "close the window",
            "close",
        ),
        bind(
            Overlay,
            &[Down, Char('j')],
            Action::Down,
            "one line down",
            "scroll",
        ),
        bind(
            Overlay,
            &[Key::Up, Char('k')],
            Action::Up,
            "one line up",
            "",
        ),
        bind(
            Overlay,
            &[PageDown, Ctrl('d')],
            Action::PageDown,
            "a page down",
            "",
        ),
        bind(
            Overlay,
            &[PageUp, Ctrl('u')],
            Action::PageUp,
            "a page up",
            "",
        ),
        bind(Overlay, &[Char('g'), Home], Action::First, "beginning", ""),
        bind(Overlay, &[Char('G'), End], Action::Last, "end", ""),
        bind(Confirm, &[Char('y'), Char('Y')], Action::Yes, "yes", "yes"),
        bind(
            Confirm,
            &[Char('n'), Char('N'), Enter, Esc, Char('q')],
            Action::No,
            "no (default)",
            "no",
        ),
        bind(Anywhere, &[Ctrl('c')], Action::Quit, "quit at once", ""),
    ]
};

/// Returns what a key does.
pub(crate) fn action(focus: Focus, key: Key) -> Option<Action> {
    KEYMAP
        .iter()
        .find(|binding| focus.has(binding.place) && binding.keys.contains(&key))
        .map(|binding| binding.action)
}
