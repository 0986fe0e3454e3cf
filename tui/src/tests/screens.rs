use hearth_protocol::capacity::Accepting;
use hearth_protocol::control::{AuditReply, Problem, ProblemKind, Reply, WhyLine};
use hearth_protocol::id::{EntryHash, NodeId};
use hearth_protocol::snapshot::{Notice, Snapshot};
use hearth_protocol::unit::{Balance, Millis};
use ratatui::style::{Color, Modifier};

use super::world::{self, empty, full, typical};
use super::{NOW, app, open, picture, press, shown, tap};
use crate::keymap::Screen;
use crate::theme::{Depth, Theme};
use crate::{App, Key, Message, update};

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (40, 12)];

fn on(screen: Screen, data: Snapshot) -> App {
    let mut app = app(Some(data));
    open(&mut app, screen);
    app
}

fn lose(app: &mut App) {
    update(
        app,
        Message::Lost("the node does not answer: refused".into()),
    );
    update(app, Message::Tick(NOW.plus(Millis::from_secs(12))));
}

/// Says what must be on a screen at every size.
#[track_caller]
fn expect(app: &mut App, wanted: &[&str]) {
    for size in SIZES {
        let shown = shown(app, size);
        for wanted in wanted {
            assert!(shown.contains(wanted), "'{wanted}' at {size:?} in\n{shown}");
        }
    }
}

#[track_caller]
fn expect_at(app: &mut App, size: (u16, u16), wanted: &[&str]) {
    let shown = shown(app, size);
    for wanted in wanted {
        assert!(shown.contains(wanted), "'{wanted}' at {size:?} in\n{shown}");
    }
}

#[test]
fn an_empty_commons_says_how_to_begin() {
    expect(
        &mut on(Screen::Commons, empty()),
        &["in no commons yet", "ada · no commons", "? help"],
    );
}

#[test]
fn other_empty_screens_say_what_they_wait_for() {
    expect(
        &mut on(Screen::Jobs, empty()),
        &["No jobs yet", "hearth generate"],
    );
    expect(
        &mut on(Screen::Models, empty()),
        &["No models yet", "hearth model add"],
    );
    expect(&mut on(Screen::Ledger, empty()), &["No entries yet"]);
    expect(
        &mut on(Screen::Node, empty()),
        &["cpu Ryzen 7", "Nothing to report"],
    );
}

#[test]
fn the_commons_shows_members() {
    let mut app = on(Screen::Commons, typical());
    expect(
        &mut app,
        &[
            "● ada (me)",
            "● bob",
            "✗ eve",
            "12.500",
            "-2.500 kudos",
            "Commons",
        ],
    );
    expect_at(
        &mut app,
        (80, 24),
        &[
            "Members 1/3",
            "cuda RTX 4090",
            "1.250",
            "Sunday Club",
            "1 connected",
            "0s ago",
        ],
    );
    expect_at(
        &mut app,
        (120, 40),
        &["this node", "serves", "Tiny Diffusion", "128"],
    );
}

#[test]
fn jobs_show_live_steps() {
    let mut app = on(Screen::Jobs, typical());
    expect(&mut app, &["a red fox", "12/20", "████", "✓ finished"]);
    expect_at(
        &mut app,
        (80, 24),
        &["→ bob", "512x768", "2.750", "Job 1111111111", "at most"],
    );
}

#[test]
fn a_finished_job_shows_its_report() {
    let mut app = on(Screen::Jobs, typical());
    press(&mut app, "j");
    expect_at(
        &mut app,
        (120, 40),
        &["/home/ada/lighthouse.png", "4.32 s", "812.3 J", "77 tokens"],
    );
}

#[test]
fn a_preview_is_drawn_as_half_blocks() {
    let mut app = on(Screen::Jobs, typical());
    let job = Box::new(world::job(0x11, "a red fox in snow"));
    let preview = Some(world::preview());
    update(&mut app, Message::Notice(Notice::Job { job, preview }));
    for size in [(80, 24), (120, 40)] {
        let picture = picture(&mut app, size);
        let cells = picture.content.iter().filter(|cell| cell.symbol() == "▀");
        assert!(cells.clone().count() > 60, "{size:?}");
        assert!(
            cells
                .into_iter()
                .all(|cell| matches!(cell.fg, Color::Rgb(..)))
        );
    }
    expect(&mut app, &["a red fox", "12/20"]);
}

#[test]
fn a_preview_that_lies_about_its_size_is_not_drawn() {
    let mut app = on(Screen::Jobs, typical());
    let mut preview = world::preview();
    preview.width = u16::MAX;
    let job = Box::new(world::job(0x11, "a red fox in snow"));
    update(
        &mut app,
        Message::Notice(Notice::Job {
            job,
            preview: Some(preview),
        }),
    );
    assert!(!shown(&mut app, (80, 24)).contains('▀'));
}

#[test]
fn models_show_what_is_here_and_who_serves() {
    let mut app = on(Screen::Models, typical());
    expect(
        &mut app,
        &["◆ Tiny Diffus", "100%", "Ink Wash", "25%", "Seeders"],
    );
    expect_at(
        &mut app,
        (80, 24),
        &["checkpoint", "lora", "1.9 GiB", "Transfers 1", "bob"],
    );
    expect_at(
        &mut app,
        (120, 40),
        &["CC-BY-4.0", "AutoV2", "5a5a5a5a5a", "inkwash"],
    );
}

#[test]
fn the_ledger_shows_balances_and_entries() {
    let mut app = on(Screen::Ledger, typical());
    expect(&mut app, &["bob did a job", "receipt", "-2.500"]);
    expect_at(
        &mut app,
        (80, 24),
        &["Balances, sum 0", "me ", "Entries 1/2"],
    );
    expect_at(&mut app, (120, 40), &["effective", "pending", "1m"]);
}

#[test]
fn the_node_shows_itself_and_its_log() {
    let mut app = on(Screen::Node, typical());
    expect(
        &mut app,
        &["cpu Ryzen 7", "31.0 MiB used", "eve sent nonsense", "WARN"],
    );
    expect_at(
        &mut app,
        (80, 24),
        &[
            "812.3 J",
            "/ip4/127.0.0.1/tcp/4001",
            "17 bad signature",
            "Log 2/2",
        ],
    );
    expect_at(
        &mut app,
        (120, 40),
        &[
            "pid 4242",
            "/home/ada/.hearth",
            "for 2h",
            "joined Sunday Club",
        ],
    );
}

#[test]
fn full_screens_hold_at_every_size_and_let_nothing_through() {
    let mut app = app(Some(full()));
    for screen in Screen::ALL {
        open(&mut app, screen);
        for keys in ["", "G", "g", "jjj"] {
            press(&mut app, keys);
            for size in SIZES
                .into_iter()
                .chain([(41, 13), (59, 16), (60, 15), (200, 60)])
            {
                let shown = shown(&mut app, size);
                let bad = |letter: char| letter != '\n' && letter.is_control();
                assert!(!shown.contains(bad), "{screen:?} {size:?}");
                assert!(!shown.contains('\u{202e}'), "{screen:?} {size:?}");
                assert!(
                    shown.contains("q quit"),
                    "the footer is there: {screen:?} {size:?}"
                );
            }
        }
        tap(&mut app, Key::Enter);
        expect(&mut app, &["Esc close"]);
        tap(&mut app, Key::Esc);
    }
    open(&mut app, Screen::Jobs);
    expect_at(&mut app, (80, 24), &["Jobs 4/256"]);
}

#[test]
fn the_last_line_of_a_long_list_can_be_reached() {
    let mut app = on(Screen::Node, full());
    press(&mut app, "G");
    expect(&mut app, &["199  "]);
    press(&mut app, "g");
    expect_at(&mut app, (80, 24), &["Log 1/200"]);
}

#[test]
fn a_node_that_never_answered_is_explained() {
    for screen in Screen::ALL {
        let mut app = app(None);
        open(&mut app, screen);
        expect(&mut app, &["ooking for the node"]);
        lose(&mut app);
        expect(&mut app, &["reconnecting", "hearth up", "q quit"]);
    }
}

#[test]
fn data_of_a_node_that_is_away_stays_and_is_greyed() {
    for screen in Screen::ALL {
        let mut app = on(screen, typical());
        lose(&mut app);
        expect(&mut app, &["reconnecting · data 12s old", "-2.500 kudos"]);
        let picture = picture(&mut app, (80, 24));
        let body = (3..23).flat_map(|y| (0..80).map(move |x| (x, y)));
        for place in body {
            let cell = &picture[place];
            assert_eq!(cell.fg, Color::DarkGray, "{screen:?} {place:?}");
        }
    }
    let mut app = on(Screen::Commons, typical());
    lose(&mut app);
    expect(&mut app, &["● bob"]);
    update(&mut app, Message::Data(Box::new(typical())));
    assert!(!shown(&mut app, (80, 24)).contains("reconnecting"));
}

#[test]
fn below_the_least_size_it_says_so() {
    let mut app = app(Some(typical()));
    for size in [(39, 12), (40, 11), (10, 3), (1, 1)] {
        let shown = shown(&mut app, size);
        assert!(
            shown.starts_with(&"too small"[..usize::from(size.0.min(9))]),
            "{shown}"
        );
        assert!(!shown.contains("Commons"));
    }
}

#[test]
fn without_colour_none_is_asked_for_and_nothing_is_lost() {
    for depth in [Depth::Mono, Depth::True] {
        let mut app = App::new(Theme::new(depth));
        update(&mut app, Message::Tick(NOW));
        update(&mut app, Message::Data(Box::new(typical())));
        let job = Box::new(world::job(0x11, "fox"));
        let preview = Some(world::preview());
        update(&mut app, Message::Notice(Notice::Job { job, preview }));
        let mut coloured = 0;
        for screen in Screen::ALL {
            open(&mut app, screen);
            press(&mut app, "?");
            for _ in 0..2 {
                let picture = picture(&mut app, (120, 40));
                let cells = picture.content.iter();
                coloured += cells
                    .filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
                    .count();
                tap(&mut app, Key::Esc);
            }
            app.over = false;
            lose(&mut app);
            picture(&mut app, (80, 24));
            update(&mut app, Message::Data(Box::new(typical())));
        }
        assert_eq!(coloured > 0, depth == Depth::True);
    }
}

#[test]
fn the_chosen_line_is_reversed() {
    let mut app = on(Screen::Commons, typical());
    press(&mut app, "j");
    let picture = picture(&mut app, (80, 24));
    let reversed = |y| picture[(4, y)].modifier.contains(Modifier::REVERSED);
    assert_eq!(
        (4..7).map(reversed).collect::<Vec<_>>(),
        [false, true, false]
    );
}

#[test]
fn paused_and_frozen_are_in_the_header() {
    let mut world = typical();
    world.status.accepting = Accepting::Paused;
    let mut app = app(Some(world));
    press(&mut app, "f");
    expect(&mut app, &["paused", "FROZEN"]);
    expect_at(&mut app, (80, 24), &["p resume", "f unfreeze"]);
}

#[test]
fn a_balance_is_explained_line_by_line() {
    let mut app = on(Screen::Ledger, typical());
    let line = |mk, kind: &str| WhyLine {
        entry: EntryHash::from_bytes([7; 32]),
        time: NOW.minus(Millis::from_secs(60)),
        peer: NodeId::from_bytes([2; 32]),
        amount: Balance::from_mk(mk),
        kind: kind.into(),
        state: "settled".into(),
        charge: None,
    };
    let reply = Reply::Why {
        node: NodeId::from_bytes([1; 32]),
        balance: Balance::from_mk(-2_500),
        pending: Balance::ZERO,
        pairs: Vec::new(),
        lines: vec![line(-3_000, "receipt"), line(500, "gift")],
        next: None,
    };
    update(&mut app, Message::Answered(Box::new(Ok(reply))));
    expect(
        &mut app,
        &["Why me: -2.500 kudos", "+0.500", "-3 ", "gift with"],
    );
    tap(&mut app, Key::Esc);
    assert!(!shown(&mut app, (80, 24)).contains("Why me"));
}

#[test]
fn an_audit_says_what_does_not_hold() {
    let mut app = on(Screen::Ledger, typical());
    let reply = |ok, findings| {
        Box::new(Ok(Reply::Audit(AuditReply {
            ok,
            entries: 42,
            chains: 3,
            members: 3,
            pairs: 2,
            forked: Vec::new(),
            sum: Balance::ZERO,
            digest: "d1".repeat(32),
            findings,
            unchecked: Vec::new(),
        })))
    };
    update(&mut app, Message::Answered(reply(true, Vec::new())));
    expect(&mut app, &["✓ everything holds", "42"]);
    tap(&mut app, Key::Esc);
    update(
        &mut app,
        Message::Answered(reply(false, vec!["entry 9 is not signed".into()])),
    );
    expect(&mut app, &["✗ something", "entry 9 is not signed"]);
}

#[test]
fn a_problem_shows_causes_and_the_next_step() {
    let mut app = on(Screen::Jobs, typical());
    let problem = Problem::new(ProblemKind::Failed, "the job is over")
        .cause("it finished")
        .hint("hearth jobs list");
    update(&mut app, Message::Answered(Box::new(Err(problem))));
    expect(
        &mut app,
        &["the job is over", "it finished", "hearth jobs list"],
    );
}

#[test]
fn the_footer_shows_only_keys_that_apply() {
    let mut app = on(Screen::Jobs, typical());
    expect(&mut app, &["c cancel"]);
    press(&mut app, "j");
    for size in SIZES {
        assert!(
            !shown(&mut app, size).contains("c cancel"),
            "the job is over"
        );
    }
}
