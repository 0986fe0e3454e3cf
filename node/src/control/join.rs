//! Entering a commons with a ticket: check it, knock, read the charter, show the join entry.

use std::net::SocketAddr;
use std::time::Duration;

use hearth_protocol::charter::Charter;
use hearth_protocol::control::{Command, Problem, ProblemKind, Reply};
use hearth_protocol::entry::{Entry, InviteUse};
use hearth_protocol::id::NodeId;
use hearth_protocol::sign::Signed;
use hearth_protocol::ticket::{MemberAddrs, Ticket, TicketError};
use hearth_protocol::unit::Seq;
use hearth_protocol::wire::{DoorReply, DoorRequest, Message};

use crate::blobs::Blobs;
use crate::clock::now;
use crate::switchboard::{Ask, Desk};

/// How often and how far apart the new commons is looked at before the join is reported.
const MEET_TRIES: u32 = 100;
/// The pause between two looks.
const MEET_PAUSE: Duration = Duration::from_millis(30);

fn bad_ticket(error: &TicketError) -> Problem {
    Problem::new(ProblemKind::Failed, "the ticket cannot be used")
        .because(error)
        .hint("ask a member for a new one: hearth commons invite")
}

/// Enters the commons a ticket leads to.
pub(super) async fn join(desk: &Desk, blobs: &Blobs, text: &str) -> Result<Reply, Problem> {
    let ticket: Ticket = text.parse().map_err(|error| bad_ticket(&error))?;
    ticket.check(now()).map_err(|error| bad_ticket(&error))?;
    let (member, charter) = read_charter(blobs, &ticket).await?;
    let invite = ticket.invite.as_ref().map(|invite| {
        let proof = invite.secret.prove(&desk.me);
        Box::new(InviteUse {
            invite: invite.invite.clone(),
            proof,
        })
    });
    let past = read_own_chain(blobs, &ticket, &member, desk.me).await?;
    let paper = desk
        .ask(|reply| Ask::Enter(Box::new(charter), invite, past, reply))
        .await?;
    let request = DoorRequest::Join {
        entry: Box::new(paper.entry),
        addrs: paper.addrs,
    };
    match knock(blobs, &ticket, &member, &request).await {
        Ok(DoorReply::Welcome { members }) => {
            let entered = desk.ask(|reply| Ask::Entered(members, reply)).await?;
            Ok(met(desk).await.unwrap_or(entered))
        }
        Ok(DoorReply::Refused(refusal)) => {
            desk.tell(Ask::TurnedAway).await;
            Err(Problem::new(ProblemKind::Failed, "the door stayed shut").because(&refusal))
        }
        Ok(DoorReply::Charter(_) | DoorReply::Chain { .. }) => {
            desk.tell(Ask::TurnedAway).await;
            Err(Problem::new(
                ProblemKind::Failed,
                "the member answered with something else",
            ))
        }
        Err(problem) => {
            desk.tell(Ask::TurnedAway).await;
            Err(problem)
        }
    }
}

/// Waits a moment for the first member to connect and tell its ledger, so that what is shown next
/// is the commons and not an empty room.
async fn met(desk: &Desk) -> Option<Reply> {
    for _ in 0..MEET_TRIES {
        let shown = desk.command(Command::CommonsShow).await.ok()?;
        if let Reply::Commons(commons) = &shown
            && commons.connected > 0
            && commons.members > 1
        {
            return Some(shown);
        }
        tokio::time::sleep(MEET_PAUSE).await;
    }
    None
}

/// Asks the ticket's members for the charter until one shows it.
async fn read_charter(
    blobs: &Blobs,
    ticket: &Ticket,
) -> Result<(MemberAddrs, Signed<Charter>), Problem> {
    let mut problem = Problem::new(ProblemKind::Failed, "nobody named in the ticket opened");
    let request = DoorRequest::Charter {
        commons: ticket.commons,
    };
    for member in &ticket.members {
        match knock(blobs, ticket, member, &request).await {
            Ok(DoorReply::Charter(charter)) => match charter.verify() {
                Ok(value) if value.id() == ticket.commons => return Ok((member.clone(), *charter)),
                Ok(_) => problem = problem.cause("a member showed the charter of another commons"),
                Err(error) => {
                    problem = problem
                        .cause("a member showed a forged charter")
                        .because(&error);
                }
            },
            Ok(DoorReply::Refused(refusal)) => problem = problem.because(&refusal),
            Ok(DoorReply::Welcome { .. } | DoorReply::Chain { .. }) => {
                problem = problem.cause("a member answered with something else");
            }
            Err(failed) => problem.causes.extend(failed.causes),
        }
    }
    Err(problem.hint("the members must be running and reachable; a newer ticket may name others"))
}

/// Asks for the chain this key wrote before, on a machine that is gone: writing a second one beside
/// it would be a fork.
async fn read_own_chain(
    blobs: &Blobs,
    ticket: &Ticket,
    member: &MemberAddrs,
    me: NodeId,
) -> Result<Vec<Entry>, Problem> {
    let mut past: Vec<Entry> = Vec::new();
    loop {
        let from = past
            .last()
            .and_then(|entry| entry.header.trusted().seq.next())
            .unwrap_or(Seq::FIRST);
        let request = DoorRequest::Chain {
            commons: ticket.commons,
            from,
        };
        match knock(blobs, ticket, member, &request).await? {
            DoorReply::Chain { entries } if entries.is_empty() => return Ok(past),
            DoorReply::Chain { entries } => {
                // Only what this key signed itself goes on, so the answer cannot be longer than
                // the life it tells of.
                let mut next = Some(from);
                for entry in &entries {
                    let header =
                        entry.header.verify().ok().filter(|header| {
                            header.author == me && header.commons == ticket.commons
                        });
                    if header.map(|header| header.seq) != next {
                        let what = "the member showed a chain that this key did not write";
                        return Err(Problem::new(ProblemKind::Failed, what));
                    }
                    next = next.and_then(Seq::next);
                }
                past.extend(entries);
            }
            DoorReply::Refused(refusal) => {
                return Err(
                    Problem::new(ProblemKind::Failed, "the door stayed shut").because(&refusal)
                );
            }
            DoorReply::Charter(_) | DoorReply::Welcome { .. } => {
                return Err(Problem::new(
                    ProblemKind::Failed,
                    "the member answered with something else",
                ));
            }
        }
    }
}

async fn knock(
    blobs: &Blobs,
    ticket: &Ticket,
    member: &MemberAddrs,
    request: &DoorRequest,
) -> Result<DoorReply, Problem> {
    let addrs: Vec<SocketAddr> = member
        .addrs
        .blobs
        .iter()
        .filter_map(|addr| addr.parse().ok())
        .collect();
    let failed = |error: &(dyn std::error::Error + 'static)| {
        Problem::new(ProblemKind::Failed, "a member could not be asked").because(error)
    };
    let reply = blobs
        .knock(ticket.commons, member.node, &addrs, request.to_bytes())
        .await
        .map_err(|error| failed(&error))?;
    DoorReply::from_bytes(&reply).map_err(|error| failed(&error))
}
