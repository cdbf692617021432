//! The journal's files are taken away from a relay that runs: it acknowledges nothing that a restart would not have.

use crate::support;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::support::{Client, DEADLINE, RelayProcess, frame, kind, refusal, unsent};
use serde_json::json;

const SESSION: &str = "session-123";

fn beside(journal: &Path, ending: &str) -> PathBuf {
    format!("{}{ending}", journal.display()).into()
}

fn remove(path: &Path) {
    fs::remove_file(path).unwrap();
}

/// Writes a message and returns the code of the refusal; `None` where it was acknowledged.
async fn write(client: &mut Client, count: u64) -> Option<String> {
    let messages = json!([unsent(SESSION, "device-a", count, "text")]);
    client.send(frame("sync_update", SESSION, "device-a", json!({ "messages": messages }))).await;
    loop {
        let frame = client.next().await.expect("it is answered");
        match kind(&frame) {
            "sync_ack" => return None,
            "error" => return Some(frame["code"].as_str().unwrap().to_owned()),
            _ => {}
        }
    }
}

async fn until_healthy(relay: &RelayProcess, wanted: bool) {
    let started = std::time::Instant::now();
    while relay.get("/healthz", "").await.0.starts_with("http/1.1 200 ") != wanted {
        assert!(started.elapsed() < DEADLINE, "healthy: {}", !wanted);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

type Harm = fn(&Path);

const HARMS: [(&str, Harm); 9] = [
    ("the file is deleted", |journal| remove(journal)),
    ("the log is deleted", |journal| remove(&beside(journal, "-wal"))),
    ("all is deleted", |journal| fs::remove_dir_all(journal.parent().unwrap()).unwrap()),
    ("the folder is renamed", |journal| {
        let folder = journal.parent().unwrap();
        fs::rename(folder, folder.with_extension("moved")).unwrap();
    }),
    ("the file is replaced by a copy", |journal| {
        fs::copy(journal, beside(journal, ".copy")).unwrap();
        fs::rename(beside(journal, ".copy"), journal).unwrap();
    }),
    ("the log is replaced by a copy", |journal| {
        let log = beside(journal, "-wal");
        fs::copy(&log, beside(&log, ".copy")).unwrap();
        fs::rename(beside(&log, ".copy"), log).unwrap();
    }),
    ("the file is written over", |journal| fs::write(journal, fs::read(journal).unwrap()).unwrap()),
    ("the file is cut off", |journal| File::options().write(true).open(journal).unwrap().set_len(100).unwrap()),
    ("the log is emptied", |journal| drop(File::create(beside(journal, "-wal")).unwrap())),
];

#[tokio::test]
async fn nothing_is_acknowledged_into_a_lost_journal_i1() {
    for (harm, do_harm) in HARMS {
        let mut relay = RelayProcess::start().await;
        let mut client = relay.device(SESSION, "device-a").await;
        assert_eq!(write(&mut client, 1).await, None, "{harm}");
        do_harm(&relay.journal());
        for count in 2..=4 {
            assert_eq!(write(&mut client, count).await.as_deref(), Some("RELAY_STORAGE_FAILED"), "{harm}");
        }
        assert!(relay.get("/healthz", "").await.0.starts_with("http/1.1 503 "), "{harm}");
        // What is there now is somebody else's: a relay that stops leaves it alone.
        drop(client);
        let before = fs::read(relay.journal()).ok();
        relay.signal("TERM");
        let (status, log) = relay.ended().await;
        assert_eq!(status.code(), Some(0), "{harm}: {log}");
        assert_eq!(log.matches("the journal is lost").count(), 1, "{harm}: {log}");
        assert!(fs::read(relay.journal()).ok() == before, "{harm}: it was written while the relay stopped");
    }
}

#[tokio::test]
async fn an_idle_relay_notices_that_its_journal_is_lost() {
    for (_, do_harm) in HARMS {
        let relay = RelayProcess::start().await;
        until_healthy(&relay, true).await;
        do_harm(&relay.journal());
        until_healthy(&relay, false).await;
    }
}

#[tokio::test]
async fn a_journal_that_is_put_back_is_used_again() {
    let relay = RelayProcess::start().await;
    let mut client = relay.device(SESSION, "device-a").await;
    assert_eq!(write(&mut client, 1).await, None);
    let folder = relay.journal().parent().unwrap().to_owned();
    fs::rename(&folder, folder.with_extension("moved")).unwrap();
    assert_eq!(write(&mut client, 2).await.as_deref(), Some("RELAY_STORAGE_FAILED"));
    fs::rename(folder.with_extension("moved"), &folder).unwrap();
    until_healthy(&relay, true).await;
    assert_eq!(write(&mut client, 2).await, None);
    let relay = relay.kill_and_restart().await;
    assert_eq!(relay.connect().await.log(SESSION, 0).await.len(), 2);
}

#[tokio::test]
async fn two_relays_never_share_a_journal_whatever_it_is_called() {
    let relay = RelayProcess::start().await;
    let journal = relay.journal();
    let folder = journal.parent().unwrap();
    let refused = async |path: &Path| refusal(&["--listen", "127.0.0.1:0", "--journal", path.to_str().unwrap()]).await.1;
    symlink("journal.db", folder.join("link.db")).unwrap();
    symlink(folder, folder.join("self")).unwrap();
    for path in [&journal, &folder.join("link.db"), &folder.join("self/journal.db")] {
        let said = refused(path).await;
        assert!(said.contains("in use by another process"), "{said}");
    }
    fs::hard_link(&journal, folder.join("hard.db")).unwrap();
    let said = refused(&folder.join("hard.db")).await;
    assert!(said.contains("hard links"), "{said}");
    remove(&folder.join("hard.db"));
    let mut client = relay.device(SESSION, "device-a").await;
    assert_eq!(write(&mut client, 1).await, None, "the first relay goes on");
    remove(&journal);
    let said = refused(&journal).await;
    assert!(said.contains("in use by another process"), "{said}");
    assert!(!journal.exists(), "the second made no file either");
    File::create(&journal).unwrap();
    let said = refused(&journal).await;
    assert!(said.contains("in use by another process"), "{said}");
}

/// Where even the lock was deleted a second relay starts. The first then stores nothing, and does not touch what is the
/// second's when it stops: SQLite would delete the log at that path.
#[tokio::test]
async fn a_relay_without_its_files_leaves_its_successors_alone() {
    let mut first = RelayProcess::start().await;
    let mut client = first.device(SESSION, "device-a").await;
    assert_eq!(write(&mut client, 1).await, None);
    for ending in ["", "-wal", "-lock"] {
        remove(&beside(&first.journal(), ending));
    }
    let second = first.start_another().await;
    assert_eq!(write(&mut second.device(SESSION, "device-a").await, 1).await, None);
    assert_eq!(write(&mut client, 2).await.as_deref(), Some("RELAY_STORAGE_FAILED"));
    drop(client);
    first.signal("TERM");
    first.ended().await;
    let second = second.kill_and_restart().await;
    assert_eq!(second.connect().await.log(SESSION, 0).await.len(), 1);
}

#[tokio::test]
async fn a_relay_restarts_cleanly_after_an_ordinary_stop() {
    let mut relay = RelayProcess::start().await;
    let mut client = relay.device(SESSION, "device-a").await;
    assert_eq!(write(&mut client, 1).await, None);
    drop(client);
    relay.signal("TERM");
    let (_, log) = relay.ended().await;
    assert!(!log.contains("lost"), "{log}");
    let relay = relay.restart().await;
    until_healthy(&relay, true).await;
    assert_eq!(relay.connect().await.log(SESSION, 0).await.len(), 1);
}

/// What docs/deploy.md says of backups.
#[tokio::test]
async fn a_copy_of_a_frozen_relays_files_has_all_it_acknowledged() {
    let relay = RelayProcess::start().await;
    let mut client = relay.device(SESSION, "device-a").await;
    let mut acknowledged = 0;
    while acknowledged < 500 {
        assert_eq!(write(&mut client, acknowledged + 1).await, None);
        acknowledged += 1;
    }
    // One more is under way while it is frozen.
    let more = json!([unsent(SESSION, "device-a", acknowledged + 1, "text")]);
    client.send(frame("sync_update", SESSION, "device-a", json!({ "messages": more }))).await;
    relay.signal("STOP");
    let backup = tempfile::tempdir().unwrap();
    let copy = backup.path().join("copy.db");
    fs::copy(relay.journal(), &copy).unwrap();
    fs::copy(beside(&relay.journal(), "-wal"), beside(&copy, "-wal")).unwrap();
    relay.signal("CONT");
    client.expect("sync_ack").await;
    assert_eq!(write(&mut client, acknowledged + 2).await, None, "the relay goes on");
    support::check_integrity(&copy);
    let restored = RelayProcess::start_with(&["--journal", copy.to_str().unwrap()]).await;
    let found = restored.connect().await.log(SESSION, 0).await.len() as u64;
    assert!((acknowledged..=acknowledged + 1).contains(&found), "{found} of {acknowledged}");
}
