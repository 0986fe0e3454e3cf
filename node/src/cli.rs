//! The command line: what people type, turned into one command of the control API each.
//!
//! One file for each noun holds its arguments and what it prints. [`printer`] alone writes to the
//! terminal, [`exit`] alone knows exit codes. No command reads standard input unless told by `-`.

mod bench;
mod bounty;
mod commons;
mod completions;
mod config;
mod demo;
mod engine;
mod exit;
mod generate;
mod heal;
mod help;
mod host;
mod identity;
mod image;
mod interrupt;
mod jobs;
mod ledger;
mod model;
mod paths;
mod peers;
mod printer;
mod progress;
mod session;
mod status;
mod table;
#[cfg(test)]
mod tests;
mod tui;
mod up;
mod walk;
mod wording;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, Args, FromArgMatches, Parser, Subcommand};

use self::exit::{Exit, Report};
use self::printer::{ColorWhen, Printer};
use self::session::Session;
use crate::home::HOME_ENV;

const EXAMPLES: &str = "\
Examples:
  hearth demo                                a whole commons on this machine, in a minute
  hearth up                                  run this machine's node
  hearth commons join TICKET                 enter a friend's commons
  hearth model add my-lora.safetensors       share a LoRA, without copying the file
  hearth generate \"a red kite over hills\"    draw it, on whoever is free
  hearth tui                                 watch who is there and what runs
  hearth ledger why                          explain every kudo
";

const TEMPLATE: &str = "\
{about-with-newline}
{before-help}{usage-heading} {usage}

{all-args}{after-help}";

/// Pool machines and models with people you know; ask each other for pictures
#[derive(Debug, Parser)]
#[command(
    name = "hearth",
    version,
    before_help = EXAMPLES,
    after_help = "'hearth help COMMAND' shows more; 'hearth help exit-codes' lists exit codes",
    disable_help_subcommand = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
struct CommandLine {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    noun: Noun,
}

/// Flags every command understands.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
struct Globals {
    /// Keep everything of the node in this folder
    #[arg(long, global = true, value_name = "DIR", env = HOME_ENV)]
    home: Option<PathBuf>,
    /// Set a configuration key for this run (can be repeated)
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = setting)]
    set: Vec<(String, String)>,
    /// Compute with this program (sets worker.engine)
    #[arg(long, global = true, value_name = "PATH")]
    engine: Option<PathBuf>,
    /// Print one JSON object instead of text
    #[arg(long, global = true)]
    json: bool,
    /// Say more; logs go to standard error (-vv: debug, -vvv: everything)
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// Say less: results only (-qq: nothing)
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "verbose")]
    quiet: u8,
    /// When to use colour
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        value_enum
    )]
    color: ColorWhen,
}

impl Globals {
    /// Returns the keys set for this run.
    fn settings(&self) -> Vec<(String, String)> {
        let engine = self.engine.iter();
        let engine = engine.map(|path| ("worker.engine".to_owned(), path.display().to_string()));
        self.set.iter().cloned().chain(engine).collect()
    }
}

fn setting(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(key, value)| (key.trim().to_owned(), value.to_owned()))
        .ok_or_else(|| "expected KEY=VALUE, such as worker.enabled=false".to_owned())
}

#[derive(Debug, Subcommand)]
enum Noun {
    /// Run this machine's node until Ctrl-C
    Up(up::UpArgs),
    /// End the running node, gracefully
    Stop,
    /// Show a whole commons at work: three nodes, a shared model, one picture
    Demo(demo::DemoArgs),
    /// Draw pictures, here or on a member's machine
    Generate(generate::GenerateArgs),
    /// Draw the way from one prompt or seed to another
    Walk(walk::WalkArgs),
    /// Show what pictures were made with; lay them out
    #[command(subcommand)]
    Image(image::ImageVerb),
    /// Show how the node is
    Status,
    /// Check what could keep the node from working
    Doctor,
    /// Found, enter, leave and show a commons
    #[command(subcommand)]
    Commons(commons::CommonsVerb),
    /// List members; set trust, lines and names
    #[command(subcommand)]
    Peers(peers::PeersVerb),
    /// Share, fetch and keep models
    #[command(subcommand)]
    Model(model::ModelVerb),
    /// List, cancel and dispute jobs
    #[command(subcommand)]
    Jobs(jobs::JobsVerb),
    /// Show balances and entries, explain and check them, give kudos
    #[command(subcommand)]
    Ledger(ledger::LedgerVerb),
    /// Pause and resume work for others
    #[command(subcommand)]
    Worker(worker::WorkerVerb),
    /// Show, back up and restore the node's key
    #[command(subcommand)]
    Identity(identity::IdentityVerb),
    /// Watch the commons live
    Tui,
    /// Measure what this machine computes, and what that takes
    Bench(bench::BenchArgs),
    /// Show the configuration
    #[command(subcommand)]
    Config(config::ConfigVerb),
    /// Show where the node keeps its things
    Paths,
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
    /// Print the manual page, or write all pages to a folder
    Man(completions::ManArgs),
    /// Show help for a command or topic
    Help(help::HelpArgs),
    /// Compute jobs from standard input (started by the node)
    #[command(hide = true)]
    Engine(engine::EngineArgs),
}

/// Builds the parser, with examples first in every help text.
fn parser() -> clap::Command {
    fn examples_first(command: clap::Command) -> clap::Command {
        command
            .help_template(TEMPLATE)
            .mut_subcommands(examples_first)
    }
    examples_first(<CommandLine as clap::CommandFactory>::command())
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let parsed = parser()
        .try_get_matches()
        .and_then(|matches| CommandLine::from_arg_matches(&matches));
    let line = match parsed {
        Ok(line) => line,
        Err(error) => {
            // Help, version and usage errors print themselves; a closed pipe is no failure.
            let _ = error.print();
            return if error.use_stderr() {
                Exit::Usage.into()
            } else {
                Exit::Ok.into()
            };
        }
    };
    let printer = Printer::new(&line.globals);
    match Session::new(&line.globals, printer.clone()).and_then(|session| run(line.noun, &session))
    {
        Ok(()) => Exit::Ok.into(),
        Err(error) => {
            let report = Report::of(&error);
            printer.report(&report);
            report.exit.into()
        }
    }
}

fn run(noun: Noun, session: &Session) -> anyhow::Result<()> {
    match noun {
        Noun::Up(args) => up::up(&args, session),
        Noun::Stop => up::stop(session),
        Noun::Demo(args) => demo::run(&args, session),
        Noun::Generate(args) => generate::run(args, session),
        Noun::Walk(args) => walk::run(args, session),
        Noun::Image(verb) => image::run(&verb, session),
        Noun::Status => status::status(session),
        Noun::Doctor => status::doctor(session),
        Noun::Commons(verb) => commons::run(verb, session),
        Noun::Peers(verb) => peers::run(verb, session),
        Noun::Model(verb) => model::run(verb, session),
        Noun::Jobs(verb) => jobs::run(verb, session),
        Noun::Ledger(verb) => ledger::run(verb, session),
        Noun::Worker(verb) => worker::run(&verb, session),
        Noun::Identity(verb) => identity::run(&verb, session),
        Noun::Tui => tui::run(session),
        Noun::Config(verb) => config::run(&verb, session),
        Noun::Paths => paths::run(session),
        Noun::Completions(args) => completions::completions(&args, session),
        Noun::Man(args) => completions::man(&args, session),
        Noun::Help(args) => help::run(&args, session),
        Noun::Engine(args) => engine::run(&args),
        Noun::Bench(args) => bench::run(&args, session),
    }
}
