//! The relay's key: made once, and kept beside the journal.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use solconnect_sync_core::identity::{DeviceKey, EarlierKey};
use solconnect_sync_core::limits::RELAY_KEYS_MAX;

use crate::place::Place;
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
    let path = beside(journal, "-key");
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

/// The keys that the relay of this journal had before, oldest first, as far as each names the next and the last this one.
///
/// # Errors
/// A sentence for the operator: the file cannot be read.
pub fn earlier_keys(journal: &Path, key: &DeviceKey) -> Result<Vec<EarlierKey>, Reason> {
    let path = beside(journal, "-keys-before");
    let bytes = match std::fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        read => read.map_err(|error| format!("the relay's earlier keys {} cannot be read: {error}", path.display()))?,
    };
    let (mut next, mut earlier) = (key.public(), Vec::new());
    for record in bytes.chunks_exact(EARLIER_BYTES).rev().take(RELAY_KEYS_MAX + 1) {
        let mut known = EarlierKey::default();
        let (public, signature) = record.split_at(known.key.len());
        known.key.copy_from_slice(public);
        known.signature.copy_from_slice(signature);
        if known.names(&next) {
            next = known.key;
            earlier.push(known);
        } else if !earlier.is_empty() {
            break;
        }
        // The last one may be of a change that a crash cut short.
    }
    earlier.truncate(RELAY_KEYS_MAX);
    earlier.reverse();
    Ok(earlier)
}

/// Gives the relay of this journal, which does not run, another key, which the one before names; the new one.
///
/// # Errors
/// A sentence for the operator: there is no journal, a relay uses it, or a file cannot be written.
pub fn renew(journal: &Path) -> Result<DeviceKey, Reason> {
    if !journal.exists() {
        return Err(format!("there is no journal {}", journal.display()));
    }
    let _place = Place::take(journal)?;
    let before = relay_key(journal)?;
    let (path, secret) = (beside(journal, "-key"), random()?);
    let next = DeviceKey::from_secret(&secret);
    let named = EarlierKey::succeeded_by(&before, &next.public());
    let earlier = beside(journal, "-keys-before");
    // First that the old one names the new one, then the new one: where that is not reached, the old one is still the relay's.
    let append = || -> io::Result<()> {
        let mut file = File::options().create(true).append(true).mode(0o600).open(&earlier)?;
        file.write_all(&[&named.key[..], &named.signature].concat())?;
        file.sync_all()
    };
    append().map_err(|error| format!("{} cannot be written: {error}", earlier.display()))?;
    write(&path, &secret).map_err(|error| format!("the relay's key {} cannot be kept: {error}", path.display()))?;
    Ok(next)
}

/// An earlier key and its signature.
const EARLIER_BYTES: usize = 32 + 64;

fn beside(journal: &Path, suffix: &str) -> PathBuf {
    let mut path = journal.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// Whole or not at all: a file that a crash left half written would be no key for ever.
fn make(path: &Path) -> io::Result<[u8; 32]> {
    let secret = random().map_err(io::Error::other)?;
    write(path, &secret)?;
    Ok(secret)
}

fn write(path: &Path, secret: &[u8; 32]) -> io::Result<()> {
    let mut half = path.as_os_str().to_owned();
    half.push("-new");
    let half = PathBuf::from(half);
    let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&half)?;
    file.write_all(secret)?;
    file.sync_all()?;
    std::fs::rename(&half, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
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
    fn a_new_key_is_named_by_the_one_before() {
        use solconnect_sync_core::identity::is_successor;
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("relay.db");
        assert!(renew(&journal).unwrap_err().contains("there is no journal"));
        std::fs::write(&journal, "").unwrap();
        let first = relay_key(&journal).unwrap();
        assert_eq!(earlier_keys(&journal, &first), Ok(Vec::new()));
        let keys: Vec<DeviceKey> = (0..10).map(|_| renew(&journal).unwrap()).collect();
        let last = relay_key(&journal).unwrap();
        assert_eq!(Some(&last), keys.last());
        let earlier = earlier_keys(&journal, &last).unwrap();
        assert_eq!(earlier.len(), RELAY_KEYS_MAX);
        assert!(is_successor(&keys[1].public(), &last.public(), &earlier) && !is_successor(&first.public(), &last.public(), &earlier));
        // A crash before the new key was written.
        let path = folder.path().join("relay.db-key");
        std::fs::write(&path, keys[8].secret()).unwrap();
        let earlier = earlier_keys(&journal, &keys[8]).unwrap();
        assert!(is_successor(&keys[1].public(), &keys[8].public(), &earlier));
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
