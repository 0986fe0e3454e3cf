//! `hearth engine`: the process that computes, started by the node and spoken to over its standard
//! input and output. It gets no home and no key.

use std::io;

use anyhow::Context;
use clap::Args;
use hearth_engine::{PrecisionChoice, ServeOptions};

/// How to compute.
#[derive(Debug, Args)]
pub(super) struct EngineArgs {
    /// Keep weights in 32 bits (full) or 16 (half)
    #[arg(long, default_value = "full")]
    precision: PrecisionChoice,
}

pub(super) fn run(args: &EngineArgs) -> anyhow::Result<()> {
    let options = ServeOptions {
        precision: args.precision,
        ..ServeOptions::default()
    };
    hearth_engine::serve_on(options, io::stdin(), io::stdout()).context("the engine ended")
}
