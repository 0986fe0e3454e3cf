//! Times single kernels at the sizes of Stable Diffusion 1.5: `cargo run --release --example kernels [FILTER]`.
//!
//! `RAYON_NUM_THREADS` sets the threads. Prints the best of several runs, and the rate in the
//! multiplications and additions a direct computation would take.

use std::time::Instant;

use candle_core::{Device, Result, Tensor};
use hearth_kernels::attention::{Mask, attention};
use hearth_kernels::conv::{Geometry, PackedConv};
use hearth_kernels::linear::PackedLinear;
use hearth_kernels::norm::{Then, group_norm, layer_norm};

fn random(dims: &[usize]) -> Result<Tensor> {
    let values = (0..dims.iter().product()).map(|i: usize| (i * 7919 % 1999) as f32 / 1000.0 - 1.0);
    Tensor::from_vec(values.collect::<Vec<_>>(), dims, &Device::Cpu)
}

/// Returns the processor time of all threads in seconds: what counts when the machine is shared.
fn processor_seconds() -> Option<f64> {
    let tasks = std::fs::read_dir("/proc/self/task").ok()?;
    let spent = |task: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        stat.split(' ').next()?.parse::<f64>().ok()
    };
    Some(tasks.flatten().filter_map(spent).sum::<f64>() / 1e9)
}

#[expect(clippy::print_stdout, reason = "the table is what it is for")]
fn time(name: &str, operations: f64, mut f: impl FnMut() -> Result<Tensor>) -> Result<()> {
    if let Some(filter) = std::env::args().nth(1)
        && !name.contains(&filter)
    {
        return Ok(());
    }
    let (mut wall, mut processor) = (f64::MAX, f64::MAX);
    let (begun, mut runs) = (Instant::now(), 0);
    while begun.elapsed().as_secs_f64() < 1.0 || runs < 5 {
        let (start, before) = (Instant::now(), processor_seconds());
        f()?;
        wall = wall.min(start.elapsed().as_secs_f64());
        if let (Some(before), Some(after)) = (before, processor_seconds()) {
            processor = processor.min(after - before);
        }
        runs += 1;
    }
    let rate = |seconds: f64| operations / seconds / 1e9;
    println!(
        "{name:28} {:9.2} ms {:7.1} GFLOP/s, {:9.2} ms {:7.1} GFLOP/s by processor time",
        wall * 1e3,
        rate(wall),
        processor * 1e3,
        rate(processor),
    );
    Ok(())
}

fn conv(inner: usize, outer: usize, side: usize, size: usize, batch: usize) -> Result<()> {
    let weight = (random(&[outer, inner, side, side])? * 0.02)?;
    let packed = PackedConv::new(&weight)?;
    let x = random(&[batch, size, size, inner])?.permute((0, 3, 1, 2))?;
    let bias = random(&[1, outer])?;
    let geometry = if side == 3 {
        Geometry::SAME
    } else {
        Geometry::POINT
    };
    let operations = (2 * batch * side * side * inner * outer * size * size) as f64;
    let name = format!("conv{side} {inner}->{outer} {size} b{batch}");
    time(&name, operations, || {
        packed.forward(&x, &bias, geometry, None)
    })
}

fn linear(rows: usize, inner: usize, outer: usize) -> Result<()> {
    let packed = PackedLinear::new(&random(&[outer, inner])?, &random(&[outer])?)?;
    let x = random(&[2, rows / 2, inner])?;
    let operations = (2 * rows * inner * outer) as f64;
    time(
        &format!("linear {rows} {inner}->{outer}"),
        operations,
        || packed.forward(&x),
    )
}

fn attend(tokens: usize, keys: usize, heads: usize, width: usize) -> Result<()> {
    let q = random(&[2, tokens, heads * width])?;
    let k = random(&[2, keys, heads * width])?;
    let operations = (4 * 2 * heads * tokens * keys * width) as f64;
    let name = format!("attention {tokens}x{keys} {heads}x{width}");
    time(&name, operations, || {
        attention(&q, &k, &k, heads, Mask::Nothing)
    })
}

fn main() -> Result<()> {
    for (inner, outer, size) in [
        (320, 320, 64),
        (960, 320, 64),
        (640, 640, 32),
        (1280, 1280, 16),
        (2560, 1280, 16),
        (1280, 1280, 8),
        (1280, 1280, 4),
    ] {
        conv(inner, outer, 3, size, 2)?;
    }
    conv(320, 4, 3, 64, 2)?;
    conv(4, 320, 3, 64, 2)?;
    conv(512, 512, 3, 64, 1)?;
    conv(256, 256, 3, 256, 1)?;
    conv(128, 128, 3, 256, 1)?;
    conv(960, 320, 1, 64, 2)?;
    for (rows, inner, outer) in [
        (8192, 320, 320),
        (8192, 320, 2560),
        (8192, 1280, 320),
        (2048, 640, 5120),
        (512, 1280, 10240),
        (512, 1280, 1280),
        (128, 1280, 1280),
        (154, 768, 1280),
    ] {
        linear(rows, inner, outer)?;
    }
    attend(4096, 4096, 8, 40)?;
    attend(4096, 77, 8, 40)?;
    attend(1024, 1024, 8, 80)?;
    attend(256, 256, 8, 160)?;
    let x = random(&[2, 64, 64, 320])?.permute((0, 3, 1, 2))?;
    let ones = Tensor::ones(320, candle_core::DType::F32, &Device::Cpu)?;
    time("group norm 320 64", 0.0, || {
        group_norm(&x, &ones, &ones, 32, 1e-5, Then::Silu)
    })?;
    let x = random(&[2, 4096, 320])?;
    time("layer norm 8192 320", 0.0, || {
        layer_norm(&x, &ones, &ones, 1e-5)
    })
}
