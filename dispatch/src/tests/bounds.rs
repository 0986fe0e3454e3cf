//! Properties: every job ends, nothing is paid twice, nothing grows without bound.

use proptest::prelude::*;

use hearth_protocol::id::{EntryHash, JobId};
use hearth_protocol::job::Refusal;
use hearth_protocol::limits;
use hearth_protocol::wire::JobMessage;

use super::world::{EngineDoes, World, node, spec};
use crate::*;

/// One thing that happens to a world.
#[derive(Debug, Clone)]
enum Act {
    Submit,
    Cancel(usize),
    Kill(u8),
    Revive(u8),
    Cut(u8),
    Mend,
    Engine(u8, u8),
    Pause(u8),
    Run(u16),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Submit),
        1 => (0_usize..8).prop_map(Act::Cancel),
        1 => (0_u8..4).prop_map(Act::Kill),
        1 => (0_u8..4).prop_map(Act::Revive),
        1 => (1_u8..4).prop_map(Act::Cut),
        1 => Just(Act::Mend),
        1 => (1_u8..4, 0_u8..3).prop_map(|(n, does)| Act::Engine(n, does)),
        1 => (1_u8..4).prop_map(Act::Pause),
        6 => (1_u16..3_000).prop_map(Act::Run),
    ]
}

fn perform(world: &mut World, jobs: &mut Vec<JobId>, act: &Act) {
    match act {
        Act::Submit if world.nodes[&node(0)].alive => jobs.push(world.submit(0)),
        Act::Submit => {}
        Act::Cancel(at) => {
            if let Some(job) = jobs.get(*at).copied() {
                world.tell(node(0), Event::Cancel { job });
            }
        }
        Act::Kill(n) => world.kill(*n),
        Act::Revive(n) => {
            if !world.nodes[&node(*n)].alive {
                world.revive(*n, true);
            }
        }
        Act::Cut(n) => world.cut(0, *n),
        Act::Mend => world.mend(),
        Act::Engine(n, does) => {
            world.node(*n).engine = match does {
                0 => EngineDoes::Fail,
                1 => EngineDoes::Die,
                _ => EngineDoes::Work,
            }
        }
        Act::Pause(n) => world.tell(node(*n), Event::Pause),
        Act::Run(ms) => world.run(u64::from(*ms)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn j8_every_job_ends_and_none_is_paid_twice(acts in prop::collection::vec(act(), 1..40)) {
        let mut world = World::new(&[0, 1_000, 2_000, 3_000]);
        let mut jobs = Vec::new();
        for act in &acts {
            perform(&mut world, &mut jobs, act);
            world.run(1);
        }
        for n in 0..4 {
            if !world.nodes[&node(n)].alive {
                world.revive(n, true);
            }
        }
        world.mend();
        world.live(7_500_000);
        for job in jobs {
            let known = world.nodes[&node(0)].dispatcher.job(&job);
            prop_assert!(known.is_none_or(Job::is_over), "{:?}", known.map(Job::state));
            prop_assert!(world.ledger.undisputed(job) <= 1);
        }
        for node in world.nodes.values() {
            prop_assert!(node.most_effects <= limits::ROOM_QUEUE_MAX * 2);
            prop_assert!(node.dispatcher.queue_len() == 0);
        }
    }
}

#[test]
fn j14_a_flood_of_orders_fills_no_more_than_the_queue_of_one_peer() {
    let mut world = World::new(&[0, 1_000]);
    for n in 0..200_u8 {
        let salt = hearth_protocol::id::Salt::from_bytes([n; 32]);
        let spec = Box::new(spec());
        let message = Box::new(JobMessage::Order {
            job: spec.job_id(&salt),
            order: EntryHash::from_bytes([n; 32]),
            salt,
            spec,
        });
        let from = node(0);
        world.tell(node(1), Event::Message { from, message });
    }
    let waiting = world.node(1).dispatcher.work().count();
    assert_eq!(waiting, limits::QUEUE_PER_PEER_MAX);
    world.run(20_000);
    assert_eq!(
        world.node(1).dispatcher.work().count(),
        0,
        "no entry ever came"
    );
    let refused = |message: &&JobMessage| {
        matches!(
            message,
            JobMessage::Refused {
                refusal: Refusal::OrderNotHeld,
                ..
            }
        )
    };
    let replies = world.node(0).messages.clone();
    let refused = replies.iter().filter(refused).count();
    assert_eq!(refused, limits::QUEUE_PER_PEER_MAX);
}

#[test]
fn j14_more_jobs_than_are_kept_fail_at_once() {
    let mut world = World::new(&[0, 1_000]);
    let mut last = None;
    for n in 0..=limits::JOBS_OPEN_MAX {
        let mut submission = world.submission();
        submission.spec.seed = u64::try_from(n).unwrap();
        submission.job = submission.spec.job_id(&submission.salt);
        last = Some(world.submit_this(0, submission));
    }
    let expected = JobState::Failed(JobFailure::TooManyJobs);
    assert_eq!(*world.state(0, last.unwrap()), expected);
}

#[test]
fn j15_strangers_and_unknown_jobs_are_ignored_by_name() {
    let mut world = World::new(&[0, 1_000]);
    let job = JobId::from_bytes([9; 32]);
    let order = EntryHash::from_bytes([9; 32]);
    for (from, message) in [
        (node(99), JobMessage::Cancel { job, order }),
        (node(0), JobMessage::Cancel { job, order }),
        (node(0), JobMessage::Resume { job, order }),
        (node(0), JobMessage::Received { job, order }),
        (
            node(0),
            JobMessage::Accepted {
                job,
                order,
                ahead: 0,
            },
        ),
    ] {
        let before = world.node(1).log.len();
        let message = Box::new(message);
        world.tell(node(1), Event::Message { from, message });
        assert_eq!(world.node(1).log.len(), before + 1);
    }
    let call = CallId(77);
    world.tell(node(1), Event::OutputsSaved { call });
    assert_eq!(
        world.node(1).log.last().unwrap(),
        "nobody waits for call 77"
    );
}
