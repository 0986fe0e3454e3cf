//! What a machine can do: seconds for an evaluation and a decoded picture, of each family.
//!
//! Kindling is drawn with as it is; of the large families only the networks are made, at their published
//! sizes with random weights, so that nothing needs to be fetched to know how long a picture would take.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

use hearth_protocol::engine::{AssetFile, Assets, DeviceFacts, ModelAsset};
use hearth_protocol::id::CardId;
use hearth_protocol::job::{JobSpec, Phase, Preview};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::device::{DeviceError, ServeOptions};
use crate::kindling;
use crate::load::LoadError;
use crate::probe::{Family, FullSize};
use crate::run::{Cancel, Engine, Output, Progress, RunError, Silent};

/// What is drawn with Kindling.
const PROMPT: &str = "a red circle above a blue square";
/// Sides are whole latents, and not so large that only tiles would do.
const SIDES: std::ops::RangeInclusive<u32> = 64..=2048;
/// Pixels of a latent.
const FACTOR: u32 = 8;
/// Most evaluations that are timed.
const STEPS_MAX: u32 = 1000;

/// Whose networks are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// The model in the binary, drawing a whole picture.
    Kindling,
    /// Stable Diffusion 1.5's networks.
    Sd15,
    /// Stable Diffusion 2.1's.
    Sd2,
    /// Stable Diffusion XL's.
    Sdxl,
}

impl Subject {
    /// Every one, with the name it is asked for by.
    pub const ALL: [(&'static str, Self); 4] = [
        ("kindling", Self::Kindling),
        ("sd15", Self::Sd15),
        ("sd2", Self::Sd2),
        ("sdxl", Self::Sdxl),
    ];

    /// Returns the pixels of a side it was made for.
    pub fn side(self) -> u32 {
        match self {
            Self::Kindling => 128,
            Self::Sd15 => 512,
            Self::Sd2 => 768,
            Self::Sdxl => 1024,
        }
    }

    /// Returns how many evaluations suffice for a steady figure.
    pub fn steps(self) -> u32 {
        match self {
            Self::Kindling => 20,
            Self::Sd15 | Self::Sd2 | Self::Sdxl => 3,
        }
    }
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text);
        found.map(|(_, subject)| *subject).ok_or_else(|| {
            let names = Self::ALL.map(|(name, _)| name).join(", ");
            format!("no family '{text}'; known are {names}")
        })
    }
}

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Whose networks.
    pub subject: Subject,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Evaluations to time.
    pub steps: u32,
    /// On what.
    pub options: ServeOptions,
}

impl Request {
    /// What suits a family, on a device.
    pub fn new(subject: Subject, options: ServeOptions) -> Self {
        Self {
            subject,
            width: subject.side(),
            height: subject.side(),
            steps: subject.steps(),
            options,
        }
    }

    fn check(&self) -> Result<(), BenchError> {
        let fits = |side: u32| SIDES.contains(&side) && side.is_multiple_of(FACTOR);
        if !fits(self.width) || !fits(self.height) {
            let (width, height) = (self.width, self.height);
            return Err(BenchError::Size { width, height });
        }
        if !(1..=STEPS_MAX).contains(&self.steps) {
            return Err(BenchError::Steps(self.steps));
        }
        Ok(())
    }
}

/// What was measured. Times are of a warm model, in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// What computed.
    pub device: DeviceFacts,
    /// Whose networks.
    pub family: Subject,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Evaluations timed.
    pub evaluations: u32,
    /// One evaluation of the prompt and its negative together.
    pub evaluation_s: f64,
    /// Decoding one picture; with Kindling also writing its file.
    pub decode_s: f64,
    /// From the job to the file; measured with Kindling, for the others 20 evaluations and a decoding.
    pub picture_s: f64,
    /// From nothing to networks that are ready.
    pub load_s: f64,
    /// The most memory this process took of the machine, in bytes; nothing where the system does not tell.
    pub memory_peak: Option<u64>,
}

/// Why nothing was measured.
#[derive(Debug, Error)]
pub enum BenchError {
    /// A side is out of bounds.
    #[error("{width}x{height}: sides are multiples of {FACTOR} from {} to {}", SIDES.start(), SIDES.end())]
    Size {
        /// Width asked.
        width: u32,
        /// Height asked.
        height: u32,
    },
    /// No or far too many evaluations.
    #[error("{0} evaluations: ask for 1 to {STEPS_MAX}")]
    Steps(u32),
    /// There is nothing to compute on.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The networks cannot be made.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Computing failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Kindling cannot be written where it is loaded from.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
}

/// Measures.
///
/// # Errors
/// [`BenchError`] names what is out of bounds before anything large is made.
pub fn measure(request: &Request) -> Result<Measured, BenchError> {
    request.check()?;
    match request.subject {
        Subject::Kindling => draw(request).map(|(measured, _)| measured),
        Subject::Sd15 => evaluate(request, Family::Sd1),
        Subject::Sd2 => evaluate(request, Family::Sd2),
        Subject::Sdxl => evaluate(request, Family::Sdxl),
    }
}

/// Evaluations a picture usually takes.
const PICTURE_STEPS: f64 = 20.0;

fn evaluate(request: &Request, family: Family) -> Result<Measured, BenchError> {
    let began = Instant::now();
    let networks = FullSize::on(family, request.options)?;
    let load_s = began.elapsed().as_secs_f64();
    let latents = |side: u32| usize::try_from(side / FACTOR).unwrap_or(usize::MAX);
    let size = (latents(request.height), latents(request.width));
    // The first of each takes memory and compiles kernels.
    networks.evaluate_sized(2, size)?;
    let evaluation_s = seconds(request.steps, || networks.evaluate_sized(2, size))?;
    networks.decode_sized(size)?;
    let decode_s = seconds(1, || networks.decode_sized(size))?;
    Ok(Measured {
        device: networks.device()?,
        family: request.subject,
        width: request.width,
        height: request.height,
        evaluations: request.steps,
        evaluation_s,
        decode_s,
        picture_s: PICTURE_STEPS * evaluation_s + decode_s,
        load_s,
        memory_peak: memory_peak(),
    })
}

/// Returns the mean seconds of some work.
fn seconds<T>(times: u32, work: impl Fn() -> Result<T, RunError>) -> Result<f64, RunError> {
    let began = Instant::now();
    for _ in 0..times {
        work()?;
    }
    Ok(began.elapsed().as_secs_f64() / f64::from(times))
}

/// Draws with Kindling, and returns the picture too.
///
/// # Errors
/// As [`measure`].
pub fn draw(request: &Request) -> Result<(Measured, Output), BenchError> {
    request.check()?;
    let file = KindlingFile::write()?;
    let assets = file.assets();
    let spec = JobSpec {
        width: request.width,
        height: request.height,
        steps: request.steps,
        seed: 7,
        ..JobSpec::plain(CardId::from_bytes([0; 32]), PROMPT)
    };
    let began = Instant::now();
    let mut engine = Engine::on(request.options)?;
    let warming = JobSpec {
        steps: 1,
        ..spec.clone()
    };
    engine.run(&warming, &assets, &mut Silent, &Cancel::default())?;
    let load_s = began.elapsed().as_secs_f64();
    let mut watch = Watch::default();
    let began = Instant::now();
    let output = engine.run(&spec, &assets, &mut watch, &Cancel::default())?;
    let picture_s = began.elapsed().as_secs_f64();
    let measured = Measured {
        device: engine.device()?,
        family: Subject::Kindling,
        width: request.width,
        height: request.height,
        evaluations: output.evaluations,
        evaluation_s: watch.evaluation().as_secs_f64(),
        decode_s: watch.decode().as_secs_f64(),
        picture_s,
        load_s,
        memory_peak: memory_peak(),
    };
    Ok((measured, output))
}

/// Notes when each phase of a run begins.
#[derive(Debug, Default)]
struct Watch {
    encoding: Option<Instant>,
    /// The ends of the first and the last step, and how many there are.
    steps: Option<(Instant, Instant, u32)>,
    decoding: Option<Instant>,
    delivering: Option<Instant>,
}

impl Watch {
    /// A step between two others; of a single one what the prompts took is part.
    fn evaluation(&self) -> Duration {
        match (self.steps, self.encoding) {
            (Some((first, last, count)), _) if count > 1 => (last - first) / (count - 1),
            (Some((_, last, _)), Some(encoding)) => last - encoding,
            (Some(_), None) | (None, _) => Duration::ZERO,
        }
    }

    fn decode(&self) -> Duration {
        match (self.decoding, self.delivering) {
            (Some(from), Some(to)) => to - from,
            (None, _) | (_, None) => Duration::ZERO,
        }
    }
}

impl Progress for Watch {
    fn phase(&mut self, phase: Phase, _: Option<Preview>) {
        let now = Instant::now();
        match phase {
            Phase::Encoding => self.encoding = Some(now),
            Phase::Denoising { .. } => {
                self.steps = Some(
                    self.steps
                        .map_or((now, now, 1), |(first, _, count)| (first, now, count + 1)),
                );
            }
            Phase::Decoding => self.decoding = Some(now),
            Phase::Delivering => self.delivering = Some(now),
            Phase::Queued { .. } | Phase::Fetching { .. } | Phase::Loading => {}
        }
    }
}

/// Kindling on disk, where models are loaded from; gone when it is dropped.
#[derive(Debug)]
struct KindlingFile(PathBuf);

impl KindlingFile {
    fn write() -> Result<Self, BenchError> {
        let name = format!("hearth-bench-{}.safetensors", std::process::id());
        let path = std::env::temp_dir().join(name);
        match fs::write(&path, kindling::WEIGHTS) {
            Ok(()) => Ok(Self(path)),
            Err(source) => Err(BenchError::Write { path, source }),
        }
    }

    fn assets(&self) -> Assets {
        let file = AssetFile {
            name: "kindling.safetensors".to_owned(),
            path: self.0.display().to_string(),
        };
        Assets {
            checkpoint: ModelAsset {
                title: kindling::TITLE.to_owned(),
                hash: String::new(),
                files: vec![file],
            },
            vae: None,
            loras: Vec::new(),
            embeddings: Vec::new(),
            inputs: Vec::new(),
        }
    }
}

impl Drop for KindlingFile {
    fn drop(&mut self) {
        // It is in the folder for temporary files: the system takes what is left there.
        let _left = fs::remove_file(&self.0);
    }
}

/// Returns the most memory this process has taken, in bytes; nothing where the system does not tell.
fn memory_peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e84_what_is_out_of_bounds_is_refused_before_anything_is_made() {
        let plain = Request::new(Subject::Sdxl, ServeOptions::default());
        let bad = [
            Request { width: 0, ..plain },
            Request {
                height: 4096,
                ..plain
            },
            Request {
                width: 100,
                ..plain
            },
            Request { steps: 0, ..plain },
        ];
        for request in bad {
            let began = Instant::now();
            let error = measure(&request).unwrap_err();
            assert!(
                matches!(error, BenchError::Size { .. } | BenchError::Steps(_)),
                "{error}"
            );
            assert!(began.elapsed() < Duration::from_secs(1));
        }
        let error = "sd9".parse::<Subject>().unwrap_err();
        assert!(error.contains("kindling"), "{error}");
    }

    #[test]
    fn e84_kindling_is_measured_by_drawing() {
        let request = Request {
            width: 64,
            height: 64,
            steps: 3,
            ..Request::new(Subject::Kindling, ServeOptions::default())
        };
        let (measured, output) = draw(&request).unwrap();
        assert_eq!(measured.evaluations, 3);
        assert!(measured.evaluation_s > 0.0 && measured.decode_s > 0.0);
        assert!(measured.picture_s >= 2.0 * measured.evaluation_s + measured.decode_s);
        assert!(output.files[0].bytes.starts_with(b"\x89PNG"));
    }
}
