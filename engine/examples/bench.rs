//! Runs full-size random networks on request, for `tests/bench/engine_unet.py` to hold against diffusers.
//!
//! `cargo run --release -p hearth-engine --example bench -- sd1|sdxl full|half` answers each line of
//! standard input, `unet BATCH SIDE` or `decode SIDE` (sides in latents), with the seconds it took,
//! and anything else with an empty line. `RAYON_NUM_THREADS` sets the threads.

use std::io::{BufRead, Write};
use std::time::Instant;

use hearth_engine::RunError;
use hearth_engine::probe::{Family, FullSize, Storage};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let given = |word: &str| arguments.iter().any(|argument| argument == word);
    let family = if given("sdxl") {
        Family::Sdxl
    } else {
        Family::Sd1
    };
    let storage = if given("half") {
        Storage::Half
    } else {
        Storage::Full
    };
    let networks = FullSize::new(family, storage)?;
    let mut out = std::io::stdout();
    writeln!(out, "ready")?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let start = Instant::now();
        if run(&networks, &words)? {
            writeln!(out, "{}", start.elapsed().as_secs_f64())?;
        } else {
            writeln!(out)?;
        }
    }
    Ok(())
}

/// Returns whether the words asked for anything.
fn run(networks: &FullSize, words: &[&str]) -> Result<bool, RunError> {
    let number = |word: &str| word.parse::<usize>().unwrap_or(1);
    match words {
        ["unet", batch, side] => networks.evaluate(number(batch), number(side))?,
        ["decode", side] => networks.decode(number(side))?,
        _ => return Ok(false),
    };
    Ok(true)
}
