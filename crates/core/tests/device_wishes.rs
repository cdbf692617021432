//! What a device asks of its account, and when it is answered: by the relay, or because the relay does not.

use crate::device_devices::{account_of, pair};
use crate::signer::{Bend, Device, PEER, strict};
use solconnect_sync_core::client::Input;
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::frame::{Body, Frame, Head, Payload, SyncHeartbeat};
use solconnect_sync_core::limits::ANSWER_TIMEOUT_MS;
use solconnect_sync_core::relay::Input as RelayInput;

/// The relay hears of nothing but that the device is there, and says that it is there too.
fn heartbeats_alone() -> Bend {
    Box::new(|frame| {
        if matches!(frame.body, Body::SyncUpdate(_) | Body::SyncRequest(_)) {
            (frame.head, frame.body) = (Head::default(), Body::SyncHeartbeat(SyncHeartbeat::default()));
        }
    })
}

#[test]
fn a_wish_that_the_relay_leaves_unanswered_is_answered() {
    let mut rooms = strict();
    let [mut one, other] = pair(&mut rooms);
    one.says = Some(heartbeats_alone());
    one.replies.clear();
    one.remove(&other.id());
    let begun_ms = one.now.monotonic_ms;
    while one.replies.is_empty() && one.now.monotonic_ms < begun_ms + 2 * ANSWER_TIMEOUT_MS {
        one.talk(&mut rooms);
        one.now.monotonic_ms = one.client.next_timeout_ms().unwrap().max(one.now.monotonic_ms + 1);
        one.feed(Input::Timeout);
    }
    assert_eq!(one.refused(), Some(ErrorCode::RelayDisconnected));
}

#[test]
fn a_wish_is_answered_also_where_this_device_writes_all_the_time() {
    let mut rooms = strict();
    let [mut one, other] = pair(&mut rooms);
    one.says = Some(heartbeats_alone());
    one.replies.clear();
    one.remove(&other.id());
    one.talk(&mut rooms);
    let begun_ms = one.now.monotonic_ms;
    let is_answered = |one: &Device| one.replies.iter().any(|reply| reply.is_err());
    while !is_answered(&one) && one.now.monotonic_ms < begun_ms + 300_000 {
        // A write is under way for 90 of each 100 milliseconds, as where much is written or read.
        one.is_slow = true;
        one.feed(Input::OpenSession { request: 2, peer_wallet: PEER.into() });
        one.now.monotonic_ms += 90;
        one.feed(Input::Timeout);
        one.write();
        one.replies.retain(|reply| reply.is_err());
        one.sent.clear();
        one.now.monotonic_ms += 10;
        if (2_400..2_500).contains(&((one.now.monotonic_ms - begun_ms) % 5_000)) {
            // The relay is there.
            let frame = Frame { head: Head::default(), body: Body::SyncHeartbeat(SyncHeartbeat::default()) }.to_bytes().unwrap();
            one.feed(Input::Received { generation: one.generation, frame: frame.into() });
        }
    }
    assert!(one.now.monotonic_ms - begun_ms < 30_000);
}

#[test]
fn a_wish_that_was_answered_while_the_tab_was_frozen_is_done() {
    let mut rooms = strict();
    let [mut one, other] = pair(&mut rooms);
    one.replies.clear();
    one.remove(&other.id());
    // The relay does it at once, and the tab is frozen before it hears of that.
    for said in one.sent.drain(..).collect::<Vec<_>>() {
        rooms.feed(RelayInput::Received { connection: one.connection, payload: Payload::Binary(said.into()) });
    }
    assert_eq!(account_of(&rooms).devices().len(), 1);
    one.now.monotonic_ms += 12_000;
    one.now.wall_ms += 12_000;
    one.feed(Input::Awake);
    one.talk(&mut rooms);
    assert_eq!(one.refused(), None);
}
