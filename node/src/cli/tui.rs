//! `hearth tui`: the dashboard over the running node's control API.
//!
//! The node may come and go: everything is asked anew, and notices are subscribed to again.

use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use hearth_protocol::control::{Command, Problem, ProblemKind, Reply};
use hearth_protocol::limits;
use hearth_protocol::snapshot::{Notice, Snapshot};
use hearth_tui::{Source, SourceError};

use super::session::Session;
use crate::client::{Client, ClientError};
use crate::home::Home;

/// How often a node that is away is looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

pub(super) fn run(session: &Session) -> anyhow::Result<()> {
    // Fails at once, with the hint, when no node runs.
    session.client()?;
    let mut node = Node {
        home: session.home.clone(),
        notices: None,
        looked: None,
    };
    Ok(hearth_tui::run(&mut node)?)
}

struct Node {
    home: Home,
    notices: Option<Receiver<Notice>>,
    looked: Option<Instant>,
}

impl Node {
    fn client(&self) -> Result<Client, ClientError> {
        Client::discover(&self.home)
    }

    fn subscribe(&mut self) {
        if self
            .looked
            .is_some_and(|looked| looked.elapsed() < LOOK_AGAIN)
        {
            return;
        }
        self.looked = Some(Instant::now());
        let Ok(notices) = self.client().and_then(|client| client.notices()) else {
            return;
        };
        let (sender, receiver) = sync_channel(limits::ROOM_QUEUE_MAX);
        let spawned = std::thread::Builder::new()
            .name("notices".to_owned())
            .spawn(move || {
                for notice in notices.map_while(Result::ok) {
                    if sender.send(notice).is_err() {
                        return;
                    }
                }
            });
        self.notices = spawned.is_ok().then_some(receiver);
    }
}

impl Source for Node {
    fn snapshot(&mut self) -> Result<Snapshot, SourceError> {
        self.client()
            .and_then(|client| client.snapshot())
            .map_err(|error| {
                if let ClientError::Problem(problem) = error {
                    SourceError::Refused(problem)
                } else if error.is_unreachable() {
                    SourceError::Unreachable(Box::new(error))
                } else {
                    SourceError::Garbled(Box::new(error))
                }
            })
    }

    fn notices(&mut self) -> Vec<Notice> {
        if self.notices.is_none() {
            self.subscribe();
        }
        let mut got = Vec::new();
        while let Some(receiver) = &self.notices {
            match receiver.try_recv() {
                Ok(notice) => got.push(notice),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => self.notices = None,
            }
        }
        got
    }

    fn execute(&mut self, command: Command) -> Result<Reply, Problem> {
        self.client()
            .and_then(|client| client.execute(command))
            .map_err(|error| {
                if let ClientError::Problem(problem) = error {
                    problem
                } else {
                    Problem::new(ProblemKind::Failed, "the node cannot be asked").because(&error)
                }
            })
    }
}
