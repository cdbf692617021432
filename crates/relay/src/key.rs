//! The relay's key: made once, and kept beside the journal.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use solconnect_sync_core::identity::DeviceKey;

use crate::store::Reason;

/// Bytes that nobody can guess.
///
/// # Errors
/// A sentence for the operator.
pub fn random() -> Result<[u8; 32], Reason> {
    let mut bytes = [0; 32];
    let read = File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes));
    read.map(|()| bytes).map_err(|error| format!("the system gives no random bytes: {error}"))
}

/// The key beside this journal, made where there is none. Devices remember it: it belongs into a backup of the journal, and
/// whoever has it can say that he is this relay.
///
/// # Errors
/// A sentence for the operator: the file cannot be read or made, or is no key.
pub fn relay_key(journal: &Path) -> Result<DeviceKey, Reason> {
    let path = beside(journal);
    let cannot = |error: io::Error| format!("the relay's key {} cannot be kept: {error}", path.display());
    let read = match std::fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(&path).map_err(cannot)?.to_vec(),
        read => read.map_err(cannot)?,
    };
    let secret = read
        .try_into()
        .map_err(|_| format!("{} is not the key of a relay, which has 32 bytes: put the right file there", path.display()))?;
    Ok(DeviceKey::from_secret(&secret))
}

fn beside(journal: &Path) -> PathBuf {
    let mut path = journal.as_os_str().to_owned();
    path.push("-key");
    path.into()
}

/// Whole or not at all: a file that a crash left half written would be no key for ever.
fn make(path: &Path) -> io::Result<[u8; 32]> {
    let secret = random().map_err(io::Error::other)?;
    let mut half = path.as_os_str().to_owned();
    half.push("-new");
    let half = PathBuf::from(half);
    let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&half)?;
    file.write_all(&secret)?;
    file.sync_all()?;
    std::fs::rename(&half, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("relay.db");
        let key = relay_key(&journal).unwrap();
        assert_eq!(relay_key(&journal).unwrap(), key);
        assert_ne!(relay_key(&folder.path().join("other.db")).unwrap(), key);
        let mode = std::fs::metadata(folder.path().join("relay.db-key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_is_no_key_is_left_alone_and_told() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("relay.db");
        std::fs::write(folder.path().join("relay.db-key"), b"short").unwrap();
        assert!(relay_key(&journal).unwrap_err().contains("32 bytes"));
        assert_eq!(std::fs::read(folder.path().join("relay.db-key")).unwrap(), b"short");
        assert!(relay_key(&folder.path().join("none/relay.db")).unwrap_err().contains("cannot be kept"));
    }
}
