//! What a wallet and an address may have of everything together: who is at a limit is told so, and nobody else is hurt.

use crate::people::{Person, address, closed_relay, open_relay, person};
use crate::rooms;
use crate::rooms::{Rooms, the_error};
use serde_json::{Value, json};
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::ids::wallet_address;
use solconnect_sync_core::limits::{
    ADDRESS_ATTACHMENTS_MAX, ADDRESS_CONVERSATIONS_PER_HOUR, ADDRESS_DEVICES_PER_HOUR, ATTACHMENTS_MAX, WALLET_ATTACHMENTS_MAX,
    WALLET_CONNECTIONS_MAX, WALLET_CONVERSATIONS_PER_HOUR,
};
use solconnect_sync_core::relay::{Cap, Input};

/// Some wallet that nobody has the key of.
fn peer(number: usize) -> String {
    let mut key = [7; 32];
    key[..8].copy_from_slice(&(number as u64).to_be_bytes());
    wallet_address(&key)
}

fn busy(rooms: &mut Rooms, connection: u64) {
    let error = the_error(rooms, connection);
    assert_eq!(error["code"], "RELAY_BUSY", "{error}");
}

/// A connection that was put off when it signed in.
fn put_off(rooms: &mut Rooms, connection: u64, who: &Person) {
    let last = who.sign_in(rooms, connection);
    assert_eq!(last["code"], "RELAY_BUSY", "{last}");
    assert_eq!(rooms.closed.pop(), Some((connection, 1013)));
}

#[test]
fn a_wallet_has_only_so_many_connections() {
    let mut rooms = Rooms::over(closed_relay);
    let most = WALLET_CONNECTIONS_MAX as u64;
    for connection in 1..=most {
        person(1).enter(&mut rooms, connection);
    }
    rooms.open_binary(most + 1);
    put_off(&mut rooms, most + 1, &person(1));
    person(2).enter(&mut rooms, most + 2);
    assert_eq!((rooms.counts().signed_in, rooms.counts().capped[&Cap::WalletConnections]), (most as usize + 1, 1));
    rooms.feed(Input::Closed { connection: 5 });
    person(1).enter(&mut rooms, most + 3);
}

/// Connections from the first on, each in as many sessions as it may be in.
fn attach(rooms: &mut Rooms, connections: usize, mut say: impl FnMut(&mut Rooms, u64, usize)) {
    for connection in 1..=connections as u64 {
        for number in 0..ATTACHMENTS_MAX {
            say(rooms, connection, number);
        }
        assert_eq!(rooms.hear_only(connection, "error"), [] as [Value; 0]);
    }
}

#[test]
fn a_wallets_connections_take_part_in_only_so_many_sessions() {
    let mut rooms = Rooms::over(closed_relay);
    let one = person(1);
    let most = WALLET_ATTACHMENTS_MAX / ATTACHMENTS_MAX;
    for connection in 1..=most as u64 + 1 {
        one.enter(&mut rooms, connection);
    }
    attach(&mut rooms, most, |rooms, connection, number| rooms.say(connection, &one.announce(&peer(number))));
    let last = most as u64 + 1;
    rooms.say(last, &one.announce(&peer(0)));
    busy(&mut rooms, last);
    person(2).enter(&mut rooms, last + 1);
    rooms.say(last + 1, &person(2).announce(&peer(0)));
    assert_eq!(rooms.hear_only(last + 1, "device_list").len(), 1, "others are not hurt");
    rooms.say(1, &one.write(&peer(3), "still served"));
    assert_eq!(rooms.hear_only(1, "sync_ack").len(), 1, "nor is what it takes part in");
    assert_eq!(rooms.counts().capped[&Cap::WalletAttachments], 1);
    rooms.feed(Input::Closed { connection: 1 });
    rooms.say(last, &one.announce(&peer(0)));
    assert_eq!(rooms.hear_only(last, "device_list").len(), 1, "there is room again");
}

#[test]
fn an_addresss_connections_take_part_in_only_so_many_sessions() {
    let mut rooms = Rooms::over(open_relay);
    let most = ADDRESS_ATTACHMENTS_MAX / ATTACHMENTS_MAX;
    let last = most as u64 + 1;
    (1..=last).for_each(|connection| rooms.open_from(connection, 1));
    let seed = |number: usize| {
        let mut frame = rooms::seed("s", "device_announce", json!({}));
        frame["sessionId"] = json!(format!("room {number}"));
        frame
    };
    attach(&mut rooms, most, |rooms, connection, number| rooms.say(connection, &seed(number)));
    rooms.say(last, &seed(0));
    busy(&mut rooms, last);
    rooms.open_from(last + 1, 2);
    rooms.open(last + 2);
    for connection in [last + 1, last + 2] {
        rooms.say(connection, &seed(0));
        assert_eq!(rooms.hear_only(connection, "device_list").len(), 1, "others are not hurt");
    }
    assert_eq!(rooms.counts().capped[&Cap::AddressAttachments], 1);
    rooms.feed(Input::Closed { connection: 1 });
    rooms.say(last, &seed(0));
    assert_eq!(rooms.hear_only(last, "device_list").len(), 1, "there is room again");
}

#[test]
fn a_wallet_begins_only_so_many_sessions_in_an_hour() {
    let mut rooms = Rooms::over(closed_relay);
    let (one, other) = (person(1), person(2));
    one.enter(&mut rooms, 1);
    other.enter(&mut rooms, 2);
    let most = WALLET_CONVERSATIONS_PER_HOUR as usize;
    let begin = |rooms: &mut Rooms, who: &Person, connection, number| {
        rooms.say(connection, &who.announce(&peer(number)));
        rooms.hear(connection);
        rooms.say(connection, &who.write(&peer(number), "hello"));
    };
    for number in 0..most {
        begin(&mut rooms, &one, 1, number);
        assert_eq!(rooms.hear_only(1, "sync_ack").len(), 1);
    }
    begin(&mut rooms, &one, 1, most);
    busy(&mut rooms, 1);
    // The other wallet begins one with this one, which answers there.
    begin(&mut rooms, &other, 2, most + 1);
    rooms.say(2, &other.announce(&one.address()));
    rooms.hear(2);
    rooms.say(2, &other.write(&one.address(), "you do not know me"));
    assert_eq!(rooms.hear_only(2, "sync_ack").len(), 1);
    rooms.say(1, &one.announce(&other.address()));
    rooms.hear(1);
    rooms.say(1, &one.write(&other.address(), "an answer begins nothing"));
    assert_eq!(rooms.hear_only(1, "sync_ack").len(), 1);
    rooms.timeout(60 * 60 * 1_000 / WALLET_CONVERSATIONS_PER_HOUR);
    begin(&mut rooms, &one, 1, most);
    assert_eq!(rooms.hear_only(1, "sync_ack").len(), 1, "the same message is taken later");
    assert_eq!(rooms.counts().capped[&Cap::WalletConversations], 1);
    let lines: Vec<&String> = rooms.logged.iter().filter(|line| line.contains("refused")).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(!lines[0].contains(&one.address()) && !lines[0].contains("hello"), "no wallet and no content: {lines:?}");
}

#[test]
fn from_an_address_only_so_many_sessions_are_begun_in_an_hour() {
    let mut rooms = Rooms::over(open_relay);
    rooms.open_from(1, 1);
    rooms.open_from(2, 2);
    rooms.open(3);
    let chat = |number: u64| {
        let mut frame = rooms::chat("w", "hello");
        frame["roomId"] = json!(format!("room {number}"));
        frame
    };
    for number in 0..ADDRESS_CONVERSATIONS_PER_HOUR {
        rooms.say(1, &chat(number));
    }
    assert_eq!(rooms.hear_only(1, "error"), [] as [Value; 0]);
    rooms.open_from(4, 1);
    rooms.say(4, &chat(ADDRESS_CONVERSATIONS_PER_HOUR));
    busy(&mut rooms, 4);
    rooms.say(1, &chat(0));
    assert_eq!(rooms.hear_only(1, "error"), [] as [Value; 0], "what it has begun goes on");
    for connection in [2, 3] {
        rooms.say(connection, &chat(ADDRESS_CONVERSATIONS_PER_HOUR + connection));
        assert_eq!(rooms.hear_only(connection, "error"), [] as [Value; 0], "others are not hurt");
    }
    assert_eq!(rooms.counts().capped[&Cap::AddressConversations], 1);
}

#[test]
fn from_an_address_only_so_many_devices_are_listed_in_an_hour() {
    let mut rooms = Rooms::over(closed_relay);
    let most = ADDRESS_DEVICES_PER_HOUR as u16;
    for number in 1..=most {
        rooms.open_from(u64::from(number), 1);
        assert_eq!(person(number).sign_in(&mut rooms, u64::from(number))["type"], "signed_in");
    }
    let next = u64::from(most) + 1;
    rooms.open_from(next, 1);
    put_off(&mut rooms, next, &person(most + 1));
    assert!(!rooms.journal.keys().any(|session| session.contains(&address(most + 1))));
    rooms.open_from(next + 1, 1);
    assert_eq!(person(7).sign_in(&mut rooms, next + 1)["type"], "signed_in", "one that is listed comes back");
    rooms.open_from(next + 2, 2);
    assert_eq!(person(most + 1).sign_in(&mut rooms, next + 2)["type"], "signed_in", "other addresses are not hurt");
    assert_eq!(rooms.counts().capped[&Cap::AddressDevices], 1);
}

#[test]
fn the_numbers_of_a_relay_add_up() {
    let mut rooms = Rooms::over(closed_relay);
    let one = person(1);
    one.enter(&mut rooms, 1);
    rooms.open(2);
    rooms.say(2, &rooms::chat("w", "hello"));
    rooms.say(1, &one.announce(&peer(1)));
    rooms.say(1, &one.write(&peer(1), "hello"));
    let counts = rooms.counts();
    assert_eq!((counts.connections, counts.signed_in, counts.sessions, counts.attachments), (2, 1, 1, 1));
    let totals = &counts.totals;
    assert_eq!((totals.connections, totals.sign_ins, totals.entries, totals.cut), (2, 1, 2, 0));
    assert_eq!(totals.errors.get(&ErrorCode::SignInRequired), Some(&1));
    assert!(totals.frames_received >= 5 && totals.frames_sent >= 5, "{totals:?}");
    rooms.feed(Input::Closed { connection: 1 });
    let counts = rooms.counts();
    assert_eq!((counts.connections, counts.signed_in, counts.sessions, counts.attachments), (1, 0, 0, 0));
}
