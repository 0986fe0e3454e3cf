//! Whole lives of jobs, good and bad.

use hearth_protocol::entry::{DisputeCode, Verdict};
use hearth_protocol::id::{JobId, NodeId};
use hearth_protocol::job::{Failure, Refusal};
use hearth_protocol::unit::Millikudos;
use hearth_protocol::wire::JobMessage;

use super::world::{EngineDoes, World, node};
use crate::*;

fn finished_by(world: &World, n: u8, job: JobId) -> Option<NodeId> {
    let state = world.state(n, job);
    let JobState::Finished(finish) = state else {
        panic!("expected a finished job, got {state:?}");
    };
    finish.worker
}

#[test]
fn j1_a_job_is_ordered_run_received_and_acked_once() {
    let mut world = World::new(&[0, 4_000]);
    let job = world.submit(0);
    world.run(10_000);
    assert_eq!(finished_by(&world, 0, job), Some(node(1)));
    assert_eq!(world.ledger.receipts.len(), 1);
    let (_, receipt, amount) = world.ledger.receipts[0];
    assert_eq!(world.ledger.acks[&receipt], Verdict::Accepted);
    // J5: 20 evaluations of 200 mk and a cold load of 500.
    assert_eq!(amount, Millikudos::saturating(4_500));
    assert!(world.node(1).log.contains(&"dropped outputs".to_owned()));
}

#[test]
fn j8_a_worker_that_dies_is_waited_for_and_then_the_job_finishes_elsewhere() {
    let mut world = World::new(&[0, 8_000, 2_000]);
    let job = world.submit(0);
    world.run(300);
    assert_eq!(world.node(1).runs.len(), 1, "the faster worker runs it");
    world.kill(1);
    world.live(30_000);
    assert_eq!(
        world.node(2).runs.len(),
        0,
        "its order may still be charged"
    );
    world.live(300_000);
    assert_eq!(finished_by(&world, 0, job), Some(node(2)));
    assert_eq!(world.ledger.undisputed(job), 1);
    let states: Vec<HoldState> = world
        .ledger
        .orders
        .values()
        .map(|order| order.state)
        .collect();
    assert!(states.contains(&HoldState::VoidedByRequester));
}

#[test]
fn j8_a_failed_worker_voids_and_the_next_one_gets_the_job_at_once() {
    for does in [EngineDoes::Fail, EngineDoes::Die] {
        let mut world = World::new(&[0, 8_000, 2_000]);
        world.node(1).engine = does;
        let job = world.submit(0);
        world.run(10_000);
        assert_eq!(finished_by(&world, 0, job), Some(node(2)));
        assert_eq!(world.ledger.receipts.len(), 1);
    }
}

#[test]
fn j8_a_job_that_fails_everywhere_says_what_the_last_worker_said() {
    let mut world = World::new(&[0, 8_000]);
    world.node(1).engine = EngineDoes::Die;
    let job = world.submit(0);
    world.run(10_000);
    let expected = JobFailure::Worker {
        worker: node(1),
        failure: Failure::EngineDied,
    };
    assert_eq!(*world.state(0, job), JobState::Failed(expected));
}

#[test]
fn j10_a_cancelled_job_pays_the_evaluations_done() {
    let mut world = World::new(&[0, 1_000]);
    let job = world.submit(0);
    world.run(1_000);
    world.tell(node(0), Event::Cancel { job });
    world.run(5_000);
    let paid = Millikudos::saturating(7 * 200);
    assert_eq!(*world.state(0, job), JobState::Cancelled { paid });
    assert_eq!(world.ledger.undisputed(job), 1);
}

#[test]
fn j10_a_job_cancelled_in_the_queue_costs_nothing() {
    let mut world = World::new(&[0, 1_000]);
    let first = world.submit(0);
    let second = world.submit(0);
    world.run(1_000);
    world.tell(node(0), Event::Cancel { job: second });
    world.run(20_000);
    let paid = Millikudos::ZERO;
    assert_eq!(*world.state(0, second), JobState::Cancelled { paid });
    assert_eq!(finished_by(&world, 0, first), Some(node(1)));
    assert_eq!(world.ledger.receipts.len(), 1);
}

#[test]
fn j10_a_job_cancelled_at_every_moment_ends() {
    for ms in (0..4_200).step_by(70) {
        let mut world = World::new(&[0, 1_000]);
        let job = world.submit(0);
        world.run(ms);
        world.tell(node(0), Event::Cancel { job });
        world.live(600_000);
        let job_now = world.nodes[&node(0)].dispatcher.job(&job).unwrap();
        assert!(
            job_now.is_over(),
            "cancelled after {ms} ms: {:?}",
            job_now.state()
        );
        assert!(world.ledger.undisputed(job) <= 1);
    }
}

#[test]
fn j9_a_requester_restarted_at_any_moment_finishes_and_pays_once() {
    for keep_prompts in [true, false] {
        for ms in (0..5_000).step_by(73) {
            let mut world = World::new(&[0, 1_000]);
            let job = world.submit(0);
            world.run(ms);
            world.kill(0);
            world.run(40);
            world.revive(0, keep_prompts);
            world.live(600_000);
            let ended = world.nodes[&node(0)].dispatcher.job(&job).unwrap();
            assert!(ended.is_over(), "after {ms} ms: {:?}", ended.state());
            if keep_prompts {
                let well = matches!(ended.state(), JobState::Finished(_));
                assert!(well, "after {ms} ms: {:?}", ended.state());
            }
            assert!(world.ledger.undisputed(job) <= 1);
            assert!(world.runs() <= 1, "after {ms} ms it ran twice");
        }
    }
}

#[test]
fn j9_a_worker_restarted_at_any_moment_ends_every_order() {
    for ms in (0..5_000).step_by(73) {
        let mut world = World::new(&[0, 1_000, 900]);
        let job = world.submit(0);
        world.run(ms);
        world.kill(1);
        world.run(40);
        world.revive(1, false);
        world.live(600_000);
        let ended = world.nodes[&node(0)].dispatcher.job(&job).unwrap();
        let well = matches!(ended.state(), JobState::Finished(_));
        assert!(well, "after {ms} ms: {:?}", ended.state());
        assert_eq!(world.ledger.undisputed(job), 1, "after {ms} ms");
    }
}

#[test]
fn j9_a_cut_connection_is_mended_and_the_same_order_goes_on() {
    let mut world = World::new(&[0, 1_000]);
    let job = world.submit(0);
    world.run(1_000);
    world.cut(0, 1);
    world.run(10_000);
    assert!(
        !world.nodes[&node(0)]
            .dispatcher
            .job(&job)
            .unwrap()
            .is_over()
    );
    world.mend();
    world.run(1_000);
    assert_eq!(finished_by(&world, 0, job), Some(node(1)));
    assert_eq!(world.ledger.order_list.len(), 1);
}

#[test]
fn j7_a_replayed_order_never_runs_twice() {
    let mut world = World::new(&[0, 4_000]);
    let job = world.submit(0);
    world.run(10_000);
    let mut orders = world.node(1).messages.clone().into_iter();
    let order = orders.rfind(|message| matches!(message, JobMessage::Order { .. }));
    let order = order.unwrap();
    for (revive, wait) in [(false, 10), (true, 10), (false, 200_000_000)] {
        if revive {
            world.kill(1);
            world.revive(1, false);
        }
        world.run(wait);
        let message = Box::new(order.clone());
        let from = node(0);
        world.tell(node(1), Event::Message { from, message });
        world.run(5_000);
        let replies = world.node(0).messages.clone();
        let refused = matches!(
            replies.last(),
            Some(JobMessage::Refused {
                refusal: Refusal::Replayed | Refusal::OrderNotHeld,
                ..
            })
        );
        assert!(refused, "got {:?}", replies.last());
        assert_eq!(world.runs(), 1);
    }
    assert_eq!(world.ledger.undisputed(job), 1);
}

#[test]
fn j12_outputs_that_do_not_match_the_receipt_are_disputed() {
    let mut world = World::new(&[0, 4_000]);
    world.node(0).fault = Some(OutputsFault::Corrupt);
    let job = world.submit(0);
    world.run(10_000);
    let code = DisputeCode::Corrupt;
    let worker = node(1);
    let expected = JobState::Failed(JobFailure::Disputed { worker, code });
    assert_eq!(*world.state(0, job), expected);
    assert_eq!(world.ledger.undisputed(job), 0);
}

#[test]
fn j12_outputs_that_never_come_are_asked_for_and_then_disputed() {
    let mut world = World::new(&[0, 4_000]);
    world.node(0).fault = Some(OutputsFault::Missing);
    let job = world.submit(0);
    world.live(300_000);
    assert!(
        !world.nodes[&node(0)]
            .dispatcher
            .job(&job)
            .unwrap()
            .is_over()
    );
    world.live(900_000);
    let code = DisputeCode::Missing;
    let worker = node(1);
    let expected = JobState::Failed(JobFailure::Disputed { worker, code });
    assert_eq!(*world.state(0, job), expected);
}

#[test]
fn j12_outputs_come_on_a_later_try() {
    let mut world = World::new(&[0, 4_000]);
    world.node(0).fault = Some(OutputsFault::Unreachable);
    let job = world.submit(0);
    world.run(60_000);
    world.node(0).fault = None;
    world.run(60_000);
    assert_eq!(finished_by(&world, 0, job), Some(node(1)));
}
