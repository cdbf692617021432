//! The SQLite journal keeps to what every journal must do, and survives being killed.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use solconnect_relay::journal::Journal;
use solconnect_sim::conformance::{Ask, Crash, append, entry, journal_conformance, load, of_kind, read_all};
use solconnect_sync_core::message::Kind;
use solconnect_sync_core::relay::{JournalAnswer, JournalQuestion, StoredEntry};
use solconnect_sync_core::vector_clock::VectorClock;
use tokio::sync::mpsc::unbounded_channel;

/// Tells the child process of `entries_said_to_be_stored_survive_a_kill` which file to write to.
const CHILD_JOURNAL: &str = "RELAY_TEST_CHILD_JOURNAL";

/// Closes its journal when it is dropped.
struct Open(Option<Journal>);

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(journal) = self.0.take() {
            journal.close();
        }
    }
}

fn open(path: &Path) -> Ask {
    let (answers, mut received) = unbounded_channel();
    let journal = Open(Some(Journal::open(path, answers).unwrap()));
    let mut next_ticket = 0;
    Box::new(move |question| {
        next_ticket += 1;
        let answered = !matches!(question, JournalQuestion::Note { .. });
        journal.0.as_ref()?.ask(next_ticket, question);
        answered.then(|| {
            let (ticket, answer) = received.blocking_recv().unwrap();
            assert_eq!(ticket, next_ticket);
            answer
        })
    })
}

fn journal_in(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("journal.db")
}

/// Opens what is on the disk now, as a process would find it that is started after this one was killed.
fn crash(path: &Path, crash: Crash) -> Ask {
    let folder = tempfile::tempdir().unwrap();
    let copy = journal_in(&folder);
    let log = |path: &Path| path.with_extension("db-wal");
    std::fs::copy(path, &copy).unwrap();
    std::fs::copy(log(path), log(&copy)).unwrap();
    if crash == Crash::TornTail {
        let log = std::fs::File::options().write(true).open(log(&copy)).unwrap();
        let bytes = log.metadata().unwrap().len();
        log.set_len(bytes - 100).unwrap();
    }
    let mut ask = open(&copy);
    Box::new(move |question| {
        // The folder goes when the journal does.
        let _ = &folder;
        ask(question)
    })
}

#[test]
fn few_entries_are_read_to_find_what_a_person_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let mut ask = open(&journal_in(&folder));
    let kinds = std::iter::once(Kind::MESSAGE).chain([Kind::EPOCH; 80]);
    let entries: Vec<StoredEntry> = (1..).zip(kinds).map(|(place, kind)| of_kind("s", place, kind)).collect();
    assert_eq!(append(&mut ask, "s", entries[..64].to_vec()), JournalAnswer::Appended);
    assert_eq!(load(&mut ask, "s").last_written, 1);
    assert_eq!(append(&mut ask, "s", entries[64..].to_vec()), JournalAnswer::Appended);
    assert_eq!(load(&mut ask, "s").last_written, 18, "of 81, the last 64");
}

#[test]
fn the_sqlite_journal_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let path = journal_in(&folder);
    journal_conformance(&|| open(&path), &|how| crash(&path, how));
}

/// Runs in a process of its own, see below: appends until it is killed, and says what is stored.
#[test]
fn child_that_appends_until_it_is_killed() {
    let Ok(path) = std::env::var(CHILD_JOURNAL) else { return };
    let mut ask = open(Path::new(&path));
    let mut output = std::io::stderr();
    for sequence in load(&mut ask, "s").head + 1.. {
        assert_eq!(append(&mut ask, "s", vec![entry(sequence, "d", None)]), JournalAnswer::Appended);
        writeln!(output, "stored {sequence}").unwrap();
    }
}

#[test]
fn entries_said_to_be_stored_survive_a_kill_i1_i22() {
    let folder = tempfile::tempdir().unwrap();
    let path = journal_in(&folder);
    for round in 1..=5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "journal::child_that_appends_until_it_is_killed", "--nocapture"])
            .env(CHILD_JOURNAL, &path)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut stored = 0;
        for line in lines.map_while(Result::ok) {
            stored = line.strip_prefix("stored ").map_or(stored, |sequence| sequence.parse().unwrap());
            if stored >= round * 40 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        let connection = Connection::open(&path).unwrap();
        let verdict: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(verdict, "ok");
        drop(connection);
        let mut ask = open(&path);
        let entries = read_all(&mut ask, "s");
        assert!(entries.len() as u64 >= stored && stored >= round * 40, "{} of {stored}", entries.len());
        assert!((1..).zip(&entries).all(|(sequence, found)| *found == entry(sequence, "d", None)));
        assert_eq!(load(&mut ask, "s").head, entries.len() as u64);
    }
}

fn refusal(path: &Path) -> String {
    let (answers, _received) = unbounded_channel();
    Journal::open(path, answers).err().expect("it is refused")
}

#[test]
fn a_journal_of_another_version_is_refused_by_name_and_left_alone_i24() {
    let folder = tempfile::tempdir().unwrap();
    let path = journal_in(&folder);
    let mut ask = open(&path);
    assert_eq!(append(&mut ask, "s", vec![entry(1, "d", None)]), JournalAnswer::Appended);
    // As a process leaves it that is killed: what was appended is in its log only.
    let other = folder.path().join("other.db");
    let log = |path: &Path| path.with_extension("db-wal");
    std::fs::copy(&path, &other).unwrap();
    std::fs::copy(log(&path), log(&other)).unwrap();
    drop(ask);
    let connection = Connection::open(&other).unwrap();
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE").unwrap();
    for (version, words) in
        [(1, "a preview"), (2, "a preview"), (3, "a preview"), (0, "no version"), (-1, "no version"), (999, "a newer version")]
    {
        connection.pragma_update(None, "user_version", version).unwrap();
        let copied = folder.path().join(format!("{version}.db"));
        std::fs::copy(&other, &copied).unwrap();
        std::fs::copy(log(&other), log(&copied)).unwrap();
        let files = || [&copied, &log(&copied)].map(|path| std::fs::read(path).unwrap());
        let before = files();
        let reason = refusal(&copied);
        assert!(reason.contains(words) && reason.contains(&format!("tables {version},")), "{reason}");
        assert!(reason.contains(copied.to_str().unwrap()), "{reason}");
        assert!(files() == before, "{version}: it was written");
    }
}

/// What `clocks` must answer, counted entry by entry.
fn clock_at(entries: &[StoredEntry], place: u64) -> VectorClock {
    let mut clock = VectorClock::new();
    for entry in entries.iter().filter(|entry| entry.sequence <= place) {
        clock.raise(&entry.device_id, entry.counter).unwrap();
    }
    clock
}

#[test]
fn clocks_are_those_of_the_entries_up_to_each_place() {
    let folder = tempfile::tempdir().unwrap();
    let mut ask = open(&journal_in(&folder));
    let mut counters = std::collections::BTreeMap::new();
    // A device alone, two in turn, one that leaves counters out, one that is rare.
    let writer = |sequence: u64| match sequence {
        1..=50 => ("a", 1),
        _ if sequence.is_multiple_of(97) => ("rare", 1),
        _ if sequence.is_multiple_of(7) => ("sparse", 1 << (sequence % 20)),
        _ if sequence.is_multiple_of(2) => ("b", 1),
        _ => ("a", 1),
    };
    let mut entries = Vec::new();
    for sequence in 1..=1_000 {
        let (device, step) = writer(sequence);
        let counter = counters.entry(device).or_insert(0);
        *counter += step;
        entries.push(StoredEntry { counter: *counter, ..entry(sequence, device, None) });
    }
    assert_eq!(append(&mut ask, "s", entries.clone()), JournalAnswer::Appended);
    let places: Vec<Vec<u64>> = vec![
        (0..=1_002).collect(),
        vec![1_000, 1, 500, 500, 0, 97],
        (0..100).map(|number| (number * 7_919) % 1_001).collect(),
        vec![],
        vec![u64::from(u32::MAX)],
    ];
    for at in places {
        let expected: Vec<VectorClock> = at.iter().map(|place| clock_at(&entries, *place)).collect();
        assert_eq!(ask(JournalQuestion::Clocks { session_id: "s".to_owned(), at }), Some(JournalAnswer::Clocks(expected)));
    }
    let never = JournalQuestion::Clocks { session_id: "never".to_owned(), at: vec![0, 3] };
    assert_eq!(ask(never), Some(JournalAnswer::Clocks(vec![VectorClock::new(); 2])));
}

#[test]
fn other_files_are_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "not a database at all, but long enough to be looked at. ".repeat(100)).unwrap();
    assert!(refusal(&path).contains("is not a journal"));
    let path = folder.path().join("other.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE mine (x)").unwrap();
    assert!(refusal(&path).contains("another program"));
    assert!(refusal(&folder.path().join("no/such/folder/journal.db")).contains("cannot be made"));
}

#[test]
fn a_journal_in_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = journal_in(&folder);
    let first = open(&path);
    assert!(refusal(&path).contains("in use"));
    drop(first);
    drop(open(&path));
}
