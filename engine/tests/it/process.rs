//! The framed loop of the child process, over pipes inside the test.

use std::io::{self, PipeReader, PipeWriter, Read, Write, pipe};
use std::thread::{self, JoinHandle};

use hearth_engine::tiny::Layout;
use hearth_engine::{ServeError, serve};
use hearth_protocol::codec;
use hearth_protocol::engine::{EngineCall, EngineEvent, FailedEnd};
use hearth_protocol::job::{JobSpec, Phase};
use hearth_protocol::limits;

use crate::material::{Models, lora, spec};

/// A served engine and both ends of its pipes.
struct Process {
    calls: PipeWriter,
    events: PipeReader,
    served: JoinHandle<Result<(), ServeError>>,
}

impl Process {
    fn start() -> Self {
        let (stdin, calls) = pipe().unwrap();
        let (events, stdout) = pipe().unwrap();
        let served = thread::spawn(|| serve(stdin, stdout));
        let mut process = Self {
            calls,
            events,
            served,
        };
        assert!(matches!(process.next(), EngineEvent::Ready { .. }));
        process
    }

    fn call(&mut self, call: &EngineCall) {
        let bytes = codec::encode(call);
        self.calls
            .write_all(&u32::try_from(bytes.len()).unwrap().to_le_bytes())
            .unwrap();
        self.calls.write_all(&bytes).unwrap();
    }

    fn run(&mut self, run: u64, models: &Models, spec: JobSpec) {
        let assets = models.assets(spec.loras.len());
        self.call(&EngineCall::Run {
            run,
            spec: Box::new(spec),
            assets: Box::new(assets),
            memory_max: None,
        });
    }

    fn next(&mut self) -> EngineEvent {
        let mut length = [0; 4];
        self.events.read_exact(&mut length).unwrap();
        let mut bytes = vec![0; usize::try_from(u32::from_le_bytes(length)).unwrap()];
        self.events.read_exact(&mut bytes).unwrap();
        codec::decode(&bytes, limits::ENGINE_FRAME_LEN_MAX).unwrap()
    }

    /// Returns the event that ends a run, skipping its progress.
    fn end(&mut self) -> EngineEvent {
        loop {
            let event = self.next();
            if !matches!(event, EngineEvent::Progress { .. }) {
                return event;
            }
        }
    }

    fn stop(self) -> Result<(), ServeError> {
        drop(self.calls);
        self.served.join().unwrap()
    }
}

#[test]
fn runs_follow_each_other_on_one_process() {
    let models = Models::new(Layout::Classic);
    let mut process = Process::start();
    let jobs = [
        spec(),
        JobSpec {
            loras: vec![lora(500_000, 500_000)],
            ..spec()
        },
        spec(),
    ];
    let mut pictures = Vec::new();
    for (run, job) in (1..).zip(jobs) {
        process.run(run, &models, job);
        let EngineEvent::Done {
            run: done,
            outputs,
            evaluations,
            warnings,
            ..
        } = process.end()
        else {
            panic!("run {run} failed")
        };
        assert_eq!((done, evaluations, warnings), (run, 4, Vec::new()));
        assert_eq!(outputs[0].name, "image.png");
        pictures.push(outputs[0].bytes.clone());
    }
    assert_eq!(pictures[0], pictures[2]);
    assert_ne!(pictures[0], pictures[1]);
    process.stop().unwrap();
}

#[test]
fn cancel_arrives_while_a_run_goes_on() {
    let models = Models::new(Layout::Classic);
    let mut process = Process::start();
    process.run(
        5,
        &models,
        JobSpec {
            steps: 1000,
            ..spec()
        },
    );
    loop {
        let EngineEvent::Progress { phase, preview, .. } = process.next() else {
            panic!("ended")
        };
        if matches!(phase, Phase::Denoising { step: 1, .. }) {
            assert!(preview.is_some());
            break;
        }
    }
    process.call(&EngineCall::Cancel { run: 4 });
    process.call(&EngineCall::Cancel { run: 5 });
    let EngineEvent::Failed {
        run: 5,
        end: FailedEnd::Cancelled,
        evaluations,
    } = process.end()
    else {
        panic!("not cancelled")
    };
    assert!((1..1000).contains(&evaluations));
    process.run(6, &models, spec());
    assert!(matches!(process.end(), EngineEvent::Done { run: 6, .. }));
    process.stop().unwrap();
}

#[test]
fn failed_run_says_why_and_the_process_goes_on() {
    let models = Models::new(Layout::Classic);
    let mut process = Process::start();
    process.run(
        1,
        &models,
        JobSpec {
            width: 65,
            ..spec()
        },
    );
    let EngineEvent::Failed {
        end: FailedEnd::Refused(reason),
        ..
    } = process.end()
    else {
        panic!("accepted")
    };
    assert!(reason.contains("65x64"), "{reason}");
    process.run(2, &models, spec());
    assert!(matches!(process.end(), EngineEvent::Done { run: 2, .. }));
    process.stop().unwrap();
}

#[test]
fn reason_names_files_but_not_where_they_are() {
    let models = Models::new(Layout::Classic);
    std::fs::write(models.path("model/vae/config.json"), "{").unwrap();
    let mut process = Process::start();
    process.run(1, &models, spec());
    let EngineEvent::Failed {
        end: FailedEnd::Refused(reason),
        ..
    } = process.end()
    else {
        panic!("accepted")
    };
    assert!(reason.contains("tiny/vae/config.json"), "{reason}");
    assert!(
        !reason.contains(models.dir.path().to_str().unwrap()),
        "{reason}"
    );
    process.stop().unwrap();
}

#[test]
fn end_of_input_stops_a_run_and_the_process() {
    let models = Models::new(Layout::Classic);
    let mut process = Process::start();
    process.run(
        1,
        &models,
        JobSpec {
            steps: 1000,
            ..spec()
        },
    );
    let Process {
        calls,
        mut events,
        served,
    } = process;
    drop(calls);
    io::copy(&mut events, &mut io::sink()).unwrap();
    served.join().unwrap().unwrap();
}

#[test]
fn call_that_is_too_long_or_garbage_ends_the_process() {
    let mut process = Process::start();
    process.calls.write_all(&u32::MAX.to_le_bytes()).unwrap();
    assert!(matches!(process.stop(), Err(ServeError::TooLong { .. })));

    let mut process = Process::start();
    process.calls.write_all(&[3, 0, 0, 0, 1, 2, 3]).unwrap();
    assert!(matches!(process.stop(), Err(ServeError::Decode(_))));

    let mut process = Process::start();
    process.calls.write_all(&[3, 0, 0, 0, 1]).unwrap();
    assert!(matches!(process.stop(), Err(ServeError::Read(_))));
}
