//! Which program computes: the one a person names, one for a card that is found and works, or this one.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use hearth_protocol::engine::DeviceFacts;
use tokio::process::Command;
use tokio::time::timeout;

use crate::config::{Config, Precision};

/// The engine for NVIDIA cards, beside this program or on `PATH`.
const CARD_ENGINE: &str = "hearth-engine-cuda";
/// How long a program may take to say what it computes on.
const PROBE_MAX: Duration = Duration::from_secs(5);
/// What a driver's library is found and told by.
const PASSED_ON: [&str; 2] = ["LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES"];
/// Most of what a program says of its failure that is told on.
const REASON_MAX: usize = 300;

/// What a person wants to compute with.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    /// The program named in the configuration.
    pub(crate) program: Option<PathBuf>,
    /// How weights are kept.
    pub(crate) precision: Precision,
    /// This program.
    pub(crate) own: PathBuf,
    /// Where else programs are looked for.
    pub(crate) path: Vec<PathBuf>,
}

impl Wish {
    /// Reads the wish from a configuration, and where this program is.
    pub(crate) fn of(config: &Config) -> std::io::Result<Self> {
        let path = env::var_os("PATH").unwrap_or_default();
        Ok(Self {
            program: config.engine.program.clone(),
            precision: config.engine.precision,
            own: env::current_exe()?,
            path: env::split_paths(&path).collect(),
        })
    }

    /// Finds the engine for cards.
    fn card_engine(&self) -> Option<PathBuf> {
        let name = format!("{CARD_ENGINE}{}", env::consts::EXE_SUFFIX);
        let beside = self.own.parent().into_iter();
        let folders = beside.chain(self.path.iter().map(PathBuf::as_path));
        let mut found = folders.map(|folder| folder.join(&name));
        found.find(|program| program.is_file())
    }
}

/// A program that computes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Program {
    /// This one, on the processor.
    Own(PathBuf),
    /// Another one.
    Other(PathBuf),
}

impl Program {
    /// Returns where it is.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Own(path) | Self::Other(path) => path,
        }
    }

    /// Returns what makes it serve.
    pub(crate) fn arguments(&self, precision: Precision) -> Vec<&'static str> {
        match precision {
            Precision::Auto => vec!["engine"],
            Precision::Full | Precision::Half => vec!["engine", "--precision", precision.word()],
        }
    }

    /// Returns what it gets of the environment. `dir` is its folder, where the driver keeps kernels
    /// compiled for the card.
    pub(crate) fn environment(&self, dir: &Path) -> Vec<(&'static str, OsString)> {
        let Self::Other(_) = self else {
            return Vec::new();
        };
        let passed = PASSED_ON.iter();
        let passed = passed.filter_map(|name| Some((*name, env::var_os(name)?)));
        let cache = ("CUDA_CACHE_PATH", dir.join("kernels").into_os_string());
        passed.chain([cache]).collect()
    }
}

/// The program that was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    /// The program.
    pub(crate) program: Program,
    /// The card it computes on; nothing for the processor, or where it does not tell.
    pub(crate) device: Option<DeviceFacts>,
    /// What is wrong with a program that was found or named, in words.
    pub(crate) passed_over: Option<String>,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.device, &self.program) {
            (Some(device), program) => {
                write!(f, "{} by {}", device.name, program.path().display())
            }
            (None, Program::Own(_)) => f.write_str("the processor"),
            (None, Program::Other(path)) => write!(f, "{}", path.display()),
        }
    }
}

/// Chooses. A program a person names is used whatever it says of itself; one that was only found must
/// report a device.
pub(crate) async fn choose(wish: &Wish) -> Choice {
    let own = Choice {
        program: Program::Own(wish.own.clone()),
        device: None,
        passed_over: None,
    };
    let (path, is_named) = match (&wish.program, wish.card_engine()) {
        (Some(named), _) if *named == wish.own => return own,
        (Some(named), _) => (named.clone(), true),
        (None, Some(found)) => (found, false),
        (None, None) => return own,
    };
    match probe(&path).await {
        Ok(device) => Choice {
            program: Program::Other(path),
            device: Some(device),
            passed_over: None,
        },
        Err(reason) => Choice {
            program: if is_named {
                Program::Other(path.clone())
            } else {
                own.program
            },
            device: None,
            passed_over: Some(format!("{}: {reason}", path.display())),
        },
    }
}

/// Asks a program what it computes on; the error is the reason in words.
async fn probe(path: &Path) -> Result<DeviceFacts, String> {
    let program = Program::Other(path.to_owned());
    let mut command = Command::new(path);
    command
        .arg("probe")
        .env_clear()
        .envs(program.environment(&env::temp_dir()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    match timeout(PROBE_MAX, command.output()).await {
        Err(_) => Err(format!(
            "it did not say within {} s what it computes on",
            PROBE_MAX.as_secs()
        )),
        Ok(Err(error)) => Err(format!("it does not start: {error}")),
        Ok(Ok(output)) => answer(&output),
    }
}

fn answer(output: &Output) -> Result<DeviceFacts, String> {
    if output.status.success() {
        return serde_json::from_slice(&output.stdout)
            .map_err(|_| "it did not say what it computes on".to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().rfind(|line| !line.trim().is_empty());
    let line: String = line.unwrap_or_default().chars().take(REASON_MAX).collect();
    Err(match line.as_str() {
        // What the system's loader says before the program begins.
        loader if loader.contains("libcuda") => {
            "there is no NVIDIA driver (libcuda is missing)".to_owned()
        }
        loader if loader.contains("error while loading shared libraries") => {
            format!("a library it needs is missing: {loader}")
        }
        "" => format!("it ended with {}", output.status),
        _ => line,
    })
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A folder with a program that does what a script says.
    fn folder(script: &str) -> (tempfile::TempDir, Wish) {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join(CARD_ENGINE);
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let wish = Wish {
            program: None,
            precision: Precision::Auto,
            own: dir.path().join("hearth"),
            path: Vec::new(),
        };
        (dir, wish)
    }

    const CARD: &str = r#"echo '{"kind":"cuda","name":"a card","memory":1024}'"#;

    #[tokio::test]
    async fn e82_a_program_that_reports_a_card_is_used() {
        let (dir, wish) = folder(CARD);
        let choice = choose(&wish).await;
        assert_eq!(choice.program, Program::Other(dir.path().join(CARD_ENGINE)));
        assert_eq!(choice.device.as_ref().unwrap().name, "a card");
        assert!(choice.to_string().starts_with("a card by "), "{choice}");
    }

    #[tokio::test]
    async fn e82_it_is_found_on_the_path_too() {
        let (dir, mut wish) = folder(CARD);
        wish.own = PathBuf::from("/nowhere/hearth");
        assert_eq!(choose(&wish).await.program, Program::Own(wish.own.clone()));
        wish.path = vec![PathBuf::from("/nowhere"), dir.path().to_owned()];
        let choice = choose(&wish).await;
        assert_eq!(choice.program, Program::Other(dir.path().join(CARD_ENGINE)));
    }

    #[tokio::test]
    async fn e82_a_program_that_cannot_compute_is_passed_over_in_words() {
        let loader = "x: error while loading shared libraries: libcuda.so.1: cannot open";
        for (script, reason) in [
            (
                "echo no device can be used >&2; exit 1",
                "no device can be used",
            ),
            (
                &*format!("echo '{loader}' >&2; exit 127"),
                "no NVIDIA driver",
            ),
            ("exit 3", "it ended with"),
            ("echo hello", "did not say"),
        ] {
            let (_dir, wish) = folder(script);
            let choice = choose(&wish).await;
            assert_eq!(choice.program, Program::Own(wish.own.clone()), "{script}");
            let told = choice.passed_over.unwrap();
            assert!(told.contains(reason), "{told}");
        }
    }

    #[tokio::test]
    async fn e82_a_named_program_is_used_and_its_fault_is_told() {
        let (dir, mut wish) = folder("echo the driver is too old >&2; exit 1");
        wish.program = Some(dir.path().join(CARD_ENGINE));
        let choice = choose(&wish).await;
        assert_eq!(choice.program, Program::Other(dir.path().join(CARD_ENGINE)));
        assert!(choice.passed_over.unwrap().contains("too old"));
        wish.program = Some(wish.own.clone());
        assert_eq!(choose(&wish).await.passed_over, None);
    }

    #[test]
    fn e80_a_precision_is_told_to_the_program() {
        let program = Program::Own(PathBuf::from("hearth"));
        assert_eq!(program.arguments(Precision::Auto), ["engine"]);
        let half = program.arguments(Precision::Half);
        assert_eq!(half, ["engine", "--precision", "half"]);
        assert_eq!(program.environment(Path::new("/x")), []);
    }
}
