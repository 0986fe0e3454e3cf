//! The journal and the ledger on a real disk.

use std::fs;
use std::path::Path;

use hearth_protocol::entry::Entry;
use hearth_protocol::id::CommonsId;
use hearth_protocol::unit::Seq;
use tempfile::TempDir;

use super::world::{LATE, World, at, balance, gift, id, key, receipt};
use crate::journal::segment::{Recovery, Segments, Set};
use crate::journal::{Journal, JournalError, LockError};
use crate::{Insertion, Ledger, OpenError, WriteError};

pub(super) fn open(dir: &Path, world: &World, node: u8) -> Ledger {
    Ledger::open(dir, world.charter.clone(), key(node)).unwrap()
}

/// A folder whose ledger holds a world's joins, and a ledger of node 0 open in it.
pub(super) fn started(world: &World) -> (TempDir, Ledger) {
    let dir = TempDir::new().unwrap();
    let mut ledger = open(dir.path(), world, 0);
    let received = ledger.receive(world.entries.clone(), LATE).unwrap();
    assert_eq!(received.added.len(), world.entries.len());
    assert!(received.unsaved.is_none());
    (dir, ledger)
}

fn own_segment(dir: &Path) -> std::path::PathBuf {
    dir.join("segments/own-00000000.seg")
}

fn records(dir: &Path, set: Set, commons: CommonsId) -> (Vec<Vec<u8>>, Recovery) {
    let (mut found, mut recovery) = (Vec::new(), Recovery::default());
    let mut each = |record: crate::journal::segment::Record| found.push(record.payload);
    Segments::open(dir, set, commons, &mut recovery, &mut each).unwrap();
    (found, recovery)
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for item in fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let target = to.join(item.file_name());
        if item.file_type().unwrap().is_dir() {
            copy_dir(&item.path(), &target);
        } else {
            fs::copy(item.path(), target).unwrap();
        }
    }
}

#[test]
fn l32_a_segment_is_a_header_and_records_of_magic_length_checksum_and_bytes() {
    let world = World::open(1);
    let (dir, ledger) = started(&world);
    drop(ledger);
    let bytes = fs::read(own_segment(dir.path())).unwrap();
    let header = [
        &b"HEARTHSG"[..],
        &[1, 0, 0, 0],
        world.charter.id().as_bytes(),
    ]
    .concat();
    assert_eq!(bytes[..44], header);
    assert_eq!(bytes[44..48], crc32fast::hash(&header).to_le_bytes());
    let payload = hearth_protocol::codec::encode(&world.entries[0]);
    let len = u32::try_from(payload.len()).unwrap().to_le_bytes();
    let sum = crc32fast::hash(&[&b"HRe1"[..], &len, &payload].concat()).to_le_bytes();
    let record = [&b"HRe1"[..], &len, &sum, &payload].concat();
    assert_eq!(bytes[48..], record);
}

#[test]
fn l32_a_segment_of_another_commons_is_not_touched() {
    let world = World::open(1);
    let (dir, ledger) = started(&world);
    drop(ledger);
    let mut other = world.charter.clone();
    other.name = "strangers".to_owned();
    let opened = Ledger::open(dir.path(), other, key(0));
    let is_foreign = matches!(
        opened,
        Err(OpenError::Journal(JournalError::Foreign { .. }))
    );
    assert!(is_foreign, "{opened:?}");
    assert_eq!(open(dir.path(), &world, 0).book().len(), 1);
}

// L-durable
#[test]
fn l_durable_a_cut_at_any_byte_keeps_every_entry_acknowledged_before_it() {
    let world = World::open(2);
    let (dir, mut ledger) = started(&world);
    let mut acknowledged = Vec::new();
    let path = own_segment(dir.path());
    for amount in 0..6 {
        ledger.write(gift(1, amount), at(10)).unwrap();
        acknowledged.push(fs::metadata(&path).unwrap().len());
    }
    drop(ledger);
    let bytes = fs::read(&path).unwrap();
    for cut in 0..=bytes.len() {
        let torn = TempDir::new().unwrap();
        fs::write(torn.path().join("own-00000000.seg"), &bytes[..cut]).unwrap();
        let (found, _) = records(torn.path(), Set::Own, world.charter.id());
        let length = u64::try_from(cut).unwrap();
        let safe = acknowledged.iter().filter(|len| **len <= length).count();
        let expected = if safe == 0 {
            found.len().min(1)
        } else {
            safe + 1
        };
        assert_eq!(found.len(), expected, "cut at {cut}");
        let (again, recovery) = records(torn.path(), Set::Own, world.charter.id());
        assert_eq!(again.len(), found.len());
        assert_eq!(
            recovery,
            Recovery::default(),
            "the cut end is gone for good"
        );
    }
}

#[test]
fn l34_a_torn_end_is_cut_off_and_writing_goes_on_after_it() {
    let world = World::open(2);
    let (dir, mut ledger) = started(&world);
    ledger.write(gift(1, 1), at(10)).unwrap();
    drop(ledger);
    let path = own_segment(dir.path());
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend(b"HRe1\x20\0\0\0half a record");
    fs::write(&path, bytes).unwrap();
    let mut ledger = open(dir.path(), &world, 0);
    assert_eq!(ledger.recovery().torn_bytes, 21);
    assert_eq!(ledger.recovery().damaged_bytes, 0);
    ledger.write(gift(1, 2), at(11)).unwrap();
    drop(ledger);
    let ledger = open(dir.path(), &world, 0);
    assert_eq!(ledger.recovery(), Recovery::default());
    assert_eq!(balance(ledger.book(), 1), 3);
}

#[test]
fn l34_damage_in_the_middle_costs_what_it_covers_and_peers_fill_it() {
    let world = World::open(2);
    let (dir, mut ledger) = started(&world);
    let written: Vec<Entry> = (0..5)
        .map(|amount| ledger.write(gift(1, amount), at(10)).unwrap())
        .collect();
    let digest = ledger.book().digest();
    drop(ledger);
    let path = own_segment(dir.path());
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let mut ledger = open(dir.path(), &world, 0);
    assert!(ledger.recovery().damaged_bytes > 0);
    assert!(ledger.book().head(&id(0)).unwrap().seq < Seq::new(5));
    let refused = ledger.write(gift(1, 9), at(20));
    let is_behind = matches!(refused, Err(WriteError::Behind { seen }) if seen == Seq::new(5));
    assert!(
        is_behind,
        "a place that is taken is never signed again: {refused:?}"
    );
    ledger.receive(written, LATE).unwrap();
    assert_eq!(ledger.book().digest(), digest);
    assert!(ledger.write(gift(1, 9), at(20)).is_ok());
    drop(ledger);
    let ledger = open(dir.path(), &world, 0);
    assert_eq!(balance(ledger.book(), 1), 1 + 2 + 3 + 4 + 9);
}

#[test]
fn l33_sets_roll_over_into_new_segments_and_read_back_whole() {
    let world = World::open(2);
    let (dir, mut ledger) = started(&world);
    let amounts: Vec<_> = (0..40).map(|_| gift(1, 1)).collect();
    let written = ledger.write_all(&amounts[..8], at(10)).unwrap();
    assert_eq!(written.len(), 8);
    for body in amounts.into_iter().skip(8) {
        ledger.write(body, at(10)).unwrap();
    }
    let digest = ledger.book().digest();
    drop(ledger);
    let count = fs::read_dir(dir.path().join("segments")).unwrap().count();
    assert!(count > 3, "{count} segments");
    let mut ledger = open(dir.path(), &world, 0);
    assert_eq!(ledger.book().digest(), digest);
    let hashes: Vec<_> = ledger.book().entries().map(Entry::hash).collect();
    for hash in hashes {
        let entry = ledger.journal_mut().entry(&hash).unwrap().unwrap();
        assert_eq!(entry.hash(), hash);
    }
}

#[test]
fn l35_the_index_finds_entries_and_is_rebuilt_when_lost_broken_or_ahead() {
    let world = World::open(2);
    let (dir, mut ledger) = started(&world);
    let entry = ledger.write(gift(1, 1), at(10)).unwrap();
    let hash = entry.hash();
    let find = |ledger: &mut Ledger| {
        assert_eq!(
            ledger.journal_mut().entry(&hash).unwrap().as_ref(),
            Some(&entry)
        );
        assert_eq!(ledger.journal_mut().at(&id(0), Seq::new(1)), [hash]);
        assert!(!ledger.is_degraded());
    };
    find(&mut ledger);
    ledger.sync().unwrap();
    find(&mut ledger);
    drop(ledger);
    find(&mut open(dir.path(), &world, 0));
    let index = dir.path().join("index");
    fs::remove_dir_all(&index).unwrap();
    find(&mut open(dir.path(), &world, 0));
    fs::write(index.join("conf"), b"nonsense").unwrap();
    find(&mut open(dir.path(), &world, 0));
    let mut ledger = open(dir.path(), &world, 0);
    ledger.journal_mut().rebuild().unwrap();
    find(&mut ledger);
    let saved = TempDir::new().unwrap();
    copy_dir(&dir.path().join("segments"), saved.path());
    ledger.write(gift(1, 2), at(11)).unwrap();
    ledger.close().unwrap();
    fs::remove_dir_all(dir.path().join("segments")).unwrap();
    copy_dir(saved.path(), &dir.path().join("segments"));
    let mut ledger = open(dir.path(), &world, 0);
    find(&mut ledger);
    assert!(ledger.journal_mut().at(&id(0), Seq::new(2)).is_empty());
}

#[test]
fn l35_the_digest_noted_at_closing_is_there_at_the_next_start() {
    let world = World::open(2);
    let (dir, mut ledger) = started(&world);
    ledger.write(gift(1, 1), at(10)).unwrap();
    let digest = ledger.book().digest();
    ledger.close().unwrap();
    let (journal, replay) = Journal::open(dir.path(), world.charter.id()).unwrap();
    assert_eq!(replay.digest, Some(digest));
    assert_eq!((replay.own.len(), replay.others.len()), (2, 1));
    drop(journal);
    open(dir.path(), &world, 0)
        .write(gift(1, 1), at(10))
        .unwrap();
    let (_, replay) = Journal::open(dir.path(), world.charter.id()).unwrap();
    assert_eq!(replay.digest, None, "it was another state's");
}

#[test]
fn l36_a_second_process_learns_who_holds_the_lock() {
    let world = World::open(1);
    let (dir, ledger) = started(&world);
    let second = Ledger::open(dir.path(), world.charter.clone(), key(0));
    let Err(OpenError::Journal(JournalError::Lock(LockError::Held { pid, .. }))) = second else {
        panic!("{second:?}");
    };
    assert_eq!(pid, Some(std::process::id()));
    drop(ledger);
    open(dir.path(), &world, 0);
}

#[test]
fn l37_a_full_disk_fails_one_write_and_loses_nothing() {
    let world = World::open(2);
    let (dir, mut ledger) = started(&world);
    ledger.write(gift(1, 1), at(10)).unwrap();
    for room in [0, 5, 100] {
        ledger.journal_mut().fail_own_after(Some(room));
        let failed = ledger.write_all(&[gift(1, 50), gift(1, 60)], at(11));
        assert!(matches!(
            failed,
            Err(WriteError::Journal(JournalError::Io { .. }))
        ));
        ledger.journal_mut().fail_own_after(None);
        assert_eq!(balance(ledger.book(), 1), 1, "nothing of it counts");
    }
    ledger.write(gift(1, 2), at(12)).unwrap();
    ledger.journal_mut().need_free(u64::MAX, u64::MAX);
    let full = ledger.write(gift(1, 70), at(13));
    assert!(matches!(
        full,
        Err(WriteError::Journal(JournalError::Full { .. }))
    ));
    let refused = ledger.receive(Vec::new(), LATE);
    assert!(matches!(refused, Err(JournalError::Full { .. })));
    drop(ledger);
    let ledger = open(dir.path(), &world, 0);
    assert_eq!(balance(ledger.book(), 1), 3);
    assert!(!ledger.book().is_forked(&id(0)));
}

#[test]
fn l37_entries_of_others_that_did_not_fit_are_saved_with_the_next() {
    let mut world = World::open(3);
    let (dir, mut ledger) = started(&world);
    world.give(1, 2, 5, 10);
    world.give(1, 2, 6, 10);
    let [one, two] = &world.entries[3..] else {
        unreachable!()
    };
    ledger.journal_mut().fail_others_after(Some(20));
    let received = ledger.receive(vec![one.clone()], LATE).unwrap();
    assert!(received.unsaved.is_some() && ledger.is_degraded());
    ledger.journal_mut().fail_others_after(None);
    let received = ledger.receive(vec![two.clone()], LATE).unwrap();
    assert!(received.unsaved.is_none() && !ledger.is_degraded());
    drop(ledger);
    assert_eq!(balance(open(dir.path(), &world, 0).book(), 2), 11);
}

#[test]
fn l38_a_longer_own_chain_from_peers_is_adopted_and_gone_on_with() {
    let mut world = World::open(2);
    let (_dir, mut ledger) = started(&world);
    for amount in 1..=4 {
        world.give(0, 1, amount, 10);
    }
    let last = world.entries.last().unwrap().clone();
    let received = ledger.receive(vec![last], LATE).unwrap();
    assert!(matches!(received.outcomes[..], [Insertion::Gap { .. }]));
    let refused = ledger.write(gift(1, 9), at(20));
    assert!(
        matches!(refused, Err(WriteError::Behind { .. })),
        "{refused:?}"
    );
    ledger.receive(world.entries.clone(), LATE).unwrap();
    let next = ledger.write(gift(1, 9), at(20)).unwrap();
    assert_eq!(next.header.trusted().seq, Seq::new(5));
    assert_eq!(next.header.trusted().prev, world.tip(0).unwrap().hash);
}

#[test]
fn l38_nobody_writes_on_after_a_fork_or_an_unknown_version_of_its_own() {
    let mut world = World::open(2);
    let (_dir, mut ledger) = started(&world);
    let tip = world.tip(0);
    world.write_unknown(0, 10);
    ledger.receive(world.entries.clone(), LATE).unwrap();
    let frozen = ledger.write(gift(1, 9), at(20));
    assert!(matches!(frozen, Err(WriteError::Frozen)), "{frozen:?}");
    world.rewind(0, tip);
    world.give(0, 1, 3, 10);
    let received = ledger.receive(world.entries.clone(), LATE).unwrap();
    assert_eq!(received.forks.len(), 1);
    let forked = ledger.write(gift(1, 9), at(20));
    assert!(matches!(forked, Err(WriteError::Forked)), "{forked:?}");
}

#[test]
fn l39_a_clock_behind_by_more_than_the_skew_does_not_sign() {
    let world = World::open(2);
    let (_dir, mut ledger) = started(&world);
    ledger.write(gift(1, 1), at(1_000)).unwrap();
    let within = ledger.write(gift(1, 1), at(950)).unwrap();
    assert_eq!(
        within.header.trusted().time,
        at(1_000),
        "dates never go back"
    );
    let refused = ledger.write(gift(1, 1), at(949));
    assert!(matches!(refused, Err(WriteError::ClockBehind { last }) if last == at(1_000)));
}

#[test]
fn l39_a_receipt_is_not_dated_before_its_order_though_the_clock_is() {
    let mut world = World::open(2);
    let (_dir, mut ledger) = started(&world);
    let order = world.order(1, 0, 100, 2_000, 1_040);
    ledger.receive(world.entries.clone(), at(1_000)).unwrap();
    let receipt = ledger.write(receipt(order, 60), at(1_000)).unwrap();
    assert_eq!(receipt.header.trusted().time, at(1_040));
    assert_eq!(balance(ledger.book(), 0), 60);
}

#[test]
fn l33_fork_proofs_are_kept_without_their_entries() {
    let mut world = World::open(2);
    let tip = world.tip(1);
    let (dir, mut ledger) = started(&world);
    world.give(1, 0, 1, 10);
    world.rewind(1, tip);
    world.give(1, 0, 2, 10);
    let [one, two] = &world.entries[2..] else {
        unreachable!()
    };
    let proof = crate::fork::prove(&one.header, &two.header);
    assert!(ledger.receive_fork(&proof).unwrap());
    assert!(!ledger.receive_fork(&proof).unwrap(), "no news");
    drop(ledger);
    assert_eq!(
        open(dir.path(), &world, 0).book().fork(&id(1)),
        Some(&proof)
    );
}
