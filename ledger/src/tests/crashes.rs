//! An honest node that is killed again and again.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::disk::{open, started};
use super::world::{LATE, World, at, fill, gift};
use crate::Ledger;

/// What happens to an honest node.
#[derive(Debug, Clone)]
enum Fate {
    Write(u8),
    /// The disk takes only some bytes of the next write.
    Full(usize),
    /// The process is gone, some of an unacknowledged write perhaps on disk.
    Crash(usize),
    /// Peers send back what they have of its chain.
    Sync,
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![
        4 => (1..4_u8).prop_map(Fate::Write),
        1 => (0..900_usize).prop_map(Fate::Full),
        2 => (0..900_usize).prop_map(Fate::Crash),
        1 => Just(Fate::Sync),
    ];
    proptest::collection::vec(fate, 1..14)
}

/// Leaves what a crash in the middle of a write leaves: the start of a record that nobody saw.
fn tear(dir: &Path, mut ledger: Ledger, len: usize) {
    let before = fs::read(last_own(dir)).unwrap().len();
    let path = last_own(dir);
    ledger.write(gift(1, 77), at(10)).unwrap();
    drop(ledger);
    if last_own(dir) != path {
        // The record began a new segment: only its header reached the disk.
        let whole = fs::read(last_own(dir)).unwrap();
        fs::write(last_own(dir), &whole[..len.min(whole.len() - 1)]).unwrap();
        return;
    }
    let whole = fs::read(&path).unwrap();
    let kept = (before + len).min(whole.len() - 1);
    fs::write(&path, &whole[..kept]).unwrap();
}

fn last_own(dir: &Path) -> std::path::PathBuf {
    let segments = dir.join("segments");
    let mut names: Vec<_> = fs::read_dir(&segments)
        .unwrap()
        .map(|item| item.unwrap().path())
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("own-")
        })
        .collect();
    names.sort();
    names.pop().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    // L-fork, L-durable
    #[test]
    fn l_fork_an_honest_node_that_crashes_at_any_moment_never_forks(fates in fates()) {
        let world = World::open(2);
        let (dir, mut ledger) = started(&world);
        let mut released = world.entries.clone();
        for fate in fates {
            match fate {
                Fate::Write(count) => {
                    let bodies: Vec<_> = (0..count).map(|n| gift(1, u64::from(n))).collect();
                    released.extend(ledger.write_all(&bodies, at(10)).unwrap());
                }
                Fate::Full(room) => {
                    ledger.journal_mut().fail_own_after(Some(room));
                    if let Ok(entry) = ledger.write(gift(1, 5), at(10)) {
                        released.push(entry);
                    }
                    ledger.journal_mut().fail_own_after(None);
                }
                Fate::Crash(len) => {
                    tear(dir.path(), ledger, len);
                    ledger = open(dir.path(), &world, 0);
                }
                Fate::Sync => {
                    ledger.receive(released.clone(), LATE).unwrap();
                }
            }
            for entry in &released {
                prop_assert!(ledger.book().contains(&entry.hash()), "acknowledged and lost");
            }
        }
        let everybody = fill(&world.charter, &released);
        prop_assert_eq!(everybody.forks().count(), 0);
        prop_assert_eq!(everybody.digest(), ledger.book().digest());
    }
}
