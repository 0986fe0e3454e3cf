//! The one door: a job spec and its files in, a picture out.

mod begin;
mod canvas;
mod error;
mod guide;
mod job;
mod latent;
mod memory;
mod step_file;
mod story;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hearth_protocol::engine::{Assets, DeviceFacts, OutputFile};
use hearth_protocol::job::{JobSpec, Phase, Preview};
use hearth_protocol::unit::ByteCount;

use crate::checkpoint::Checkpoint;
use crate::device::{self, DeviceError, ServeOptions};
use crate::warning::Warning;
use crate::weights::Placement;
use job::Job;

pub use canvas::InputError;
pub use error::RunError;
pub use memory::TooLittleMemory;
pub use step_file::{SavedStep, StepFileError, saved_step};

/// Hears how a run goes on.
pub trait Progress {
    /// A phase began or went on. A preview comes with denoising steps.
    fn phase(&mut self, phase: Phase, preview: Option<Preview>);
}

/// Hears nothing.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Progress for Silent {
    fn phase(&mut self, _: Phase, _: Option<Preview>) {}
}

/// Stops a run from another thread, at the next evaluation.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks the run to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Returns whether it was asked to.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a run made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The picture first, then `step_000.safetensors`, `step_000.png` and so on if they were asked for.
    pub files: Vec<OutputFile>,
    /// Guided evaluations done.
    pub evaluations: u32,
    /// What was done otherwise than asked.
    pub warnings: Vec<Warning>,
}

/// Runs a job, loading its model for this one time.
pub fn run(
    spec: &JobSpec,
    assets: &Assets,
    progress: &mut dyn Progress,
    cancel: &Cancel,
) -> Result<Output, RunError> {
    Engine::default().run(spec, assets, progress, cancel)
}

/// Runs jobs and keeps the last model loaded.
#[derive(Debug, Default)]
pub struct Engine {
    warm: Option<(Identity, Checkpoint)>,
    placement: Placement,
    memory_max: Option<ByteCount>,
}

/// Everything that decides which files are loaded; adapters and embeddings change in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    files: Vec<(String, PathBuf)>,
}

impl Identity {
    fn of(assets: &Assets) -> Self {
        let models = std::iter::once(&assets.checkpoint).chain(&assets.vae);
        let files = models.flat_map(|model| &model.files);
        Self {
            files: files
                .map(|file| (file.name.clone(), PathBuf::from(&file.path)))
                .collect(),
        }
    }
}

impl Engine {
    /// Makes an engine that computes on a device.
    ///
    /// # Errors
    /// [`DeviceError`] says why it cannot be used.
    pub fn on(options: ServeOptions) -> Result<Self, DeviceError> {
        Ok(Self {
            placement: options.placement()?,
            ..Self::default()
        })
    }

    /// Returns what it computes on.
    ///
    /// # Errors
    /// [`DeviceError::Faulty`] if the device does not answer.
    pub fn device(&self) -> Result<DeviceFacts, DeviceError> {
        device::facts(&self.placement.device)
    }

    /// Bounds the memory runs may take, from now on; what cannot fit is refused before it begins.
    pub fn allow(&mut self, memory_max: Option<ByteCount>) {
        // A card's own memory is what counts there.
        self.memory_max = device::memory(&self.placement.device).or(memory_max);
    }

    /// Runs a job; the model is loaded if it is not the last one used.
    ///
    /// # Errors
    /// [`RunError`] says what is wrong with the spec, its files or the machine.
    pub fn run(
        &mut self,
        spec: &JobSpec,
        assets: &Assets,
        progress: &mut dyn Progress,
        cancel: &Cancel,
    ) -> Result<Output, RunError> {
        spec.check()?;
        check_counts(spec, assets)?;
        progress.phase(Phase::Loading, None);
        stop_if(cancel, 0)?;
        let identity = Identity::of(assets);
        let checkpoint = match self.warm.take() {
            Some((warm, mut checkpoint)) if warm == identity => {
                checkpoint.adapt(assets, spec)?;
                checkpoint
            }
            old @ (Some(_) | None) => {
                // Before the new one is read: both may not fit.
                drop(old);
                memory::check_weights(assets, self.memory_max)?;
                Checkpoint::load(assets, spec, &self.placement)?
            }
        };
        let (_, checkpoint) = self.warm.insert((identity, checkpoint));
        memory::check(checkpoint, spec, self.memory_max)?;
        Job::new(spec, assets, checkpoint, cancel, progress).run()
    }
}

fn check_counts(spec: &JobSpec, assets: &Assets) -> Result<(), RunError> {
    let pairs = [
        ("LoRAs", spec.loras.len(), assets.loras.len()),
        ("embeddings", spec.embeddings.len(), assets.embeddings.len()),
        (
            "autoencoders",
            usize::from(spec.vae.is_some()),
            usize::from(assets.vae.is_some()),
        ),
        ("inputs", spec.start.inputs().len(), assets.inputs.len()),
    ];
    match pairs.into_iter().find(|(_, spec, assets)| spec != assets) {
        Some((what, spec, assets)) => Err(RunError::Count { what, spec, assets }),
        None => Ok(()),
    }
}

fn stop_if(cancel: &Cancel, evaluations: u32) -> Result<(), RunError> {
    if cancel.is_cancelled() {
        Err(RunError::Cancelled { evaluations })
    } else {
        Ok(())
    }
}
