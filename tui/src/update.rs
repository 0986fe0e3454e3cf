//! What each message does to the state. Pure: no clock, no terminal, no node.

use hearth_protocol::capacity::Accepting;
use hearth_protocol::control::{Command, WhyRequest};
use hearth_protocol::unit::{Millis, Timestamp};

use crate::answer::{Answer, answer};
use crate::app::{App, Message, Note};
use crate::feed::{Feed, Link};
use crate::keymap::{Action, Focus, Key, Screen, action};
use crate::overlay::{self, Overlay};
use crate::screen::{self, Row};
use crate::theme::Tone;

/// How long a note stays.
const NOTE_LIFE: Millis = Millis::from_secs(8);
/// Most letters of a filter.
const FILTER_LEN_MAX: usize = 64;

/// Applies a message. A returned command must be executed and answered with
/// [`Message::Answered`].
pub fn update(app: &mut App, message: Message) -> Option<Command> {
    match message {
        Message::Key(key) => {
            app.changed = true;
            app.note = None;
            return press(app, key);
        }
        Message::Resized { width, height } => {
            app.size = (width, height);
            clamp_scroll(app);
            app.changed = true;
        }
        Message::Tick(now) => tick(app, now),
        Message::Data(snapshot) => {
            let now = app.now;
            renew(app, |feed| feed.take(snapshot, now));
        }
        Message::Notice(notice) => renew(app, |feed| feed.note(notice)),
        Message::Lost(why) => {
            app.feed.lose(&why);
            app.changed = true;
        }
        Message::Answered(result) => {
            app.busy = None;
            app.changed = true;
            match answer(&app.feed, app.now, *result) {
                Answer::Note(tone, text) => note(app, tone, text),
                Answer::Sheet(sheet) => app.open(Overlay::Sheet(sheet)),
            }
        }
    }
    None
}

fn tick(app: &mut App, now: Timestamp) {
    // Ages are shown in seconds: more often there is nothing new.
    app.changed |= now.millis() / 1000 != app.now.millis() / 1000;
    app.now = now;
    if app.note.as_ref().is_some_and(|note| note.until <= now) {
        app.note = None;
        app.changed = true;
    }
}

/// Changes the data and keeps each cursor on what it was on.
fn renew(app: &mut App, change: impl FnOnce(&mut Feed)) {
    let before = Screen::ALL.map(|screen| screen::rows(app, screen));
    change(&mut app.feed);
    for (screen, mut before) in Screen::ALL.into_iter().zip(before) {
        let rows = screen::rows(app, screen);
        let list = app.list_mut(screen);
        let last = rows.len().saturating_sub(1);
        let follows = match screen {
            Screen::Commons | Screen::Jobs | Screen::Models => None,
            // New entries come first, new log lines last.
            Screen::Ledger => (list.cursor == 0).then_some(0),
            Screen::Node => (list.cursor + 1 >= before.len()).then_some(last),
        };
        let on = (list.cursor < before.len()).then(|| before.swap_remove(list.cursor));
        let found = on.and_then(|on| rows.iter().position(|row| *row == on));
        list.cursor = follows.or(found).unwrap_or(list.cursor).min(last);
    }
    app.changed = true;
}

fn press(app: &mut App, key: Key) -> Option<Command> {
    let focus = app.focus();
    match (action(focus, key), focus) {
        (Some(action), Focus::Screen(_) | Focus::Filter) => on_screen(app, action),
        (Some(action), Focus::Overlay | Focus::Confirm) => on_overlay(app, action),
        (None, Focus::Filter) => {
            if let Key::Char(letter) = key {
                type_letter(app, letter);
            }
            None
        }
        (None, Focus::Screen(_) | Focus::Overlay | Focus::Confirm) => None,
    }
}

fn type_letter(app: &mut App, letter: char) {
    let list = app.list_mut(app.screen);
    if list.filter.chars().count() < FILTER_LEN_MAX && !letter.is_control() {
        list.filter.push(letter);
        list.cursor = 0;
    }
}

fn on_screen(app: &mut App, action: Action) -> Option<Command> {
    match action {
        Action::Quit => app.over = true,
        Action::Back => {
            if app.list(app.screen).filter.is_empty() {
                app.over = true;
            } else {
                clear_filter(app);
            }
        }
        Action::Go(screen) => app.screen = screen,
        Action::NextScreen => app.screen = app.screen.shifted(1),
        Action::PreviousScreen => app.screen = app.screen.shifted(Screen::ALL.len() - 1),
        Action::Up
        | Action::Down
        | Action::First
        | Action::Last
        | Action::PageUp
        | Action::PageDown => move_cursor(app, action),
        Action::Detail => {
            if let Some(row) = app.selected() {
                app.open(Overlay::Detail(row));
            }
        }
        Action::Filter => app.typing = true,
        Action::FilterKeep => app.typing = false,
        Action::FilterClear => {
            app.typing = false;
            clear_filter(app);
        }
        Action::FilterErase => {
            let list = app.list_mut(app.screen);
            list.filter.pop();
            list.cursor = 0;
        }
        Action::Freeze => renew(app, Feed::toggle_frozen),
        Action::Help => app.open(Overlay::Help),
        Action::PauseOrResume
        | Action::Cancel
        | Action::PinOrUnpin
        | Action::Why
        | Action::Audit => return ask(app, action),
        Action::Yes | Action::No => {}
    }
    None
}

fn clear_filter(app: &mut App) {
    let on = app.selected();
    app.list_mut(app.screen).filter.clear();
    let rows = screen::rows(app, app.screen);
    let found = on.and_then(|on| rows.iter().position(|row| *row == on));
    app.list_mut(app.screen).cursor = found.unwrap_or(0);
}

fn moved(action: Action, at: usize, last: usize, page: usize) -> usize {
    match action {
        Action::Up => at.saturating_sub(1),
        Action::Down => at + 1,
        Action::PageUp => at.saturating_sub(page),
        Action::PageDown => at + page,
        Action::First => 0,
        Action::Last => last,
        Action::Quit
        | Action::Back
        | Action::Go(_)
        | Action::NextScreen
        | Action::Detail
        | Action::PreviousScreen
        | Action::Filter
        | Action::FilterKeep
        | Action::FilterErase
        | Action::FilterClear
        | Action::Freeze
        | Action::Help
        | Action::PauseOrResume
        | Action::Cancel
        | Action::PinOrUnpin
        | Action::Why
        | Action::Audit
        | Action::Yes
        | Action::No => at,
    }
    .min(last)
}

fn move_cursor(app: &mut App, action: Action) {
    let last = screen::rows(app, app.screen).len().saturating_sub(1);
    let page = app.page();
    let list = app.list_mut(app.screen);
    list.cursor = moved(action, list.cursor, last, page);
}

fn on_overlay(app: &mut App, action: Action) -> Option<Command> {
    match action {
        Action::Quit => app.over = true,
        Action::Back | Action::No => {
            app.layers.pop();
        }
        Action::Yes => {
            let command = app.accept_command();
            app.layers.pop();
            return command.and_then(|command| send(app, "asking the node", command));
        }
        Action::Go(_)
        | Action::NextScreen
        | Action::PreviousScreen
        | Action::Up
        | Action::Down
        | Action::First
        | Action::Last
        | Action::PageUp
        | Action::PageDown
        | Action::Detail
        | Action::Filter
        | Action::FilterKeep
        | Action::FilterErase
        | Action::FilterClear
        | Action::Freeze
        | Action::Help
        | Action::PauseOrResume
        | Action::Cancel
        | Action::PinOrUnpin
        | Action::Why
        | Action::Audit => {
            let (last, page) = (overlay::scroll_max(app), app.page());
            if let Some(layer) = app.layers.last_mut() {
                layer.scroll = moved(action, layer.scroll, last, page);
            }
        }
    }
    None
}

fn clamp_scroll(app: &mut App) {
    let last = overlay::scroll_max(app);
    if let Some(layer) = app.layers.last_mut() {
        layer.scroll = layer.scroll.min(last);
    }
}

/// Whether an action would do something now: the footer shows no others.
pub(crate) fn applies(app: &App, action: Action) -> bool {
    match action {
        Action::PauseOrResume
        | Action::Cancel
        | Action::PinOrUnpin
        | Action::Why
        | Action::Audit => demand(app, action).is_some(),
        Action::Detail => app.selected().is_some(),
        Action::Quit
        | Action::Back
        | Action::Go(_)
        | Action::NextScreen
        | Action::PreviousScreen
        | Action::Up
        | Action::Down
        | Action::First
        | Action::Last
        | Action::PageUp
        | Action::PageDown
        | Action::Filter
        | Action::FilterKeep
        | Action::FilterErase
        | Action::FilterClear
        | Action::Freeze
        | Action::Help
        | Action::Yes
        | Action::No => true,
    }
}

/// What an action asks of the node, if there is something to ask.
struct Demand {
    busy: &'static str,
    command: Command,
    /// What to ask the person first.
    question: Option<String>,
}

fn demand(app: &App, action: Action) -> Option<Demand> {
    let snapshot = app.feed.snapshot()?;
    let plain = |busy, command| {
        Some(Demand {
            busy,
            command,
            question: None,
        })
    };
    match (action, app.selected()) {
        (Action::PauseOrResume, _) => match snapshot.status.accepting {
            Accepting::Yes => plain("pausing", Command::WorkerPause),
            Accepting::Paused => plain("resuming", Command::WorkerResume),
            Accepting::Never => None,
        },
        (Action::Cancel, Some(Row::Job(id))) => {
            let job = snapshot.jobs.iter().find(|job| job.job == id)?;
            (!job.over).then(|| Demand {
                busy: "cancelling",
                command: Command::JobsCancel {
                    job: id.to_string(),
                },
                question: Some(format!("Cancel job {}?", id.short())),
            })
        }
        (Action::PinOrUnpin, Some(Row::Card(id))) => {
            let card = snapshot.cards.iter().find(|card| card.card == id)?;
            let model = id.to_string();
            if card.pinned {
                plain("unpinning", Command::ModelUnpin { model })
            } else {
                plain("pinning", Command::ModelPin { model })
            }
        }
        (Action::Why, Some(Row::Peer(node))) => {
            let peer = Some(node.to_string());
            plain("adding up", why(peer))
        }
        (Action::Why, _) if app.screen == Screen::Ledger => plain("adding up", why(None)),
        (Action::Audit, _) => plain("checking every entry", Command::LedgerAudit),
        (_, _) => None,
    }
}

fn why(peer: Option<String>) -> Command {
    Command::LedgerWhy(WhyRequest {
        peer,
        ..WhyRequest::default()
    })
}

fn ask(app: &mut App, action: Action) -> Option<Command> {
    let Some(demand) = demand(app, action) else {
        note(app, Tone::Muted, "there is nothing to do that to".into());
        return None;
    };
    if let Some(question) = demand.question {
        app.open(Overlay::Confirm {
            question,
            command: demand.command,
        });
        return None;
    }
    send(app, demand.busy, demand.command)
}

fn send(app: &mut App, busy: &'static str, command: Command) -> Option<Command> {
    match app.feed.link() {
        Link::Up => {
            app.busy = Some(busy);
            Some(command)
        }
        Link::Waiting | Link::Away(_) => {
            let text = "the node is away; try again when it is back";
            note(app, Tone::Warn, text.into());
            None
        }
    }
}

fn note(app: &mut App, tone: Tone, text: String) {
    app.note = Some(Note {
        tone,
        text,
        until: app.now.plus(NOTE_LIFE),
    });
}
