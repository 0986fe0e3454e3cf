//! Times changes of the LoRA set on a warm Stable Diffusion 1.5 of random weights: 192 layers, rank 32.
//!
//! `cargo run --release -p hearth-engine --example lora_swap`
#![expect(clippy::print_stdout, reason = "its output is the measurement")]

use std::error::Error;
use std::time::Instant;

use hearth_engine::probe::{Merging, Swap};
use hearth_protocol::job::Micro;

const RANK: usize = 32;

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::temp_dir().join(format!("lora-swap-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let result = measure(&dir);
    std::fs::remove_dir_all(&dir)?;
    result
}

fn measure(dir: &std::path::Path) -> Result<(), Box<dyn Error>> {
    let mut swap = Swap::new(dir, RANK, 3)?;
    let weight = Micro::from_millionths;
    let full = weight(1_000_000);
    let rows: [(&str, &[(usize, Micro)]); 7] = [
        ("nothing to one LoRA", &[(0, full)]),
        ("one LoRA to another", &[(1, full)]),
        ("to another weight", &[(1, weight(700_000))]),
        ("to three LoRAs", &[(0, full), (1, full), (2, full)]),
        ("back to one", &[(1, full)]),
        ("to nothing", &[]),
        ("nothing to one again", &[(2, full)]),
    ];
    for merging in [Merging::IntoWeights, Merging::AtRunTime] {
        for (name, uses) in &rows {
            let start = Instant::now();
            let layers = swap.change(uses, merging)?;
            let seconds = start.elapsed().as_secs_f64();
            println!("{merging:?}, {name}: {layers} layers, {seconds:.3} s");
        }
    }
    Ok(())
}
