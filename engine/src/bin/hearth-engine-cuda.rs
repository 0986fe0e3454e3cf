//! The engine on an NVIDIA card: what `hearth engine` is, in a program of its own.
//!
//! It is linked against the driver's library and does not start where there is none; `hearth` asks it with
//! `probe` before it is given work.

use std::io::{self, Write};
use std::process::ExitCode;

use hearth_engine::bench::{self, Request, Subject};
use hearth_engine::{DeviceChoice, PrecisionChoice, ServeOptions, probe_device, serve_on};

const USAGE: &str = "\
usage: hearth-engine-cuda engine [--precision half|full]
       hearth-engine-cuda probe
       hearth-engine-cuda bench [FAMILY] [--size WxH] [--steps N] [--precision half|full] [--out PNG]

engine serves jobs in frames over standard input and output; probe prints what it computes on; bench
measures kindling, sd15, sd2 or sdxl. The last two print one line of JSON.";

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["engine", rest @ ..] => engine(rest),
        ["probe"] => probe(),
        ["bench", rest @ ..] => measure(rest),
        ["--help" | "-h" | "help"] => say(USAGE),
        _ => {
            complain(USAGE);
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn say(line: &str) -> Result<(), Failure> {
    Ok(writeln!(io::stdout(), "{line}")?)
}

fn complain(line: &str) {
    // With standard error gone there is nobody to tell.
    let _unheard = writeln!(io::stderr(), "{line}");
}

fn engine(words: &[&str]) -> Result<(), Failure> {
    let options = match words {
        [] => ServeOptions::CUDA,
        ["--precision", value] => on_card(value)?,
        [other, ..] => return Err(format!("engine takes no {other}").into()),
    };
    Ok(serve_on(options, io::stdin(), io::stdout())?)
}

fn on_card(precision: &str) -> Result<ServeOptions, Failure> {
    Ok(ServeOptions {
        precision: precision.parse::<PrecisionChoice>()?,
        ..ServeOptions::CUDA
    })
}

fn probe() -> Result<(), Failure> {
    say(&serde_json::to_string(&probe_device(DeviceChoice::Cuda)?)?)
}

fn measure(words: &[&str]) -> Result<(), Failure> {
    let mut words = words.iter().copied().peekable();
    let subject = words.next_if(|word| !word.starts_with("--"));
    let subject: Subject = subject.unwrap_or("kindling").parse()?;
    let mut request = Request::new(subject, ServeOptions::CUDA);
    let mut out = None;
    while let Some(flag) = words.next() {
        let value = words
            .next()
            .ok_or_else(|| format!("{flag} wants a value"))?;
        match flag {
            "--size" => {
                let (width, height) = value.split_once('x').ok_or("a size is WIDTHxHEIGHT")?;
                (request.width, request.height) = (width.parse()?, height.parse()?);
            }
            "--steps" => request.steps = value.parse()?,
            "--precision" => request.options = on_card(value)?,
            "--out" => out = Some(value),
            other => return Err(format!("bench takes no {other}").into()),
        }
    }
    let measured = match (subject, out) {
        (Subject::Kindling, Some(path)) => {
            let (measured, output) = bench::draw(&request)?;
            std::fs::write(path, &output.files[0].bytes)?;
            measured
        }
        (Subject::Kindling | Subject::Sd15 | Subject::Sd2 | Subject::Sdxl, _) => {
            bench::measure(&request)?
        }
    };
    say(&serde_json::to_string(&measured)?)
}
