//! Erasing a wallet's data where it is in encrypted sessions. Alone in its process: one that starts others holds the locks of files a
//! moment longer.

use solconnect_relay::erase::{Erased, erase};
use solconnect_relay::journal::Journal;
use solconnect_relay::verify::verify;
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::log::Log;
use solconnect_sync_core::message::{Kind, Message};
use solconnect_sync_core::relay::{DeviceRow, JournalAnswer, JournalQuestion, MemberRow, StoredEntry};
use tokio::sync::mpsc::unbounded_channel;

const SECRET: &str = "a text that nobody may find again";

/// A question that stores what one device of wallet-of-one says in a session.
fn said(session_id: &str, messages: &[(Kind, &str)], members: &[(&str, &str)]) -> JournalQuestion {
    let (mut log, mut entries) = (Log::new(session_id), Vec::new());
    for (kind, text) in messages {
        let (sequence, counter) = (log.end() + 1, log.counter("one") + 1);
        let message = Message {
            id: format!("{session_id}:one:aB3xY9:{counter}"),
            session_id: session_id.into(),
            sender_wallet: "wallet-of-one".into(),
            ciphertext: (*text).into(),
            kind: *kind,
            ..Message::default()
        };
        let entry = Entry { message, device_id: "one".into(), counter, sequence_number: sequence, server_timestamp: 7, ..Entry::default() };
        log.take(&entry).unwrap();
        let body = Batch::of(&[entry]).unwrap();
        entries.push(StoredEntry { sequence, device_id: "one".into(), counter, key: None, log_hash: log.hash(), signature: None, body });
    }
    let head = log.head("one").unwrap();
    let device = DeviceRow {
        device_id: "one".into(),
        wallet: Some("wallet-of-one".into()),
        last_counter: head.counter,
        last_sequence: head.sequence,
        last_digest: head.digest,
        ..DeviceRow::default()
    };
    let row = |(wallet, account_id): &(&str, &str)| MemberRow {
        wallet: (*wallet).into(),
        account_id: Some((*account_id).into()),
        left: *wallet == "wallet-of-one",
        ..MemberRow::default()
    };
    let (members, devices) = (members.iter().map(row).collect(), vec![device]);
    JournalQuestion::Append { session_id: session_id.into(), entries, devices, members, group: None, epochs: Some(b"epochs".to_vec()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_session_keeps_what_it_hangs_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relay.db");
    let (answers, mut received) = unbounded_channel();
    let journal = Journal::open(&path, answers).unwrap();
    let members = [("wallet-of-one", "account:here"), ("wallet-of-other", "account:of-other")];
    let sealed = [
        (Kind::EPOCH, "an epoch"),
        (Kind::MESSAGE, SECRET),
        (Kind::RESEAL, "a reseal"),
        (Kind::ASKS, "what is asked"),
        (Kind(77), "of a later kind"),
    ];
    let questions = [
        said("sealed:session", &sealed, &members),
        said("account:here", &[(Kind::ACCOUNT, "a statement")], &[]),
        said("account:elsewhere", &[(Kind::ACCOUNT, "a statement elsewhere")], &[]),
        said("plain", &[(Kind::EPOCH, "no epoch")], &[("wallet-of-one", "account:elsewhere")]),
    ];
    for (ticket, question) in (1..).zip(questions) {
        journal.ask(ticket, question);
        assert_eq!(received.recv().await, Some((ticket, JournalAnswer::Appended)));
    }
    tokio::task::spawn_blocking(|| journal.close()).await.unwrap();
    let erased = erase(&path, "wallet-of-one").unwrap();
    assert_eq!(erased, Erased { entries: 3, accounts: 1, kept_accounts: 1, sessions: 2 });
    // What is left is the same the next time.
    assert_eq!(erase(&path, "wallet-of-one").unwrap(), Erased { kept_accounts: 1, ..Erased::default() });
    let verified = verify(&path).unwrap();
    assert_eq!((verified.sessions, verified.entries), (3, 7));
    let rows = |sql: &str| -> Vec<String> {
        let connection = rusqlite::Connection::open(&path).unwrap();
        let mut statement = connection.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let sealed_members = "SELECT wallet FROM members JOIN sessions ON id = session WHERE session_id = 'sealed:session' ORDER BY wallet";
    assert_eq!(rows(sealed_members), ["wallet-of-one", "wallet-of-other"]);
    assert_eq!(rows("SELECT session_id FROM sessions ORDER BY session_id"), ["account:here", "plain", "sealed:session"]);
    let bytes: Vec<u8> = std::fs::read_dir(folder.path()).unwrap().flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    let has = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    for stays in ["an epoch", "a reseal", "what is asked", "a statement"] {
        assert!(has(stays), "{stays} is gone");
    }
    for gone in [SECRET, "no epoch", "of a later kind", "elsewhere"] {
        assert!(!has(gone), "{gone} is still on the disk");
    }
}
