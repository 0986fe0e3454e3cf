//! Draws one picture with a checkpoint and says what that took:
//! `cargo run --release -p hearth-engine --example picture -- PATH [SIDE] [STEPS] [full|half] [OUT.png]`.
//!
//! Prints one line of JSON: seconds until everything is in memory and seconds of the whole, the first load
//! included. The peak of memory is the process's own: ask the system for it (`/usr/bin/time -v`).

use std::error::Error;
use std::time::{Duration, Instant};

use hearth_engine::{Cancel, Engine, Progress, ServeOptions, inspect};
use hearth_protocol::engine::{AssetFile, Assets, ModelAsset};
use hearth_protocol::id::CardId;
use hearth_protocol::job::{JobSpec, Phase, Preview};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let at = |i: usize, default: &str| {
        let given = arguments.get(i).map(String::as_str);
        given.unwrap_or(default).to_owned()
    };
    let path = arguments.first().ok_or("name a checkpoint")?;
    let side = at(1, "512").parse()?;
    let spec = JobSpec {
        width: side,
        height: side,
        steps: at(2, "2").parse()?,
        seed: 7,
        ..JobSpec::plain(CardId::from_bytes([0; 32]), "a red kite over green hills")
    };
    let options = ServeOptions {
        precision: at(3, "full").parse()?,
        ..ServeOptions::default()
    };
    let began = Instant::now();
    let assets = assets(path)?;
    let mut watch = Watch {
        began,
        loaded: None,
    };
    let output = Engine::on(options)?.run(&spec, &assets, &mut watch, &Cancel::default())?;
    report(
        watch.loaded.unwrap_or_default(),
        began.elapsed(),
        output.evaluations,
    );
    if let Some(out) = arguments.get(4) {
        std::fs::write(out, &output.files[0].bytes)?;
    }
    Ok(())
}

fn assets(path: &str) -> Result<Assets, Box<dyn Error>> {
    let facts = inspect(path.as_ref())?;
    let file = |file: hearth_engine::ModelFile| AssetFile {
        name: file.name,
        path: file.path.to_string_lossy().into_owned(),
    };
    Ok(Assets {
        checkpoint: ModelAsset {
            title: path.to_owned(),
            hash: String::new(),
            files: facts.files.into_iter().map(file).collect(),
        },
        vae: None,
        loras: Vec::new(),
        embeddings: Vec::new(),
        inputs: Vec::new(),
    })
}

/// Notes when the model is in memory.
struct Watch {
    began: Instant,
    loaded: Option<Duration>,
}

impl Progress for Watch {
    fn phase(&mut self, phase: Phase, _: Option<Preview>) {
        if matches!(phase, Phase::Encoding) {
            self.loaded.get_or_insert_with(|| self.began.elapsed());
        }
    }
}

#[expect(clippy::print_stdout, reason = "what it is for")]
fn report(loaded: Duration, whole: Duration, evaluations: u32) {
    println!(
        "{{\"loaded_s\":{:.3},\"picture_s\":{:.3},\"evaluations\":{evaluations}}}",
        loaded.as_secs_f64(),
        whole.as_secs_f64()
    );
}
