//! Sessions of two wallets whose devices have keys: nobody else is in them, and they are in no others.

use crate::people::{Person, closed_relay, open_relay, person};
use crate::rooms;
use crate::rooms::{Rooms, the_error};
use serde_json::{Value, json};
use solconnect_sync_core::ids::session_of;
use solconnect_sync_core::relay::Input;

const NOTHING: [Value; 0] = [];

/// Alice has signed in on connection 1, and has begun the session with Bob.
fn begun() -> (Rooms, Person, Person) {
    let mut rooms = Rooms::over(open_relay);
    let (alice, bob) = (person(1), person(2));
    alice.enter(&mut rooms, 1);
    rooms.say(1, &alice.announce(&bob.address()));
    rooms.say(1, &alice.write(&bob.address(), "for Bob alone"));
    assert_eq!(rooms.hear_only(1, "sync_ack").len(), 1);
    (rooms, alice, bob)
}

fn session(alice: &Person, bob: &Person) -> String {
    alice.session(&bob.address())
}

/// What somebody says who has not signed in and would be in the session: in both dialects, as Alice and as Bob.
fn attempts(alice: &Person, bob: &Person) -> Vec<Value> {
    let session_id = json!(session(alice, bob));
    let mut frames = vec![alice.announce(&bob.address()), bob.announce(&alice.address())];
    frames.extend(frames.clone().into_iter().map(|mut frame| {
        frame.as_object_mut().unwrap().remove("peerWallet");
        frame
    }));
    for kind in ["device_announce", "sync_request", "sync_heartbeat", "read_receipt"] {
        frames.push(rooms::seed("s", kind, json!({ "sessionId": session_id, "receipts": [], "lastSyncedSequence": 0 })));
    }
    frames.push(rooms::seed("s", "sync_update", json!({ "sessionId": session_id, "messages": [rooms::seed_unsent(1, "x")] })));
    let mut chat = rooms::chat(&bob.address(), "x");
    chat["roomId"] = session_id;
    frames.push(chat);
    frames
}

fn refused_as_stranger(rooms: &mut Rooms, connection: u64, frame: &Value) {
    rooms.say(connection, frame);
    let heard = rooms.hear(connection);
    assert!(heard.len() == 1 && heard[0]["code"] == "NOT_A_MEMBER", "{frame}: {heard:?}");
}

#[test]
fn a_stranger_is_refused_whatever_it_says() {
    let (mut rooms, alice, bob) = begun();
    for restarted in [false, true] {
        if restarted {
            rooms.restart();
        }
        rooms.open(9);
        for frame in attempts(&alice, &bob) {
            refused_as_stranger(&mut rooms, 9, &frame);
        }
        // Frames of a device that has announced itself, which this one cannot.
        for kind in ["sync_request", "sync_update", "sync_ack", "sync_heartbeat", "read_receipt"] {
            let fields = json!({ "messages": [], "lastDigest": "00".repeat(32), "acknowledgedSequences": [1], "receipts": [] });
            rooms.say(9, &bob.frame(&alice.address(), kind, fields));
            let code = the_error(&mut rooms, 9)["code"].clone();
            assert!(code == "NOT_ANNOUNCED" || code == "NOT_A_MEMBER", "{kind}: {code}");
        }
    }
    assert_eq!(rooms.journal[&session(&alice, &bob)].entries.len(), 1);
}

#[test]
fn who_was_there_before_is_sent_away() {
    let mut rooms = Rooms::over(open_relay);
    let (alice, bob) = (person(1), person(2));
    rooms.open(9);
    let said = json!({ "sessionId": session(&alice, &bob), "lastSyncedSequence": 0 });
    rooms.say(9, &rooms::seed("s", "device_announce", said.clone()));
    rooms.say(9, &rooms::seed("s", "sync_request", said));
    assert_eq!(rooms.hear_only(9, "error"), NOTHING);
    alice.enter(&mut rooms, 1);
    rooms.say(1, &alice.announce(&bob.address()));
    let error = the_error(&mut rooms, 9);
    assert_eq!((&error["code"], &error["sessionId"]), (&json!("NOT_A_MEMBER"), &json!(session(&alice, &bob))));
    rooms.say(1, &alice.write(&bob.address(), "for Bob alone"));
    rooms.lists();
    assert_eq!(rooms.hear(9), NOTHING, "nothing is passed on to it");
    assert_eq!(rooms.counts().attachments, 1);
    for frame in attempts(&alice, &bob) {
        refused_as_stranger(&mut rooms, 9, &frame);
    }
}

#[test]
fn the_other_wallet_comes_in_and_a_third_does_not() {
    let (mut rooms, alice, bob) = begun();
    bob.enter(&mut rooms, 2);
    rooms.say(2, &bob.announce(&alice.address()));
    rooms.say(2, &bob.frame(&alice.address(), "sync_request", json!({ "lastSyncedSequence": 0 })));
    let responses = rooms.hear_only(2, "sync_response");
    assert_eq!(responses[0]["messages"].as_array().map(Vec::len), Some(1), "{responses:?}");

    let carol = person(3);
    carol.enter(&mut rooms, 3);
    let mut frames = vec![
        // By her own name, as a session with Alice, with nobody, and as if she were Bob.
        (carol.announce(&alice.address()), "NOT_A_MEMBER"),
        (carol.announce(&alice.address()), "NOT_A_MEMBER"),
        (bob.announce(&alice.address()), "WRONG_KEY"),
        (carol.announce(&alice.address()), "WRONG_KEY"),
    ];
    let session_id = json!(session(&alice, &bob));
    for (frame, _) in &mut frames {
        frame["sessionId"] = session_id.clone();
    }
    frames[1].0.as_object_mut().unwrap().remove("peerWallet");
    frames[3].0["wallet"] = json!(bob.address());
    for (frame, code) in frames {
        rooms.say(3, &frame);
        assert_eq!(the_error(&mut rooms, 3)["code"], code, "{frame}");
    }
    // In her own session with Alice, as if it were one with Bob.
    rooms.say(3, &carol.announce(&alice.address()));
    let mut moved = carol.announce(&alice.address());
    moved["peerWallet"] = json!(bob.address());
    rooms.say(3, &moved);
    assert_eq!(the_error(&mut rooms, 3)["code"], "NOT_A_MEMBER");
    for kind in ["sync_request", "sync_ack", "sync_heartbeat", "read_receipt"] {
        let fields = json!({ "sessionId": session_id, "acknowledgedSequences": [1], "receipts": [] });
        rooms.say(3, &carol.frame(&alice.address(), kind, fields));
        let code = the_error(&mut rooms, 3)["code"].clone();
        assert!(code == "NOT_ANNOUNCED" || code == "NOT_A_MEMBER", "{kind}: {code}");
    }
    rooms.hear(3);
    rooms.say(2, &bob.write(&alice.address(), "for Alice alone"));
    assert_eq!((rooms.hear_only(2, "sync_ack").len(), rooms.hear(3)), (1, vec![]));
}

#[test]
fn who_has_signed_in_speaks_one_dialect() {
    let mut rooms = Rooms::over(closed_relay);
    let alice = person(1);
    rooms.open(1);
    assert_eq!(alice.sign_in(&mut rooms, 1)["type"], "signed_in");
    for kind in ["device_announce", "sync_request", "sync_update", "sync_heartbeat", "read_receipt"] {
        let fields = json!({ "messages": [rooms::seed_unsent(1, "x")], "receipts": [], "lastSyncedSequence": 0 });
        rooms.say(1, &rooms::seed(&alice.device_id(), kind, fields));
        assert_eq!(the_error(&mut rooms, 1)["code"], "INVALID_MESSAGE_FORMAT", "{kind}");
    }
    assert!(rooms.counts().attachments == 0 && rooms.texts().is_empty());
}

#[test]
fn who_has_signed_in_is_in_no_session_of_who_has_not() {
    let mut rooms = Rooms::over(open_relay);
    let (alice, bob) = (person(1), person(2));
    rooms.open(9);
    let session_id = session_of(&alice.address(), &bob.address());
    let announce = |who: &Person, peer: &Person, device: String| {
        let mut frame = who.announce(&peer.address());
        (frame["sessionId"], frame["deviceId"]) = (json!(session_id), json!(device));
        frame
    };
    rooms.say(9, &announce(&bob, &alice, "d".into()));
    assert_eq!(rooms.hear_only(9, "error"), NOTHING, "it is theirs");
    alice.enter(&mut rooms, 1);
    rooms.say(1, &announce(&alice, &bob, alice.device_id()));
    assert_eq!(the_error(&mut rooms, 1)["code"], "NOT_A_MEMBER");
}

#[test]
fn what_a_stranger_wrote_under_such_an_id_is_nobodys() {
    let mut rooms = Rooms::over(open_relay);
    let (alice, bob) = (person(1), person(2));
    rooms.open(9);
    let said = json!({ "sessionId": session(&alice, &bob), "messages": [rooms::seed_unsent(1, "x")] });
    rooms.say(9, &rooms::seed("s", "sync_update", said));
    assert_eq!(rooms.hear_only(9, "sync_ack").len(), 1);
    alice.enter(&mut rooms, 1);
    rooms.say(1, &alice.announce(&bob.address()));
    assert_eq!(the_error(&mut rooms, 1)["code"], "NOT_A_MEMBER", "she believes nothing of it");
}

#[test]
fn who_signed_in_for_another_application_is_no_member() {
    let (mut rooms, alice, bob) = begun();
    let elsewhere = Person { domain: "other.example", ..person(2) };
    elsewhere.enter(&mut rooms, 3);
    for mut frame in [elsewhere.announce(&alice.address()), elsewhere.write(&alice.address(), "x")] {
        frame["sessionId"] = json!(session(&alice, &bob));
        refused_as_stranger(&mut rooms, 3, &frame);
    }
    let announce = json!({ "type": "wallet_announce", "deviceId": elsewhere.device_id(), "messageId": "w", "protocolVersion": 1,
        "wallet": elsewhere.address() });
    rooms.say(3, &announce);
    assert_eq!(rooms.hear_only(3, "session_list")[0]["sessions"], json!([]), "and it is told of nothing");
}

#[test]
fn sessions_of_devices_with_keys_are_told_to_members_alone() {
    let (mut rooms, alice, bob) = begun();
    let announce = |who: &Person, device: &str| json!({ "type": "wallet_announce", "deviceId": device, "messageId": "w", "protocolVersion": 1, "wallet": who.address() });
    let listed = |rooms: &mut Rooms, connection| {
        let lists = rooms.hear_only(connection, "session_list");
        lists.iter().flat_map(|list| list["sessions"].as_array().cloned().unwrap_or_default()).count()
    };
    // A stranger says to be Bob, and Bob is he.
    rooms.open(9);
    rooms.say(9, &announce(&bob, "d"));
    bob.enter(&mut rooms, 2);
    rooms.say(2, &announce(&bob, &bob.device_id()));
    assert_eq!((listed(&mut rooms, 9), listed(&mut rooms, 2)), (0, 1), "in the list of before");
    let carol = person(3);
    carol.enter(&mut rooms, 3);
    rooms.say(3, &carol.announce(&bob.address()));
    rooms.say(3, &carol.write(&bob.address(), "hello"));
    rooms.feed(Input::Timeout);
    assert_eq!(listed(&mut rooms, 9), 0, "and as it happens");
    assert!(listed(&mut rooms, 2) > 0);
    let _ = alice;
}
