//! Where a job goes, and what is said when it can go nowhere.

use std::collections::BTreeSet;

use hearth_protocol::capacity::Accepting;
use hearth_protocol::job::Refusal;
use hearth_protocol::unit::{ByteCount, Millikudos, Millis};

use super::world::{CHECKPOINT, World, node, paused};
use crate::*;

fn no_place(world: &World, job: hearth_protocol::id::JobId) -> NoPlace {
    let state = world.state(0, job);
    let JobState::Failed(JobFailure::NoPlace(why)) = state else {
        panic!("expected a job without a place, got {state:?}");
    };
    why.clone()
}

#[test]
#[expect(clippy::too_many_lines, reason = "a flat table of reasons")]
fn j2_a_job_that_nobody_can_take_says_why_within_two_seconds() {
    type Row = (&'static str, fn(&mut World), fn(&NoPlace) -> bool);
    let rows: [Row; 7] = [
        (
            "alone",
            |w| w.kill(1),
            |why| matches!(why, NoPlace::NobodyConnected { .. }),
        ),
        (
            "all paused",
            |w| {
                w.tell(node(1), Event::Pause);
                w.run(10);
                w.advertise();
            },
            |why| matches!(why, NoPlace::NobodyAccepts { paused: 1, .. }),
        ),
        (
            "card nowhere",
            |w| {
                let missing = ByteCount::new(9);
                for n in [0, 1] {
                    w.node(n).shelf.get_mut(&CHECKPOINT).unwrap().missing = missing;
                }
                w.run(10);
                w.meet();
            },
            |why| {
                matches!(why, NoPlace::NobodyHasCard { card, last_seeder: Some(_) }
                    if *card == CHECKPOINT)
            },
        ),
        (
            "no credit",
            |w| w.ledger.room = Some(Millikudos::saturating(10)),
            |why| {
                matches!(why, NoPlace::Refused(said)
                    if matches!(said[0].1, Refusal::NoCredit(_)))
            },
        ),
        (
            "blocked there",
            |w| w.ledger.blocked.push(node(0)),
            |why| matches!(why, NoPlace::Refused(said) if said[0].1 == Refusal::Blocked),
        ),
        (
            "blocked here",
            |w| w.ledger.blocked.push(node(1)),
            |why| matches!(why, NoPlace::AllBlocked),
        ),
        (
            "too big",
            |w| {
                let policy = w.node(1).policy.clone();
                w.node(1).policy = WorkerPolicy {
                    evaluations_max: 5,
                    ..policy
                };
                w.kill(1);
                w.revive(1, true);
            },
            |why| matches!(why, NoPlace::Refused(said) if said[0].1 == Refusal::TooBig),
        ),
    ];
    for (name, arrange, expected) in rows {
        let mut world = World::new(&[0, 4_000]);
        arrange(&mut world);
        let job = world.submit(0);
        world.run(2_000);
        let why = no_place(&world, job);
        assert!(expected(&why), "{name}: {why:?}");
        assert!(!why.to_string().is_empty());
    }
}

#[test]
fn j2_a_worker_that_turns_up_within_the_grace_gets_the_job() {
    let mut world = World::new(&[0, 4_000]);
    world.cut(0, 1);
    let job = world.submit(0);
    world.run(1_000);
    world.mend();
    world.run(5_000);
    assert!(matches!(world.state(0, job), JobState::Finished(_)));
}

#[test]
fn j3_a_price_above_the_max_is_refused_with_the_cheapest() {
    let mut world = World::new(&[0, 4_000]);
    let max = Millikudos::saturating(100);
    let submission = Submission {
        max: Some(max),
        ..world.submission()
    };
    let job = world.submit_this(0, submission);
    world.run(2_000);
    let cheapest = Millikudos::saturating(4_500);
    assert_eq!(
        no_place(&world, job),
        NoPlace::PriceAboveMax { cheapest, max }
    );
}

#[test]
fn j3_a_silent_worker_is_passed_over() {
    let mut world = World::new(&[0, 9_000, 4_000]);
    // Node 1 still looks connected, but hears nothing.
    world.links_down.push((node(0), node(1)));
    let job = world.submit(0);
    world.run(10_000);
    let JobState::Finished(finish) = world.state(0, job) else {
        panic!("the other worker does it");
    };
    assert_eq!(finish.worker, Some(node(2)));
}

#[test]
fn j3_a_batch_spreads_over_the_workers() {
    let mut world = World::new(&[0, 1_000, 1_000, 1_000]);
    let jobs: Vec<_> = (0..6).map(|_| world.submit(0)).collect();
    world.run(60_000);
    let mut workers = BTreeSet::new();
    for job in jobs {
        let state = world.state(0, job);
        let JobState::Finished(finish) = state else {
            panic!("expected a finished job, got {state:?}");
        };
        workers.insert(finish.worker);
    }
    assert_eq!(workers.len(), 3);
    for n in 1..4 {
        assert_eq!(world.node(n).runs.len(), 2, "worker {n}");
    }
}

#[test]
fn j3_a_batch_larger_than_a_queue_waits_for_places() {
    let mut world = World::new(&[0, 8_000]);
    let jobs: Vec<_> = (0..40).map(|_| world.submit(0)).collect();
    world.live(120_000);
    for job in jobs {
        let done = matches!(world.state(0, job), JobState::Finished(_));
        assert!(done, "{:?}", world.state(0, job));
    }
}

#[test]
fn j3_a_warm_or_faster_or_freer_worker_comes_first() {
    let mut world = World::new(&[0, 1_000, 3_000]);
    let job = world.submit(0);
    world.run(10_000);
    let JobState::Finished(finish) = world.state(0, job) else {
        panic!("it is done");
    };
    assert_eq!(finish.worker, Some(node(2)));
}

#[test]
fn j13_a_local_job_writes_nothing_to_the_ledger() {
    let mut world = World::new(&[4_000, 9_000]);
    let submission = Submission {
        place: Place::Local,
        ..world.submission()
    };
    let job = world.submit_this(0, submission);
    world.run(5_000);
    let JobState::Finished(finish) = world.state(0, job) else {
        panic!("it is done here: {:?}", world.state(0, job));
    };
    assert_eq!((finish.worker, finish.amount), (None, Millikudos::ZERO));
    assert!(world.ledger.order_list.is_empty());
}

#[test]
fn j13_the_own_engine_is_a_candidate_and_the_last_resort() {
    for (speeds, paused_other, local) in [
        ([9_000, 1_000], false, true),
        ([1_000, 9_000], false, false),
        ([1_000, 9_000], true, true),
    ] {
        let mut world = World::new(&speeds);
        if paused_other {
            world.tell(node(1), Event::Pause);
            world.run(10);
            world.advertise();
        }
        let job = world.submit(0);
        world.run(20_000);
        let JobState::Finished(finish) = world.state(0, job) else {
            panic!("it is done: {:?}", world.state(0, job));
        };
        assert_eq!(finish.worker.is_none(), local);
    }
}

#[test]
fn j13_a_local_job_on_a_node_without_an_engine_fails_at_once() {
    let mut world = World::new(&[0, 4_000]);
    let submission = Submission {
        place: Place::Local,
        ..world.submission()
    };
    let job = world.submit_this(0, submission);
    assert_eq!(no_place(&world, job), NoPlace::NoEngine);
}

#[test]
fn j13_a_local_job_can_be_cancelled() {
    let mut world = World::new(&[1_000]);
    let job = world.submit(0);
    world.run(500);
    world.tell(node(0), Event::Cancel { job });
    world.run(500);
    let paid = Millikudos::ZERO;
    assert_eq!(*world.state(0, job), JobState::Cancelled { paid });
}

#[test]
fn j1_a_submission_under_a_wrong_or_taken_name_is_refused() {
    let mut world = World::new(&[0, 4_000]);
    let mut wrong = world.submission();
    wrong.spec.seed += 1;
    let job = world.submit_this(0, wrong);
    let expected = JobState::Failed(JobFailure::WrongName);
    assert_eq!(*world.state(0, job), expected);
    let again = world.submission();
    world.submit_this(0, again.clone());
    world.submit_this(0, again);
    assert_eq!(world.node(0).jobs.len(), 2);
}

#[test]
fn j1_a_timeout_ends_a_job() {
    let mut world = World::new(&[0, 100]);
    let submission = Submission {
        timeout: Some(Millis::from_secs(5)),
        ..world.submission()
    };
    let job = world.submit_this(0, submission);
    world.live(300_000);
    assert!(matches!(world.state(0, job), JobState::Failed(_)));
    assert_eq!(world.ledger.receipts.len(), 0);
}

#[test]
fn j4_a_paused_worker_finishes_what_runs_and_takes_nothing_new() {
    let mut world = World::new(&[0, 4_000]);
    let first = world.submit(0);
    world.run(500);
    world.tell(node(1), Event::Pause);
    let second = world.submit(0);
    world.run(5_000);
    assert!(matches!(world.state(0, first), JobState::Finished(_)));
    assert!(matches!(no_place(&world, second), NoPlace::Refused(_)));
    assert_eq!(world.node(1).dispatcher.accepting(), paused());
    world.tell(node(1), Event::Unpause);
    assert_eq!(world.node(1).dispatcher.accepting(), Accepting::Yes);
}
