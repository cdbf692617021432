//! Golden vectors of the digests in PROTOCOL.md, section 10. They were computed by a program of another language from that text
//! alone: whoever reads the text gets the same.

use solconnect_sync_core::entry::{Digest, Entry, Extensions, first_digest, first_log_hash, next_log_hash};
use solconnect_sync_core::log::Log;
use solconnect_sync_core::message::{Kind, Message, Stamp};
use solconnect_sync_core::vector_clock::VectorClock;

const SESSION: &str = "a3bb189e-8bf9-8888-9912-ace4e6543002";
const DEVICE: &str = "device-0000000001";
const WALLET: &str = "So11111111111111111111111111111111111111112";
const MS: u64 = 1_700_000_000_000;

fn hex(digest: Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A message, an edit with every field that there is, and a void in a place that the relay named.
fn entries() -> [Entry; 3] {
    let message = Message {
        id: format!("{SESSION}:{DEVICE}:aB3xY9:1"),
        sender_wallet: WALLET.into(),
        ciphertext: "h\u{e9}llo".into(),
        timestamp: Stamp::Iso(MS),
        session_id: SESSION.into(),
        ..Message::default()
    };
    let edit = Message {
        id: "my own id".into(),
        sender_wallet: "wallet w".into(),
        ciphertext: "edited".into(),
        timestamp: Stamp::Millis(5),
        content_type: Some("text/x".into()),
        replaces: Some(message.id.clone()),
        kind: Kind::EDIT,
        extra: r#"{"a":1}"#.into(),
        ..message.clone()
    };
    let void = Message {
        id: format!("{SESSION}:{DEVICE}:3"),
        ciphertext: String::new(),
        timestamp: Stamp::Text("yesterday".into()),
        kind: Kind::VOID,
        ..message.clone()
    };
    let mut also = VectorClock::new();
    also.raise("b", 200).unwrap();
    also.raise("a", 3).unwrap();
    let entry = |message, counter, knows| Entry { message, device_id: DEVICE.into(), counter, knows, ..Entry::default() };
    let edit = Entry { also, extensions: Extensions::from(&[9, 1, 7][..]), ..entry(edit, 2, 7) };
    [entry(message, 1, 0), edit, entry(void, 3, 300)]
}

#[test]
fn golden_vectors_of_digests_hold() {
    let first = first_digest(SESSION, DEVICE);
    assert_eq!(hex(first), "bd700bb62534967284fc61b8b9d9cf8ac8be849eb4efe109227eb22f1ec1b7e5");
    let expected = [
        "caf26ce8e3c1c4cf4b8b7f98cb1fd437f98b1bc3d828e542053e6861c0a03513",
        "9665cc3d0162da2ddeb566a911912c741d0f12a96a69bd15b50933ec2fb8a5fa",
        "d4194499c4425949f4e04593ac89638bb5fdbe91e3368de7bcf43b6522fd0674",
    ];
    let mut digest = first;
    for (entry, expected) in entries().iter().zip(expected) {
        digest = entry.digest(&digest);
        assert_eq!(hex(digest), expected);
    }
}

#[test]
fn golden_vectors_of_log_hashes_hold() {
    let mut hash = first_log_hash(SESSION);
    assert_eq!(hex(hash), "ad08834ed9aa61a75e40ab2aa67e4f8415527a64bf9e3d09222cf790b6222a74");
    let expected = [
        "2459773b9c905f7716d3ac6dff6d15565a6ec750192218fcd926e9388f1482ed",
        "09603637d78809f1c4ea6ab3a3f38aa4b231639ac9b03052b3898d66aed1eca4",
        "1fad44eccfcbed53ddd9f2fb2f77d66b2604b897d13d3035f42a359d7b548fdc",
    ];
    let mut digest = first_digest(SESSION, DEVICE);
    for ((entry, expected), server_timestamp) in entries().iter().zip(expected).zip([MS + 20, MS + 30, MS + 40]) {
        digest = entry.digest(&digest);
        hash = next_log_hash(&hash, &digest, server_timestamp);
        assert_eq!(hex(hash), expected);
    }
}

#[test]
fn a_log_chains_the_digests_of_each_device() {
    let mut log = Log::new(SESSION);
    let mut expected = first_digest(SESSION, DEVICE);
    for (mut entry, sequence_number) in entries().into_iter().zip(1..) {
        (entry.sequence_number, entry.knows) = (sequence_number, 0);
        expected = entry.digest(&expected);
        log.take(&entry).unwrap();
    }
    assert_eq!(log.head(DEVICE).map(|head| head.digest), Some(expected));
}

#[test]
fn the_digest_covers_exactly_what_the_author_fixed() {
    let [_, edit, _] = entries();
    let changes: [fn(&mut Entry); 13] = [
        |entry| entry.counter = 3,
        |entry| entry.knows = 8,
        |entry| entry.also.raise("c", 1).unwrap(),
        |entry| entry.extensions = Extensions::default(),
        |entry| entry.message.id = "another".into(),
        |entry| entry.message.sender_wallet = WALLET.into(),
        |entry| entry.message.ciphertext = "x".into(),
        |entry| entry.message.timestamp = Stamp::Iso(5),
        |entry| entry.message.timestamp = Stamp::Text("5".into()),
        |entry| entry.message.content_type = None,
        |entry| entry.message.replaces = None,
        |entry| entry.message.kind = Kind(77),
        |entry| entry.message.extra = "".into(),
    ];
    let digest = edit.digest(&[0; 32]);
    for (number, change) in changes.iter().enumerate() {
        let mut changed = edit.clone();
        change(&mut changed);
        assert_ne!(changed.digest(&[0; 32]), digest, "change {number}");
    }
    assert_ne!(edit.digest(&[1; 32]), digest);
    let placed = Entry { sequence_number: 9, server_timestamp: 9, ..edit.clone() };
    assert_eq!(placed.digest(&[0; 32]), digest, "what the relay gives is no part of it");
}
