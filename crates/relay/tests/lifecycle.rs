//! Start, stop, kill: what is acknowledged stays, and what cannot start says why.

use crate::support;
use crate::support::{RelayProcess, frame, kind, refusal, unsent};
use serde_json::json;

const SESSION: &str = "session-123";

#[tokio::test]
async fn a_kill_in_the_middle_of_updates_loses_nothing_acknowledged_i1_i3_f10() {
    let mut relay = RelayProcess::start().await;
    let mut acknowledged = 0;
    for round in 1..=3 {
        let mut client = relay.device(SESSION, "device-a").await;
        // A stream of updates; some are being stored when the relay is killed. What is not acknowledged is sent again,
        // together with some that were.
        let first = acknowledged.max(10) - 9;
        for start in (first..first + 4_000).step_by(20) {
            let messages: Vec<_> = (start..start + 20).map(|count| unsent(SESSION, "device-a", count, &format!("text {count}"))).collect();
            client.send(frame("sync_update", SESSION, "device-a", json!({ "messages": messages }))).await;
            // Sending alone would fill both directions and stop: every answer that is awaited is one that has come.
            if start % 3 == 0 {
                acknowledged = acknowledged.max(last_acknowledged(&client.expect("sync_ack").await));
            }
            if acknowledged >= round * 500 {
                break;
            }
        }
        relay = relay.kill_and_restart().await;
        let entries = relay.connect().await.log(SESSION, 0).await;
        assert!(entries.len() as u64 >= acknowledged, "{} of {acknowledged} acknowledged ones", entries.len());
        for (entry, count) in entries.iter().zip(1_u64..) {
            assert_eq!(entry["message"]["ciphertext"], format!("text {count}"), "each exactly once, in the order of sending (I8)");
            assert_eq!(entry["vectorClock"]["device-a"], count);
        }
    }
    let mut client = relay.device(SESSION, "device-a").await;
    let log = client.log(SESSION, 0).await;
    let again: Vec<_> = (1..=log.len() as u64).map(|count| unsent(SESSION, "device-a", count, &format!("text {count}"))).collect();
    for messages in again.chunks(100) {
        client.update(SESSION, "device-a", json!(messages)).await;
    }
    assert_eq!(client.log(SESSION, 0).await, log, "all of it once more changes nothing");
}

fn last_acknowledged(ack: &serde_json::Value) -> u64 {
    ack["acknowledgedSequences"].as_array().unwrap().iter().map(|sequence| sequence.as_u64().unwrap()).max().unwrap()
}

#[tokio::test]
async fn devices_and_the_log_are_known_after_a_restart() {
    let relay = RelayProcess::start().await;
    let mut client = relay.device(SESSION, "device-a").await;
    client.update(SESSION, "device-a", json!([unsent(SESSION, "device-a", 1, "one")])).await;
    relay.signal("TERM");
    let mut relay = relay;
    relay.ended().await;
    let relay = relay.restart().await;
    let mut client = relay.connect().await;
    client.send(support::announcement(SESSION, "device-b")).await;
    let list = client.expect("device_list").await;
    let known = list["devices"].as_array().unwrap().iter().find(|device| device["deviceId"] == "device-a").expect("device-a is known");
    assert_eq!((&known["isOnline"], &known["platform"]), (&json!(false), &json!("web")));
    let next = client.update(SESSION, "device-b", json!([unsent(SESSION, "device-b", 1, "two")])).await;
    assert_eq!(next["acknowledgedSequences"], json!([2]));
}

#[tokio::test]
async fn a_signal_stops_the_relay_in_order() {
    for signal in ["TERM", "INT"] {
        let mut relay = RelayProcess::start().await;
        let mut idle = relay.device(SESSION, "device-b").await;
        let mut busy = relay.device(SESSION, "device-a").await;
        busy.send(frame("sync_update", SESSION, "device-a", json!({"messages": [unsent(SESSION, "device-a", 1, "a secret text")]}))).await;
        idle.expect("chat").await;
        relay.signal(signal);
        let close = idle.closed().await;
        assert_eq!(u16::from(close.code), 1012, "{close:?}");
        let mut acknowledged = false;
        while let Some(frame) = busy.next().await {
            acknowledged |= kind(&frame) == "sync_ack";
        }
        assert!(acknowledged, "what is stored is acknowledged before the end");
        let (status, log) = relay.ended().await;
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(log.contains("started") && log.contains("journal.db") && log.contains("stopped"), "{log}");
        assert!(!log.contains("a secret text"), "logs have no content (T25)");
        assert!(!relay.journal().with_extension("db-wal").exists(), "the journal was closed");
        support::check_integrity(&relay.journal());
        assert_eq!(relay.restart().await.connect().await.log(SESSION, 0).await.len(), 1);
    }
}

#[tokio::test]
async fn addresses_that_others_reach_are_refused_unless_asked_for() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let (code, words) = refusal(&["--auth", "open", "--listen", address]).await;
        assert_eq!(code, 2, "{words}");
        assert!(words.contains("--insecure-open") && words.contains("nobody has to sign in"), "{words}");
        let (code, words) = refusal(&["--listen", address]).await;
        assert_eq!(code, 2, "{words}");
        assert!(words.contains("--public-url wss://"), "who signs in has to know what it is called: {words}");
    }
    let relay = RelayProcess::start_with(&["--listen", "0.0.0.0:0", "--insecure-open"]).await;
    relay.device(SESSION, "device-a").await;
}

#[tokio::test]
async fn a_relay_that_cannot_start_says_why() {
    let relay = RelayProcess::start().await;
    let address = relay.address.to_string();
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("another.db");
    let journal = journal.to_str().unwrap();
    let in_use = relay.journal();
    let newer = folder.path().join("newer.db");
    {
        let connection = rusqlite::Connection::open(&newer).unwrap();
        connection.execute_batch("PRAGMA application_id = 1399811139; PRAGMA user_version = 999; CREATE TABLE t (x)").unwrap();
    }
    for (options, code, words) in [
        (vec!["--listen", address.as_str(), "--journal", journal], 1, "another port with --listen"),
        (
            vec!["--auth", "open", "--listen", "192.0.2.1:0", "--insecure-open", "--journal", journal],
            1,
            "another address or port with --listen",
        ),
        (vec!["--listen", "127.0.0.1:0", "--metrics", address.as_str(), "--journal", journal], 1, "another port with --metrics"),
        (vec!["--metrics", "localhost"], 2, "127.0.0.1:8080"),
        (vec!["--trusted-proxy", "proxy.example"], 2, "10.0.0.0/8"),
        (vec!["--trusted-proxy", "0.0.0.0/0"], 2, "everybody"),
        (
            vec!["--listen", "127.0.0.1:0", "--journal", in_use.to_str().unwrap()],
            1,
            "in use by another process, and one relay at a time can write to it: stop that one, or choose another file with --journal",
        ),
        (
            vec!["--listen", "127.0.0.1:0", "--journal", newer.to_str().unwrap()],
            1,
            "use that version, or choose another file with --journal",
        ),
        (
            vec!["--listen", "127.0.0.1:0", "--journal", "/no/such/folder/x.db"],
            1,
            "no folder /no/such/folder. Make it first, or name another file with --journal",
        ),
        (vec!["--listen", "127.0.0.1:0", "--journal", journal, "--www", "/no/such/folder"], 1, "no folder"),
        (vec!["--listen", "127.0.0.1:0", "--journal", journal, "--www", folder.path().to_str().unwrap()], 2, "download"),
        (vec!["--listen", "everywhere"], 2, "127.0.0.1:8080"),
        (vec!["--listen", "127.0.0.1:70000"], 2, "127.0.0.1:8080"),
        (vec!["--listen", "224.0.0.1:80", "--insecure-open"], 2, "multicast"),
        (vec!["--allow-origin", "https://chat.example.org/chat"], 2, "no path"),
        (vec!["--allow-origin", "*"], 2, "--allow-origin"),
        (vec!["--allow-origin", ""], 2, "--allow-origin"),
        (vec!["--journal", ""], 2, "--journal"),
        (vec!["--www", ""], 2, "--www"),
        (vec!["--log", "loudly"], 2, "--log"),
        (vec!["--log", ""], 2, "--log"),
        (vec!["--unknown"], 2, "--unknown"),
    ] {
        let (found, said) = refusal(&options).await;
        assert_eq!(found, code, "{options:?}: {said}");
        assert!(said.contains(words), "{options:?}: {said}");
    }
}

#[tokio::test]
async fn a_path_that_cannot_hold_a_journal_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::create_dir(path("folder")).unwrap();
    std::fs::write(path("file"), "").unwrap();
    std::fs::hard_link(path("file"), path("same-file")).unwrap();
    std::os::unix::fs::symlink("nowhere", path("link")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
    for (journal, words) in [
        (":memory:".to_owned(), "Name a file with --journal"),
        ("file:x?mode=memory".to_owned(), "Name a file with --journal"),
        (path("folder"), "in it with --journal"),
        (path("new-folder/"), "in it with --journal"),
        ("/".to_owned(), "in it with --journal"),
        (path("pipe"), "name another with --journal"),
        ("/dev/null".to_owned(), "name another with --journal"),
        (path("link"), "name another file with --journal"),
        (path("file/x.db"), "cannot be"),
        ("/proc/x.db".to_owned(), "cannot be"),
        (path("same-file"), "hard links"),
    ] {
        let (code, said) = refusal(&["--listen", "127.0.0.1:0", "--journal", &journal]).await;
        assert_eq!(code, 1, "{journal}: {said}");
        assert!(said.contains(words) && said.contains(&journal), "{journal}: {said}");
    }
}

#[tokio::test]
async fn help_names_every_option() {
    let output = support::command(&["--help"]).output().await.unwrap();
    assert!(output.status.success());
    let help = String::from_utf8(output.stdout).unwrap();
    for option in
        ["--listen", "--journal", "--www", "--pkg", "--allow-origin", "--insecure-open", "--log", "127.0.0.1:8080", "solconnect-relay.db"]
    {
        assert!(help.contains(option), "{option} in {help}");
    }
}

#[tokio::test]
async fn a_log_that_nobody_reads_stops_nobody() {
    let mut relay = RelayProcess::start().await;
    // Two lines each: several times what a pipe and the relay hold.
    for _ in 0..3_000 {
        relay.connect().await;
    }
    let mut client = relay.device("session", "device").await;
    assert_eq!(client.update("session", "device", json!([unsent("session", "device", 1, "x")])).await["acknowledgedSequences"], json!([1]));
    relay.signal("TERM");
    let (status, log) = relay.ended().await;
    assert!(status.success(), "{log}");
    assert!(log.contains("lines of the log were dropped"), "{log}");
}
