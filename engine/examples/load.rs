//! Measures the way of a checkpoint from its file or folder into memory:
//! `cargo run --release -p hearth-engine --example load -- PATH`.

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use hearth_engine::inspect;
use hearth_engine::probe::Parts;
use hearth_protocol::engine::AssetFile;

#[expect(clippy::print_stdout, reason = "what it is for")]
fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).map(PathBuf::from);
    let path = path.ok_or("name a checkpoint")?;
    let start = Instant::now();
    let facts = inspect(&path)?;
    println!(
        "{:?} {} looked at in {:.2?}",
        facts.family,
        facts.dtype,
        start.elapsed()
    );
    let file = |file: hearth_engine::ModelFile| AssetFile {
        name: file.name,
        path: file.path.to_string_lossy().into_owned(),
    };
    let files: Vec<_> = facts.files.into_iter().map(file).collect();
    let bytes: u64 = files
        .iter()
        .filter_map(|f| Some(std::fs::metadata(&f.path).ok()?.len()))
        .sum();
    for run in 1..=3 {
        let start = Instant::now();
        drop(Parts::load(&files)?);
        let time = start.elapsed();
        let rate = bytes as f64 / time.as_secs_f64() / 1e9;
        println!(
            "run {run}: {:.2} GB in {time:.2?}, {rate:.2} GB/s",
            bytes as f64 / 1e9
        );
    }
    Ok(())
}
