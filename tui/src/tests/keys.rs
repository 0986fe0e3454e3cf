use std::collections::BTreeSet;

use super::{app, press, shown, tap, world};
use crate::keymap::{Focus, KEYMAP, Screen, action};
use crate::overlay;
use crate::theme::{Depth, Theme};
use crate::{Key, Message, update};

fn focuses() -> impl Iterator<Item = Focus> {
    let others = [Focus::Filter, Focus::Overlay, Focus::Confirm];
    Screen::ALL.map(Focus::Screen).into_iter().chain(others)
}

#[test]
fn no_key_means_two_things() {
    for focus in focuses() {
        let mut seen = BTreeSet::new();
        for binding in KEYMAP.iter().filter(|binding| focus.has(binding.place)) {
            for key in binding.keys {
                assert!(seen.insert(*key), "{key} is bound twice in {focus:?}");
            }
        }
    }
}

#[test]
fn every_binding_can_be_reached() {
    for binding in KEYMAP {
        for key in binding.keys {
            let reached = focuses()
                .filter(|focus| focus.has(binding.place))
                .all(|focus| action(focus, *key) == Some(binding.action));
            assert!(reached, "{key} for {:?}", binding.action);
        }
    }
}

#[test]
fn every_binding_is_in_the_help() {
    let lines = overlay::help().lines(74, Theme::new(Depth::Mono));
    let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
    for binding in KEYMAP {
        let keys: Vec<String> = binding.keys.iter().map(ToString::to_string).collect();
        let keys = keys.join(" ");
        let found = lines
            .iter()
            .any(|line| line.contains(&keys) && line.contains(binding.help));
        assert!(found, "'{keys}: {}' in\n{}", binding.help, lines.join("\n"));
    }
}

#[test]
fn the_help_can_be_read_to_its_end_at_every_size() {
    for size in [(80, 24), (120, 40), (40, 12)] {
        let mut app = app(Some(world::typical()));
        update(
            &mut app,
            Message::Resized {
                width: size.0,
                height: size.1,
            },
        );
        press(&mut app, "?");
        assert!(shown(&mut app, size).contains("On every screen"));
        tap(&mut app, Key::End);
        assert!(
            shown(&mut app, size).contains("done for"),
            "{}",
            shown(&mut app, size)
        );
    }
}
