//! One node of the demonstration: a process of this program with a home of its own.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command as Process, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hearth_protocol::control::{Command, Reply};
use hearth_protocol::id::NodeId;

use crate::client::Client;
use crate::config::KEYS;
use crate::home::{HOME_ENV, Home};

/// Lines of a log shown when something failed.
const TAIL: usize = 12;
/// How long a node may take to end in an orderly way.
const STOP_MAX: Duration = Duration::from_secs(3);

/// Who plays which part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Requester,
    Worker,
    Seeder,
}

impl Part {
    pub(super) const ALL: [Self; 3] = [Self::Requester, Self::Worker, Self::Seeder];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Requester => "requester",
            Self::Worker => "worker",
            Self::Seeder => "seeder",
        }
    }
}

/// A running node. Its process is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Actor {
    part: Part,
    home: Home,
    child: Child,
    lines: Receiver<String>,
    client: Option<Client>,
    node: Option<NodeId>,
}

impl Actor {
    /// Starts the process; it is not ready yet.
    pub(super) fn start(part: Part, dir: &Path) -> anyhow::Result<Self> {
        let home = Home::at(&dir.join(part.name()));
        home.create()?;
        let errors = home.root().join("stderr.log");
        let errors =
            File::create(&errors).with_context(|| format!("cannot write {}", errors.display()))?;
        let works = part == Part::Worker;
        let settings = [
            ("nickname", part.name()),
            ("network.listen", "127.0.0.1:0"),
            ("network.mdns", "false"),
            ("blobs.listen", "127.0.0.1:0"),
            ("control.listen", "127.0.0.1:0"),
            ("worker.enabled", if works { "true" } else { "false" }),
            // The seeder shares it as a file, so that there is something to fetch.
            ("models.built_in", "false"),
        ];
        let program = std::env::current_exe().context("cannot find this program")?;
        let mut process = Process::new(program);
        process.arg("--home").arg(home.root());
        for (key, value) in settings {
            process.args(["--set", &format!("{key}={value}")]);
        }
        for name in KEYS.iter().map(crate::config::Key::env) {
            process.env_remove(name);
        }
        let mut child = process
            .args(["--quiet", "--json", "up"])
            .env_remove(HOME_ENV)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .with_context(|| format!("cannot start the {}", part.name()))?;
        let stdout = child.stdout.take().context("the node has no output")?;
        let (sender, lines) = sync_channel(16);
        std::thread::Builder::new()
            .name(part.name().to_owned())
            .spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            })
            .context("cannot start threads")?;
        Ok(Self {
            part,
            home,
            child,
            lines,
            client: None,
            node: None,
        })
    }

    /// Looks whether the node has said that it is ready.
    pub(super) fn is_ready(&mut self) -> anyhow::Result<bool> {
        if self.client.is_some() {
            return Ok(true);
        }
        self.check_alive()?;
        let Ok(line) = self.lines.try_recv() else {
            return Ok(false);
        };
        let ready: serde_json::Value =
            serde_json::from_str(&line).context("the node said something unexpected")?;
        let node = ready["node"].as_str().unwrap_or_default();
        self.node = Some(node.parse().context("the node did not say its id")?);
        self.client = Some(Client::discover(&self.home)?);
        Ok(true)
    }

    /// Fails when the process ended by itself.
    pub(super) fn check_alive(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait().context("cannot watch a node")? {
            Some(status) => bail!("the {} ended ({status})", self.part.name()),
            None => Ok(()),
        }
    }

    pub(super) const fn part(&self) -> Part {
        self.part
    }

    /// Returns its id; the node must be ready.
    pub(super) fn node(&self) -> NodeId {
        self.node.expect("the node said its id when it was ready")
    }

    /// Returns the way to ask it; the node must be ready.
    pub(super) fn client(&self) -> &Client {
        self.client.as_ref().expect("the node is ready")
    }

    /// Asks it for something.
    pub(super) fn ask(&self, command: Command) -> anyhow::Result<Reply> {
        self.client()
            .execute(command)
            .with_context(|| format!("the {} did not do it", self.part.name()))
    }

    /// Asks the node to end.
    pub(super) fn ask_to_end(&self) {
        if let Some(client) = &self.client {
            // A node that does not end is killed.
            let _ = client.execute(Command::Shutdown);
        }
    }

    /// Waits for the end, then makes it so.
    pub(super) fn end(&mut self) {
        let begun = Instant::now();
        while begun.elapsed() < STOP_MAX && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Returns the last lines of its log and of what it said on standard error.
    pub(super) fn tail(&self) -> Vec<String> {
        let mut tail = vec![format!("-- log of the {}", self.part.name())];
        for file in [self.home.log_file(), self.home.root().join("stderr.log")] {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let from = lines.len().saturating_sub(TAIL);
            tail.extend(lines[from..].iter().map(|line| (*line).to_owned()));
        }
        tail
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // It may end between the look and the kill; either way it is gone.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
