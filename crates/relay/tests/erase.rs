//! Erasing a wallet's data: what is gone, what stays, and that everybody else's log goes on.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::{Client, RelayProcess, command, frame, refusal, soon, unsent};
use serde_json::{Value, json};
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::log::{Log, LogHead};

const SESSION: &str = "session-123";
const SECRET: &str = "a text that nobody may find again";

async fn erase(journal: &Path, wallet: &str) -> (i32, String, String) {
    let output = soon("it ends", command(&["erase", journal.to_str().unwrap(), "--wallet", wallet]).output()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

async fn stopped(mut relay: RelayProcess) -> RelayProcess {
    relay.signal("TERM");
    assert!(relay.ended().await.0.success());
    relay
}

/// The bytes of the journal's files.
fn on_disk(journal: &Path) -> Vec<u8> {
    let folder = journal.parent().unwrap();
    std::fs::read_dir(folder).unwrap().flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The log as a device of protocolVersion 1 is sent it: checked from the first entry on, as such a device does.
async fn checked(relay: &RelayProcess) -> (Vec<Entry>, LogHead) {
    let mut client = relay.connect().await;
    let v1 = |kind: &str, fields: Value| {
        let mut frame = frame(kind, SESSION, "reader", fields);
        frame["protocolVersion"] = json!(1);
        frame
    };
    let announce = json!({ "deviceInfo": { "platform": "web", "version": "1" }, "wallet": "wallet-of-reader" });
    client.send(v1("device_announce", announce)).await;
    client.send(v1("sync_request", json!({ "lastSyncedSequence": 0 }))).await;
    let answer = client.expect("sync_response").await;
    let entries: Vec<Entry> = serde_json::from_value(answer["messages"].clone()).unwrap();
    let mut log = Log::new(SESSION);
    log.accept(entries.clone(), |_, _| Ok(())).unwrap();
    let head: LogHead = serde_json::from_value(answer["log"].clone()).unwrap();
    log.compare(Some(head)).unwrap();
    assert_eq!((log.end(), head.sequence), (entries.len() as u64, entries.len() as u64));
    (entries, head)
}

/// Two wallets that wrote three messages each, in turns.
async fn conversation() -> RelayProcess {
    let relay = RelayProcess::start().await;
    let (mut one, mut other) = (relay.device(SESSION, "one").await, relay.device(SESSION, "other").await);
    for count in 1..=3 {
        write(&mut one, "one", count, &format!("{SECRET} {count}")).await;
        write(&mut other, "other", count, &format!("an answer {count}")).await;
    }
    let receipt = json!({ "receipts": [{ "messageId": "other-3", "status": "read", "timestamp": "2026-11-22T12:00:00.000Z", "readerWallet": "wallet-of-one" }] });
    one.send(frame("read_receipt", SESSION, "one", receipt)).await;
    one.all(SESSION, "none").await;
    relay
}

async fn write(client: &mut Client, device: &str, count: u64, text: &str) {
    client.update(SESSION, device, json!([unsent(SESSION, device, count, text)])).await;
}

#[tokio::test]
async fn nothing_of_a_wallet_is_left_and_the_log_is_whole() {
    let relay = conversation().await;
    let (before, head) = checked(&relay).await;
    let relay = stopped(relay).await;
    assert!(has(&on_disk(&relay.journal()), SECRET), "the test looks in the right place");
    let (code, said, complaint) = erase(&relay.journal(), "wallet-of-one").await;
    assert_eq!((code, complaint.as_str()), (0, ""));
    assert!(said.starts_with("erased: 3 entries") && said.contains("1 sessions"), "{said}");
    for file in std::fs::read_dir(relay.journal().parent().unwrap()).unwrap().map(Result::unwrap) {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0, "others on the machine read {:?}", file.file_name());
    }
    let bytes = on_disk(&relay.journal());
    for gone in [SECRET, "wallet-of-one", "one-1"] {
        assert!(!has(&bytes, gone), "{gone} is still on the disk");
    }
    assert!(has(&bytes, "an answer 1"));

    let relay = relay.restart().await;
    let (after, same) = checked(&relay).await;
    assert_eq!(same, head, "the log's hash is what it was");
    for (before, after) in before.iter().zip(&after) {
        if before.message.sender_wallet == "wallet-of-one" {
            assert!(after.erased_digest().is_some() && after.message.ciphertext.is_empty(), "{after:?}");
            assert_eq!(
                (&before.device_id, before.counter, before.server_timestamp),
                (&after.device_id, after.counter, after.server_timestamp)
            );
        } else {
            assert_eq!(before, after, "others' entries are as they were");
        }
    }
    // Both go on where they were.
    for (device, text) in [("other", "still here"), ("one", "come back")] {
        let mut client = relay.device(SESSION, device).await;
        write(&mut client, device, 4, text).await;
    }
    let (entries, _) = checked(&relay).await;
    assert_eq!(entries.len(), 8);
    let mut seed = relay.connect().await;
    assert_eq!(seed.log(SESSION, 0).await.len(), 8, "seed clients are sent the places too");
}

#[tokio::test]
async fn a_journal_that_is_in_use_or_is_none_is_left_alone() {
    let relay = conversation().await;
    let (code, _, complaint) = erase(&relay.journal(), "wallet-of-one").await;
    assert!(code == 1 && complaint.contains("in use by another process"), "{complaint}");
    let folder = tempfile::tempdir().unwrap();
    let none = folder.path().join("none.db");
    let (code, _, complaint) = erase(&none, "wallet-of-one").await;
    assert!(code == 1 && complaint.contains("there is no journal") && !none.exists(), "{complaint}");
    let relay = stopped(relay).await;
    let (code, _, complaint) = erase(&relay.journal(), "nobody").await;
    assert!(code == 1 && complaint.contains("has nothing of the wallet nobody"), "{complaint}");
    for options in [&["erase"][..], &["erase", "x.db"], &["erase", "x.db", "--wallet", ""], &["--listen", "127.0.0.1:0", "erase", "x.db"]] {
        assert_eq!(refusal(options).await.0, 2, "{options:?}");
    }
    assert_eq!(relay.restart().await.connect().await.log(SESSION, 0).await.len(), 6);
}

#[tokio::test]
async fn a_log_that_does_not_add_up_is_not_touched() {
    let relay = stopped(conversation().await).await;
    let before = std::fs::read(relay.journal()).unwrap();
    let connection = rusqlite::Connection::open(relay.journal()).unwrap();
    connection.execute("UPDATE entries SET log_hash = zeroblob(32) WHERE sequence = 5", []).unwrap();
    drop(connection);
    let (code, _, complaint) = erase(&relay.journal(), "wallet-of-one").await;
    assert!(code == 1 && complaint.contains("entry 5") && complaint.contains("nothing was erased"), "{complaint}");
    assert!(has(&on_disk(&relay.journal()), SECRET) && has(&before, SECRET));
}
