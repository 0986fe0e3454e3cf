//! The engine as a child process: framed calls in, framed events out.
//!
//! One thread reads calls so that a cancellation arrives while a run goes on; runs happen on the
//! calling thread, one at a time, with the last model kept loaded. The end of the input is the end of
//! the process. Frames are a `u32` length, little endian, and canonical CBOR.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use hearth_protocol::codec::{self, DecodeError};
use hearth_protocol::engine::{Assets, EngineCall, EngineEvent, FailedEnd};
use hearth_protocol::job::{JobSpec, Phase, Preview, Timings};
use hearth_protocol::limits;
use hearth_protocol::unit::{ByteCount, Millis};
use thiserror::Error;

use crate::device::{DeviceError, ServeOptions};
use crate::run::{Cancel, Engine, Output, Progress, RunError};

/// Runs that may wait behind the one going on; a node sends one at a time.
const WAITING_MAX: usize = 4;

/// Why the process stops early.
#[derive(Debug, Error)]
pub enum ServeError {
    /// There is nothing to compute on.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The node's end of the input failed.
    #[error("cannot read calls")]
    Read(#[source] io::Error),
    /// The node's end of the output is gone.
    #[error("cannot write events")]
    Write(#[source] io::Error),
    /// A call is longer than any may be.
    #[error("a call of {length} bytes, over the {max} allowed", max = limits::ENGINE_FRAME_LEN_MAX)]
    TooLong {
        /// The stated length in bytes.
        length: usize,
    },
    /// A call cannot be understood.
    #[error("a call cannot be decoded")]
    Decode(#[from] DecodeError),
    /// The thread that reads calls could not be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

/// Serves calls on the processor until the input ends.
pub fn serve(
    stdin: impl Read + Send + 'static,
    stdout: impl Write + Send + 'static,
) -> Result<(), ServeError> {
    serve_on(ServeOptions::default(), stdin, stdout)
}

/// Serves calls on a device until the input ends.
///
/// # Errors
/// [`ServeError::Device`] before anything is said; the others when a pipe breaks or says nonsense.
pub fn serve_on(
    options: ServeOptions,
    stdin: impl Read + Send + 'static,
    stdout: impl Write + Send + 'static,
) -> Result<(), ServeError> {
    let engine = Engine::on(options)?;
    let device = engine.device()?;
    let events = Events(Arc::new(Mutex::new(stdout)));
    events
        .send(&EngineEvent::Ready { device })
        .map_err(ServeError::Write)?;
    let cancels = Cancels::default();
    let (sender, calls) = sync_channel(WAITING_MAX);
    let reader = Reader {
        cancels: cancels.clone(),
        events: events.clone(),
        sender,
    };
    let reader = thread::Builder::new()
        .name("engine calls".to_owned())
        .spawn(move || reader.read_all(stdin))
        .map_err(ServeError::Thread)?;
    run_all(engine, &calls, &cancels, &events)?;
    match reader.join() {
        Ok(end) => end,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn run_all<W: Write>(
    mut engine: Engine,
    calls: &Receiver<QueuedRun>,
    cancels: &Cancels,
    events: &Events<W>,
) -> Result<(), ServeError> {
    for queued in calls {
        let mut progress = Reporter::new(queued.run, events, queued.cancel.clone());
        engine.allow(queued.memory_max);
        let result = engine.run(&queued.spec, &queued.assets, &mut progress, &queued.cancel);
        cancels.forget(queued.run);
        let result = result.map_err(|error| {
            if let RunError::Cancelled { evaluations } = error {
                progress.evaluations = evaluations;
            }
            end(&error, &queued.assets)
        });
        progress.finish(result).map_err(ServeError::Write)?;
    }
    Ok(())
}

struct QueuedRun {
    run: u64,
    spec: Box<JobSpec>,
    assets: Box<Assets>,
    memory_max: Option<ByteCount>,
    cancel: Cancel,
}

/// The runs that can be cancelled.
#[derive(Clone, Debug, Default)]
struct Cancels(Arc<Mutex<BTreeMap<u64, Cancel>>>);

impl Cancels {
    fn open(&self) -> MutexGuard<'_, BTreeMap<u64, Cancel>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self, run: u64) {
        self.open().remove(&run);
    }
}

struct Reader<W> {
    cancels: Cancels,
    events: Events<W>,
    sender: SyncSender<QueuedRun>,
}

impl<W: Write> Reader<W> {
    fn read_all(self, mut stdin: impl Read) -> Result<(), ServeError> {
        let result = self.read_until_end(&mut stdin);
        // Whoever asked is gone: finish what runs at the next evaluation.
        self.cancels.open().values().for_each(Cancel::cancel);
        result
    }

    fn read_until_end(&self, stdin: &mut impl Read) -> Result<(), ServeError> {
        while let Some(bytes) = read_frame(stdin)? {
            match codec::decode(&bytes, limits::ENGINE_FRAME_LEN_MAX)? {
                EngineCall::Run {
                    run,
                    spec,
                    assets,
                    memory_max,
                } => self.queue(QueuedRun {
                    run,
                    spec,
                    assets,
                    memory_max,
                    cancel: Cancel::default(),
                })?,
                EngineCall::Cancel { run } => {
                    if let Some(cancel) = self.cancels.open().get(&run) {
                        cancel.cancel();
                    }
                }
            }
        }
        Ok(())
    }

    fn queue(&self, queued: QueuedRun) -> Result<(), ServeError> {
        let run = queued.run;
        self.cancels.open().insert(run, queued.cancel.clone());
        match self.sender.try_send(queued) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => Ok(()),
            Err(TrySendError::Full(_)) => {
                self.cancels.forget(run);
                let end = FailedEnd::Refused(format!("{WAITING_MAX} runs are waiting already"));
                let event = EngineEvent::Failed {
                    run,
                    end,
                    evaluations: 0,
                };
                self.events.send(&event).map_err(ServeError::Write)
            }
        }
    }
}

/// Reads one frame, or nothing at the end of the input.
fn read_frame(input: &mut impl Read) -> Result<Option<Vec<u8>>, ServeError> {
    let mut length = [0; 4];
    let mut got = 0;
    while got < length.len() {
        match input.read(&mut length[got..]) {
            Ok(0) if got == 0 => return Ok(None),
            Ok(0) => return Err(ServeError::Read(io::ErrorKind::UnexpectedEof.into())),
            Ok(n) => got += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(ServeError::Read(error)),
        }
    }
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > limits::ENGINE_FRAME_LEN_MAX {
        return Err(ServeError::TooLong { length });
    }
    let mut bytes = Vec::new();
    input
        .take(length as u64)
        .read_to_end(&mut bytes)
        .map_err(ServeError::Read)?;
    if bytes.len() < length {
        return Err(ServeError::Read(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(Some(bytes))
}

/// The way out, shared by both threads.
struct Events<W>(Arc<Mutex<W>>);

impl<W> Clone for Events<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<W: Write> Events<W> {
    fn send(&self, event: &EngineEvent) -> io::Result<()> {
        self.send_bytes(&codec::encode(event))
    }

    fn send_bytes(&self, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        let mut out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        out.write_all(&length.to_le_bytes())?;
        out.write_all(bytes)?;
        out.flush()
    }
}

/// Tells the node how one run goes and takes its times.
struct Reporter<'a, W> {
    run: u64,
    events: &'a Events<W>,
    cancel: Cancel,
    failed: Option<io::Error>,
    evaluations: u32,
    clock: PhaseClock,
}

impl<'a, W: Write> Reporter<'a, W> {
    fn new(run: u64, events: &'a Events<W>, cancel: Cancel) -> Self {
        Self {
            run,
            events,
            cancel,
            failed: None,
            evaluations: 0,
            clock: PhaseClock::new(),
        }
    }

    fn finish(self, result: Result<Output, FailedEnd>) -> io::Result<()> {
        let Self {
            run,
            events,
            failed,
            evaluations,
            clock,
            ..
        } = self;
        if let Some(error) = failed {
            return Err(error);
        }
        let end = match result {
            Ok(output) => {
                let done = EngineEvent::Done {
                    run,
                    outputs: output.files,
                    timings: clock.timings(),
                    evaluations: output.evaluations,
                    warnings: output
                        .warnings
                        .iter()
                        .map(|w| bounded(&w.to_string()))
                        .collect(),
                };
                let bytes = codec::encode(&done);
                if bytes.len() <= limits::ENGINE_FRAME_LEN_MAX {
                    return events.send_bytes(&bytes);
                }
                FailedEnd::Refused(format!("the output is {} bytes, too long", bytes.len()))
            }
            Err(end) => end,
        };
        events.send(&EngineEvent::Failed {
            run,
            end,
            evaluations,
        })
    }
}

impl<W: Write> Progress for Reporter<'_, W> {
    fn phase(&mut self, phase: Phase, preview: Option<Preview>) {
        self.clock.enter(&phase);
        if let Phase::Denoising { step, .. } = phase {
            self.evaluations = step;
        }
        let event = EngineEvent::Progress {
            run: self.run,
            phase,
            preview,
        };
        if self.failed.is_none()
            && let Err(error) = self.events.send(&event)
        {
            // Nobody listens: stop computing.
            self.failed = Some(error);
            self.cancel.cancel();
        }
    }
}

/// Adds up what each phase took.
struct PhaseClock {
    since: Instant,
    current: Part,
    load: Duration,
    encode: Duration,
    denoise: Duration,
    decode: Duration,
}

/// What a stretch of time counts as.
#[derive(Clone, Copy)]
enum Part {
    Load,
    Encode,
    Denoise,
    Decode,
}

impl PhaseClock {
    fn new() -> Self {
        let none = Duration::ZERO;
        let since = Instant::now();
        Self {
            since,
            current: Part::Load,
            load: none,
            encode: none,
            denoise: none,
            decode: none,
        }
    }

    fn enter(&mut self, phase: &Phase) {
        let now = Instant::now();
        let part = match self.current {
            Part::Load => &mut self.load,
            Part::Encode => &mut self.encode,
            Part::Denoise => &mut self.denoise,
            Part::Decode => &mut self.decode,
        };
        *part += now - self.since;
        self.since = now;
        self.current = match phase {
            Phase::Queued { .. } | Phase::Fetching { .. } | Phase::Loading => Part::Load,
            Phase::Encoding => Part::Encode,
            Phase::Denoising { .. } => Part::Denoise,
            Phase::Decoding | Phase::Delivering => Part::Decode,
        };
    }

    fn timings(mut self) -> Timings {
        self.enter(&Phase::Delivering);
        let millis =
            |span: Duration| Millis::new(u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
        Timings {
            load: millis(self.load),
            encode: millis(self.encode),
            denoise: millis(self.denoise),
            decode: millis(self.decode),
            ..Timings::default()
        }
    }
}

/// Returns how a run ended, in words that may be told to others: files by their names inside the model,
/// not by where this machine keeps them.
fn end(error: &RunError, assets: &Assets) -> FailedEnd {
    if matches!(error, RunError::Cancelled { .. }) {
        return FailedEnd::Cancelled;
    }
    let mut text = chain(error);
    for model in std::iter::once(&assets.checkpoint).chain(&assets.loras) {
        for file in model.files.iter().filter(|file| !file.path.is_empty()) {
            text = text.replace(&file.path, &format!("{}/{}", model.title, file.name));
        }
    }
    FailedEnd::Refused(bounded(&text))
}

/// Returns an error and its causes as one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // A transparent error repeats its source's words.
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

fn bounded(text: &str) -> String {
    let mut end = text.len().min(limits::TEXT_LEN_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}
