//! Tests of the command line as a whole: names that must stay, exit codes, reports.

use anyhow::Context as _;
use clap::FromArgMatches as _;
use hearth_protocol::control::{Place, Problem, ProblemKind};

use super::exit::{Exit, Interrupted, Report};
use super::{CommandLine, Noun, parser};
use crate::client::ClientError;
use crate::config::Settings;
use crate::daemon::StartError;
use crate::home::LockError;

fn parse(line: &str) -> Result<CommandLine, clap::Error> {
    let words = line.split_whitespace();
    parser()
        .try_get_matches_from(std::iter::once("hearth").chain(words))
        .and_then(|matches| CommandLine::from_arg_matches(&matches))
}

#[test]
fn parser_holds_its_own_rules_and_every_help_text_renders() {
    fn walk(command: &mut clap::Command, seen: &mut usize) {
        let help = command.render_long_help().to_string();
        assert!(
            help.contains("Usage:"),
            "{} has a usage",
            command.get_name()
        );
        *seen += 1;
        for command in command.get_subcommands_mut() {
            walk(command, seen);
        }
    }
    parser().debug_assert();
    let mut command = parser();
    command.build();
    let mut seen = 0;
    walk(&mut command, &mut seen);
    assert!(seen > 50, "{seen} commands");
}

#[test]
fn help_begins_with_what_it_is_and_examples() {
    let help = parser().render_help().to_string();
    let examples = help.find("Examples:").unwrap();
    assert!(examples < help.find("Usage:").unwrap());
    assert!(help.contains("hearth demo"));
}

#[test]
fn every_promised_command_parses() {
    for line in [
        "up",
        "up --detach",
        "stop",
        "demo",
        "demo prompt --dir d --keep --json",
        "status --json",
        "doctor",
        "commons create name --member-line 12.5 --admission members",
        "commons invite --uses 2 --life 12h --qr",
        "commons join hearth1abc",
        "commons leave --yes",
        "commons show --json",
        "peers list",
        "peers show ada",
        "peers add 0101010101010101010101010101010101010101010101010101010101010101 /ip4/1.2.3.4/tcp/1",
        "peers trust ada --line 10 --level known",
        "peers block ada",
        "peers name ada Ada",
        "model add file.safetensors --title t --trigger a --trigger b --licence MIT",
        "model rm x --yes",
        "model list --json",
        "model show x",
        "model fetch x",
        "model pin x",
        "model unpin x",
        "jobs list",
        "jobs show 01",
        "jobs cancel 01",
        "jobs dispute 01 --code wrong",
        "identity show",
        "identity backup f",
        "identity restore f --yes",
        "ledger balance",
        "ledger entries ada --limit 5",
        "ledger balance ada --json",
        "ledger entries --peer ada --job 4f2a --kind order --kind audit-pay --since 7d -n 0",
        "ledger entries --since 2026-11-01",
        "ledger why",
        "ledger why ada --pair bob",
        "ledger why --entry 4f2a81c0",
        "ledger audit",
        "ledger export --format beancount --since 2026-11-01 -o f",
        "ledger verify f",
        "ledger import f",
        "ledger give ada 0.5 --yes",
        "ledger bounty open title --text t --until 30d --pledge 5 --yes",
        "ledger bounty list --all --json",
        "ledger bounty show 01ab",
        "ledger bounty back 01ab 2.5 --yes",
        "ledger bounty claim 01ab --text t --card kites",
        "ledger bounty claim 01ab --blob 0101010101010101010101010101010101010101010101010101010101010101",
        "ledger bounty award 01ab ada 2.5 --yes",
        "ledger heal --reason two-machines --yes",
        "worker pause",
        "worker resume",
        "tui",
        "config show --origin",
        "config template",
        "paths",
        "completions bash",
        "man",
        "help exit-codes",
        "--home d -vv --color never status",
        "engine",
    ] {
        if let Err(error) = parse(line) {
            panic!("'{line}' parses: {error}");
        }
    }
}

#[test]
fn generate_understands_every_promised_flag() {
    let line = parse(
        "generate kite --negative blur --model m --lora a --lora b:0.5 --size 512x640 --steps 9 \
         --cfg 7.5 --sampler euler --schedule karras --seed 18446744073709551615 --max-kudos 2.5 \
         --timeout 60 --rng nv --compat comfy --count 2 --where ada --save-steps s --out o \
         --dry-run --json",
    )
    .unwrap();
    assert!(line.globals.json);
    let Noun::Generate(args) = line.noun else {
        panic!("generate parses to itself");
    };
    assert_eq!(args.picture.size, Some((512, 640)));
    assert_eq!(args.picture.loras[1].unet.millionths(), 500_000);
    assert_eq!(args.picture.seed, Some(u64::MAX));
    assert_eq!(args.picture.max_kudos.unwrap().get(), 2_500);
    assert_eq!(args.picture.place.unwrap(), Place::Peer("ada".to_owned()));
}

#[test]
fn wrong_values_are_usage_errors() {
    for line in [
        "generate",
        "generate x --steps 0",
        "generate x --count 65",
        "generate x --size 512",
        "generate x --sampler dpm9",
        "ledger give ada 1.2345",
        "ledger entries ada --peer bob",
        "ledger entries --kind wish",
        "ledger entries --since soon",
        "ledger why ada --entry 4f2a81c0",
        "ledger export --format xml",
        "ledger bounty claim 01ab --blob xyz",
        "ledger heal --reason bad-luck",
        "jobs dispute 01 --code nonsense",
        "statsu",
        "-q -v status",
    ] {
        let error = parse(line).unwrap_err();
        assert_eq!(error.exit_code(), 2, "'{line}' is a usage error");
    }
}

#[test]
fn exit_codes_keep_their_numbers() {
    // C9
    let codes: Vec<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
    assert_eq!(codes, [0, 1, 2, 3, 4, 5, 130]);
}

#[test]
fn errors_map_to_their_exit_codes() {
    // C9
    fn check(error: impl Into<anyhow::Error>, exit: Exit) {
        assert_eq!(Report::of(&error.into()).exit, exit);
    }
    let problem = |kind| Problem::new(kind, "no");
    check(problem(ProblemKind::Failed), Exit::Failed);
    check(problem(ProblemKind::Usage), Exit::Usage);
    check(problem(ProblemKind::Credit), Exit::Credit);
    check(problem(ProblemKind::Timeout), Exit::Timeout);
    check(
        ClientError::Problem(problem(ProblemKind::Credit)),
        Exit::Credit,
    );
    let home = "/h".to_owned();
    check(ClientError::NotRunning { home }, Exit::Unreachable);
    check(Interrupted::Gracefully, Exit::Interrupted);
    let bad = [("netwrk.listen".to_owned(), String::new())];
    check(
        Settings::merge(None, |_| None, &bad).unwrap_err(),
        Exit::Usage,
    );
    let held = LockError::Held {
        pid: Some(7),
        home: "/h".into(),
    };
    check(
        anyhow::Error::new(StartError::from(held)).context("the node cannot start"),
        Exit::Failed,
    );
}

#[test]
fn report_shows_causes_and_hint_once() {
    // C10
    let problem = Problem::new(ProblemKind::Failed, "nobody could do it")
        .cause("no member has this LoRA")
        .hint("hearth model list");
    let error = Err::<(), _>(ClientError::Problem(problem))
        .context("the requester did not do it")
        .unwrap_err();
    assert_eq!(
        Report::of(&error).to_string(),
        "error: the requester did not do it\n  cause: nobody could do it\n  cause: no member has \
         this LoRA\n\nhint: hearth model list"
    );
}

#[test]
fn closed_pipe_is_no_failure() {
    // C7
    let pipe = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
    let report = Report::of(&anyhow::Error::new(pipe).context("cannot write"));
    assert!(report.silent);
    assert_eq!(report.exit, Exit::Ok);
}
