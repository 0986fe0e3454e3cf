//! `hearth completions` and `hearth man`: generated from the parser, so never out of date.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use clap_complete::Shell;

use super::parser;
use super::session::Session;

/// Which shell.
#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Where manual pages go.
#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Write a page for every command to this folder
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn completions(args: &CompletionsArgs, session: &Session) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut parser(), "hearth", &mut script);
    session.printer.bytes(&script)
}

pub(super) fn man(args: &ManArgs, session: &Session) -> anyhow::Result<()> {
    match &args.dir {
        Some(dir) => {
            std::fs::create_dir_all(dir)
                .and_then(|()| clap_mangen::generate_to(parser(), dir))
                .with_context(|| format!("cannot write manual pages to {}", dir.display()))?;
            session
                .printer
                .line(format!("wrote the manual pages to {}", dir.display()))
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(parser()).render(&mut page)?;
            session.printer.bytes(&page)
        }
    }
}
