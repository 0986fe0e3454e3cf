//! The only code with a terminal and a clock: keys in, pictures out, a snapshot now and then.

use std::error::Error;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hearth_protocol::snapshot::Notice;
use hearth_protocol::unit::Timestamp;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::app::{App, Message};
use crate::keymap::Key;
use crate::source::Source;
use crate::theme::Theme;
use crate::update::update;
use crate::view::view;

/// How long to wait for a key before looking at the node.
const TICK: Duration = Duration::from_millis(200);
/// Snapshots are this far apart at least, however much changes.
const SNAPSHOT_PERIOD_MIN: Duration = Duration::from_millis(250);
/// Snapshots are this far apart at most, and while the node is away.
const SNAPSHOT_PERIOD_MAX: Duration = Duration::from_secs(2);
/// Most terminal events taken before the next picture: a pasted book must not stop the screen.
const EVENTS_MAX: usize = 64;

/// Why the dashboard cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum TuiError {
    /// Input or output is a file or a pipe.
    #[error("the dashboard needs a terminal; `hearth status --json` does not")]
    NotATerminal,
    /// The terminal cannot be set up.
    #[error("cannot set the terminal up")]
    Open(#[source] io::Error),
    /// The terminal takes no picture.
    #[error("cannot draw")]
    Draw(#[source] io::Error),
    /// The terminal gives no keys.
    #[error("cannot read keys")]
    Read(#[source] io::Error),
    /// The terminal cannot be set back; `reset` does it.
    #[error("cannot restore the terminal; type `reset`")]
    Close(#[source] io::Error),
}

/// Shows the dashboard until the person leaves it, in colours the environment allows.
///
/// # Errors
/// [`TuiError`], with the terminal restored as far as possible. A node that is away is no error.
pub fn run(source: &mut dyn Source) -> Result<(), TuiError> {
    let value = |name| std::env::var(name).ok();
    let (no_color, colorterm, term) = (value("NO_COLOR"), value("COLORTERM"), value("TERM"));
    let theme = Theme::chosen_by(no_color.as_deref(), colorterm.as_deref(), term.as_deref());
    run_with(source, theme)
}

/// Shows the dashboard in a theme.
///
/// # Errors
/// As [`run`].
pub fn run_with(source: &mut dyn Source, theme: Theme) -> Result<(), TuiError> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(TuiError::NotATerminal);
    }
    // Sets a panic hook too, which restores the screen before the message is printed.
    let mut terminal = ratatui::try_init().map_err(TuiError::Open)?;
    let outcome = watch(&mut terminal, source, theme);
    let closed = ratatui::try_restore().map_err(TuiError::Close);
    outcome.and(closed)
}

fn watch(
    terminal: &mut DefaultTerminal,
    source: &mut dyn Source,
    theme: Theme,
) -> Result<(), TuiError> {
    let mut app = App::new(theme);
    let mut pace = Pace::default();
    let size = terminal.size().map_err(TuiError::Open)?;
    resize(&mut app, size.width, size.height);
    while !app.is_over() {
        update(&mut app, Message::Tick(now()));
        feed(&mut app, source, &mut pace, Instant::now());
        draw(terminal, &mut app)?;
        let mut wait = TICK;
        for _ in 0..EVENTS_MAX {
            if app.is_over() || !event::poll(wait).map_err(TuiError::Read)? {
                break;
            }
            wait = Duration::ZERO;
            let Some(message) = translate(&event::read().map_err(TuiError::Read)?) else {
                continue;
            };
            if let Some(command) = update(&mut app, message) {
                draw(terminal, &mut app)?;
                let answer = source.execute(command);
                update(&mut app, Message::Answered(Box::new(answer)));
                pace.hurry();
            }
        }
    }
    Ok(())
}

fn draw(terminal: &mut DefaultTerminal, app: &mut App) -> Result<(), TuiError> {
    if app.take_changed() {
        let drawn = terminal.draw(|frame| view(app, frame));
        drawn.map_err(TuiError::Draw)?;
    }
    Ok(())
}

fn resize(app: &mut App, width: u16, height: u16) {
    update(app, Message::Resized { width, height });
}

/// When the next snapshot is due.
#[derive(Debug, Default)]
struct Pace {
    last: Option<Instant>,
    stale: bool,
}

impl Pace {
    fn is_due(&self, now: Instant) -> bool {
        let period = if self.stale {
            SNAPSHOT_PERIOD_MIN
        } else {
            SNAPSHOT_PERIOD_MAX
        };
        self.last
            .is_none_or(|last| now.duration_since(last) >= period)
    }

    const fn hurry(&mut self) {
        self.stale = true;
    }

    const fn taken(&mut self, now: Instant) {
        self.last = Some(now);
        self.stale = false;
    }
}

/// Takes what the node has to say.
fn feed(app: &mut App, source: &mut dyn Source, pace: &mut Pace, now: Instant) {
    for notice in source.notices() {
        match notice {
            Notice::Changed => pace.hurry(),
            Notice::Job { .. } => {
                update(app, Message::Notice(notice));
            }
        }
    }
    if pace.is_due(now) {
        pace.taken(now);
        let message = match source.snapshot() {
            Ok(snapshot) => Message::Data(Box::new(snapshot)),
            Err(error) => Message::Lost(chain(&error)),
        };
        update(app, message);
    }
}

/// An error with everything behind it, in one line.
fn chain(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        words = format!("{words}: {error}");
        next = error.source();
    }
    words
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let ms = since.map_or(0, |since| since.as_millis());
    Timestamp::from_millis(u64::try_from(ms).unwrap_or(u64::MAX))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "most of what terminals can say means nothing here"
)]
fn translate(event: &Event) -> Option<Message> {
    match event {
        Event::Key(pressed) if pressed.kind != KeyEventKind::Release => {
            key(*pressed).map(Message::Key)
        }
        Event::Resize(width, height) => Some(Message::Resized {
            width: *width,
            height: *height,
        }),
        _ => None,
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "most keys of most keyboards mean nothing here"
)]
fn key(pressed: KeyEvent) -> Option<Key> {
    if pressed
        .modifiers
        .intersects(KeyModifiers::ALT | KeyModifiers::SUPER)
    {
        return None;
    }
    let control = pressed.modifiers.contains(KeyModifiers::CONTROL);
    Some(match pressed.code {
        KeyCode::Char(letter) if control => Key::Ctrl(letter.to_ascii_lowercase()),
        KeyCode::Char(letter) => Key::Char(letter),
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Esc,
        KeyCode::BackTab => Key::BackTab,
        KeyCode::Tab if pressed.modifiers.contains(KeyModifiers::SHIFT) => Key::BackTab,
        KeyCode::Tab => Key::Tab,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Backspace => Key::Backspace,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::io;

    use hearth_protocol::control::{Command, Problem, ProblemKind, Reply};
    use hearth_protocol::snapshot::Snapshot;

    use super::*;
    use crate::source::SourceError;
    use crate::tests::world;
    use crate::theme::Depth;

    struct Script {
        away: bool,
        asked: u32,
        notices: Vec<Notice>,
    }

    impl Source for Script {
        fn snapshot(&mut self) -> Result<Snapshot, SourceError> {
            self.asked += 1;
            if self.away {
                let cause = io::Error::from(io::ErrorKind::ConnectionRefused);
                return Err(SourceError::Unreachable(Box::new(cause)));
            }
            Ok(world::typical())
        }

        fn notices(&mut self) -> Vec<Notice> {
            std::mem::take(&mut self.notices)
        }

        fn execute(&mut self, _command: Command) -> Result<Reply, Problem> {
            Err(Problem::new(ProblemKind::Failed, "no"))
        }
    }

    #[test]
    fn a_node_that_went_away_keeps_its_last_data_and_comes_back() {
        let mut app = App::new(Theme::new(Depth::Mono));
        let mut source = Script {
            away: false,
            asked: 0,
            notices: Vec::new(),
        };
        let (mut pace, start) = (Pace::default(), Instant::now());
        feed(&mut app, &mut source, &mut pace, start);
        assert!(app.feed.snapshot().is_some() && !app.feed.is_away());
        source.away = true;
        feed(
            &mut app,
            &mut source,
            &mut pace,
            start + SNAPSHOT_PERIOD_MAX,
        );
        assert!(app.feed.snapshot().is_some() && app.feed.is_away());
        source.away = false;
        feed(
            &mut app,
            &mut source,
            &mut pace,
            start + SNAPSHOT_PERIOD_MAX * 2,
        );
        assert!(!app.feed.is_away());
    }

    #[test]
    fn snapshots_are_read_when_something_changed_but_not_too_often() {
        let mut app = App::new(Theme::new(Depth::Mono));
        let mut source = Script {
            away: false,
            asked: 0,
            notices: Vec::new(),
        };
        let (mut pace, start) = (Pace::default(), Instant::now());
        feed(&mut app, &mut source, &mut pace, start);
        source.notices = vec![Notice::Changed; 9];
        feed(&mut app, &mut source, &mut pace, start);
        assert_eq!(source.asked, 1, "the second has to wait");
        feed(
            &mut app,
            &mut source,
            &mut pace,
            start + SNAPSHOT_PERIOD_MIN,
        );
        assert_eq!(source.asked, 2);
        feed(
            &mut app,
            &mut source,
            &mut pace,
            start + SNAPSHOT_PERIOD_MIN * 2,
        );
        assert_eq!(source.asked, 2, "nothing changed since");
    }

    #[test]
    fn keys_are_translated() {
        let press = |code, modifiers| key(KeyEvent::new(code, modifiers));
        assert_eq!(
            press(KeyCode::Char('c'), KeyModifiers::CONTROL),
            Some(Key::Ctrl('c'))
        );
        assert_eq!(
            press(KeyCode::Char('P'), KeyModifiers::SHIFT),
            Some(Key::Char('P'))
        );
        assert_eq!(press(KeyCode::Tab, KeyModifiers::SHIFT), Some(Key::BackTab));
        assert_eq!(press(KeyCode::Char('q'), KeyModifiers::ALT), None);
        let mut released = KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE);
        released.kind = KeyEventKind::Release;
        assert!(translate(&Event::Key(released)).is_none());
    }

    #[test]
    fn causes_are_told_in_one_line() {
        let cause = io::Error::other("refused");
        let error = SourceError::Unreachable(Box::new(cause));
        assert_eq!(chain(&error), "the node does not answer: refused");
    }
}
