//! The wire, byte for byte: frames in both forms as PROTOCOL.md describes them. A change here breaks clients that exist.
//!
//! The binary frames are read by `prost`, from the schema of PROTOCOL.md and not by our own code.

use prost::Message as _;
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::entry::{Entry, Extensions};
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::frame::{
    Body, DeviceAnnounce, DeviceInfo, DeviceList, DeviceState, ErrorBody, Frame, Head, Hello, ListedSession, Progress, ReadReceipt,
    ReadReceiptSync, Receipt, ReceiptStatus, SequenceRange, SessionList, ShortNumber, SignIn, SignedIn, SyncAck, SyncHeartbeat, SyncPhase,
    SyncRequest, SyncResponse, SyncState, SyncStatus, SyncUpdate, WalletAnnounce,
};
use solconnect_sync_core::identity::{EarlierKey, HeadSignature, UpdateSignature};
use solconnect_sync_core::ids::message_id;
use solconnect_sync_core::log::LogHead;
use solconnect_sync_core::message::{Kind, Message, Stamp};
use solconnect_sync_core::vector_clock::VectorClock;

const SESSION: &str = "a3bb189e-8bf9-8888-9912-ace4e6543002";
const WALLET: &str = "So11111111111111111111111111111111111111112";

fn head() -> Head {
    Head {
        session_id: SESSION.into(),
        device_id: "dev".into(),
        timestamp: Stamp::Millis(1_700_000_000_000),
        message_id: "1-1".into(),
        protocol_version: Some(1),
    }
}

fn clock(text: &str) -> VectorClock {
    text.parse().unwrap()
}

fn entries(first: u64) -> Vec<Entry> {
    let entry = |number: u64, device: &str, counter: u64, text: &str| Entry {
        message: Message {
            id: message_id(SESSION, device, "aB3xY9", counter),
            sender_wallet: WALLET.into(),
            ciphertext: text.into(),
            timestamp: Stamp::Iso(1_700_000_000_000 + number),
            session_id: SESSION.into(),
            ..Message::default()
        },
        sequence_number: if first == 0 { 0 } else { first + number },
        counter,
        knows: (first + number).saturating_sub(1).min(7),
        server_timestamp: 1_700_000_000_100 + number,
        device_id: device.into(),
        ..Entry::default()
    };
    let mut second = entry(1, "phone", 1, "hé");
    second.message.id = "of another form".into();
    second.also = clock(r#"{"tablet":3}"#);
    let mut last = entry(2, "dev", 2, "aGVsbG8gd29ybGQ=");
    last.message.content_type = Some("text/x".into());
    last.message.extra = r#"{"nonce":"n"}"#.into();
    (last.message.replaces, last.message.kind) = (Some("m".into()), Kind::EDIT);
    last.extensions = Extensions::from(&[5, 1, b'x'][..]);
    vec![entry(0, "dev", 1, "hi"), second, last]
}

const LOG: LogHead = LogHead { sequence: 9, hash: [0x5a; 32] };

fn frames() -> Vec<(&'static str, Frame)> {
    let from_client = |body| Frame { head: head(), body };
    let from_relay = |body| Frame { head: Head { session_id: SESSION.into(), ..Head::default() }, body };
    let unsent: Vec<Entry> = entries(0).into_iter().filter(|entry| entry.device_id == "dev").collect();
    let device = |id: &str| DeviceState {
        device_id: id.into(),
        platform: "web".into(),
        last_seen_at: 5,
        is_online: true,
        sync_state: SyncState { last_synced_sequence: 7, ..SyncState::default() },
        wallet: Some(WALLET.into()),
    };
    vec![
        (
            "device_announce",
            from_client(Body::DeviceAnnounce(DeviceAnnounce {
                device_info: DeviceInfo { platform: "web".into(), version: "1".into() },
                sync_state: SyncState { last_synced_sequence: 7, vector_clock: clock(r#"{"a":300}"#) },
                wallet: Some(WALLET.into()),
                compression: Some("deflate".into()),
                peer_wallet: None,
                group_nonce: None,
            })),
        ),
        (
            "device_announce_peer",
            from_client(Body::DeviceAnnounce(DeviceAnnounce { peer_wallet: Some(WALLET.into()), ..DeviceAnnounce::default() })),
        ),
        (
            "device_announce_group",
            from_client(Body::DeviceAnnounce(DeviceAnnounce { group_nonce: Some([7; 16]), ..DeviceAnnounce::default() })),
        ),
        (
            "wallet_announce",
            Frame {
                head: Head { session_id: String::new(), ..head() },
                body: Body::WalletAnnounce(WalletAnnounce { wallet: WALLET.into(), after: Some(SESSION.into()), sealed: true }),
            },
        ),
        (
            "session_list",
            Frame {
                head: Head::default(),
                body: Body::SessionList(SessionList {
                    sessions: vec![ListedSession {
                        session_id: SESSION.into(),
                        peer_wallet: WALLET.into(),
                        latest_sequence: 9,
                        joined: true,
                        name: Some("Walkers".into()),
                    }],
                    next: Some(SESSION.into()),
                    in_reply_to: Some("1-1".into()),
                }),
            },
        ),
        ("hello", Frame { head: Head::default(), body: Body::Hello(hello()) }),
        ("sign_in", Frame { head: Head { session_id: String::new(), ..head() }, body: Body::SignIn(sign_in()) }),
        ("short_number", from_client(Body::ShortNumber(short_number()))),
        (
            "short_number_relay",
            from_relay(Body::ShortNumber(ShortNumber { from: "b".into(), commitment: [0; 32], random: [0; 32], ..short_number() })),
        ),
        (
            "signed_in",
            Frame {
                head: Head::default(),
                body: Body::SignedIn(SignedIn { refused: Some("DEVICE_REMOVED".into()), account: Some(LOG), greeting: [9; 64] }),
            },
        ),
        ("device_list", from_relay(Body::DeviceList(DeviceList { devices: vec![device("a"), device("b")] }))),
        (
            "sync_request",
            from_client(Body::SyncRequest(SyncRequest {
                last_synced_sequence: 7,
                missing_ranges: vec![SequenceRange { start: 1, end: 2 }],
                max_batch_size: Some(100),
                log: Some(LOG),
                ..SyncRequest::default()
            })),
        ),
        (
            "sync_response",
            from_relay(Body::SyncResponse(SyncResponse {
                messages: Batch::of(&entries(7)).unwrap(),
                latest_sequence: 9,
                in_reply_to: Some("1-1".into()),
                log: Some(LOG),
                log_signature: Some(SIGNED),
                signatures: vec![signature(8), signature(9)],
            })),
        ),
        (
            "sync_response_live",
            from_relay(Body::SyncResponse(SyncResponse {
                messages: Batch::of(&entries(9)[..1]).unwrap(),
                latest_sequence: 9,
                ..SyncResponse::default()
            })),
        ),
        (
            "sync_update",
            from_client(Body::SyncUpdate(SyncUpdate {
                messages: Batch::of(&unsent).unwrap(),
                last_digest: [0xd1; 32],
                signature: Some(signature(2)),
            })),
        ),
        (
            "sync_ack",
            from_relay(Body::SyncAck(SyncAck {
                acknowledged_sequences: vec![9, 10],
                acknowledged_counters: vec![1, 2],
                log: Some(LOG),
                log_signature: Some(SIGNED),
                server_timestamps: vec![1_700_000_000_100, 1_700_000_000_100],
                ..SyncAck::default()
            })),
        ),
        ("sync_heartbeat", from_client(Body::SyncHeartbeat(SyncHeartbeat { sequence_number: 9, ..SyncHeartbeat::default() }))),
        (
            "sync_heartbeat_relay",
            from_relay(Body::SyncHeartbeat(SyncHeartbeat {
                sequence_number: 9,
                log: Some(LOG),
                log_signature: Some(SIGNED),
                ..SyncHeartbeat::default()
            })),
        ),
        (
            "read_receipt",
            from_client(Body::ReadReceipt(ReadReceipt {
                receipts: vec![Receipt {
                    message_id: "m".into(),
                    status: ReceiptStatus::Read,
                    timestamp: Stamp::Iso(1_700_000_000_000),
                    sequence_number: Some(9),
                    ..Receipt::default()
                }],
                ..ReadReceipt::default()
            })),
        ),
        (
            "error",
            from_relay(Body::Error(ErrorBody {
                expected_counter: Some(3),
                ..ErrorBody::new(&SyncError::new(ErrorCode::CounterGap, "no"))
            })),
        ),
        (
            "error_stored",
            from_relay(Body::Error(ErrorBody {
                refused_message_id: Some("m".into()),
                stored_sequence: Some(4),
                ..ErrorBody::new(&SyncError::new(ErrorCode::AlreadyStored, "no"))
            })),
        ),
    ]
}

const SIGNED: HeadSignature = HeadSignature { time: 1_700_000_000_200, signature: [7; 64] };

fn signature(counter: u64) -> UpdateSignature {
    UpdateSignature { key: [5; 32], counter, seen: LOG, signature: [6; 64] }
}

fn hello() -> Hello {
    let earlier = vec![EarlierKey { key: [8; 32], signature: [9; 64] }];
    Hello { nonce: [1; 16], relay_key: [2; 32], earlier, time: 1_700_000_000_000, sign_in_required: true, account: Some(LOG) }
}

fn sign_in() -> SignIn {
    SignIn {
        wallet: WALLET.into(),
        domains: vec!["a.example".into(), "b.example:8080".into()],
        key: [3; 32],
        relay: "relay.example".into(),
        nonce: [4; 16],
        device_nonce: [6; 16],
        proof: [5; 64],
        messages: Batch::of(&entries(0)[..1]).unwrap(),
        known: 300,
    }
}

fn short_number() -> ShortNumber {
    ShortNumber { from: String::new(), to: "a".into(), commitment: [6; 32], random: [7; 32], signature: [8; 64] }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn frames_are_written_as_they_always_were() {
    let pinned: Vec<(&str, &str, &str)> = include_str!("vectors.txt")
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| {
            let mut parts = line.splitn(3, ' ');
            (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap())
        })
        .collect();
    let written: Vec<(&str, String, String)> =
        frames().into_iter().map(|(name, frame)| (name, hex(&frame.to_bytes().unwrap()), frame.to_json())).collect();
    for (name, binary, json) in &written {
        println!("{name} {binary} {json}");
    }
    let written: Vec<(&str, &str, &str)> = written.iter().map(|(name, binary, json)| (*name, binary.as_str(), json.as_str())).collect();
    assert_eq!(written, pinned, "what is printed above is what this version writes");
}

#[test]
fn frames_are_read_as_they_always_were() {
    for line in include_str!("vectors.txt").lines().filter(|line| !line.is_empty()) {
        let mut parts = line.splitn(3, ' ');
        let (name, binary, json) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        let bytes: Vec<u8> = (0..binary.len()).step_by(2).map(|at| u8::from_str_radix(&binary[at..at + 2], 16).unwrap()).collect();
        let (_, frame) = frames().into_iter().find(|(other, _)| *other == name).unwrap();
        let of_binary = Frame::from_bytes(&bytes).unwrap();
        assert_eq!(of_binary.to_json(), json, "{name}");
        let of_json = Frame::parse(json).unwrap();
        if !name.starts_with("error") {
            // In JSON an error names its session itself.
            assert_eq!(of_json.to_bytes(), frame.to_bytes(), "{name}");
        }
    }
}

#[test]
fn fields_of_a_newer_version_are_skipped() {
    for (name, frame) in frames() {
        let mut bytes = frame.to_bytes().unwrap();
        // Fields 90 (a number) and 91 (bytes).
        bytes.extend([0xd0, 0x05, 0x07, 0xda, 0x05, 0x03, 1, 2, 3]);
        assert_eq!(Frame::from_bytes(&bytes).unwrap().to_json(), frame.to_json(), "{name}");
    }
    // A frame of a kind to come: field 60 only.
    assert_eq!(Frame::from_bytes(&[0x0a, 1, b's', 0xe2, 0x03, 0]).unwrap_err().code, ErrorCode::UnknownFrame);
}

#[test]
fn every_field_comes_back_from_the_binary_form() {
    let device = |id: &str, wallet: Option<&str>| DeviceState {
        device_id: id.into(),
        wallet: wallet.map(Into::into),
        sync_state: SyncState { last_synced_sequence: 7, vector_clock: clock(r#"{"a":300}"#) },
        ..DeviceState::default()
    };
    let status = |status| SyncStatus {
        status,
        progress: Some(Progress { messages_synced: 1, total_messages: 2, conflicts_resolved: 3 }),
        error: Some("why".into()),
    };
    let ack = |log| SyncAck {
        acknowledged_sequences: vec![9, 7, 8],
        acknowledged_counters: vec![3, 1, 2],
        server_timestamps: vec![5, 4, 5],
        log,
        ..SyncAck::default()
    };
    let receipt = |status, timestamp| Receipt {
        message_id: "m".into(),
        status,
        timestamp,
        reader_wallet: Some(WALLET.into()),
        device_id: Some("d".into()),
        sequence_number: Some(9),
    };
    let receipts = vec![receipt(ReceiptStatus::Delivered, Stamp::Iso(5)), receipt(ReceiptStatus::Read, Stamp::default())];
    let refused = SyncError::new(ErrorCode::CounterReused, "no");
    let bodies = [
        Body::DeviceList(DeviceList {
            devices: vec![device("a", None), device("b", Some("w")), device("c", Some("v")), device("d", Some("w"))],
        }),
        Body::SyncRequest(SyncRequest { log: Some(LogHead { sequence: 0, hash: [0; 32] }), ..SyncRequest::default() }),
        Body::SyncResponse(SyncResponse { log: Some(LOG), ..SyncResponse::default() }),
        Body::SyncStatus(status(SyncPhase::Started)),
        Body::SyncStatus(status(SyncPhase::InProgress)),
        Body::SyncStatus(status(SyncPhase::Completed)),
        Body::SyncStatus(status(SyncPhase::Failed)),
        Body::SyncStatus(SyncStatus::default()),
        Body::SyncAck(ack(Some(LOG))),
        Body::SyncAck(ack(None)),
        Body::SyncAck(SyncAck { acknowledged_sequences: vec![9], ..SyncAck::default() }),
        Body::SyncUpdate(SyncUpdate { messages: Batch::of(&entries(0)[..1]).unwrap(), last_digest: [3; 32], signature: None }),
        Body::SyncUpdate(SyncUpdate::default()),
        Body::SyncHeartbeat(SyncHeartbeat { log: Some(LOG), ..SyncHeartbeat::default() }),
        Body::ReadReceipt(ReadReceipt { receipts: receipts.clone(), ..ReadReceipt::default() }),
        Body::ReadReceiptSync(ReadReceiptSync { receipts }),
        Body::SessionList(SessionList { next: Some(String::new()), ..SessionList::default() }),
        Body::SessionList(SessionList { sessions: vec![ListedSession::default()], ..SessionList::default() }),
        Body::WalletAnnounce(WalletAnnounce { wallet: WALLET.into(), ..WalletAnnounce::default() }),
        Body::Error(ErrorBody {
            session_id: Some("s".into()),
            in_reply_to: Some("f".into()),
            refused_message_id: Some("m".into()),
            expected_counter: Some(3),
            stored_sequence: Some(4),
            ..ErrorBody::new(&refused)
        }),
    ];
    for body in bodies {
        let frame = Frame { head: Head { session_id: "room".into(), ..head() }, body };
        assert_eq!(Frame::from_bytes(&frame.to_bytes().unwrap()).unwrap(), frame);
    }
}

#[test]
fn default_values_are_not_written() {
    let bytes = |body| Frame { head: Head::default(), body }.to_bytes().unwrap();
    assert_eq!(bytes(Body::SyncAck(SyncAck::default())), [0xb2, 0x01, 0]);
    assert_eq!(bytes(Body::SyncResponse(SyncResponse::default())), [0x9a, 0x01, 0]);
    assert_eq!(bytes(Body::SyncStatus(SyncStatus::default())), [0xa2, 0x01, 0]);
    let relays =
        Frame { head: Head { session_id: "s".into(), device_id: "server".into(), ..head() }, body: Body::SyncAck(SyncAck::default()) };
    assert_eq!(relays.to_bytes().unwrap(), [0x0a, 1, b's', 0xb2, 0x01, 0], "a frame of the relay names the session only");
}

fn log(read: schema::LogHead) -> LogHead {
    LogHead { sequence: read.sequence, hash: read.hash.try_into().unwrap() }
}

#[test]
fn the_schema_of_the_protocol_reads_our_frames() {
    for (name, frame) in frames() {
        let read = schema::Frame::decode(frame.to_bytes().unwrap().as_slice()).unwrap();
        // A batch names its session itself; a frame of the connection has none.
        let names_none =
            name.starts_with("sync_response") || ["wallet_announce", "session_list", "hello", "sign_in", "signed_in"].contains(&name);
        assert_eq!(hex(&read.session_uuid), if names_none { String::new() } else { SESSION.replace('-', "") }, "{name}");
        match (name, read) {
            ("device_announce", schema::Frame { device_announce: Some(announce), device_id, timestamp, protocol_version, .. }) => {
                assert_eq!((device_id.as_str(), timestamp, protocol_version), ("dev", 1_700_000_000_000, 1));
                let state = announce.sync_state.unwrap();
                assert_eq!((state.last_synced_sequence, state.vector_clock["a"]), (7, 300));
                assert_eq!((announce.wallet.as_str(), announce.compression.as_str()), (WALLET, "deflate"));
            }
            ("device_announce_peer", schema::Frame { device_announce: Some(announce), .. }) => {
                assert_eq!((announce.wallet.as_str(), announce.peer_wallet.as_str()), ("", WALLET));
            }
            ("device_announce_group", schema::Frame { device_announce: Some(announce), .. }) => {
                assert_eq!(announce.group_nonce, [7; 16]);
            }
            ("wallet_announce", schema::Frame { wallet_announce: Some(announce), protocol_version: 1, .. }) => {
                assert_eq!((announce.wallet.as_str(), announce.after.as_str()), (WALLET, SESSION));
            }
            ("session_list", schema::Frame { session_list: Some(list), .. }) => {
                let listed = &list.sessions[0];
                let named = (listed.session_id.as_str(), listed.peer_wallet.as_str(), listed.latest_sequence, listed.joined);
                assert_eq!((named, listed.name.as_str()), ((SESSION, WALLET, 9, true), "Walkers"));
                assert_eq!((list.next.as_str(), list.in_reply_to.as_str()), (SESSION, "1-1"));
            }
            ("hello", schema::Frame { hello: Some(said), .. }) => {
                assert_eq!((said.nonce, said.relay_key, said.time), (vec![1; 16], vec![2; 32], 1_700_000_000_000));
                assert_eq!((said.sign_in_required, said.account.map(log)), (true, Some(LOG)));
            }
            ("sign_in", schema::Frame { sign_in: Some(said), .. }) => {
                assert_eq!((said.wallet.as_str(), said.domains), (WALLET, sign_in().domains));
                assert_eq!(
                    (said.key, said.relay.as_str(), said.nonce, said.device_nonce, said.proof),
                    (vec![3; 32], "relay.example", vec![4; 16], vec![6; 16], vec![5; 64])
                );
                assert_eq!(Batch::from_bytes(&said.batch), sign_in().messages);
            }
            ("signed_in", schema::Frame { signed_in: Some(said), .. }) => {
                assert_eq!((said.account.map(log), said.greeting), (Some(LOG), vec![9; 64]));
                assert_eq!(said.refused.as_deref(), Some("DEVICE_REMOVED"));
            }
            ("short_number", schema::Frame { short_number: Some(said), .. }) => {
                assert_eq!((said.to.as_str(), said.commitment, said.random), ("a", vec![6; 32], vec![7; 32]));
                assert_eq!((said.from.as_str(), said.signature), ("", vec![8; 64]));
            }
            ("short_number_relay", schema::Frame { short_number: Some(said), .. }) => {
                assert_eq!((said.from.as_str(), said.commitment, said.random), ("b", vec![], vec![]));
            }
            ("device_list", schema::Frame { device_list: Some(list), .. }) => {
                assert_eq!(list.wallets, [WALLET]);
                assert_eq!(
                    list.devices.iter().map(|device| (device.device_id.as_str(), device.wallet)).collect::<Vec<_>>(),
                    [("a", 1), ("b", 1)]
                );
            }
            ("sync_request", schema::Frame { sync_request: Some(request), .. }) => {
                assert_eq!((request.last_synced_sequence, request.max_batch_size), (7, 100));
                assert_eq!((request.missing_ranges[0].start, request.missing_ranges[0].end), (1, 2));
                assert_eq!(request.log.map(log), Some(LOG));
            }
            ("sync_response", schema::Frame { sync_response: Some(response), .. }) => {
                assert_eq!((response.latest_sequence, response.in_reply_to.as_str()), (9, "1-1"));
                assert_eq!(Batch::from_bytes(&response.batch).entries().unwrap(), entries(7));
                assert_eq!(response.log.map(log), Some(LOG));
            }
            ("sync_response_live", schema::Frame { sync_response: Some(response), .. }) => {
                assert_eq!((response.latest_sequence, response.log.map(log)), (9, None));
                assert_eq!(Batch::from_bytes(&response.batch).entries().unwrap(), entries(9)[..1]);
            }
            ("sync_update", schema::Frame { sync_update: Some(update), .. }) => {
                assert_eq!(Batch::from_bytes(&update.batch).entries().unwrap().len(), 2);
                assert_eq!(update.last_digest, [0xd1; 32]);
            }
            ("sync_ack", schema::Frame { sync_ack: Some(ack), .. }) => {
                assert_eq!(ack.log.map(log), Some(LOG));
                assert_eq!((ack.counters, ack.sequences), (vec![1, 1], vec![9, 1]));
                assert_eq!(ack.server_timestamps, [1_700_000_000_100, 0]);
            }
            ("sync_heartbeat", schema::Frame { sync_heartbeat: Some(heartbeat), .. }) => {
                assert_eq!((heartbeat.sequence_number, heartbeat.log.map(log)), (9, None));
            }
            ("sync_heartbeat_relay", schema::Frame { sync_heartbeat: Some(heartbeat), .. }) => {
                assert_eq!((heartbeat.sequence_number, heartbeat.log.map(log)), (9, Some(LOG)));
            }
            ("read_receipt", schema::Frame { read_receipt: Some(receipts), .. }) => {
                let receipt = &receipts.receipts[0];
                assert_eq!((receipt.message_id.as_str(), receipt.status, receipt.sequence_number), ("m", 1, 9));
            }
            ("error", schema::Frame { error: Some(error), .. }) => {
                assert_eq!((error.error.as_str(), error.code.as_str(), error.expected_counter), ("no", "COUNTER_GAP", 3));
            }
            ("error_stored", schema::Frame { error: Some(error), .. }) => {
                assert_eq!((error.code.as_str(), error.refused_message_id.as_str(), error.stored_sequence), ("ALREADY_STORED", "m", 4));
            }
            (name, frame) => panic!("{name} was read as {frame:?}"),
        }
    }
}

/// The schema of PROTOCOL.md.
#[allow(missing_docs)]
mod schema {
    use std::collections::BTreeMap;

    #[derive(prost::Message)]
    pub struct Frame {
        #[prost(bytes, tag = "6")]
        pub session_uuid: Vec<u8>,
        #[prost(string, tag = "2")]
        pub device_id: String,
        #[prost(uint64, tag = "3")]
        pub timestamp: u64,
        #[prost(uint64, tag = "5")]
        pub protocol_version: u64,
        #[prost(message, tag = "16")]
        pub device_announce: Option<DeviceAnnounce>,
        #[prost(message, tag = "17")]
        pub device_list: Option<DeviceList>,
        #[prost(message, tag = "18")]
        pub sync_request: Option<SyncRequest>,
        #[prost(message, tag = "19")]
        pub sync_response: Option<SyncResponse>,
        #[prost(message, tag = "21")]
        pub sync_update: Option<SyncUpdate>,
        #[prost(message, tag = "22")]
        pub sync_ack: Option<SyncAck>,
        #[prost(message, tag = "23")]
        pub sync_heartbeat: Option<SyncHeartbeat>,
        #[prost(message, tag = "24")]
        pub read_receipt: Option<Receipts>,
        #[prost(message, tag = "26")]
        pub error: Option<Error>,
        #[prost(message, tag = "27")]
        pub wallet_announce: Option<WalletAnnounce>,
        #[prost(message, tag = "28")]
        pub session_list: Option<SessionList>,
        #[prost(message, tag = "29")]
        pub hello: Option<Hello>,
        #[prost(message, tag = "30")]
        pub sign_in: Option<SignIn>,
        #[prost(message, tag = "31")]
        pub signed_in: Option<SignedIn>,
        #[prost(message, tag = "32")]
        pub short_number: Option<ShortNumber>,
    }

    #[derive(prost::Message)]
    pub struct ShortNumber {
        #[prost(string, tag = "1")]
        pub from: String,
        #[prost(string, tag = "2")]
        pub to: String,
        #[prost(bytes, tag = "3")]
        pub commitment: Vec<u8>,
        #[prost(bytes, tag = "4")]
        pub random: Vec<u8>,
        #[prost(bytes, tag = "5")]
        pub signature: Vec<u8>,
    }

    #[derive(prost::Message)]
    pub struct Hello {
        #[prost(bytes, tag = "1")]
        pub nonce: Vec<u8>,
        #[prost(bytes, tag = "2")]
        pub relay_key: Vec<u8>,
        #[prost(uint64, tag = "3")]
        pub time: u64,
        #[prost(bool, tag = "4")]
        pub sign_in_required: bool,
        #[prost(message, tag = "5")]
        pub account: Option<LogHead>,
    }

    #[derive(prost::Message)]
    pub struct SignIn {
        #[prost(string, tag = "1")]
        pub wallet: String,
        #[prost(string, repeated, tag = "2")]
        pub domains: Vec<String>,
        #[prost(bytes, tag = "3")]
        pub key: Vec<u8>,
        #[prost(string, tag = "4")]
        pub relay: String,
        #[prost(bytes, tag = "5")]
        pub nonce: Vec<u8>,
        #[prost(bytes, tag = "6")]
        pub device_nonce: Vec<u8>,
        #[prost(bytes, tag = "7")]
        pub proof: Vec<u8>,
        #[prost(bytes, tag = "8")]
        pub batch: Vec<u8>,
        #[prost(uint64, tag = "9")]
        pub known: u64,
    }

    #[derive(prost::Message)]
    pub struct SignedIn {
        #[prost(message, tag = "1")]
        pub account: Option<LogHead>,
        #[prost(bytes, tag = "2")]
        pub greeting: Vec<u8>,
        #[prost(string, optional, tag = "3")]
        pub refused: Option<String>,
    }

    #[derive(prost::Message)]
    pub struct DeviceAnnounce {
        #[prost(message, tag = "2")]
        pub sync_state: Option<SyncState>,
        #[prost(string, tag = "3")]
        pub wallet: String,
        #[prost(string, tag = "4")]
        pub compression: String,
        #[prost(string, tag = "5")]
        pub peer_wallet: String,
        #[prost(bytes = "vec", tag = "6")]
        pub group_nonce: Vec<u8>,
    }

    #[derive(prost::Message)]
    pub struct WalletAnnounce {
        #[prost(string, tag = "1")]
        pub wallet: String,
        #[prost(string, tag = "2")]
        pub after: String,
        #[prost(bool, tag = "3")]
        pub sealed: bool,
    }

    #[derive(prost::Message)]
    pub struct SessionList {
        #[prost(message, repeated, tag = "1")]
        pub sessions: Vec<ListedSession>,
        #[prost(string, tag = "2")]
        pub next: String,
        #[prost(string, tag = "3")]
        pub in_reply_to: String,
    }

    #[derive(prost::Message)]
    pub struct ListedSession {
        #[prost(string, tag = "1")]
        pub session_id: String,
        #[prost(string, tag = "2")]
        pub peer_wallet: String,
        #[prost(uint64, tag = "3")]
        pub latest_sequence: u64,
        #[prost(bool, tag = "4")]
        pub joined: bool,
        #[prost(string, tag = "5")]
        pub name: String,
    }

    #[derive(prost::Message)]
    pub struct SyncState {
        #[prost(uint64, tag = "1")]
        pub last_synced_sequence: u64,
        #[prost(btree_map = "string, uint64", tag = "2")]
        pub vector_clock: BTreeMap<String, u64>,
    }

    #[derive(prost::Message)]
    pub struct DeviceList {
        #[prost(string, repeated, tag = "1")]
        pub wallets: Vec<String>,
        #[prost(message, repeated, tag = "2")]
        pub devices: Vec<Device>,
    }

    #[derive(prost::Message)]
    pub struct Device {
        #[prost(string, tag = "1")]
        pub device_id: String,
        #[prost(uint64, tag = "6")]
        pub wallet: u64,
    }

    #[derive(prost::Message)]
    pub struct SyncRequest {
        #[prost(uint64, tag = "1")]
        pub last_synced_sequence: u64,
        #[prost(message, repeated, tag = "3")]
        pub missing_ranges: Vec<Range>,
        #[prost(uint64, tag = "4")]
        pub max_batch_size: u64,
        #[prost(message, tag = "5")]
        pub log: Option<LogHead>,
    }

    #[derive(prost::Message)]
    pub struct LogHead {
        #[prost(uint64, tag = "1")]
        pub sequence: u64,
        #[prost(bytes, tag = "2")]
        pub hash: Vec<u8>,
    }

    #[derive(prost::Message)]
    pub struct Range {
        #[prost(uint64, tag = "1")]
        pub start: u64,
        #[prost(uint64, tag = "2")]
        pub end: u64,
    }

    #[derive(prost::Message)]
    pub struct SyncResponse {
        #[prost(bytes, tag = "1")]
        pub batch: Vec<u8>,
        #[prost(uint64, tag = "2")]
        pub latest_sequence: u64,
        #[prost(string, tag = "3")]
        pub in_reply_to: String,
        #[prost(message, tag = "5")]
        pub log: Option<LogHead>,
        #[prost(message, tag = "6")]
        pub log_signature: Option<HeadSignature>,
        #[prost(message, repeated, tag = "7")]
        pub signatures: Vec<UpdateSignature>,
    }

    #[derive(prost::Message)]
    pub struct HeadSignature {
        #[prost(uint64, tag = "1")]
        pub time: u64,
        #[prost(bytes, tag = "2")]
        pub signature: Vec<u8>,
    }

    #[derive(prost::Message)]
    pub struct UpdateSignature {
        #[prost(bytes, tag = "1")]
        pub key: Vec<u8>,
        #[prost(uint64, tag = "2")]
        pub counter: u64,
        #[prost(uint64, tag = "3")]
        pub seen_sequence: u64,
        #[prost(bytes, tag = "4")]
        pub seen_hash: Vec<u8>,
        #[prost(bytes, tag = "5")]
        pub signature: Vec<u8>,
    }

    #[derive(prost::Message)]
    pub struct SyncUpdate {
        #[prost(bytes, tag = "1")]
        pub batch: Vec<u8>,
        #[prost(bytes, tag = "2")]
        pub last_digest: Vec<u8>,
        #[prost(message, tag = "3")]
        pub signature: Option<UpdateSignature>,
    }

    #[derive(prost::Message)]
    pub struct SyncAck {
        #[prost(sint64, repeated, tag = "3")]
        pub counters: Vec<i64>,
        #[prost(sint64, repeated, tag = "5")]
        pub sequences: Vec<i64>,
        #[prost(sint64, repeated, tag = "6")]
        pub server_timestamps: Vec<i64>,
        #[prost(message, tag = "8")]
        pub log: Option<LogHead>,
        #[prost(message, tag = "9")]
        pub log_signature: Option<HeadSignature>,
    }

    #[derive(prost::Message)]
    pub struct SyncHeartbeat {
        #[prost(uint64, tag = "1")]
        pub sequence_number: u64,
        #[prost(message, tag = "3")]
        pub log: Option<LogHead>,
        #[prost(message, tag = "4")]
        pub log_signature: Option<HeadSignature>,
    }

    #[derive(prost::Message)]
    pub struct Receipts {
        #[prost(message, repeated, tag = "1")]
        pub receipts: Vec<Receipt>,
    }

    #[derive(prost::Message)]
    pub struct Receipt {
        #[prost(string, tag = "1")]
        pub message_id: String,
        #[prost(uint64, tag = "2")]
        pub status: u64,
        #[prost(uint64, tag = "6")]
        pub sequence_number: u64,
    }

    #[derive(prost::Message)]
    pub struct Error {
        #[prost(string, tag = "1")]
        pub error: String,
        #[prost(string, tag = "2")]
        pub code: String,
        #[prost(string, tag = "5")]
        pub refused_message_id: String,
        #[prost(uint64, tag = "6")]
        pub expected_counter: u64,
        #[prost(uint64, tag = "7")]
        pub stored_sequence: u64,
    }
}
