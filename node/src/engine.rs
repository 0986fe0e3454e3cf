//! Supervises the engine process: one child, started with the first job, warm between jobs.
//!
//! It parses strangers' files, so it gets a cleared environment, a folder of its own, limits and
//! no way to the identity key; when it dies under a job, it is started again and the job tried once
//! more, and what kills it twice is reported as failed. Which program it is, [`choice`] says. Knows
//! nothing of orders or kudos.

pub(crate) mod choice;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use hearth_protocol::codec;
use hearth_protocol::engine::{EngineCall, EngineEvent};
use hearth_protocol::limits;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::time::Instant;

pub(crate) use choice::Choice;
use choice::{Program, Wish};

/// How long the process may idle before its memory is given back.
const IDLE: Duration = Duration::from_secs(600);
/// How long a run may go on after it was told to stop: many times the slowest evaluation.
const CANCEL_MAX: Duration = Duration::from_secs(60);
/// Open files the process may have.
#[cfg(target_os = "linux")]
const FILES_MAX: u64 = 512;

/// How the process is started.
#[derive(Debug, Clone)]
pub(crate) struct EngineConfig {
    /// What a person wants to compute with.
    pub(crate) wish: Wish,
    /// Its working folder.
    pub(crate) dir: PathBuf,
    /// Threads it may use; 0 for all.
    pub(crate) threads: u32,
}

/// What comes back.
#[derive(Debug)]
pub(crate) enum EngineReport {
    /// It is known which program computes.
    Chosen(Box<Choice>),
    /// The process said something.
    Said(EngineEvent),
    /// The process ended while a run was going on, which is tried once more.
    Retrying {
        /// How it ended.
        how: String,
    },
    /// The process is gone or was let go: nothing is warm any more.
    Unloaded,
    /// The process ended while this run was going on, or could not be started for it.
    Died {
        /// The run.
        run: u64,
        /// How.
        how: String,
    },
}

/// Takes calls for the engine process.
#[derive(Debug, Clone)]
pub(crate) struct EngineHandle {
    calls: mpsc::Sender<EngineCall>,
}

impl EngineHandle {
    /// Passes a call on; `false` when too many wait.
    pub(crate) fn call(&self, call: EngineCall) -> bool {
        self.calls.try_send(call).is_ok()
    }
}

/// Starts supervising. Ends, killing the process, when the handle is dropped.
pub(crate) fn supervise(config: EngineConfig, reports: mpsc::Sender<EngineReport>) -> EngineHandle {
    let (calls, inbox) = mpsc::channel(limits::QUEUE_MAX);
    tokio::spawn(
        Supervisor {
            config,
            inbox,
            reports,
            running: None,
            kill_at: None,
        }
        .begin(),
    );
    EngineHandle { calls }
}

struct Supervisor {
    config: EngineConfig,
    inbox: mpsc::Receiver<EngineCall>,
    reports: mpsc::Sender<EngineReport>,
    running: Option<Running>,
    /// When a run that was told to stop is ended by force.
    kill_at: Option<Instant>,
}

/// A run going on.
struct Running {
    run: u64,
    /// What to begin it with once more, if it dies the first time.
    again: Option<EngineCall>,
}

struct Process {
    child: Child,
    stdin: ChildStdin,
    frames: mpsc::Receiver<EngineEvent>,
}

enum Turn {
    Call(Option<EngineCall>),
    Said(Option<EngineEvent>),
    Idle,
    Hung,
}

impl Supervisor {
    async fn begin(self) {
        // Calls wait in the inbox meanwhile.
        let choice = choice::choose(&self.config.wish).await;
        let program = choice.program.clone();
        self.tell(EngineReport::Chosen(Box::new(choice))).await;
        self.run(&program).await;
    }

    async fn run(mut self, program: &Program) {
        let mut process: Option<Process> = None;
        loop {
            match self.turn(process.as_mut()).await {
                Turn::Call(None) => return,
                Turn::Call(Some(call)) => self.pass_on(call, program, &mut process).await,
                Turn::Said(Some(event)) => self.report(event).await,
                Turn::Said(None) => {
                    let how = ended(process.take()).await;
                    match self.again() {
                        Some(call) => {
                            self.tell(EngineReport::Retrying { how }).await;
                            self.pass_on(call, program, &mut process).await;
                        }
                        None => self.died(how).await,
                    }
                }
                Turn::Idle => {
                    process = None;
                    self.tell(EngineReport::Unloaded).await;
                }
                Turn::Hung => {
                    tracing::warn!("the engine process ignored a cancellation and is ended");
                    let how = ended(process.take()).await;
                    self.died(how).await;
                }
            }
        }
    }

    async fn turn(&mut self, process: Option<&mut Process>) -> Turn {
        let Some(process) = process else {
            return Turn::Call(self.inbox.recv().await);
        };
        let hung = self.kill_at;
        tokio::select! {
            () = tokio::time::sleep_until(hung.unwrap_or_else(Instant::now)), if hung.is_some() => Turn::Hung,
            call = self.inbox.recv() => Turn::Call(call),
            event = process.frames.recv() => Turn::Said(event),
            () = tokio::time::sleep(IDLE), if self.running.is_none() => Turn::Idle,
        }
    }

    /// Returns the run that died, if it may be tried once more: not behind a cancellation.
    fn again(&mut self) -> Option<EngineCall> {
        let running = self.running.as_mut()?;
        running.again.take().filter(|_| self.kill_at.is_none())
    }

    async fn pass_on(
        &mut self,
        call: EngineCall,
        program: &Program,
        process: &mut Option<Process>,
    ) {
        if let EngineCall::Run { run, .. } = &call {
            let is_second = self.running.as_ref().is_some_and(|it| it.run == *run);
            self.running = Some(Running {
                run: *run,
                again: (!is_second).then(|| call.clone()),
            });
            self.kill_at = None;
        } else if process.is_none() {
            return;
        } else {
            self.kill_at = Some(Instant::now() + CANCEL_MAX);
        }
        if process.is_none() {
            match spawn(&self.config, program) {
                Ok(started) => *process = Some(started),
                Err(error) => return self.died(format!("it could not be started: {error}")).await,
            }
        }
        let Some(process) = process.as_mut() else {
            return;
        };
        let frame = codec::encode(&call);
        let len = u32::try_from(frame.len())
            .expect("calls are far below 4 GiB")
            .to_le_bytes();
        let written = async {
            process.stdin.write_all(&len).await?;
            process.stdin.write_all(&frame).await?;
            process.stdin.flush().await
        };
        if let Err(error) = written.await {
            // The reader sees the end of the process and reports it.
            tracing::debug!(%error, "the engine process did not take a call");
        }
    }

    async fn report(&mut self, event: EngineEvent) {
        match &event {
            EngineEvent::Done { .. } | EngineEvent::Failed { .. } => {
                self.running = None;
                self.kill_at = None;
            }
            EngineEvent::Ready { .. } | EngineEvent::Progress { .. } => {}
        }
        self.tell(EngineReport::Said(event)).await;
    }

    async fn tell(&self, report: EngineReport) {
        // A full queue slows the engine down; the switchboard always drains it, and only goes away
        // when the node ends.
        let _ended = self.reports.send(report).await;
    }

    async fn died(&mut self, how: String) {
        self.kill_at = None;
        match self.running.take() {
            Some(Running { run, .. }) => self.tell(EngineReport::Died { run, how }).await,
            None => self.tell(EngineReport::Unloaded).await,
        }
    }
}

async fn ended(process: Option<Process>) -> String {
    let Some(mut process) = process else {
        return "it is not running".into();
    };
    let _already_dead = process.child.start_kill();
    match process.child.wait().await {
        Ok(status) => format!("it ended with {status}"),
        Err(error) => format!("it was lost: {error}"),
    }
}

fn spawn(config: &EngineConfig, program: &Program) -> std::io::Result<Process> {
    std::fs::create_dir_all(&config.dir)?;
    let mut command = Command::new(program.path());
    command
        .args(program.arguments(config.wish.precision))
        .env_clear()
        .envs(program.environment(&config.dir))
        .current_dir(&config.dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    // Ctrl-C in the node's terminal is the node's to answer.
    #[cfg(unix)]
    command.process_group(0);
    if config.threads > 0 {
        command.env(
            "RAYON_NUM_THREADS",
            OsString::from(config.threads.to_string()),
        );
    }
    let mut child = command.spawn()?;
    limit(&child);
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(std::io::Error::other("its pipes are missing"));
    };
    let (sender, frames) = mpsc::channel(64);
    tokio::spawn(read_frames(stdout, sender));
    Ok(Process {
        child,
        stdin,
        frames,
    })
}

#[cfg(not(target_os = "linux"))]
fn limit(_child: &Child) {}

/// No core dumps of people's prompts, and a bounded number of files.
#[cfg(target_os = "linux")]
fn limit(child: &Child) {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let Some(pid) = child
        .id()
        .and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?))
    else {
        return;
    };
    for (resource, max) in [(Resource::Core, 0), (Resource::Nofile, FILES_MAX)] {
        let limit = Rlimit {
            current: Some(max),
            maximum: Some(max),
        };
        if let Err(error) = prlimit(Some(pid), resource, limit) {
            tracing::warn!(%error, ?resource, "the engine process runs without this limit");
        }
    }
}

async fn read_frames(mut stdout: ChildStdout, events: mpsc::Sender<EngineEvent>) {
    loop {
        match read_frame(&mut stdout).await {
            Ok(Some(event)) => {
                if events.send(event).await.is_err() {
                    return;
                }
            }
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, "the engine process said something unreadable");
                return;
            }
        }
    }
}

async fn read_frame(reader: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Option<EngineEvent>> {
    let mut len = [0; 4];
    match reader.read_exact(&mut len).await {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let len = usize::try_from(u32::from_le_bytes(len)).unwrap_or(usize::MAX);
    if len > limits::ENGINE_FRAME_LEN_MAX {
        return Err(std::io::Error::other(format!("a frame of {len} bytes")));
    }
    let mut frame = vec![0; len];
    reader.read_exact(&mut frame).await?;
    codec::decode(&frame, limits::ENGINE_FRAME_LEN_MAX)
        .map(Some)
        .map_err(std::io::Error::other)
}

#[cfg(test)]
mod tests {
    use hearth_protocol::engine::DeviceFacts;

    use super::*;

    #[tokio::test]
    async fn an_oversized_frame_is_refused_before_it_is_read() {
        let mut bytes: &[u8] = &u32::MAX.to_le_bytes();
        assert!(
            read_frame(&mut bytes)
                .await
                .unwrap_err()
                .to_string()
                .contains("bytes")
        );
    }

    #[tokio::test]
    async fn a_frame_is_read_back() {
        let ready = EngineEvent::Ready {
            device: DeviceFacts {
                kind: "cpu".into(),
                name: "a processor".into(),
                memory: None,
            },
        };
        let frame = codec::encode(&ready);
        let len = u32::try_from(frame.len()).unwrap().to_le_bytes();
        let bytes = [&len[..], &frame].concat();
        assert_eq!(read_frame(&mut &bytes[..]).await.unwrap(), Some(ready));
        assert_eq!(read_frame(&mut &b""[..]).await.unwrap(), None);
    }

    /// An engine that is a script, in a folder of its own.
    #[cfg(unix)]
    fn scripted(script: &str) -> (tempfile::TempDir, EngineConfig) {
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("hearth");
        std::fs::write(&own, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o755)).unwrap();
        let wish = Wish {
            program: None,
            precision: crate::config::Precision::Auto,
            own,
            path: Vec::new(),
        };
        let config = EngineConfig {
            wish,
            dir: dir.path().to_owned(),
            threads: 0,
        };
        (dir, config)
    }

    #[cfg(unix)]
    fn a_run() -> EngineCall {
        use hearth_protocol::engine::{Assets, ModelAsset};
        use hearth_protocol::id::CardId;
        use hearth_protocol::job::JobSpec;

        EngineCall::Run {
            run: 7,
            spec: Box::new(JobSpec::plain(CardId::from_bytes([1; 32]), "a kite")),
            assets: Box::new(Assets {
                checkpoint: ModelAsset {
                    title: "none".into(),
                    hash: String::new(),
                    files: Vec::new(),
                },
                vae: None,
                loras: Vec::new(),
                embeddings: Vec::new(),
                inputs: Vec::new(),
            }),
            memory_max: None,
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn e83_a_run_whose_engine_dies_is_tried_once_more() {
        let script =
            "if [ -e died ]; then /bin/cat answer; exec /bin/cat > rest; fi; : > died; exit 9";
        let (dir, config) = scripted(script);
        let done = EngineEvent::Failed {
            run: 7,
            end: hearth_protocol::engine::FailedEnd::Refused("so it is".into()),
            evaluations: 3,
        };
        let frame = codec::encode(&done);
        let len = u32::try_from(frame.len()).unwrap().to_le_bytes();
        std::fs::write(dir.path().join("answer"), [&len[..], &frame].concat()).unwrap();
        let (sender, mut reports) = mpsc::channel(8);
        let handle = supervise(config, sender);
        assert!(handle.call(a_run()));
        assert!(matches!(
            reports.recv().await,
            Some(EngineReport::Chosen(_))
        ));
        assert!(matches!(
            reports.recv().await,
            Some(EngineReport::Retrying { .. })
        ));
        match reports.recv().await {
            Some(EngineReport::Said(event)) => assert_eq!(event, done),
            other => panic!("{other:?}"),
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn e83_a_run_that_kills_its_engine_twice_is_reported() {
        let (_dir, config) = scripted("exit 9");
        let (sender, mut reports) = mpsc::channel(8);
        let handle = supervise(config, sender);
        assert!(handle.call(a_run()));
        assert!(matches!(
            reports.recv().await,
            Some(EngineReport::Chosen(_))
        ));
        assert!(matches!(
            reports.recv().await,
            Some(EngineReport::Retrying { .. })
        ));
        match reports.recv().await {
            Some(EngineReport::Died { run, how }) => {
                assert_eq!(run, 7);
                assert!(how.contains('9'), "{how}");
            }
            other => panic!("{other:?}"),
        }
    }
}
