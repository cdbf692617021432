//! Writes the first inputs of every target, from the pinned vectors of the wire: `cargo run --example seeds -- FOLDER`.

use std::path::{Path, PathBuf};

use solconnect_fuzz::people::{DOMAIN, NOW_MS, certificate, first_entry, key, owner, succession};
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::client::{
    Answer, CallRecord, DeliveryReceipt, DeviceRecord, FailedRecord, HeadsRecord, InvitationRecord, LogRecord, MessageStatus, NameRecord,
    OutboxRecord, ReadMark, SessionRecord, SpareRecord, StoredReply, VersionsRecord,
};
use solconnect_sync_core::content::content_of;
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::epochs::{Epochs, Said};
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::frame::{Body, Frame, SyncResponse};
use solconnect_sync_core::identity::{Account, Claim, NewRecoveryKey, Purpose, Recovery, RecoveryKind, Statement};
use solconnect_sync_core::ids::{message_id, session_of};
use solconnect_sync_core::log::Log;
use solconnect_sync_core::message::{Message, Stamp};
use solconnect_sync_vault::layout::{EpochEntry, Generation};

const VECTORS: &str = include_str!("../../crates/core/tests/vectors.txt");
const WALLET: &str = "So11111111111111111111111111111111111111112";
const PEER: &str = "11111111111111111111111111111111";

fn main() {
    let folder = PathBuf::from(std::env::args().nth(1).expect("name the folder of the corpora"));
    let mut entries = Vec::new();
    for line in VECTORS.lines().filter(|line| !line.is_empty()) {
        let [name, hex, json] = line.splitn(3, ' ').collect::<Vec<_>>().try_into().expect("a name, hex and JSON");
        let bytes = bytes_of(hex);
        write(&folder, "binary_frame", name, &bytes);
        write(&folder, "json_frame", name, json.as_bytes());
        if ["hello", "sign_in", "signed_in"].contains(&name) {
            write(&folder, "sign_in_frame", name, &bytes);
            write(&folder, "sign_in_frame", &format!("{name}_json"), json.as_bytes());
            write(&folder, "door_machine", name, &[&[1, 0x00, 0x06], &length(&bytes)[..], &bytes].concat());
        }
        write(&folder, "relay_machine", name, &[&[0x00, 0x07, 0, 1, 1, 2, 0x01], &length(&bytes)[..], &bytes, &[2, 2]].concat());
        write(
            &folder,
            "relay_machine",
            &format!("{name}_json"),
            &[&[0x20, 0x21], &length(json.as_bytes())[..], json.as_bytes(), &[2, 2]].concat(),
        );
        write(&folder, "client_machine", name, &[&[19], &length(&bytes)[..], &bytes, &[12]].concat());
        if let (Ok(Frame { body: Body::SyncResponse(SyncResponse { messages, .. }), .. }), true) =
            (Frame::from_bytes(&bytes), entries.is_empty())
        {
            entries = messages.entries().expect("the pinned batch");
        }
    }
    batches(&folder, &entries);
    greedy(&folder, &entries);
    records(&folder, &entries);
    scripts(&folder);
    accounts(&folder);
    vault(&folder);
}

/// The pinned entries as batches: in a log, unsent, and many of them, compressed.
fn batches(folder: &Path, entries: &[Entry]) {
    let unsent: Vec<Entry> = entries.iter().map(|entry| Entry { sequence_number: 0, ..entry.clone() }).collect();
    let many: Vec<Entry> = (0..200)
        .map(|number| Entry { sequence_number: number + 1, knows: number, ..entries[number as usize % entries.len()].clone() })
        .collect();
    let many = Batch::of(&many).expect("the pinned entries, again and again");
    let named = [
        ("log", Batch::of(entries).expect("the pinned entries")),
        ("unsent", Batch::of(&unsent).expect("without their places")),
        ("deflated", many.deflate()),
        ("many", many),
    ];
    for (name, batch) in named {
        write(folder, "batch", name, batch.bytes());
        write(folder, "journal_row", name, batch.bytes());
    }
    write(folder, "journal_row", "state", br#"{"lastSyncedSequence":7,"vectorClock":{"a":300}}"#);
    let session_id = session_of(WALLET, PEER);
    let mut exported = entries.to_vec();
    for (index, entry) in exported.iter_mut().enumerate() {
        (entry.sequence_number, entry.knows) = (index as u64 + 1, index as u64);
        entry.message.id = message_id(&session_id, &entry.device_id, "aB3xY9", entry.counter);
        entry.message.session_id.clone_from(&session_id);
    }
    write(folder, "import", "export", serde_json::to_string(&exported).expect("entries are JSON").as_bytes());
}

/// Short inputs that ask for much: the bounds are looked at from the first run on.
fn greedy(folder: &Path, entries: &[Entry]) {
    let list = |item: &str| vec![item; 60 * 1024 / (item.len() + 1)].join(",");
    write(
        folder,
        "json_frame",
        "many_unsent",
        format!(r#"{{"type":"sync_update","messages":[{}]}}"#, list(r#"{"message":{}}"#)).as_bytes(),
    );
    write(
        folder,
        "json_frame",
        "many_devices",
        format!(r#"{{"type":"device_list","devices":[{}]}}"#, list(r#"{"deviceId":""}"#)).as_bytes(),
    );
    let odd = r#"{"type":"sync_update","sessionId":"\ud83d","messages":[{"message":{"id":7}},{"message":{"ciphertext":"\\ud83d\ud83d\ude00\uDE00","timestamp":-1.5,
        "__proto__":1},"sequenceNumber":"3","vectorClock":{"__proto__":3.0,"\ud83d":null}},[]]}"#;
    write(folder, "json_frame", "odd_values", odd.as_bytes());
    write(folder, "json_frame", "many_numbers", format!(r#"{{"roomId":"r","x":[{}]}}"#, list("1")).as_bytes());
    let repeated = |number: u64| {
        let mut entry = entries[0].clone();
        (entry.sequence_number, entry.knows) = (number, number - 1);
        entry.message.sender_wallet = "w".repeat(200);
        // As much as an entry may know beside the log.
        (0..64).for_each(|device| entry.also.raise(&format!("{device:02}"), 1).expect("few devices"));
        entry
    };
    let many: Vec<Entry> = (1..=1_000).map(repeated).collect();
    let (_, bomb) = Batch::split(&many, 256 * 1024).next().expect("a batch");
    write(folder, "batch", "bomb", bomb.deflate().bytes());
}

fn records(folder: &Path, entries: &[Entry]) {
    let session_id = entries[0].message.session_id.clone();
    let heads_before = r#"{"dev":300,"phone":7}"#.parse().ok();
    let batch = Batch::of(entries).expect("the pinned entries");
    let (first, last) = (entries[0].sequence_number, entries[0].sequence_number + entries.len() as u64 - 1);
    let unsent: Vec<Entry> = entries.iter().map(|entry| Entry { sequence_number: 0, ..entry.clone() }).collect();
    let mut session = SessionRecord {
        open: true,
        counter: 300,
        read_mark: ReadMark { message_id: "m".into(), sequence_number: 9 },
        last_sync_ms: 1_700_000_000_000,
        small_first: 3,
        small_count: 4,
        ..SessionRecord::new(session_id.clone(), WALLET.into(), PEER.into())
    };
    session.watermarks.of(PEER).delivered = 7;
    let mut log = Log::new(&session_id);
    for (entry, place) in entries.iter().zip(1..) {
        log.take(&Entry { sequence_number: place, knows: place - 1, ..entry.clone() }).expect("they follow each other");
    }
    let heads_record = HeadsRecord { session_id: session_id.clone(), heads: log.heads().to_vec() };
    session.log = log;
    session.heads_through = 1;
    let name = NameRecord { session_id: session_id.clone(), message_id: "m".into(), fingerprint: vec![7; 16], sent_ms: 1_700_000_000_000 };
    write(folder, "session_record", "name", &name.to_bytes());
    write(folder, "session_record", "session", &session.to_bytes());
    write(folder, "session_record", "heads", &heads_record.to_bytes());
    write(folder, "session_record", "device", &DeviceRecord::new("dev".into()).to_bytes());
    write(folder, "log_record", "log", &LogRecord { session_id: session_id.clone(), first, last, heads_before, batch }.to_bytes());
    let outbox = OutboxRecord { session_id: session_id.clone(), entries: unsent };
    write(folder, "outbox_record", "outbox", &outbox.to_bytes());
    let spare = SpareRecord { wallet: WALLET.into(), peer_wallet: PEER.into(), is_group: false, open: true, outbox };
    write(folder, "outbox_record", "spare", &spare.to_bytes());
    let invitation = InvitationRecord {
        session_id: session_id.clone(),
        wallet: WALLET.into(),
        peer_wallet: PEER.into(),
        received_ms: 1_700_000_000_000,
        answer: Answer::Declined,
        declined_through: 300,
        name: "Walkers".into(),
    };
    write(folder, "session_record", "invitation", &invitation.to_bytes());
    let failed = FailedRecord {
        session_id: session_id.clone(),
        number: 300,
        entry: Entry { sequence_number: 0, ..entries[0].clone() },
        refused_id: "m".into(),
        error: SyncError::new(ErrorCode::MessageIdTaken, "no"),
    };
    write(folder, "failed_record", "failed", &failed.to_bytes());
    let receipt = DeliveryReceipt { message_id: "m".into(), timestamp: "2026-11-27T00:00:00.000Z".into(), status: MessageStatus::Queued };
    let call = CallRecord { tab: (1 << 53) - 1, call: 1, number: 1, reply: StoredReply::Receipt(receipt) };
    write(folder, "call_record", "receipt", &call.to_bytes());
    let call = CallRecord { reply: StoredReply::Session(session_id.clone()), ..call };
    write(folder, "call_record", "session", &call.to_bytes());
    let versions = VersionsRecord { session_id, message_id: "m".into(), versions: entries.to_vec() };
    write(folder, "versions_record", "versions", &versions.to_bytes());
}

/// Whole conversations for the machines, in the bytes that their targets read.
fn scripts(folder: &Path) {
    let join = [0x00, 0x07, 0x00, 1, 1, 0x02, 0x02, 0x0a, 0x00, 0, 0, 0, 0x02];
    let update = [0x08, 0x00, 1, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0x02, 0x02, 0x02];
    write(
        folder,
        "relay_machine",
        "conversation",
        &[&join[..], &update, &[0x10, 0x17, 0x04, 1, 0, 0x1a, 0x04, 0, 0, 0, 2, 2, 0x1c, 0x04, 2]].concat(),
    );
    write(
        folder,
        "relay_machine",
        "seed_client",
        &[0x20, 0x2f, 0x81, 0, 0, 1, 2, 2, 2, 0x30, 0x3f, 0x81, 1, 1, 1, 2, 2, 2, 0x28, 0x81, 1, 1, 2, 2, 2],
    );
    let receive = [17, 0, 0, 0, 0, 17, 1, 1, 0, 0, 20, 0, 7, 0, 0, 0, 12];
    write(
        folder,
        "client_machine",
        "conversation",
        &[&[0, 5, 12, 0, 6, 12, 24, 0, 7, 0, 12][..], &receive, &[9, 15, 40, 0, 8, 26, 0, 12]].concat(),
    );
    write(folder, "client_machine", "refusals", &[0, 5, 12, 30, 0, 0, 1, 0, 2, 12, 31, 2, 0, 0, 15, 30, 0, 12, 16, 8, 12]);
}

/// What is said and stored of a wallet's devices, and the ways into the relay.
fn accounts(folder: &Path) {
    let owner = owner(0, DOMAIN);
    let mut account = Account::new(owner.clone());
    let signed = |purpose| certificate(&owner, key(1).public(), purpose, NOW_MS);
    let (seal_key, sealed) = ([9; 32], [0; 80]);
    let generation = Generation { number: 1, public: seal_key, earlier: Some(sealed), seals: vec![sealed] };
    let claims = [
        ("join", Claim::Join(signed(Purpose::Join))),
        ("reset", Claim::Reset(signed(Purpose::Reset))),
        ("succeed", succession(&owner, 1, 2)),
        ("approve", Claim::Approve(vec![key(2).device_id()])),
        ("seal_key", Claim::SealKey(seal_key)),
        ("generation", Claim::Generation(generation.clone())),
        ("recovery_key", Claim::RecoveryKey(NewRecoveryKey { kind: RecoveryKind::Code, key: key(3).public(), seal_key, sealed })),
        ("approve_with_key", Claim::ApproveWithKey(vec![(key(2).device_id(), sealed)])),
        ("remove_and_renew", Claim::RemoveAndRenew { devices: vec![key(2).device_id()], kept: vec![], generation }),
        ("recover", Claim::Recover(Recovery::sign(&key(3), &owner, &account.head(), &key(1).public()))),
        ("remove", Claim::Remove { devices: vec![key(2).device_id()], kept: vec![key(1).device_id()] }),
    ];
    for (name, claim) in claims {
        write(folder, "account_record", name, &claim.to_bytes());
        let entry = first_entry(&owner, 1, account.head(), claim, NOW_MS);
        let statement = Statement::of(&entry).expect("it says something");
        write(folder, "account_record", &format!("{name}_said"), &statement.to_bytes());
        write(folder, "account_record", &format!("{name}_text"), entry.message.ciphertext.as_bytes());
        let (sequence_number, counter) = (account.head().sequence + 1, account.log().counter(&entry.device_id) + 1);
        let entry = Entry { sequence_number, counter, server_timestamp: NOW_MS, ..entry };
        if account.check(&entry).is_ok() {
            let _ = account.take(&entry).expect("it goes on");
        }
    }
    write(folder, "account_record", "stored", &account.to_bytes());
    // Each as it was signed, asked for the one purpose and the other; and with a line that is another.
    for (name, kind) in [("join", 4), ("reset", 7), ("join_as_reset", 6), ("reset_as_join", 5)] {
        write(folder, "certificate", name, &[kind, 0, 0, 0]);
        write(folder, "certificate", &format!("{name}_changed"), &[kind, 0, 0, 1, 7, 5, 0]);
    }
    write(folder, "certificate", "text", &[&[0, 0, 0], signed(Purpose::Join).text.as_bytes()].concat());
    let join = |device: u8| [0, device, 0, 0];
    let [first, second, third] = [1, 2, 3].map(join);
    let approve = [6, 1, 0, 1, 2, 0];
    let remove = [8, 1, 0, 1, 2, 0, 0];
    write(folder, "account_machine", "all", &[&first[..], &second, &approve, &[13, 0, 0, 9], &[4, 4, 0, 2, 0], &remove, &third].concat());
    write(folder, "account_machine", "many", &[12, 0, 0, 11, 0, 0, 12, 20, 0, 11, 0, 0, 12, 28, 0, 3, 47, 0, 0, 15, 0, 0, 13, 0, 0, 63]);
    let [seal, renew, expel, trust, code, recover] =
        [[64, 1, 0, 0, 0], [66, 1, 0, 0, 0], [67, 1, 0, 1, 2], [69, 1, 0, 1, 2], [70, 1, 3, 0, 0], [71, 4, 3, 0, 0]];
    write(
        folder,
        "account_machine",
        "keys",
        &[
            &first[..],
            &seal,
            &renew,
            &[0],
            &second,
            &[64, 2, 0, 0, 0],
            &trust,
            &[0],
            &code,
            &join(4),
            &recover,
            &[15, 0, 0],
            &expel,
            &[0, 0, 0, 0, 0],
        ]
        .concat(),
    );
    write(
        folder,
        "account_machine",
        "moved",
        &[&first[..], &[0, 2, 0, 6], &[28, 0, 0, 0, 2], &[28, 0, 0, 0, 4, 0, 1], &[13, 0, 0, 9]].concat(),
    );
    let enter = |place: u8, device: u8| [place << 4, place << 4 | 1, device, 9, 3, 7, 7, 7];
    let twice = [0x01, 0, 9, 3, 7, 7];
    write(
        folder,
        "door_machine",
        "enter",
        &[&[1][..], &enter(0, 0), &enter(2, 1), &[0x21, 1, 9, 3, 7, 7, 0x0f, 0, 0, 0, 7, 0x05, 0, 0]].concat(),
    );
    write(
        folder,
        "door_machine",
        "remove",
        &[&[1][..], &enter(0, 0), &enter(2, 1), &[0x21, 1, 9, 3, 7, 7, 12, 1, 1, 1, 7, 0x20, 0x21, 1, 9, 0]].concat(),
    );
    write(folder, "door_machine", "twice", &[&[1, 0][..], &twice, &twice, &[9, 7, 7]].concat());
}

fn write(folder: &Path, target: &str, name: &str, bytes: &[u8]) {
    let folder = folder.join(target);
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    std::fs::write(folder.join(name), bytes).expect("the file can be written");
}

fn length(bytes: &[u8]) -> [u8; 2] {
    u16::try_from(bytes.len()).expect("a short frame").to_be_bytes()
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits = |index: usize| u8::from_str_radix(&hex[index..index + 2], 16).expect("hex");
    (0..hex.len()).step_by(2).map(digits).collect()
}

/// What another implementation has made of docs/encryption.md.
fn vault(folder: &Path) {
    let vectors: serde_json::Value = serde_json::from_str(include_str!("../../crates/vault/vectors.json")).expect("it is JSON");
    let text = |case: &serde_json::Value, field: &str| case[field].as_str().expect("it is there").to_owned();
    let all = [
        ("vault_entry", "epochs", "entry"),
        ("vault_entry", "reseals", "entry"),
        ("vault_entry", "asks", "entry"),
        ("vault_entry", "texts", "text"),
        ("vault_text", "texts", "text"),
        ("vault_account", "generations", "generation"),
        ("vault_account", "seals", "public"),
    ];
    for (target, list, field) in all {
        for (number, case) in vectors[list].as_array().into_iter().flatten().enumerate() {
            write(folder, target, &format!("{list}_{number}"), &bytes_of(&text(case, field)));
        }
    }
    for (number, case) in vectors["epochs"].as_array().into_iter().flatten().enumerate() {
        let epoch = EpochEntry::from_bytes(&bytes_of(&text(case, "entry"))).expect("it is a pinned one");
        let mut epochs = Epochs::new("sealed:session");
        epochs.take(&Entry::default(), &Said::Epoch(epoch), &[0; 32], &[]);
        write(folder, "epochs_record", &format!("epochs_{number}"), &epochs.to_bytes());
    }
    let stamps = [Stamp::Iso(1_700_000_000_000), Stamp::Millis(7), Stamp::Number(-1.5), Stamp::Text("yesterday".into())];
    for (number, timestamp) in stamps.into_iter().enumerate() {
        let (content_type, replaces) = (Some("image/png".into()), Some("other".into()));
        let message =
            Message { timestamp, content_type, replaces, extra: r#"{"a":1}"#.into(), ciphertext: "hello".into(), ..Message::default() };
        write(folder, "content", &format!("content_{number}"), &content_of(&message));
    }
    for (number, case) in vectors["codes"].as_array().into_iter().flatten().enumerate() {
        write(folder, "vault_account", &format!("code_{number}"), text(case, "code").as_bytes());
    }
}
