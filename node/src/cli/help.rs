//! `hearth help`: a command's full help, or a topic.

use anyhow::bail;
use clap::Args;
use hearth_protocol::job::{NoiseSchedule, Sampler};
use serde_json::json;

use super::exit::Exit;
use super::parser;
use super::session::Session;
use crate::config::KEYS;
use crate::home::HOME_ENV;

const TOPICS: &str = "\
Topics:
  exit-codes   what each exit code means
  environment  variables that are read
  samplers     samplers, noise schedules and what a step of each costs
";

/// What to explain.
#[derive(Debug, Args)]
pub(super) struct HelpArgs {
    /// A command such as 'model add', or a topic: exit-codes, environment, samplers
    #[arg(value_name = "COMMAND")]
    words: Vec<String>,
}

pub(super) fn run(args: &HelpArgs, session: &Session) -> anyhow::Result<()> {
    let words: Vec<&str> = args.words.iter().map(String::as_str).collect();
    match words[..] {
        ["exit-codes"] => exit_codes(session),
        ["environment"] => environment(session),
        ["samplers"] => samplers(session),
        [] => session.printer.raw(&format!("{}\n{TOPICS}", help(&[])?)),
        _ => session.printer.raw(&help(&words)?),
    }
}

fn help(words: &[&str]) -> anyhow::Result<String> {
    let mut command = parser();
    command.build();
    let mut at = &mut command;
    for word in words {
        let Some(found) = at.find_subcommand_mut(word) else {
            bail!("there is no command or topic '{}'", words.join(" "));
        };
        at = found;
    }
    Ok(at.render_long_help().to_string())
}

fn exit_codes(session: &Session) -> anyhow::Result<()> {
    let codes: Vec<_> = Exit::ALL
        .iter()
        .map(|exit| json!({ "code": exit.code(), "meaning": exit.meaning() }))
        .collect();
    session.printer.json(&json!({ "codes": codes }))?;
    for exit in Exit::ALL {
        session
            .printer
            .line(format!("{:>3}  {}", exit.code(), exit.meaning()))?;
    }
    Ok(())
}

fn samplers(session: &Session) -> anyhow::Result<()> {
    const STEPS: u32 = 20;
    let samplers: Vec<_> = Sampler::ALL
        .iter()
        .map(|it| json!({ "name": it.name(), "evaluations": it.evaluations(STEPS) }))
        .collect();
    let schedules: Vec<_> = NoiseSchedule::ALL.iter().map(|it| it.name()).collect();
    session.printer.json(&json!({
        "steps": STEPS, "samplers": samplers, "schedules": schedules,
    }))?;
    session.printer.line(format!(
        "samplers, with their evaluations over {STEPS} steps:"
    ))?;
    for sampler in Sampler::ALL {
        let (name, count) = (sampler.name(), sampler.evaluations(STEPS));
        session.printer.line(format!("  {name:<14} {count}"))?;
    }
    session.printer.line("noise schedules:")?;
    for schedule in NoiseSchedule::ALL {
        session.printer.line(format!("  {}", schedule.name()))?;
    }
    Ok(())
}

fn environment(session: &Session) -> anyhow::Result<()> {
    let others = [
        (HOME_ENV, "Folder that holds everything of the node."),
        ("RUST_LOG", "What is logged; wins over log.level and -v."),
        ("NO_COLOR", "No colours."),
        (
            "CLICOLOR_FORCE",
            "Colours even when the output is no terminal.",
        ),
    ];
    let variables: Vec<(String, &str)> = others
        .into_iter()
        .map(|(name, doc)| (name.to_owned(), doc))
        .chain(KEYS.iter().map(|key| (key.env(), key.doc)))
        .collect();
    let list: Vec<_> = variables
        .iter()
        .map(|(name, doc)| json!({ "name": name, "doc": doc }))
        .collect();
    session.printer.json(&json!({ "variables": list }))?;
    for (name, doc) in variables {
        session.printer.line(format!("{name:<28}  {doc}"))?;
    }
    Ok(())
}
