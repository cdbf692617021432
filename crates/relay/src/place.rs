//! Where the journal is: that the files at its path are those that were opened, and nobody else's.
//!
//! A process keeps the files that it opened, whatever happens to their names. A relay whose journal is deleted or
//! replaced could go on writing, and nothing of it would be there after a restart. SQLite does not look in WAL mode, so
//! the journal's thread does, around every transaction: two look-ups that cost some microseconds.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use crate::store::Reason;

/// The journal's file, its log (SQLite's WAL) beside it, and the lock that keeps other relays away.
pub(crate) struct Place {
    /// As the operator named it, perhaps through a symbolic link. A restart will look there.
    named: PathBuf,
    /// The file itself. SQLite puts its log beside this one.
    file: PathBuf,
    log: PathBuf,
    /// Held as long as this lives. A file of its own: SQLite's lock is on the journal's file, and lets a second relay in
    /// where that file was deleted and made again under the first.
    _lock: File,
}

impl Place {
    /// Makes the file where there is none, and locks the place.
    ///
    /// # Errors
    /// A sentence for the operator: a path that cannot hold a journal, or that another relay uses.
    pub(crate) fn take(named: &Path) -> Result<Place, Reason> {
        let shown = named.display();
        if named == Path::new(":memory:") || named.as_os_str().as_encoded_bytes().starts_with(b"file:") {
            return Err(format!(
                "the journal cannot be {shown}: it is a file on a disk, or it would not survive a restart. Name a file with --journal"
            ));
        }
        let file = resolve(named)?;
        let of = |path: &Path| match path == file {
            true => String::new(),
            false => format!(", because of {}", path.display()),
        };
        let cannot = |path: &Path, error: io::Error| match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                format!("the journal {shown} cannot be written{} ({error}): let the relay's user write to it and to its folder", of(path))
            }
            _ => format!("the journal {shown} cannot be opened{}: {error}", of(path)),
        };
        // Nobody else on the machine reads what people write to each other.
        let open = |path: &Path| File::options().create(true).append(true).mode(0o600).open(path).map_err(|error| cannot(path, error));
        // The lock first: a file that another relay has open is not touched.
        let lock_path = beside(&file, "-lock");
        let lock = open(&lock_path)?;
        // Where root looks after a journal, the lock stays the relay's, as SQLite has it with its own files.
        if let (Ok(journal), Ok(own)) = (fs::metadata(&file), lock.metadata())
            && own.uid() == 0
            && journal.uid() != 0
        {
            fchown(&lock, Some(journal.uid()), Some(journal.gid())).map_err(|error| cannot(&lock_path, error))?;
        }
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => in_use(named),
            TryLockError::Error(error) => cannot(&lock_path, error),
        })?;
        let made = open(&file)?.metadata().map_err(|error| cannot(&file, error))?;
        if made.nlink() > 1 {
            return Err(format!(
                "the journal {shown} has {} names (hard links), and its log would be found beside one of them only: remove the others, \
                 or copy the file",
                made.nlink()
            ));
        }
        Ok(Place { named: named.to_owned(), log: beside(&file, "-wal"), file, _lock: lock })
    }

    /// The file to open.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    fn look(&self) -> Result<Files, Reason> {
        let mark = |path: &Path| match fs::metadata(path) {
            Ok(metadata) => Ok(Mark::of(&metadata)),
            Err(error) => Err(format!("{} is gone ({error})", path.display())),
        };
        Ok(Files { file: mark(&self.named)?, log: mark(&self.log)? })
    }
}

/// A second relay on the same file would give out the same sequence numbers.
pub(crate) fn in_use(named: &Path) -> Reason {
    format!(
        "the journal {} is in use by another process, and one relay at a time can write to it: stop that one, or choose another file with \
         --journal",
        named.display()
    )
}

/// The regular file that is there or can be made there.
fn resolve(named: &Path) -> Result<PathBuf, Reason> {
    let shown = named.display();
    let error = match fs::canonicalize(named) {
        Ok(file) if file.is_file() => return Ok(file),
        Ok(file) if file.is_dir() => return Err(format!("the journal {shown} is a folder: name a file in it with --journal")),
        Ok(_) => return Err(format!("the journal {shown} is no regular file: name another with --journal")),
        Err(error) => error,
    };
    let cannot = |error: io::Error| format!("the journal {shown} cannot be opened: {error}");
    if error.kind() != io::ErrorKind::NotFound {
        return Err(cannot(error));
    }
    if named.is_symlink() {
        return Err(format!(
            "the journal {shown} is a link to a file that does not exist: remove the link, or name another file with --journal"
        ));
    }
    let Some(name) = named.file_name().filter(|_| !named.as_os_str().as_encoded_bytes().ends_with(b"/")) else {
        return Err(format!("the journal {shown} is a folder: name a file in it with --journal"));
    };
    // A bare name has an empty parent, which is the working directory.
    let folder = named.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match fs::canonicalize(folder) {
        Ok(folder) if folder.is_dir() => Ok(folder.join(name)),
        Ok(_) => {
            Err(format!("the journal {shown} cannot be made: {} is no folder. Name a file in a folder with --journal", folder.display()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(format!(
            "the journal {shown} cannot be made: there is no folder {}. Make it first, or name another file with --journal",
            folder.display()
        )),
        Err(error) => Err(cannot(error)),
    }
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut path = OsString::from(file);
    path.push(ending);
    path.into()
}

/// What tells a file from another in its place, and from itself after somebody else wrote to it.
#[derive(PartialEq, Clone, Copy)]
struct Mark {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl Mark {
    fn of(metadata: &Metadata) -> Mark {
        Mark { device: metadata.dev(), inode: metadata.ino(), bytes: metadata.len(), modified: (metadata.mtime(), metadata.mtime_nsec()) }
    }

    fn is_same_file(&self, other: &Mark) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

#[derive(PartialEq, Clone, Copy)]
struct Files {
    file: Mark,
    log: Mark,
}

/// Sees whether the files are still ours, and as we left them.
pub(crate) struct Watch {
    place: Place,
    files: Files,
    /// They changed while a transaction was under way: whether that one is in them is not known.
    unknown: Option<Reason>,
}

impl Watch {
    /// Begins, once the files are open.
    ///
    /// # Errors
    /// They are gone already.
    pub(crate) fn new(place: Place) -> Result<Watch, Reason> {
        let files = place.look()?;
        Ok(Watch { place, files, unknown: None })
    }

    /// Whether the files are there, and nobody but us has written to them. Call it before a transaction.
    ///
    /// # Errors
    /// What is wrong. It may come right again, where the very same files are put back.
    pub(crate) fn check(&self) -> Result<(), Reason> {
        if let Some(reason) = &self.unknown {
            return Err(reason.clone());
        }
        let found = self.place.look()?;
        self.same_files(&found)?;
        if found != self.files {
            return Err(format!("another program has written to {} or its log", self.place.named.display()));
        }
        Ok(())
    }

    /// A transaction has ended, in whatever way. What it wrote is ours.
    ///
    /// # Errors
    /// The files are no longer there, or others are. Nothing comes right after that.
    pub(crate) fn written(&mut self) -> Result<(), Reason> {
        match self.place.look().and_then(|found| self.same_files(&found).map(|()| found)) {
            Ok(found) => {
                self.files = found;
                Ok(())
            }
            Err(reason) => {
                self.unknown = Some(reason.clone());
                Err(reason)
            }
        }
    }

    fn same_files(&self, found: &Files) -> Result<(), Reason> {
        for (path, known, found) in [(&self.place.named, &self.files.file, &found.file), (&self.place.log, &self.files.log, &found.log)] {
            if !known.is_same_file(found) {
                return Err(format!("{} was replaced by another file", path.display()));
            }
        }
        Ok(())
    }
}
