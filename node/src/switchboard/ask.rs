//! What the control side asks of the switchboard, and the handle it asks through.

use std::collections::BTreeMap;
use std::sync::Arc;

use hearth_protocol::card::Card;
use hearth_protocol::charter::Charter;
use hearth_protocol::control::{Command, GenerateRequest, ModelRef, Problem, ProblemKind, Reply};
use hearth_protocol::entry::{Entry, InviteUse};
use hearth_protocol::id::{CardId, NodeId};
use hearth_protocol::job::Start;
use hearth_protocol::sign::Signed;
use hearth_protocol::snapshot::{CardView, Snapshot};
use hearth_protocol::ticket::MemberAddrs;
use tokio::sync::{mpsc, oneshot};

use super::errand::{Answers, Source};

type ReplyTo<T> = oneshot::Sender<Result<T, Problem>>;

/// One question with the way back.
#[derive(Debug)]
pub(crate) enum Ask {
    /// A command that needs nothing but the switchboard.
    Command(Box<Command>, ReplyTo<Reply>),
    /// Pictures, with what they start from kept already.
    Generate(Box<GenerateRequest>, Start, ReplyTo<Reply>),
    /// Everything the dashboard draws.
    Snapshot(oneshot::Sender<Arc<Snapshot>>),
    /// Open the ledger of a commons, take up what this key wrote there before, and write the join
    /// entry if there is none.
    Enter(
        Box<Signed<Charter>>,
        Option<Box<InviteUse>>,
        Vec<Entry>,
        ReplyTo<JoinPaper>,
    ),
    /// The door let us in: go on with these members.
    Entered(Vec<MemberAddrs>, ReplyTo<Reply>),
    /// The door stayed shut: forget the ledger just opened.
    TurnedAway(oneshot::Sender<()>),
    /// Sign and announce a card whose files are here.
    Publish(Box<CardDraft>, ReplyTo<CardView>),
    /// A card, and who serves it.
    Source(ModelRef, ReplyTo<SourceReply>),
    /// A card's files are here now and are to be kept; so many bytes came from whom.
    Fetched(CardId, BTreeMap<NodeId, u64>, oneshot::Sender<()>),
}

/// A card before it has a publisher and a date.
#[derive(Debug)]
pub(crate) struct CardDraft {
    /// Its content; publisher and date are set when it is signed.
    pub(crate) card: Card,
}

/// What a joiner shows at the door.
#[derive(Debug)]
pub(crate) struct JoinPaper {
    /// The join entry.
    pub(crate) entry: Entry,
    /// Where the joiner is.
    pub(crate) addrs: MemberAddrs,
}

/// A card with what fetching needs.
#[derive(Debug)]
pub(crate) struct SourceReply {
    /// The card and its seeders.
    pub(crate) source: Source,
    /// Where progress goes.
    pub(crate) answers: Answers,
}

/// Asks the switchboard.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    /// The node behind it.
    pub(crate) me: NodeId,
    asks: mpsc::Sender<Ask>,
}

impl Desk {
    /// Makes a desk over a queue.
    pub(crate) const fn new(me: NodeId, asks: mpsc::Sender<Ask>) -> Self {
        Self { me, asks }
    }

    /// Asks for a command to be done.
    pub(crate) async fn command(&self, command: Command) -> Result<Reply, Problem> {
        self.ask(|reply| Ask::Command(Box::new(command), reply))
            .await
    }

    /// Asks something that may be refused.
    pub(crate) async fn ask<T>(&self, ask: impl FnOnce(ReplyTo<T>) -> Ask) -> Result<T, Problem> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(ask(reply)).await.map_err(|_| ending())?;
        answer.await.map_err(|_| ending())?
    }

    /// Tells something and waits until it is taken up; `None` when the node ends.
    pub(crate) async fn tell<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(ask(reply)).await.ok()?;
        answer.await.ok()
    }
}

fn ending() -> Problem {
    Problem::new(ProblemKind::Failed, "the node is ending").hint("start it again with 'hearth up'")
}
