//! Frames into a relay with a journal in memory: sensible ones and any bytes, from several connections in both forms.
#![no_main]

use libfuzzer_sys::fuzz_target;
use solconnect_fuzz::journal::{World, head};
use solconnect_fuzz::script::Script;
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::entry::{Entry, first_digest};
use solconnect_sync_core::frame::{
    Body, Chat, DeviceAnnounce, Encoding, Frame, Head, Payload, ReadReceipt, Receipt, ReceiptStatus, SeedUpdate, SequenceRange, SyncAck,
    SyncHeartbeat, SyncRequest, SyncUpdate, Unsent,
};
use solconnect_sync_core::ids::message_id;
use solconnect_sync_core::message::{Kind, Message};
use solconnect_sync_core::relay::Input;
use solconnect_sync_core::time::Now;
use solconnect_sync_core::vector_clock::VectorClock;

const SESSIONS: [&str; 3] = ["a3bb189e-8bf9-8888-9912-ace4e6543002", "room", ""];
const DEVICES: [&str; 4] = ["a", "b", "c", "phone"];
const WALLETS: [&str; 3] = ["So11111111111111111111111111111111111111112", "w", ""];

fuzz_target!(|bytes: &[u8]| {
    let mut world = World::default();
    let mut script = Script(bytes);
    while let Some(step) = script.step() {
        take_step(&mut world, step, &mut script);
    }
});

fn take_step(world: &mut World, step: u8, script: &mut Script<'_>) {
    let connection = u64::from(step >> 4 & 3);
    let encoding = if connection < 2 { Encoding::Binary } else { Encoding::Json };
    match step & 15 {
        0 => world.open(connection, encoding),
        1 => {
            let bytes = script.bytes();
            let payload = match world.open.get(&connection) {
                Some(Encoding::Json) => Payload::Text(String::from_utf8_lossy(bytes).into()),
                _ => Payload::Binary(bytes.into()),
            };
            world.feed(Input::Received { connection, payload });
        }
        2 => world.answer(false),
        3 => world.answer(true),
        4 => {
            let ms = script.number();
            world.now = Now { monotonic_ms: world.now.monotonic_ms + ms, wall_ms: world.now.wall_ms + ms };
            world.feed(Input::Timeout);
        }
        5 => world.feed(Input::Sent { connection, bytes: usize::try_from(script.number()).unwrap_or(0) * 16 }),
        6 if world.open.remove(&connection).is_some() => world.feed(Input::Closed { connection }),
        6 => {}
        kind => {
            let head = frame_head(script);
            if let Some(body) = frame_body(kind, &head, script) {
                world.receive(connection, &Frame { head, body });
            }
        }
    }
}

fn frame_head(script: &mut Script<'_>) -> Head {
    let kind = script.below(256);
    let head = head(SESSIONS[kind % 3], DEVICES[kind >> 2 & 3]);
    if kind & 128 == 0 { head } else { Head { protocol_version: None, ..head } }
}

fn frame_body(kind: u8, head: &Head, script: &mut Script<'_>) -> Option<Body> {
    Some(match kind {
        7 => Body::DeviceAnnounce(DeviceAnnounce {
            wallet: script.one_of(&[None, Some(WALLETS[0]), Some(WALLETS[1])]).map(str::to_owned),
            compression: script.one_of(&[None, Some("deflate")]).map(str::to_owned),
            ..DeviceAnnounce::default()
        }),
        8 | 9 => {
            let (first, count) = (script.below(16) as u64, script.below(8) as u64);
            let unsent: Vec<Unsent> = (first..first + count).map(|counter| unsent(head, counter, script)).collect();
            if head.protocol_version.is_none() { Body::SeedUpdate(SeedUpdate { messages: unsent }) } else { update(head, unsent, script) }
        }
        10 => {
            let last_synced_sequence = script.below(32) as u64;
            let max_batch_size = script.one_of(&[None, Some(0), Some(1), Some(5), Some(9_999)]);
            Body::SyncRequest(SyncRequest { last_synced_sequence, max_batch_size, ..SyncRequest::default() })
        }
        11 => {
            let missing_ranges =
                (0..script.below(4)).map(|_| SequenceRange { start: script.below(32) as u64, end: script.below(32) as u64 });
            Body::SyncRequest(SyncRequest { missing_ranges: missing_ranges.collect(), ..SyncRequest::default() })
        }
        12 => Body::SyncAck(SyncAck { acknowledged_sequences: vec![script.below(64) as u64], ..SyncAck::default() }),
        13 => Body::SyncHeartbeat(SyncHeartbeat { sequence_number: script.number(), ..SyncHeartbeat::default() }),
        14 => Body::ReadReceipt(ReadReceipt {
            receipts: vec![Receipt {
                message_id: message_id(&head.session_id, script.one_of(&DEVICES), "", script.below(16) as u64),
                status: script.one_of(&[ReceiptStatus::Delivered, ReceiptStatus::Read]),
                sequence_number: script.one_of(&[None, Some(1), Some(7), Some(u64::MAX >> 11)]),
                ..Receipt::default()
            }],
            ..ReadReceipt::default()
        }),
        15 => Body::Chat(Chat {
            room_id: Some(head.session_id.clone()),
            message: text(script),
            sender: script.one_of(&WALLETS).to_owned(),
            message_id: script.one_of(&[None, Some("m1"), Some("m2")]).map(str::to_owned),
            ..Chat::default()
        }),
        _ => return None,
    })
}

/// Of a device that keeps our rules: its chain is right, or not.
fn update(head: &Head, unsent: Vec<Unsent>, script: &mut Script<'_>) -> Body {
    let entries: Vec<Entry> = unsent
        .into_iter()
        .map(|Unsent { mut message, sequence_number: counter, vector_clock, .. }| {
            message.kind = script.one_of(&[Kind::MESSAGE, Kind::MESSAGE, Kind::VOID, Kind(77)]);
            let knows = vector_clock.sum().saturating_sub(counter);
            Entry { message, device_id: head.device_id.clone(), counter, knows, ..Entry::default() }
        })
        .collect();
    let chain = entries.iter().fold(first_digest(&head.session_id, &head.device_id), |digest, entry| entry.digest(&digest));
    let last_digest = script.one_of(&[chain, chain, chain, [7; 32]]);
    Body::SyncUpdate(SyncUpdate { messages: Batch::of(&entries).unwrap_or_default(), last_digest, ..SyncUpdate::default() })
}

fn unsent(head: &Head, counter: u64, script: &mut Script<'_>) -> Unsent {
    let mut vector_clock = VectorClock::new();
    // A hostile device may claim anything of others.
    for (device, known) in [(head.device_id.as_str(), counter), (script.one_of(&DEVICES), script.below(8) as u64)] {
        vector_clock.raise(device, known).expect("small counters");
    }
    let message = Message {
        id: script
            .one_of(&[message_id(&head.session_id, &head.device_id, "aB3xY9", counter), String::new(), "m".into()].each_ref())
            .clone(),
        session_id: head.session_id.clone(),
        sender_wallet: script.one_of(&WALLETS).to_owned(),
        ciphertext: text(script),
        ..Message::default()
    };
    Unsent { message, sequence_number: counter, vector_clock, ..Unsent::default() }
}

/// Short, and now and then as long as it may be, so that queues fill: seldom, for one of those costs as much as a script.
fn text(script: &mut Script<'_>) -> String {
    let length = match script.below(64) {
        63 => 8 * 1024,
        kind => [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 40, 60, 80, 200, 400][kind % 16],
    };
    "x".repeat(length)
}
