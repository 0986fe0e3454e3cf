use hearth_protocol::capacity::Accepting;
use hearth_protocol::control::{Command, Reply, WhyRequest};
use hearth_protocol::id::{JobId, NodeId};
use hearth_protocol::snapshot::Notice;
use hearth_protocol::unit::Millis;

use super::world::{self, empty, typical};
use super::{NOW, app, open, press, shown, tap};
use crate::keymap::{Focus, Screen};
use crate::screen::Row;
use crate::theme::{Depth, Theme};
use crate::{App, Key, Message, update};

fn running() -> JobId {
    JobId::from_bytes([0x11; 32])
}

#[test]
fn screens_are_reached_by_number_and_by_turns() {
    let mut app = app(Some(typical()));
    for screen in Screen::ALL.into_iter().rev() {
        open(&mut app, screen);
        assert_eq!(app.screen(), screen);
    }
    for key in [Key::Tab, Key::Right, Key::Char('l')] {
        open(&mut app, Screen::Node);
        tap(&mut app, key);
        assert_eq!(app.screen(), Screen::Commons);
    }
    for key in [Key::BackTab, Key::Left, Key::Char('h')] {
        open(&mut app, Screen::Commons);
        tap(&mut app, key);
        assert_eq!(app.screen(), Screen::Node);
    }
}

#[test]
fn the_cursor_stops_at_both_ends() {
    let mut app = app(Some(world::full()));
    open(&mut app, Screen::Jobs);
    tap(&mut app, Key::Up);
    assert_eq!(app.list(Screen::Jobs).cursor, 0);
    press(&mut app, "jj");
    assert_eq!(app.list(Screen::Jobs).cursor, 2);
    tap(&mut app, Key::PageDown);
    assert_eq!(app.list(Screen::Jobs).cursor, 18);
    press(&mut app, "Gj");
    tap(&mut app, Key::PageDown);
    assert_eq!(app.list(Screen::Jobs).cursor, 255);
    press(&mut app, "g");
    tap(&mut app, Key::PageUp);
    assert_eq!(app.list(Screen::Jobs).cursor, 0);
}

#[test]
fn the_cursor_stays_on_its_job_when_others_come() {
    let mut app = app(Some(typical()));
    open(&mut app, Screen::Jobs);
    let job = Box::new(world::job(0x77, "another"));
    update(
        &mut app,
        Message::Notice(Notice::Job { job, preview: None }),
    );
    assert_eq!(app.selected(), Some(Row::Job(running())));
    assert_eq!(app.list(Screen::Jobs).cursor, 1);
    update(&mut app, Message::Data(Box::new(empty())));
    assert_eq!(app.selected(), None);
    assert_eq!(app.list(Screen::Jobs).cursor, 0);
}

#[test]
fn the_log_follows_its_end_until_one_scrolls_up() {
    let mut world = typical();
    let mut app = app(Some(world.clone()));
    assert_eq!(app.list(Screen::Node).cursor, 1);
    let mut line = world.log[1].clone();
    line.text = "news".into();
    world.log.push(line.clone());
    update(&mut app, Message::Data(Box::new(world.clone())));
    assert_eq!(app.list(Screen::Node).cursor, 2);
    open(&mut app, Screen::Node);
    press(&mut app, "k");
    world.log.push(line);
    world.log.remove(0);
    update(&mut app, Message::Data(Box::new(world)));
    assert_eq!(
        app.list(Screen::Node).cursor,
        0,
        "the same line, one place higher"
    );
}

#[test]
fn a_notice_moves_the_steps() {
    let mut app = app(Some(typical()));
    open(&mut app, Screen::Jobs);
    let mut job = world::job(0x11, "a red fox in snow");
    job.phase = Some(hearth_protocol::job::Phase::Denoising {
        step: 13,
        steps: 20,
    });
    update(
        &mut app,
        Message::Notice(Notice::Job {
            job: Box::new(job),
            preview: None,
        }),
    );
    assert!(shown(&mut app, (80, 24)).contains("13/20"));
}

#[test]
fn a_filter_narrows_as_one_types_and_esc_clears_it() {
    let mut app = app(Some(typical()));
    open(&mut app, Screen::Models);
    press(&mut app, "/INK Wq");
    assert_eq!(app.focus(), Focus::Filter);
    assert!(shown(&mut app, (80, 24)).contains("Nothing contains 'INK Wq'"));
    tap(&mut app, Key::Backspace);
    assert!(!shown(&mut app, (40, 12)).contains("Tiny"));
    tap(&mut app, Key::Enter);
    assert_eq!(app.focus(), Focus::Screen(Screen::Models));
    assert!(shown(&mut app, (40, 12)).contains("/INK W"));
    tap(&mut app, Key::Esc);
    assert!(!app.is_over(), "the first Esc clears the filter");
    assert_eq!(
        app.list(Screen::Models).cursor,
        1,
        "the cursor stays on its model"
    );
    tap(&mut app, Key::Esc);
    assert!(app.is_over());
}

#[test]
fn a_filter_is_bounded() {
    let mut app = app(Some(typical()));
    press(&mut app, "/");
    press(&mut app, &"x".repeat(10_000));
    assert_eq!(app.list(Screen::Commons).filter.len(), 64);
}

#[test]
fn quitting_works_from_everywhere() {
    for keys in ["", "/abc", "?", "2c"] {
        let mut app = app(Some(typical()));
        press(&mut app, keys);
        tap(&mut app, Key::Ctrl('c'));
        assert!(app.is_over(), "after '{keys}'");
    }
    let mut app = app(None);
    press(&mut app, "q");
    assert!(app.is_over());
}

#[test]
fn q_closes_one_level() {
    let mut app = app(Some(typical()));
    press(&mut app, "?q");
    assert!(!app.is_over());
    press(&mut app, "q");
    assert!(app.is_over());
}

#[test]
fn cancelling_asks_first_and_means_no_by_default() {
    let mut app = app(Some(typical()));
    open(&mut app, Screen::Jobs);
    for key in [Key::Enter, Key::Esc, Key::Char('n'), Key::Char('q')] {
        assert_eq!(press(&mut app, "c"), None);
        assert_eq!(app.focus(), Focus::Confirm);
        assert!(shown(&mut app, (40, 12)).contains("Cancel job 1111111111?"));
        assert_eq!(tap(&mut app, key), None);
        assert_eq!(app.focus(), Focus::Screen(Screen::Jobs));
    }
    let job = running().to_string();
    assert_eq!(press(&mut app, "cy"), Some(Command::JobsCancel { job }));
}

#[test]
fn the_question_is_about_the_job_it_named() {
    let mut app = app(Some(typical()));
    open(&mut app, Screen::Jobs);
    press(&mut app, "c");
    update(&mut app, Message::Data(Box::new(empty())));
    let job = running().to_string();
    assert_eq!(press(&mut app, "y"), Some(Command::JobsCancel { job }));
}

#[test]
fn a_job_that_is_over_cannot_be_cancelled() {
    let mut app = app(Some(typical()));
    open(&mut app, Screen::Jobs);
    assert_eq!(press(&mut app, "jcy"), None);
    assert!(app.layers.is_empty());
}

#[test]
fn p_pauses_and_resumes() {
    for (accepting, asked) in [
        (Accepting::Yes, Some(Command::WorkerPause)),
        (Accepting::Paused, Some(Command::WorkerResume)),
        (Accepting::Never, None),
    ] {
        let mut world = typical();
        world.status.accepting = accepting;
        assert_eq!(press(&mut app(Some(world)), "p"), asked);
    }
}

#[test]
fn pins_and_balances_are_asked_about_what_is_chosen() {
    let mut app = app(Some(typical()));
    let card = |number: u8| hearth_protocol::id::CardId::from_bytes([number; 32]).to_string();
    assert_eq!(
        press(&mut app, "3P"),
        Some(Command::ModelUnpin { model: card(5) })
    );
    assert_eq!(
        press(&mut app, "jP"),
        Some(Command::ModelPin { model: card(6) })
    );
    assert_eq!(
        press(&mut app, "4w"),
        Some(Command::LedgerWhy(WhyRequest::default()))
    );
    assert_eq!(press(&mut app, "a"), Some(Command::LedgerAudit));
    let bob = NodeId::from_bytes([2; 32]).to_string();
    assert_eq!(
        press(&mut app, "1jw"),
        Some(Command::LedgerWhy(WhyRequest {
            peer: Some(bob),
            ..WhyRequest::default()
        }))
    );
}

#[test]
fn nothing_is_asked_of_a_node_that_is_away() {
    let mut app = app(Some(typical()));
    update(&mut app, Message::Lost("gone".into()));
    assert_eq!(press(&mut app, "p4a2cy"), None);
    assert!(shown(&mut app, (80, 24)).contains("the node is away"));
}

#[test]
fn an_answer_is_noted_and_the_note_goes_away() {
    let mut app = app(Some(typical()));
    press(&mut app, "p");
    assert!(shown(&mut app, (80, 24)).contains("… pausing"));
    let reply = Reply::Done {
        what: "paused\u{1b}[0m".into(),
    };
    update(&mut app, Message::Answered(Box::new(Ok(reply))));
    assert!(shown(&mut app, (80, 24)).contains("paused [0m"));
    update(&mut app, Message::Tick(NOW.plus(Millis::from_secs(8))));
    assert!(shown(&mut app, (80, 24)).contains("? help"));
}

#[test]
fn frozen_data_stands_still_until_released() {
    let mut app = app(Some(typical()));
    press(&mut app, "f");
    update(&mut app, Message::Data(Box::new(empty())));
    let job = Box::new(world::job(0x77, "another"));
    update(
        &mut app,
        Message::Notice(Notice::Job { job, preview: None }),
    );
    let still = shown(&mut app, (80, 24));
    assert!(still.contains("● bob") && still.contains("FROZEN"));
    press(&mut app, "f");
    assert!(shown(&mut app, (80, 24)).contains("in no commons yet"));
}

#[test]
fn windows_scroll_within_their_lines() {
    let mut app = app(Some(typical()));
    update(
        &mut app,
        Message::Resized {
            width: 40,
            height: 12,
        },
    );
    press(&mut app, "?");
    let first = shown(&mut app, (40, 12));
    press(&mut app, "G");
    let last = shown(&mut app, (40, 12));
    assert_ne!(first, last);
    press(&mut app, "jjjj");
    assert_eq!(shown(&mut app, (40, 12)), last);
    press(&mut app, "k");
    assert_ne!(
        shown(&mut app, (40, 12)),
        last,
        "one step back is seen at once"
    );
    press(&mut app, "g");
    assert_eq!(shown(&mut app, (40, 12)), first);
}

#[test]
fn a_detail_follows_its_job_and_survives_its_end() {
    let mut app = app(Some(typical()));
    open(&mut app, Screen::Jobs);
    tap(&mut app, Key::Enter);
    assert!(shown(&mut app, (80, 24)).contains("Job 1111111111"));
    update(&mut app, Message::Data(Box::new(empty())));
    assert!(shown(&mut app, (80, 24)).contains("Gone"));
}

#[test]
fn it_is_drawn_again_only_when_something_changed() {
    let mut app = App::new(Theme::new(Depth::Mono));
    assert!(app.take_changed(), "the first picture");
    update(&mut app, Message::Tick(NOW));
    app.take_changed();
    for ms in [1, 200, 400, 999] {
        update(&mut app, Message::Tick(NOW.plus(Millis::new(ms))));
        assert!(!app.take_changed(), "{ms} ms later");
    }
    update(&mut app, Message::Tick(NOW.plus(Millis::new(1_000))));
    assert!(app.take_changed(), "ages are a second older");
}
