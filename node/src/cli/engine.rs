//! `hearth engine`: the process that computes, started by the node and spoken to over its standard
//! input and output. It gets no home and no key.

use std::io;

use anyhow::Context;

pub(super) fn run() -> anyhow::Result<()> {
    hearth_engine::serve(io::stdin(), io::stdout()).context("the engine ended")
}
