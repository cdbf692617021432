//! What comes from outside is refused at the border: frames, batches and exports that would cost more than they may, or
//! that say one thing here and another there.

use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::client::{Action, Client, ClientConfig, Commit, Input, Reply, Snapshot, Write};
use solconnect_sync_core::conflict::{LogRange, concurrent_messages};
use solconnect_sync_core::entry::{Entry, Extensions};
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::frame::{
    Body, DeviceAnnounce, DeviceInfo, Frame, Head, ReadReceipt, Receipt, SyncAck, SyncHeartbeat, SyncUpdate,
};
use solconnect_sync_core::ids::{message_id, session_of};
use solconnect_sync_core::limits::{
    ALSO_MAX, BATCH_MESSAGES_MAX, EXTENSIONS_BYTES_MAX, FRAME_BYTES_MAX, ID_BYTES_MAX, INTEGER_MAX, NAME_BYTES_MAX,
};
use solconnect_sync_core::message::{Message, Stamp};
use solconnect_sync_core::time::Now;
use solconnect_sync_core::vector_clock::VectorClock;

const WALLET: &str = "So11111111111111111111111111111111111111112";
const PEER: &str = "11111111111111111111111111111111";

fn entry(session_id: &str, sequence_number: u64) -> Entry {
    let id = message_id(session_id, "d", "", sequence_number);
    let message = Message { id, session_id: session_id.into(), ..Message::default() };
    Entry { message, sequence_number, counter: sequence_number, server_timestamp: 7, device_id: "d".into(), ..Entry::default() }
}

fn import(entries: Vec<Entry>) -> (Vec<Commit>, Result<Reply, SyncError>) {
    let mut client = Client::new(ClientConfig::default(), Snapshot::default(), 1);
    let (now, mut commits, mut imported) = (Now::default(), Vec::new(), None);
    let calls =
        [Input::ConnectWallet { request: 1, wallet: WALLET.into() }, Input::Import { request: 2, peer_wallet: PEER.into(), entries }];
    for call in calls {
        let mut actions = client.handle(now, call);
        while let Some(action) = actions.pop() {
            match action {
                Action::Persist(commit) => {
                    actions.extend(client.handle(now, Input::Persisted { commit: commit.id }));
                    commits.push(commit);
                }
                Action::Reply { request: 2, result } => imported = Some(result),
                _ => {}
            }
        }
    }
    (commits, imported.expect("an import is answered"))
}

#[test]
fn an_import_cannot_write_into_the_log_of_another_session() {
    let session_id = session_of(WALLET, PEER);
    let (commits, imported) = import(vec![entry(&session_id, 1), entry("another", 2), entry(&session_id, 3)]);
    assert_eq!(imported.unwrap_err().code, ErrorCode::InvalidMessageFormat);
    assert!(!commits.iter().flat_map(|commit| &commit.writes).any(|write| matches!(write, Write::Log(_))), "{commits:?}");
    let (_, imported) = import(vec![entry(&session_id, 1), entry(&session_id, 2)]);
    assert_eq!(imported, Ok(Reply::Count(2)));
}

#[test]
fn an_import_with_an_unwritable_entry_is_refused() {
    let mut entries = vec![entry(&session_of(WALLET, PEER), 1)];
    entries[0].server_timestamp = INTEGER_MAX + 1;
    let (commits, imported) = import(entries);
    assert_eq!(imported.unwrap_err().code, ErrorCode::InvalidMessageFormat);
    assert!(!commits.iter().flat_map(|commit| &commit.writes).any(|write| matches!(write, Write::Log(_))), "{commits:?}");
}

#[test]
fn a_reported_conflict_repeats_only_a_few_texts() {
    let texts = [4_000, 4_000, 4_000, 10].map(|length| "x".repeat(length));
    let others: Vec<Entry> = (1..)
        .zip(texts)
        .map(|(counter, text)| {
            let mut other = entry("room", counter);
            other.message.ciphertext = text;
            other
        })
        .collect();
    let mut late = entry("room", 9);
    late.device_id = "late".into();
    let conflict = concurrent_messages(&late, others.iter(), |_| VectorClock::new());
    assert_eq!(conflict.conflicting_versions.len(), 3, "itself, and what has 8 KiB of text together");
    assert_eq!(conflict.concurrent_with, Some(LogRange { from: 1, to: 8 }), "all are named");
}

#[test]
fn a_receipt_time_of_zero_means_no_time() {
    let receipt = |timestamp| Frame {
        head: Head { session_id: "room".into(), ..Head::default() },
        body: Body::ReadReceipt(ReadReceipt { receipts: vec![Receipt { timestamp, ..Receipt::default() }], ..ReadReceipt::default() }),
    };
    let mut bytes = receipt(Stamp::Iso(1)).to_bytes().unwrap();
    let at = bytes.iter().rposition(|byte| *byte == 1).unwrap();
    bytes[at] = 0;
    assert_eq!(Frame::from_bytes(&bytes).unwrap(), receipt(Stamp::default()));
}

#[test]
fn an_overlong_wallet_or_session_name_is_refused() {
    let long = "x".repeat(ID_BYTES_MAX + 1);
    let with_wallet = |wallet: &str| {
        let mut entry = entry("room", 1);
        entry.message.sender_wallet = wallet.to_owned();
        entry
    };
    assert!(Batch::of(&[with_wallet(&long)]).is_err());
    assert!(Batch::of(&[entry(&long, 1)]).is_err());
    let longest = [with_wallet(&long[1..])];
    let batch = Batch::of(&longest).unwrap();
    assert_eq!(batch.entries().as_deref(), Ok(&longest[..]));
    // The same bytes with one letter more.
    let at = batch.bytes().windows(4).position(|four| four == b"xxxx").unwrap();
    let mut bytes = batch.bytes().to_vec();
    assert_eq!(bytes[at - 2..at], [(ID_BYTES_MAX as u8 + 2) | 0x80, 1], "its length, with two forms before it");
    bytes[at - 2] += 1;
    bytes.insert(at, b'x');
    assert!(Batch::from_bytes(&bytes).entries().is_err());
    assert_eq!(with_wallet(&long).message.check().unwrap_err().code, ErrorCode::InvalidMessageFormat);
    let announce = DeviceAnnounce { wallet: Some(long), ..DeviceAnnounce::default() };
    let frame = Frame { head: Head { session_id: "room".into(), ..Head::default() }, body: Body::DeviceAnnounce(announce) };
    assert!(Frame::from_bytes(&frame.to_bytes().unwrap()).is_err());
}

#[test]
fn a_batch_refuses_entries_that_readers_would_refuse() {
    let twisted: [fn(&mut Entry); 10] = [
        |entry| entry.device_id.clear(),
        |entry| entry.device_id = "x".repeat(ID_BYTES_MAX + 1),
        |entry| entry.server_timestamp = INTEGER_MAX + 1,
        |entry| entry.counter = 0,
        |entry| entry.counter = INTEGER_MAX + 1,
        |entry| entry.knows = entry.sequence_number,
        |entry| (entry.sequence_number, entry.knows) = (0, INTEGER_MAX + 1),
        |entry| (0..=ALSO_MAX).for_each(|number| entry.also.raise(&format!("device {number}"), 1).unwrap()),
        |entry| entry.extensions = Extensions::from(&[0; EXTENSIONS_BYTES_MAX + 1][..]),
        |entry| entry.sequence_number = INTEGER_MAX - BATCH_MESSAGES_MAX as u64 + 1,
    ];
    for twist in twisted {
        let mut entry = entry("room", 1);
        twist(&mut entry);
        assert!(Batch::of(std::slice::from_ref(&entry)).is_err(), "{entry:?}");
    }
    let mut longest = entry("room", INTEGER_MAX - BATCH_MESSAGES_MAX as u64);
    longest.device_id = "x".repeat(ID_BYTES_MAX);
    (longest.server_timestamp, longest.counter, longest.knows) = (INTEGER_MAX, INTEGER_MAX, longest.sequence_number - 1);
    (0..ALSO_MAX).for_each(|number| longest.also.raise(&format!("device {number}"), INTEGER_MAX).unwrap());
    longest.extensions = Extensions::from(&[0; EXTENSIONS_BYTES_MAX][..]);
    let longest = [longest];
    assert_eq!(Batch::of(&longest).unwrap().entries().as_deref(), Ok(&longest[..]));
}

#[test]
fn an_id_resembling_our_own_form_is_kept_unchanged() {
    for id in ["room:d:01", "room:d:+1", "room:d:1"] {
        let mut entry = entry("room", 1);
        entry.message.id = id.into();
        let batch = Batch::of(std::slice::from_ref(&entry)).unwrap();
        assert_eq!(batch.entries().unwrap()[0].message.id, id);
    }
}

#[test]
fn a_frame_with_two_bodies_or_batches_is_refused() {
    let head = Head { session_id: "room".into(), device_id: "d".into(), ..Head::default() };
    let unsent = Entry { sequence_number: 0, ..entry("room", 1) };
    let messages = Batch::of(&[unsent]).unwrap();
    let update = Frame { head: head.clone(), body: Body::SyncUpdate(SyncUpdate { messages, ..SyncUpdate::default() }) }.to_bytes().unwrap();
    let nothing = Frame { head: head.clone(), body: Body::SyncUpdate(SyncUpdate::default()) }.to_bytes().unwrap();
    let head_bytes = nothing.len() - 3;
    let body = &update[head_bytes..];
    assert_eq!(Frame::from_bytes(&update).unwrap().head, head);
    assert!(Frame::from_bytes(&[&update[..], body].concat()).is_err(), "two bodies");
    let batch = &body[3..];
    let twice = [&nothing[..head_bytes], &body[..2], &[2 * batch.len() as u8], batch, batch].concat();
    assert!(Frame::from_bytes(&twice).is_err(), "two batches in one update");
}

#[test]
fn an_overlong_json_list_is_refused() {
    let listing = |count: usize| format!(r#"{{"type":"sync_update","messages":[{}]}}"#, vec![r#"{"message":{}}"#; count].join(","));
    assert!(Frame::parse(&listing(BATCH_MESSAGES_MAX)).is_ok());
    assert_eq!(Frame::parse(&listing(BATCH_MESSAGES_MAX + 1)).unwrap_err().code, ErrorCode::InvalidMessageFormat);
    assert!(Frame::parse(r#"{"type":"sync_update","messages":null}"#).is_ok());
}

#[test]
fn a_binary_frame_beyond_a_field_limit_is_refused() {
    let read = |body| {
        let frame = Frame { head: Head { session_id: "room".into(), ..Head::default() }, body };
        let (of_json, of_bytes) = (Frame::parse(&frame.to_json()), Frame::from_bytes(&frame.to_bytes().unwrap()));
        // What only informs is cut or left out there.
        assert!(of_json.is_ok() || of_bytes.is_err(), "{frame:?}");
        of_bytes.map(|_| ()).map_err(|error| error.code)
    };
    let device = |platform: usize, version: usize| {
        let device_info = DeviceInfo { platform: "x".repeat(platform), version: "x".repeat(version) };
        read(Body::DeviceAnnounce(DeviceAnnounce { device_info, ..DeviceAnnounce::default() }))
    };
    let wallet = |bytes: usize| read(Body::DeviceAnnounce(DeviceAnnounce { wallet: Some("x".repeat(bytes)), ..DeviceAnnounce::default() }));
    let receipt = |id: usize, sequence: u64| {
        let receipt = Receipt { message_id: "x".repeat(id), sequence_number: Some(sequence), ..Receipt::default() };
        read(Body::ReadReceipt(ReadReceipt { receipts: vec![Receipt::default(), receipt], ..ReadReceipt::default() }))
    };
    let head = |sequence_number| read(Body::SyncHeartbeat(SyncHeartbeat { sequence_number, ..SyncHeartbeat::default() }));
    let taken = [
        device(NAME_BYTES_MAX, NAME_BYTES_MAX),
        wallet(ID_BYTES_MAX),
        receipt(ID_BYTES_MAX, INTEGER_MAX),
        receipt(0, 0),
        head(INTEGER_MAX),
    ];
    assert_eq!(taken, [Ok(()); 5]);
    let refused = [
        device(NAME_BYTES_MAX + 1, 1),
        device(1, NAME_BYTES_MAX + 1),
        device(NAME_BYTES_MAX + 2, NAME_BYTES_MAX + 2),
        wallet(ID_BYTES_MAX + 1),
        receipt(ID_BYTES_MAX + 1, 1),
        receipt(1, INTEGER_MAX + 1),
        head(INTEGER_MAX + 1),
    ];
    assert_eq!(refused, [Err(ErrorCode::InvalidMessageFormat); 7]);
}

#[test]
fn a_receipt_with_an_overlong_time_is_unreadable() {
    let read = |bytes: usize| {
        let receipt = Receipt { timestamp: Stamp::Text("x".repeat(bytes)), ..Receipt::default() };
        Frame::parse(
            &Frame { head: Head::default(), body: Body::ReadReceipt(ReadReceipt { receipts: vec![receipt], ..ReadReceipt::default() }) }
                .to_json(),
        )
    };
    let count = |bytes: usize| {
        let Body::ReadReceipt(read_receipt) = read(bytes).unwrap().body else { panic!() };
        (read_receipt.receipts.len(), read_receipt.unreadable.map(|error| error.code))
    };
    assert_eq!(count(NAME_BYTES_MAX), (1, None));
    for bytes in [NAME_BYTES_MAX + 1, NAME_BYTES_MAX + 2] {
        assert_eq!(count(bytes), (0, Some(ErrorCode::InvalidMessageFormat)));
    }
}

#[test]
fn a_frame_above_64_kib_is_refused() {
    let chat = |bytes: usize| {
        let empty = r#"{"roomId":"r","message":""}"#;
        empty.replace(r#""}"#, &format!(r#"{}"}}"#, "x".repeat(bytes - empty.len())))
    };
    assert_eq!(chat(FRAME_BYTES_MAX).len(), FRAME_BYTES_MAX);
    assert!(Frame::parse(&chat(FRAME_BYTES_MAX)).is_ok());
    assert_eq!(Frame::parse(&chat(FRAME_BYTES_MAX + 1)).unwrap_err().code, ErrorCode::FrameTooLarge);
    // A heartbeat, then a field that nobody knows.
    let unknown = |length: usize| {
        [&[0xba, 0x01, 0, 0xda, 0x05][..], &[length as u8 | 0x80, (length >> 7) as u8 | 0x80, (length >> 14) as u8], &vec![0; length][..]]
            .concat()
    };
    assert_eq!(unknown(FRAME_BYTES_MAX - 8).len(), FRAME_BYTES_MAX);
    assert!(Frame::from_bytes(&unknown(FRAME_BYTES_MAX - 8)).is_ok());
    assert_eq!(Frame::from_bytes(&unknown(FRAME_BYTES_MAX - 7)).unwrap_err().code, ErrorCode::FrameTooLarge);
}

#[test]
fn an_overlong_binary_list_is_refused() {
    let read = |ack: SyncAck| Frame::from_bytes(&Frame { head: Head::default(), body: Body::SyncAck(ack) }.to_bytes().unwrap());
    let counters = |count: usize| SyncAck { acknowledged_counters: vec![7; count], ..SyncAck::default() };
    assert!(read(counters(BATCH_MESSAGES_MAX)).is_ok());
    assert_eq!(read(counters(BATCH_MESSAGES_MAX + 1)).unwrap_err().code, ErrorCode::InvalidMessageFormat);
    let places = |count: u64| SyncAck { acknowledged_sequences: (1..=count).collect(), ..SyncAck::default() };
    assert!(read(places(BATCH_MESSAGES_MAX as u64)).is_ok());
    assert_eq!(read(places(BATCH_MESSAGES_MAX as u64 + 1)).unwrap_err().code, ErrorCode::InvalidMessageFormat);
    let place = |place: u64| SyncAck { acknowledged_sequences: vec![place], ..SyncAck::default() };
    assert!(read(place(INTEGER_MAX)).is_ok());
    assert_eq!(read(place(INTEGER_MAX + 1)).unwrap_err().code, ErrorCode::InvalidMessageFormat);
}

#[test]
fn numbers_among_unknown_fields_keep_their_last_digit() {
    let text = r#"{"roomId":"r","message":"hi","sender":"w","timestamp":5,"weight":3005555555555555555555555555555555555555555555555555555555555555555555555555}"#;
    let once = Frame::parse(text).unwrap();
    assert_eq!(Frame::parse(&once.to_json()).unwrap(), once);
}
