//! One node: a home in a temporary folder and a process of the real binary, killed when dropped.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use hearth_gateway::Outcome;
use hearth_protocol::control::{Command, Problem, Reply};
use hearth_protocol::id::NodeId;
use hearth_protocol::snapshot::{JobView, PeerView, Snapshot, StatusView};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::patience::{LATER, SOON, eventually};

/// The binary under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_hearth");
/// Lines of a log that are shown when a story fails.
const TAIL: usize = 40;

/// A home and, most of the time, the process that runs on it.
pub(crate) struct Node {
    pub(crate) name: String,
    home: PathBuf,
    child: Option<Child>,
    id: Option<NodeId>,
    client: Option<(ureq::Agent, String, String)>,
    wrapper: Option<String>,
}

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

/// A command under way, killed when dropped.
pub(crate) struct Running {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    begun: Instant,
}

impl Output {
    /// Reads the one JSON object of a command that succeeded.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.code, 0, "the command succeeds: {self:?}");
        let value: Value = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("one JSON object ({error}): {self:?}"));
        assert_eq!(value["schema"], 1, "the schema is told: {self:?}");
        value
    }

    /// Asserts that a command succeeded.
    pub(crate) fn succeeds(&self) {
        assert_eq!(self.code, 0, "the command succeeds: {self:?}");
    }

    /// Asserts how a command failed and that each of these words was said.
    pub(crate) fn fails(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "the exit code: {self:?}");
        for word in words {
            assert!(
                self.stderr.contains(word),
                "'{word}' is said: {}",
                self.stderr
            );
        }
    }
}

impl Running {
    fn start(mut process: Process) -> Self {
        let mut child = process
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stdout = drain(child.stdout.take().expect("stdout is piped"));
        let stderr = drain(child.stderr.take().expect("stderr is piped"));
        Self {
            child,
            stdout,
            stderr,
            begun: Instant::now(),
        }
    }

    /// Waits for the end.
    pub(crate) fn finish(mut self, most: Duration) -> Output {
        let status = eventually("the command ends", most, || {
            self.child.try_wait().expect("the command can be watched")
        });
        Output {
            code: status.code().unwrap_or(-1),
            stdout: self.stdout.recv().unwrap_or_default(),
            stderr: self.stderr.recv().unwrap_or_default(),
            took: self.begun.elapsed(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn drain(mut from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = sync_channel(1);
    std::thread::spawn(move || {
        let mut text = String::new();
        let _broken = from.read_to_string(&mut text);
        let _nobody = sender.send(text);
    });
    receiver
}

/// A process of the program that knows nothing of whoever runs the tests.
fn process(program: &str) -> Process {
    let mut process = Process::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HEARTH_") {
            process.env_remove(name);
        }
    }
    process.env("NO_COLOR", "1").env_remove("RUST_LOG");
    process
}

/// Runs the program without any home of ours.
pub(crate) fn hearth(args: &[&str]) -> Output {
    let mut process = process(PROGRAM);
    process.args(args);
    Running::start(process).finish(LATER)
}

impl Node {
    /// Makes a home; nothing runs yet. Later settings win.
    pub(crate) fn new(dir: &Path, name: &str, settings: &[(&str, &str)]) -> Self {
        let home = dir.join(name);
        fs::create_dir_all(&home).expect("a home can be made");
        let mut config = toml::Table::new();
        let basics = [
            ("nickname", format!("'{name}'")),
            ("network.listen", "'127.0.0.1:0'".to_owned()),
            ("network.mdns", "false".to_owned()),
            ("blobs.listen", "'127.0.0.1:0'".to_owned()),
            ("control.listen", "'127.0.0.1:0'".to_owned()),
            // Stories share models of their own; those about Kindling say so.
            ("models.built_in", "false".to_owned()),
            (
                "log.level",
                "'warn,hearth=debug,hearth::blobs=info'".to_owned(),
            ),
        ];
        let own = settings
            .iter()
            .map(|(key, value)| (*key, (*value).to_owned()));
        for (key, value) in basics.into_iter().chain(own) {
            let line = format!("{key} = {value}");
            merge(&mut config, line.parse().expect("a setting is TOML"));
        }
        fs::write(home.join("config.toml"), config.to_string()).expect("a home can be written");
        Self {
            name: name.to_owned(),
            home,
            child: None,
            id: None,
            client: None,
            wrapper: None,
        }
    }

    /// Makes a home and starts its node.
    pub(crate) fn start(dir: &Path, name: &str, settings: &[(&str, &str)]) -> Self {
        let mut node = Self::new(dir, name, settings);
        node.up();
        node
    }

    /// Runs the process behind a line of shell from now on, such as `trap "" XFSZ`.
    pub(crate) fn behind(mut self, shell: &str) -> Self {
        self.wrapper = Some(shell.to_owned());
        self
    }

    /// Starts the process and waits until it is ready.
    pub(crate) fn up(&mut self) {
        let lines = self.spawn();
        let line = lines
            .recv_timeout(SOON)
            .unwrap_or_else(|_| panic!("{} is ready", self.name));
        self.connect(&line);
    }

    /// Starts the process and returns what it will say, without waiting for it.
    pub(crate) fn spawn(&mut self) -> Receiver<String> {
        assert!(self.child.is_none(), "{} is not running", self.name);
        let args = |process: &mut Process| {
            process.arg("--home").arg(&self.home);
            process.args(["--quiet", "--json", "up"]);
        };
        let mut process = if let Some(shell) = &self.wrapper {
            let mut process = process("sh");
            process.args(["-c", &format!("{shell}; exec \"$0\" \"$@\""), PROGRAM]);
            process
        } else {
            process(PROGRAM)
        };
        args(&mut process);
        let errors = fs::File::options()
            .create(true)
            .append(true)
            .open(self.home.join("stderr.log"))
            .expect("a home can be written");
        let mut child = process
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .expect("the binary starts");
        let stdout = child.stdout.take().expect("stdout is piped");
        self.child = Some(child);
        let (sender, lines) = sync_channel(4);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        lines
    }

    /// Takes the line that a ready node says.
    pub(crate) fn connect(&mut self, line: &str) {
        let ready: Value = serde_json::from_str(line).expect("the first line is JSON");
        let text = |key: &str| ready[key].as_str().expect("the line has it").to_owned();
        self.id = Some(text("node").parse().expect("an id"));
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .build();
        let token =
            fs::read_to_string(self.home.join("control.token")).expect("a ready node has a token");
        self.client = Some((config.into(), text("url"), token.trim().to_owned()));
    }

    /// Returns its id; it must have been ready once.
    pub(crate) fn id(&self) -> NodeId {
        self.id.expect("the node was ready once")
    }

    /// Returns its folder.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// Returns the process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("the node runs").id()
    }

    /// Returns where its control API is, and the token.
    pub(crate) fn access(&self) -> (&str, &str) {
        let (_, url, token) = self.client.as_ref().expect("the node was ready once");
        (url, token)
    }

    /// Kills the process as a power cut would.
    pub(crate) fn kill9(&mut self) {
        let mut child = self.child.take().expect("the node runs");
        child.kill().expect("a process can be killed");
        child.wait().expect("a process can be reaped");
    }

    /// Kills the process while others still speak to it; [`kill9`](Self::kill9) buries it.
    pub(crate) fn signal_kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process id"), signal).expect("a process of ours");
    }

    /// Kills the process, if it was not killed before, and starts another on the same home.
    pub(crate) fn restart(&mut self) {
        self.kill9();
        self.up();
    }

    /// Presses Ctrl-C and waits for the end.
    pub(crate) fn interrupt(&mut self) -> ExitStatus {
        self.signal(Signal::INT);
        let mut child = self.child.take().expect("the node runs");
        eventually("the node ends", SOON, || {
            child.try_wait().expect("a process can be watched")
        })
    }

    /// Ends the process in an orderly way.
    pub(crate) fn stop(&mut self) {
        self.run(&["stop"]).fails(0, &[]);
        let mut child = self.child.take().expect("the node runs");
        let status = child.wait().expect("a process can be reaped");
        assert!(status.success(), "{} ends with 0: {status}", self.name);
    }

    /// Whether the process still runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        let child = self.child.as_mut().expect("the node was started");
        matches!(child.try_wait(), Ok(None))
    }

    /// Begins a command of the command line on this home.
    pub(crate) fn begin(&self, args: &[&str]) -> Running {
        let mut process = process(PROGRAM);
        process.arg("--home").arg(&self.home).args(args);
        Running::start(process)
    }

    /// Runs a command of the command line on this home.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.begin(args).finish(LATER)
    }

    /// Runs a command that must succeed and returns its JSON.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        self.run(&[&["--json"], args].concat()).json()
    }

    /// Asks over the control API; `None` when the process is gone.
    pub(crate) fn try_ask(&self, command: &Command) -> Option<Result<Reply, Problem>> {
        let (agent, url, token) = self.client.as_ref()?;
        let body = serde_json::to_vec(command).expect("commands are JSON");
        let mut response = agent
            .post(format!("{url}/v1/command"))
            .header("authorization", format!("Bearer {token}"))
            .send(&body[..])
            .ok()?;
        let outcome: Outcome = response.body_mut().read_json().ok()?;
        Some(outcome.into())
    }

    /// Asks over the control API.
    pub(crate) fn ask(&self, command: &Command) -> Result<Reply, Problem> {
        self.try_ask(command)
            .unwrap_or_else(|| panic!("{} answers", self.name))
    }

    /// Returns its state.
    pub(crate) fn status(&self) -> StatusView {
        match self.ask(&Command::Status) {
            Ok(Reply::Status(status)) => *status,
            other => panic!("a status: {other:?}"),
        }
    }

    /// Returns what the dashboard draws.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let (agent, url, token) = self.client.as_ref().expect("the node was ready once");
        let mut response = agent
            .get(format!("{url}/v1/snapshot"))
            .header("authorization", format!("Bearer {token}"))
            .call()
            .unwrap_or_else(|error| panic!("{} answers: {error}", self.name));
        response.body_mut().read_json().expect("a snapshot")
    }

    /// Returns the members it knows.
    pub(crate) fn peers(&self) -> Vec<PeerView> {
        match self.ask(&Command::PeersList) {
            Ok(Reply::Peers { peers }) => peers,
            other => panic!("peers: {other:?}"),
        }
    }

    /// Returns its jobs and its work, newest first.
    pub(crate) fn jobs(&self) -> Vec<JobView> {
        match self.ask(&Command::JobsList) {
            Ok(Reply::Jobs { jobs }) => jobs,
            other => panic!("jobs: {other:?}"),
        }
    }

    /// Returns the whole log.
    pub(crate) fn log(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.home.join(name)).unwrap_or_default();
        read("hearth.log") + &read("stderr.log")
    }
}

impl Drop for Node {
    #[expect(clippy::print_stderr, reason = "the logs of a story that failed")]
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ended = child.kill();
            let _reaped = child.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(TAIL)..];
            eprintln!("-- {}, last lines of its log", self.name);
            tail.iter().for_each(|line| eprintln!("{line}"));
        }
    }
}

fn merge(into: &mut toml::Table, from: toml::Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) => merge(old, new),
            (_, value) => drop(into.insert(key, value)),
        }
    }
}
