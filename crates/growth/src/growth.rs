//! What is measured, by what it grows with.

use crate::chat::{Writer, wallet};
use crate::series::{Claim, Figure, Section, Unit};
use crate::world::{Cost, Place, World, ms as time_ms};
use cpu_time::ThreadTime;
use solconnect_sync_core::client::{Client, ClientConfig, DeviceRecord, SessionRecord, Snapshot};
use solconnect_sync_core::ids::session_of;

/// Each figure is the median of that many.
pub const ROUNDS: usize = 5;

/// Messages that are written before the other side has its turn.
const TURN_MESSAGES: u64 = 500;

const fn ms(title: &'static str, claim: Claim) -> Figure {
    Figure { title, unit: Unit::Ms, claim }
}

const fn bytes(title: &'static str, claim: Claim) -> Figure {
    Figure { title, unit: Unit::Bytes, claim }
}

const fn frames(title: &'static str, claim: Claim) -> Figure {
    Figure { title, unit: Unit::Frames, claim }
}

/// A longer and longer log: what is missing costs, and nothing else.
pub fn messages(sizes: &[u64]) -> Section {
    let mut section = Section::new(
        "Messages in a session",
        "messages in the log",
        "Two devices of two wallets write in turn; a third catches up, goes away, and comes back to one new message. The relay is\n\
         restarted before each of that, and knows only its journal. Of what it encodes for one who catches up it keeps 16 MiB at\n\
         most, for others.",
    );
    let [mine, other] = [wallet(1), wallet(2)];
    let session_id = session_of(&mine, &other);
    let mut writer = Writer::new();
    let mut world = World::new();
    let pair = [(&mine, &other), (&other, &mine)].map(|(wallet, peer)| {
        let place = world.add(Snapshot::default(), wallet);
        world.open_session(place, peer);
        place
    });
    // Always the same one, so that the list of devices stays as it is.
    let empty = Snapshot { device: Some(DeviceRecord::new("3JhYcP8sVbE6uGfKt".into())), ..Snapshot::default() };
    let mut written = 0;
    for &size in sizes {
        eprintln!("{size} messages");
        let before = written;
        let cost = world.measure(pair[0], |world| {
            while written < size {
                let count = TURN_MESSAGES.min(size - written);
                let place = pair[(written / TURN_MESSAGES % 2) as usize];
                (0..count).for_each(|_| world.send(place, &session_id, writer.text()));
                world.run();
                written += count;
            }
        });
        let per_thousand = 1_000.0 / (written - before) as f64;
        section.record(ms("write 1,000 more, stored by all: elapsed", Claim::Flat), size, cost.elapsed_ms * per_thousand);
        section.record(bytes("journal, for a message", Claim::Flat), size, world.journal_bytes() as f64 / written as f64);

        for _ in 0..if size < 1_000_000 { ROUNDS } else { 3 } {
            world.restart_relay();
            let fresh = world.add(empty.clone(), &mine);
            let cost = world.measure(fresh, |world| world.open_session(fresh, &other));
            assert_eq!(world.received(fresh), written, "it has caught up");
            section.record(ms("catch up", Claim::Linear), size, cost.work_ms);
            section.record(bytes("catch up, down", Claim::Linear), size, cost.down.bytes as f64);
            section.record(bytes("catch up, up", Claim::Linear), size, cost.up.bytes as f64);
            section.record(bytes("memory of the relay after a catch-up", Claim::Linear), size, world.restart_relay() as f64);

            world.reconnect(pair[0]);
            world.send(pair[0], &session_id, writer.text());
            world.run();
            written += 1;
            world.restart_relay();
            let cost = world.measure(fresh, |world| world.reconnect(fresh));
            assert_eq!(world.received(fresh), written, "it has the new message");
            section.record(ms("reconnect to 1 new message", Claim::Flat), size, cost.work_ms);
            section.record(bytes("reconnect, down", Claim::Flat), size, cost.down.bytes as f64);
            section.record(bytes("reconnect, up", Claim::Flat), size, cost.up.bytes as f64);
            section.record(frames("reconnect, both ways", Claim::Flat), size, both_ways(&cost));
            section.record(bytes("memory of the relay after a reconnect", Claim::Flat), size, world.restart_relay() as f64);
            section.record(bytes("memory of the device", Claim::Flat), size, world.forget(fresh) as f64);
            pair.iter().for_each(|place| world.reconnect(*place));
            world.run();
        }
    }
    section
}

/// More and more devices, all connected.
pub fn devices(sizes: &[u64]) -> Section {
    let mut section = Section::new(
        "Devices in a session",
        "devices",
        "Every device has written a message that knew all before it. One writes a message; another goes away and comes back. All\n\
         others are connected. What a message costs is all that follows from it, with acknowledgements, receipts and records that\n\
         are written again, less its text: for each of the devices that did not write it, for the one that did (which stores the\n\
         text twice, in the outbox and in the log), and in the rows of the relay's journal. The aim is at most 120 bytes on the\n\
         wire to each of 1,000 devices.",
    );
    let [mine, other] = [wallet(1), wallet(2)];
    let session_id = session_of(&mine, &other);
    for &size in sizes {
        eprintln!("{size} devices");
        let mut writer = Writer::new();
        let (mut world, places) = crowd(size, &mine, &other, &mut writer);
        for round in 0..ROUNDS {
            let sender = places[round % places.len()];
            let text = writer.text();
            let text_bytes = text.len() as f64;
            let cost = world.measure(sender, |world| world.send(sender, &session_id, text));
            let of_each_other = |all: u64, own: u64| (all - own) as f64 / (size - 1) as f64 - text_bytes;
            section.record(ms("a message to all others", Claim::Linear), size, cost.work_ms);
            let to_each = of_each_other(cost.all_down.bytes, cost.down.bytes);
            section.record(bytes("to each device for one message, beside its text", Claim::Flat), size, to_each);
            let up = cost.up.bytes as f64 - text_bytes;
            section.record(bytes("up from its own device, beside its text", Claim::Flat), size, up);
            let in_each = of_each_other(cost.all_stored, cost.stored);
            section.record(bytes("written to the store of each device, beside its text", Claim::Flat), size, in_each);
            let in_own = cost.stored as f64 - 2.0 * text_bytes;
            section.record(bytes("written to the store of its own device, beside its text", Claim::Flat), size, in_own);
            let journaled = cost.journaled as f64 - text_bytes;
            section.record(bytes("written to the relay's journal, beside its text", Claim::Flat), size, journaled);

            let away = places[places.len() - 1 - round % places.len()];
            world.disconnect(away);
            let cost = world.measure(away, |world| world.reconnect(away));
            section.record(ms("reconnect to nothing new", Claim::Linear), size, cost.work_ms);
            section.record(bytes("reconnect, down", Claim::Linear), size, cost.down.bytes as f64);
            section.record(bytes("reconnect, up", Claim::Flat), size, cost.up.bytes as f64);
            let others_down = cost.all_down.bytes - cost.down.bytes;
            section.record(bytes("reconnect, down to all others", Claim::Linear), size, others_down as f64);
        }
        let received = |place: &Place| world.received(*place) as usize;
        assert!(places.iter().map(received).sum::<usize>() >= (places.len() - 1) * ROUNDS, "everybody has every message");
    }
    section
}

/// So many devices, each with a message of its own in the log, all connected and with nothing missing.
fn crowd(size: u64, mine: &str, other: &str, writer: &mut Writer) -> (World, Vec<Place>) {
    let session_id = session_of(mine, other);
    let sides = [(mine, other), (other, mine)];
    let mut world = World::new();
    let record = SessionRecord { open: true, ..SessionRecord::new(session_id.clone(), mine.into(), other.into()) };
    let mut stored = Snapshot { sessions: vec![record], ..Snapshot::default() };
    // What a device with that number has stored when it has the log of another and has written `counter` messages.
    let member = |number: u64, counter, stored: Snapshot| {
        // As long as those that devices make.
        let device_id = wallet(number)[..17].to_owned();
        let (wallet, peer_wallet) = sides[number as usize % 2];
        let theirs = |record| SessionRecord { wallet: wallet.into(), peer_wallet: peer_wallet.into(), counter, ..record };
        let sessions = stored.sessions.into_iter().map(theirs).collect();
        Snapshot { device: Some(DeviceRecord::new(device_id)), sessions, heads: stored.heads, ..Snapshot::default() }
    };
    // One after the other, each over what the one before it had stored: thousands of catch-ups are not what is measured.
    for number in 0..size {
        let place = world.add(member(number, 0, stored), sides[number as usize % 2].0);
        world.send(place, &session_id, writer.text());
        world.settle(place);
        stored = world.stored(place);
        world.disconnect(place);
    }
    assert_eq!(stored.sessions[0].log.end(), size, "each has written");
    let join = |number| {
        let place = world.add(member(number, 1, stored.clone()), sides[number as usize % 2].0);
        world.run();
        place
    };
    let places = (0..size).map(join).collect();
    (world, places)
}

/// A device with more and more sessions.
pub fn sessions(sizes: &[u64]) -> Section {
    let mut section = Section::new(
        "Sessions of a device",
        "sessions",
        "A device starts from its store with one message in each session, connects with nothing missing to a relay that was just\n\
         restarted, and one message arrives.",
    );
    let mine = wallet(0);
    for &size in sizes {
        eprintln!("{size} sessions");
        let mut writer = Writer::new();
        let mut world = World::new();
        let first = world.add(Snapshot::default(), &mine);
        let mut peers = Vec::new();
        for number in 1..=size {
            let peer_wallet = wallet(number);
            let peer = world.add(Snapshot::default(), &peer_wallet);
            world.open_session(peer, &mine);
            world.open_session(first, &peer_wallet);
            world.send(peer, &session_of(&mine, &peer_wallet), writer.text());
            peers.push(peer);
        }
        world.run();
        assert_eq!(world.received(first), size, "each peer has written");
        let mut holder = first;
        for _ in 0..ROUNDS {
            world.restart_relay();
            let start = ThreadTime::now();
            let client = Client::new(ClientConfig::default(), world.stored(holder), 1);
            assert_eq!(client.stored_sessions().len() as u64, size, "it has all sessions");
            section.record(ms("start from the store", Claim::Linear), size, time_ms(start.elapsed()));

            let cost = world.measure(holder, |world| world.reconnect(holder));
            section.record(ms("reconnect with nothing missing", Claim::Linear), size, cost.work_ms);
            section.record(ms("of it in the device", Claim::Linear), size, cost.device_ms);
            section.record(frames("reconnect, both ways", Claim::Linear), size, both_ways(&cost));
            section.record(bytes("reconnect, down", Claim::Linear), size, cost.down.bytes as f64);
            section.record(bytes("reconnect, up", Claim::Linear), size, cost.up.bytes as f64);

            world.reconnect(peers[0]);
            world.run();
            let text = writer.text();
            let cost = world.measure(holder, |world| world.send(peers[0], &session_of(&mine, &wallet(1)), text));
            section.record(ms("one message arrives: work in the device", Claim::Flat), size, cost.device_ms);
            section.record(bytes("one message arrives, down", Claim::Flat), size, cost.down.bytes as f64);

            let snapshot = world.stored(holder);
            section.record(bytes("memory of the device", Claim::Linear), size, world.forget(holder) as f64);
            holder = world.add(snapshot, &mine);
            world.run();
        }
    }
    section
}

/// Messages that were written offline.
pub fn outbox(sizes: &[u64]) -> Section {
    let mut section = Section::new(
        "Messages in an outbox",
        "messages waiting",
        "A device writes offline and connects; a device of the other wallet is there. Until both and the relay have stored all.",
    );
    let [mine, other] = [wallet(1), wallet(2)];
    let session_id = session_of(&mine, &other);
    for &size in sizes {
        eprintln!("{size} messages in the outbox");
        let mut writer = Writer::new();
        for _ in 0..ROUNDS {
            let mut world = World::new();
            let [sender, reader] = [(&mine, &other), (&other, &mine)].map(|(wallet, peer)| {
                let place = world.add(Snapshot::default(), wallet);
                world.open_session(place, peer);
                world.run();
                place
            });
            world.disconnect(sender);
            let cost = world.measure(sender, |world| {
                for _ in 0..size {
                    world.send(sender, &session_id, writer.text());
                    world.run();
                }
            });
            section.record(ms("write, one after the other", Claim::Linear), size, cost.work_ms);
            let cost = world.measure(sender, |world| world.reconnect(sender));
            assert_eq!(world.received(reader), size, "all have arrived");
            section.record(ms("send all", Claim::Linear), size, cost.work_ms);
            section.record(ms("of it in the device", Claim::Linear), size, cost.device_ms);
            section.record(bytes("send all, up", Claim::Linear), size, cost.up.bytes as f64);
        }
    }
    section
}

fn both_ways(cost: &Cost) -> f64 {
    (cost.up.frames + cost.down.frames) as f64
}
