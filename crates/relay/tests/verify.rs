//! A journal that is checked from the first entry on, and evidence that devices have exported.

use std::path::Path;

use crate::support::{command, soon};
use rusqlite::Connection;
use solconnect_relay::journal::Journal;
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::identity::{DeviceKey, Evidence, HeadSignature, SignedHead, UpdateSignature};
use solconnect_sync_core::ids::message_id;
use solconnect_sync_core::log::{Log, LogHead};
use solconnect_sync_core::message::Message;
use solconnect_sync_core::relay::{DeviceRow, JournalAnswer, JournalQuestion, StoredEntry};
use tokio::sync::mpsc::unbounded_channel;

const SESSION: &str = "session-123";

async fn run(args: &[&str]) -> (i32, String) {
    let output = soon("it ends", command(args).output()).await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

/// Two devices that sign, who wrote two updates each, of one and of two messages in turns; and a last one by another that does not.
async fn journal(path: &Path) {
    let keys = [1, 2].map(|number| DeviceKey::from_secret(&[number; 32]));
    let (mut log, mut entries, mut counters) = (Log::new(SESSION), Vec::new(), [0; 2]);
    let mut rows = std::collections::BTreeMap::new();
    for (author, is_signed) in [(0, true), (1, false), (1, true), (0, false), (0, true), (1, true)] {
        let (sequence, device_id) = (log.end() + 1, keys[author].device_id());
        counters[author] += 1;
        let counter = counters[author];
        let message = Message {
            id: message_id(SESSION, &device_id, "start0", counter),
            session_id: SESSION.into(),
            sender_wallet: format!("wallet-{author}"),
            ciphertext: format!("text {sequence}"),
            ..Message::default()
        };
        let entry =
            Entry { message, device_id: device_id.clone(), counter, sequence_number: sequence, server_timestamp: 7, ..Entry::default() };
        let seen = log.log_head();
        log.take(&entry).unwrap();
        let digest = log.digest(SESSION, &device_id);
        let signature = is_signed.then(|| UpdateSignature::sign(&keys[author], SESSION, counter, &digest, seen));
        let body = Batch::of(&[entry]).unwrap();
        entries.push(StoredEntry { sequence, device_id: device_id.clone(), counter, key: None, log_hash: log.hash(), signature, body });
        let row = DeviceRow { last_counter: counter, last_sequence: sequence, last_digest: digest, ..DeviceRow::default() };
        rows.insert(device_id.clone(), DeviceRow { device_id, ..row });
    }
    let (answers, mut received) = unbounded_channel();
    let journal = Journal::open(path, answers).unwrap();
    let devices = rows.into_values().collect();
    journal
        .ask(1, JournalQuestion::Append { session_id: SESSION.into(), entries, devices, members: Vec::new(), group: None, epochs: None });
    assert_eq!(received.recv().await, Some((1, JournalAnswer::Appended)));
    tokio::task::spawn_blocking(|| journal.close()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_fault_of_a_journal_is_named() {
    let faults = [
        ("", 0, "right: 6 entries in 1 sessions, 4 signatures"),
        ("UPDATE entries SET log_hash = zeroblob(32) WHERE sequence = 5", 1, "entry 5 of session session-123: the hash"),
        ("UPDATE entries SET body = zeroblob(9) WHERE sequence = 2", 1, "entry 2 of session session-123: it cannot be read"),
        ("UPDATE entries SET body = (SELECT body FROM entries WHERE sequence = 4) WHERE sequence = 1", 1, "entry 1 of session session-123"),
        ("UPDATE entries SET signature = NULL WHERE sequence = 3", 1, "entry 4 of session session-123: no signature covers"),
        ("UPDATE entries SET signature = NULL WHERE sequence = 6", 1, "no signature covers the last entries"),
        (
            "UPDATE entries SET signature = (SELECT signature FROM entries WHERE sequence = 1) WHERE sequence = 5",
            1,
            "entry 5 of session session-123: its signature",
        ),
        ("DELETE FROM entries WHERE sequence = 6", 1, "it should end at 6"),
        ("UPDATE devices SET last_digest = zeroblob(32)", 1, "the last entry of device"),
    ];
    for (fault, code, words) in faults {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("relay.db");
        journal(&path).await;
        Connection::open(&path).unwrap().execute_batch(fault).unwrap();
        let (ended, said) = run(&["verify", path.to_str().unwrap()]).await;
        assert!(ended == code && said.contains(words), "{fault}: {ended} {said}");
    }
    let (ended, said) = run(&["verify", "none.db"]).await;
    assert!(ended == 1 && said.contains("there is no journal"), "{said}");
}

#[tokio::test]
async fn evidence_is_judged_offline() {
    let folder = tempfile::tempdir().unwrap();
    let relay = DeviceKey::from_secret(&[5; 32]);
    let file = |name: &str, heads: &[(u64, u8, u64)]| {
        let signed = |(sequence, hash, time): &(u64, u8, u64)| {
            let head = LogHead { sequence: *sequence, hash: [*hash; 32] };
            SignedHead { head, signature: HeadSignature::sign(&relay, SESSION, &head, *time) }
        };
        let heads = heads.iter().map(signed).collect();
        let evidence = Evidence { relay: relay.public(), session_id: SESSION.into(), heads, links: Vec::new() };
        let path = folder.path().join(name);
        std::fs::write(&path, evidence.to_text()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (one, other) = (file("one", &[(2, 1, 10)]), file("other", &[(2, 2, 10)]));
    let back = file("back", &[(3, 3, 10), (2, 1, 11)]);
    let none = folder.path().join("none");
    std::fs::write(&none, "something else").unwrap();
    let cases: [(&[&str], i32, &str); 5] = [
        (&[&one], 0, "not guilty"),
        (&[&one, &other], 3, "guilty: the relay has signed two logs"),
        (&[&back], 3, "set back"),
        (&[none.to_str().unwrap()], 1, "is no evidence: line 1"),
        (&[], 2, "Usage"),
    ];
    for (files, code, words) in cases {
        let (ended, said) = run(&[&["verify-evidence"], files].concat()).await;
        assert!(ended == code && said.contains(words), "{files:?}: {ended} {said}");
    }
}
