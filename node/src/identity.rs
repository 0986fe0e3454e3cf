//! The node's key on disk: made on first use, kept private, backed up and restored.
//!
//! One 32-byte ed25519 seed is the node's name on both networks and its ledger account; a lost
//! key is a lost account. The file holds the seed as one line of hex, mode 0600. Whether a key is
//! used by two machines cannot be seen from here: that shows as a fork of its chain.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use hearth_protocol::id::NodeId;
use hearth_protocol::sign::NodeKey;

use crate::home::{Home, write_private};

const BACKUP_NOTE: &str = "\
# Hearth identity backup. Whoever has this file can act as this node: keep it secret.
# Bring it back with: hearth identity restore FILE
# Never use it while the same key runs elsewhere: its chain would fork and both lose standing.
";

/// Why the key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others may read it.
    #[error("{} is open to others (mode {mode:03o}); a key must be private", path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It holds no seed.
    #[error("{} is damaged: it should hold one line of 64 hex digits", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// It is no backup, or a changed one.
    #[error("{} is no identity backup: {flaw}", path.display())]
    Backup {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        flaw: BackupFlaw,
    },
    /// A file that is there would be lost.
    #[error("{} exists already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The home has another key.
    #[error("this home already has another key: {}", have.short())]
    OtherKey {
        /// The key it has.
        have: NodeId,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Random(#[source] getrandom::Error),
}

/// What is wrong with a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BackupFlaw {
    /// A line is missing or malformed.
    #[error("it lacks a readable '{0}' line")]
    Line(&'static str),
    /// The checksum differs.
    #[error("its checksum does not match; a character was lost or changed")]
    Checksum,
    /// The seed belongs to another id.
    #[error("its seed does not belong to its id")]
    OtherId,
}

impl IdentityError {
    /// Returns the next step for a person, where there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Mode { path, .. } => Some(format!("chmod 600 {}", path.display())),
            Self::Damaged { .. } => Some(
                "bring the key back with 'hearth identity restore FILE --yes'; without a backup \
                 the account is lost: move the file away to begin a new one"
                    .to_owned(),
            ),
            Self::Exists { .. } => Some("name another file, or add --yes to replace it".to_owned()),
            Self::OtherKey { .. } => Some(
                "'hearth identity backup FILE' saves the present key; --yes replaces it".to_owned(),
            ),
            Self::Io { .. } | Self::Backup { .. } | Self::Random(_) => None,
        }
    }

    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// Returns the node's key; makes one in a home that has none. The home must be locked.
///
/// # Errors
/// [`IdentityError`]; an unreadable key is never replaced.
pub fn load_or_create(home: &Home) -> Result<NodeKey, IdentityError> {
    if let Some(key) = load(home)? {
        return Ok(key);
    }
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(IdentityError::Random)?;
    let key = NodeKey::from_seed(&seed);
    write_key(&home.identity_key(), &key)?;
    Ok(key)
}

/// Returns the node's key, or nothing when the home has none yet.
///
/// # Errors
/// [`IdentityError`] when the file is open to others or damaged.
pub fn load(home: &Home) -> Result<Option<NodeKey>, IdentityError> {
    let path = home.identity_key();
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Err(IdentityError::Damaged { path });
        }
        Err(source) => return Err(IdentityError::Io { path, source }),
    };
    check_mode(&path)?;
    match parse_hex(text.trim_end()) {
        Some(seed) => Ok(Some(NodeKey::from_seed(&seed))),
        None => Err(IdentityError::Damaged { path }),
    }
}

/// Whether a backup may replace a file that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    /// Leave it.
    Refuse,
    /// The person said yes.
    Allow,
}

/// Writes a backup file: id, seed and a checksum.
///
/// # Errors
/// [`IdentityError::Exists`] unless overwriting was allowed.
pub fn backup(key: &NodeKey, file: &Path, overwrite: Overwrite) -> Result<(), IdentityError> {
    if overwrite == Overwrite::Refuse && file.exists() {
        return Err(IdentityError::Exists {
            path: file.to_owned(),
        });
    }
    let seed = key.seed();
    let text = format!(
        "{BACKUP_NOTE}id = {}\nseed = {}\ncheck = {}\n",
        key.id(),
        HEXLOWER.encode(&seed),
        checksum(&seed)
    );
    let file = std::path::absolute(file).map_err(IdentityError::io(file))?;
    write_private(&file, text.as_bytes()).map_err(IdentityError::io(&file))
}

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restored {
    /// The home had this key already.
    Same(NodeId),
    /// The key is in place.
    Placed(NodeId),
    /// The key is in place of another, which was kept beside it.
    Replaced {
        /// The key restored.
        now: NodeId,
        /// Where the former key is.
        former: PathBuf,
    },
}

/// Puts a backed-up key into a home, which must be locked.
///
/// # Errors
/// [`IdentityError::OtherKey`] unless overwriting was allowed; the former key is kept beside.
pub fn restore(home: &Home, file: &Path, overwrite: Overwrite) -> Result<Restored, IdentityError> {
    let key = read_backup(file)?;
    let path = home.identity_key();
    let former = match load(home) {
        Ok(former) => former.map(|former| former.id()),
        Err(IdentityError::Damaged { .. }) if overwrite == Overwrite::Allow => None,
        Err(error) => return Err(error),
    };
    match former {
        Some(id) if id == key.id() => return Ok(Restored::Same(id)),
        Some(have) if overwrite == Overwrite::Refuse => {
            return Err(IdentityError::OtherKey { have });
        }
        Some(_) | None => {}
    }
    let kept = path.exists().then(|| {
        let name = former.map_or_else(|| "damaged".to_owned(), |id| id.short());
        path.with_file_name(format!("identity-{name}.key"))
    });
    if let Some(kept) = &kept {
        fs::copy(&path, kept).map_err(IdentityError::io(kept))?;
    }
    write_key(&path, &key)?;
    Ok(match kept {
        Some(former) => Restored::Replaced {
            now: key.id(),
            former,
        },
        None => Restored::Placed(key.id()),
    })
}

fn read_backup(file: &Path) -> Result<NodeKey, IdentityError> {
    let text = fs::read_to_string(file).map_err(IdentityError::io(file))?;
    parse_backup(&text).map_err(|flaw| IdentityError::Backup {
        path: file.to_owned(),
        flaw,
    })
}

fn parse_backup(text: &str) -> Result<NodeKey, BackupFlaw> {
    let value = |name: &'static str| {
        text.lines()
            .filter_map(|line| line.split_once('='))
            .find(|(key, _)| key.trim() == name)
            .map(|(_, value)| value.trim())
            .ok_or(BackupFlaw::Line(name))
    };
    let id: NodeId = value("id")?.parse().map_err(|_| BackupFlaw::Line("id"))?;
    let seed = parse_hex(value("seed")?).ok_or(BackupFlaw::Line("seed"))?;
    if value("check")? != checksum(&seed) {
        return Err(BackupFlaw::Checksum);
    }
    let key = NodeKey::from_seed(&seed);
    if key.id() != id {
        return Err(BackupFlaw::OtherId);
    }
    Ok(key)
}

fn write_key(path: &Path, key: &NodeKey) -> Result<(), IdentityError> {
    let line = format!("{}\n", HEXLOWER.encode(&key.seed()));
    write_private(path, line.as_bytes()).map_err(IdentityError::io(path))
}

fn parse_hex(text: &str) -> Option<[u8; 32]> {
    HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}

fn checksum(seed: &[u8; 32]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"hearth/1/backup:").update(seed);
    HEXLOWER.encode(&hasher.finalize().as_bytes()[..4])
}

#[cfg(unix)]
fn check_mode(path: &Path) -> Result<(), IdentityError> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = fs::metadata(path).map_err(IdentityError::io(path))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(IdentityError::Mode {
        path: path.to_owned(),
        mode,
    })
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the unix form can fail")]
fn check_mode(_path: &Path) -> Result<(), IdentityError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        home.create().unwrap();
        (dir, home)
    }

    #[test]
    fn key_is_made_once_and_found_again() {
        // I3
        let (_dir, home) = home();
        assert!(load(&home).unwrap().is_none());
        let key = load_or_create(&home).unwrap();
        assert_eq!(load_or_create(&home).unwrap().id(), key.id());
    }

    #[test]
    fn backup_restores_the_same_key_in_another_home() {
        let (dir, first) = home();
        let key = load_or_create(&first).unwrap();
        let file = dir.path().join("backup.txt");
        backup(&key, &file, Overwrite::Refuse).unwrap();
        assert!(matches!(
            backup(&key, &file, Overwrite::Refuse),
            Err(IdentityError::Exists { .. })
        ));

        let (_other_dir, other) = home();
        let restored = restore(&other, &file, Overwrite::Refuse).unwrap();
        assert_eq!(restored, Restored::Placed(key.id()));
        assert_eq!(load(&other).unwrap().unwrap().id(), key.id());
        let again = restore(&other, &file, Overwrite::Refuse).unwrap();
        assert_eq!(again, Restored::Same(key.id()));
    }

    #[test]
    fn restore_keeps_another_key_unless_told() {
        // I3
        let (dir, first) = home();
        let key = load_or_create(&first).unwrap();
        let file = dir.path().join("backup.txt");
        backup(&key, &file, Overwrite::Refuse).unwrap();
        let (_other_dir, other) = home();
        let before = load_or_create(&other).unwrap();
        let refused = restore(&other, &file, Overwrite::Refuse);
        assert!(matches!(refused, Err(IdentityError::OtherKey { have }) if have == before.id()));
        let Restored::Replaced { now, former } = restore(&other, &file, Overwrite::Allow).unwrap()
        else {
            panic!("the key is replaced");
        };
        assert_eq!(now, key.id());
        assert_eq!(
            fs::read_to_string(former).unwrap().trim(),
            HEXLOWER.encode(&before.seed())
        );
    }

    #[test]
    fn changed_backup_is_refused_with_the_flaw() {
        let key = NodeKey::from_seed(&[7; 32]);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("backup.txt");
        backup(&key, &file, Overwrite::Refuse).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        let changed = text.replace("seed = 0707", "seed = 0708");
        assert_eq!(parse_backup(&changed).unwrap_err(), BackupFlaw::Checksum);
        let no_id = text.replace("id = ", "it = ");
        assert_eq!(parse_backup(&no_id).unwrap_err(), BackupFlaw::Line("id"));
        assert_eq!(parse_backup(&text).unwrap().id(), key.id());
    }

    #[cfg(unix)]
    #[test]
    fn key_open_to_others_is_refused_with_a_hint() {
        // I3
        use std::os::unix::fs::PermissionsExt;
        let (_dir, home) = home();
        load_or_create(&home).unwrap();
        let path = home.identity_key();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = load(&home).unwrap_err();
        assert!(matches!(error, IdentityError::Mode { mode: 0o644, .. }));
        assert!(error.hint().unwrap().starts_with("chmod 600"));
    }

    #[test]
    fn damaged_key_is_refused_and_kept() {
        // I3
        let (_dir, home) = home();
        write_private(&home.identity_key(), b"not a key\n").unwrap();
        let error = load_or_create(&home).unwrap_err();
        assert!(matches!(error, IdentityError::Damaged { .. }));
        assert_eq!(fs::read(home.identity_key()).unwrap(), b"not a key\n");
    }
}
