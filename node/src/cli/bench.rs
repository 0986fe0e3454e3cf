//! `hearth bench`: what this machine computes in a second, and what that takes.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Args;
use hearth_engine::bench::{self, Measured, Request, Subject};
use hearth_engine::{PrecisionChoice, ServeOptions};
use serde::Serialize;

use super::generate::ask::size;
use super::session::Session;
use super::table::Table;
use crate::config::Precision;
use crate::engine::choice::{self, Program, Wish};
use crate::meter::Meter;

/// What to measure.
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  hearth bench                               draw with Kindling, as 'hearth demo' does
  hearth bench --family sd15 --size 512x512  Stable Diffusion 1.5's networks, random weights
  hearth bench --engine /usr/bin/hearth      on the processor, although there is a card
")]
pub(super) struct BenchArgs {
    /// Whose networks: kindling, sd15, sd2 or sdxl
    #[arg(long, default_value = "kindling", value_name = "FAMILY")]
    family: Subject,
    /// Size of the picture; default: what the family was made for
    #[arg(long, value_name = "WxH", value_parser = size)]
    size: Option<(u32, u32)>,
    /// Evaluations to time
    #[arg(long, value_name = "N")]
    steps: Option<u32>,
}

/// How energy was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Basis {
    /// By meters: the mean power of the whole run.
    Metered,
    /// By `worker.rated_watts`.
    Rated,
}

/// What a picture takes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Energy {
    joules_per_picture: f64,
    basis: Basis,
}

#[derive(Debug, Serialize)]
struct Told {
    #[serde(flatten)]
    measured: Measured,
    energy: Option<Energy>,
}

pub(super) fn run(args: &BenchArgs, session: &Session) -> anyhow::Result<()> {
    let config = session.settings()?.config;
    let wish = Wish::of(&config).context("cannot find this program")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let choice = runtime.block_on(choice::choose(&wish));
    if let Some(reason) = &choice.passed_over {
        session.printer.note(format!("not used: {reason}"));
    }
    let options = ServeOptions {
        precision: match wish.precision {
            Precision::Auto | Precision::Full => PrecisionChoice::Full,
            Precision::Half => PrecisionChoice::Half,
        },
        ..ServeOptions::default()
    };
    let plain = Request::new(args.family, options);
    let (width, height) = args.size.unwrap_or((plain.width, plain.height));
    let request = Request {
        width,
        height,
        steps: args.steps.unwrap_or(plain.steps),
        ..plain
    };
    let meter = Meter::find();
    let before = meter.as_ref().map(Meter::read);
    let began = Instant::now();
    let measured = match &choice.program {
        Program::Own(_) => bench::measure(&request).context("nothing was measured")?,
        Program::Other(_) => elsewhere(&choice.program, &request, &wish)?,
    };
    let all = began.elapsed().as_secs_f64();
    let metered = meter
        .zip(before)
        .map(|(meter, before)| meter.since(&before));
    let watts = metered.map(|millijoules| millijoules as f64 / 1000.0 / all);
    let energy = energy(watts, config.worker.rated_watts, measured.picture_s);
    tell(&Told { measured, energy }, session)
}

fn energy(metered_watts: Option<f64>, rated_watts: u32, picture_s: f64) -> Option<Energy> {
    let rated = (rated_watts > 0).then(|| (f64::from(rated_watts), Basis::Rated));
    let metered = metered_watts.filter(|watts| *watts > 0.0);
    let (watts, basis) = metered.map(|watts| (watts, Basis::Metered)).or(rated)?;
    Some(Energy {
        joules_per_picture: watts * picture_s,
        basis,
    })
}

/// Has another engine program measure itself.
fn elsewhere(program: &Program, request: &Request, wish: &Wish) -> anyhow::Result<Measured> {
    let names = Subject::ALL.iter();
    let name = names
        .clone()
        .find(|(_, subject)| *subject == request.subject);
    let path = program.path();
    let mut command = Command::new(path);
    command
        .args(["bench", name.map_or("kindling", |(name, _)| name)])
        .args(["--size", &format!("{}x{}", request.width, request.height)])
        .args(["--steps", &request.steps.to_string()]);
    if wish.precision != Precision::Auto {
        command.args(["--precision", wish.precision.word()]);
    }
    let failed = || format!("{} measured nothing", path.display());
    let output = command.output().with_context(failed)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{}: {}", failed(), said.trim());
    }
    serde_json::from_slice(&output.stdout).with_context(failed)
}

fn tell(told: &Told, session: &Session) -> anyhow::Result<()> {
    session.printer.json(told)?;
    let Told { measured, energy } = told;
    let mut table = Table::new(&[
        "family",
        "device",
        ">size",
        ">s/evaluation",
        ">decode s",
        ">picture s",
        ">memory",
        ">energy",
    ]);
    let name = Subject::ALL
        .iter()
        .find(|(_, subject)| *subject == measured.family);
    table.row([
        name.map_or_else(String::new, |(name, _)| (*name).to_owned()),
        measured.device.name.clone(),
        format!("{}x{}", measured.width, measured.height),
        format!("{:.4}", measured.evaluation_s),
        format!("{:.3}", measured.decode_s),
        format!("{:.2}", measured.picture_s),
        measured.memory_peak.map_or_else(
            || "unknown".to_owned(),
            |bytes| format!("{} MiB", bytes >> 20),
        ),
        energy.map_or_else(
            || "unknown".to_owned(),
            |energy| match energy.basis {
                Basis::Metered => format!("{:.1} J", energy.joules_per_picture),
                Basis::Rated => format!("about {:.0} J (rated)", energy.joules_per_picture),
            },
        ),
    ]);
    session.printer.table(&table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e85_energy_says_what_it_is_based_on() {
        let metered = energy(Some(50.0), 100, 2.0).unwrap();
        assert_eq!(
            (metered.joules_per_picture, metered.basis),
            (100.0, Basis::Metered)
        );
        let rated = energy(Some(0.0), 100, 2.0).unwrap();
        assert_eq!(
            (rated.joules_per_picture, rated.basis),
            (200.0, Basis::Rated)
        );
        assert_eq!(energy(None, 0, 2.0), None);
    }

    #[test]
    fn e85_a_size_is_two_numbers() {
        assert_eq!(size("512x768"), Ok((512, 768)));
        assert!(size("512").is_err() && size("ax1").is_err());
    }
}
