//! Where a node keeps its things, and the lock that gives a home to one process.
//!
//! `--home DIR` (or `HEARTH_HOME`) puts everything in one folder; otherwise the XDG folders are
//! used: configuration, data (key, ledger), cache (blobs), state (log) and runtime (control API).
//! Knows paths and permissions; what is inside the files is its owners' business.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;

/// Environment variable that names the folder of a node.
pub const HOME_ENV: &str = "HEARTH_HOME";

const FOLDER: &str = "hearth";

/// All paths of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    config: PathBuf,
    data: PathBuf,
    cache: PathBuf,
    state: PathBuf,
    runtime: PathBuf,
    outputs: PathBuf,
}

/// Why a home cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Nobody says where homes are.
    #[error("no home folder is known; name one with --home DIR")]
    Nowhere(#[source] etcetera::HomeDirError),
    /// A folder or file cannot be used.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl HomeError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

impl Home {
    /// Chooses the home: the folder given, else the XDG folders of this user.
    ///
    /// # Errors
    /// [`HomeError`] when the folder has no absolute form or the user has no home.
    pub fn choose(dir: Option<&Path>) -> Result<Self, HomeError> {
        match dir {
            Some(dir) => std::path::absolute(dir)
                .map(|dir| Self::at(&dir))
                .map_err(HomeError::io(dir)),
            None => Self::xdg(),
        }
    }

    /// Puts everything in one folder, which should be absolute.
    pub fn at(dir: &Path) -> Self {
        Self {
            config: dir.to_owned(),
            data: dir.to_owned(),
            cache: dir.to_owned(),
            state: dir.to_owned(),
            runtime: dir.to_owned(),
            outputs: dir.join("outputs"),
        }
    }

    fn xdg() -> Result<Self, HomeError> {
        let base = etcetera::base_strategy::Xdg::new().map_err(HomeError::Nowhere)?;
        let data = base.data_dir().join(FOLDER);
        let state = base
            .state_dir()
            .map_or_else(|| data.clone(), |dir| dir.join(FOLDER));
        let pictures = base.home_dir().join("Pictures");
        let outputs = if pictures.is_dir() {
            pictures.join("Hearth")
        } else {
            data.join("outputs")
        };
        Ok(Self {
            config: base.config_dir().join(FOLDER),
            cache: base.cache_dir().join(FOLDER),
            runtime: base
                .runtime_dir()
                .map_or_else(|| state.clone(), |dir| dir.join(FOLDER)),
            state,
            outputs,
            data,
        })
    }

    /// Creates the folders that are missing, for the owner alone (0700).
    ///
    /// # Errors
    /// [`HomeError::Io`] names the folder.
    pub fn create(&self) -> Result<(), HomeError> {
        for dir in [
            &self.config,
            &self.data,
            &self.cache,
            &self.state,
            &self.runtime,
        ] {
            create_private(dir).map_err(HomeError::io(dir))?;
        }
        Ok(())
    }

    /// Returns the folder people know as this node's: key and ledger are in it.
    pub fn root(&self) -> &Path {
        &self.data
    }

    /// Returns the file of the 32-byte seed.
    pub fn identity_key(&self) -> PathBuf {
        self.data.join("identity.key")
    }

    /// Returns the configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.config.join("config.toml")
    }

    /// Returns the ledger's folder.
    pub fn ledger_dir(&self) -> PathBuf {
        self.data.join("ledger")
    }

    /// Returns the folder of jobs, cards, pins and petnames.
    pub fn store_dir(&self) -> PathBuf {
        self.data.join("store")
    }

    /// Returns the folder of the models inside the binary, written out.
    pub fn builtin_dir(&self) -> PathBuf {
        self.cache.join("builtin")
    }

    /// Returns the folder of models' blobs.
    pub fn blobs_dir(&self) -> PathBuf {
        self.cache.join("blobs")
    }

    /// Returns the folder of job inputs and outputs on their way.
    pub fn job_blobs_dir(&self) -> PathBuf {
        self.cache.join("job-blobs")
    }

    /// Returns the folder of unfinished jobs' specs.
    pub fn specs_dir(&self) -> PathBuf {
        self.store_dir().with_file_name("specs")
    }

    /// Returns the engine's working folder.
    pub fn engine_dir(&self) -> PathBuf {
        self.cache.join("engine")
    }

    /// Returns the folder for pictures, unless the configuration names another.
    pub fn outputs_dir(&self) -> &Path {
        &self.outputs
    }

    /// Returns the daemon's log.
    pub fn log_file(&self) -> PathBuf {
        self.state.join("hearth.log")
    }

    /// Returns the file that says where the control API is.
    pub fn control_json(&self) -> PathBuf {
        self.runtime.join("control.json")
    }

    /// Returns the file with the control API's token.
    pub fn control_token(&self) -> PathBuf {
        self.runtime.join("control.token")
    }

    /// Returns the lock file.
    pub fn lock_file(&self) -> PathBuf {
        self.data.join("lock")
    }

    /// Returns every path with what it holds, for `hearth paths`.
    pub fn paths(&self) -> Vec<(&'static str, PathBuf)> {
        vec![
            ("identity", self.identity_key()),
            ("config", self.config_file()),
            ("ledger", self.ledger_dir()),
            ("store", self.store_dir()),
            ("blobs", self.blobs_dir()),
            ("job_blobs", self.job_blobs_dir()),
            ("engine", self.engine_dir()),
            ("outputs", self.outputs.clone()),
            ("log", self.log_file()),
            ("control", self.control_json()),
            ("token", self.control_token()),
            ("lock", self.lock_file()),
        ]
    }
}

/// Writes a file for the owner alone (0600), whole or not at all, and waits for the disk.
///
/// # Errors
/// What the file system says.
pub fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(dir)?.sync_all()
}

#[cfg(unix)]
fn create_private(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
}

#[cfg(not(unix))]
fn create_private(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)
}

/// The right to use a home. Ends with the process or when dropped.
#[derive(Debug)]
pub struct HomeLock {
    _file: File,
}

/// Why a home cannot be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else has it.
    #[error("another hearth ({}) uses {}", holder(*pid), home.display())]
    Held {
        /// Its process, where it is known.
        pid: Option<u32>,
        /// The home.
        home: PathBuf,
    },
    /// The home cannot be created or its lock file not be used.
    #[error(transparent)]
    Home(#[from] HomeError),
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "pid unknown".to_owned(), |pid| format!("pid {pid}"))
}

impl HomeLock {
    /// Creates the home where needed and locks it for this process.
    ///
    /// # Errors
    /// [`LockError::Held`] says who has it.
    pub fn acquire(home: &Home) -> Result<Self, LockError> {
        home.create()?;
        let path = home.lock_file();
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(HomeError::io(&path))?;
        match fs4::FileExt::try_lock(&file) {
            Ok(()) => {}
            Err(fs4::TryLockError::WouldBlock) => {
                let mut text = String::new();
                file.read_to_string(&mut text)
                    .map_err(HomeError::io(&path))?;
                return Err(LockError::Held {
                    pid: text.trim().parse().ok(),
                    home: home.root().to_owned(),
                });
            }
            Err(fs4::TryLockError::Error(source)) => {
                return Err(HomeError::Io { path, source }.into());
            }
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(HomeError::io(&path))?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_lock_on_a_home_names_the_holder() {
        // C12
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        let held = HomeLock::acquire(&home).unwrap();
        let error = HomeLock::acquire(&home).unwrap_err().to_string();
        let expected = format!(
            "another hearth (pid {}) uses {}",
            std::process::id(),
            dir.path().display()
        );
        assert_eq!(error, expected);
        drop(held);
        HomeLock::acquire(&home).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn new_homes_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(&dir.path().join("deep").join("home"));
        home.create().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(home.root()), 0o700);
        write_private(&home.control_token(), b"secret").unwrap();
        assert_eq!(mode(&home.control_token()), 0o600);
    }

    #[test]
    fn relative_home_becomes_absolute() {
        let home = Home::choose(Some(Path::new("somewhere"))).unwrap();
        assert!(home.root().is_absolute());
    }
}
