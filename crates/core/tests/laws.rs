//! Laws that hold for all values: clocks form a lattice, winners do not depend on order, frames survive their encoding.

use proptest::prelude::*;
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::conflict::{Strategy as Resolution, add_version, ranked};
use solconnect_sync_core::frame::{Body, Frame, Head, SyncResponse};
use solconnect_sync_core::message::{Entry, Message, Stamp};
use solconnect_sync_core::vector_clock::{Causality, VectorClock};

fn clocks() -> impl Strategy<Value = VectorClock> {
    prop::collection::btree_map("[a-e]", 1u64..5, 0..5).prop_map(|counters| {
        let mut clock = VectorClock::new();
        for (device, counter) in counters {
            clock.raise(&device, counter).unwrap();
        }
        clock
    })
}

fn merged(one: &VectorClock, other: &VectorClock) -> VectorClock {
    let mut merged = one.clone();
    merged.merge(other).unwrap();
    merged
}

proptest! {
    #[test]
    fn merging_clocks_is_a_least_upper_bound(a in clocks(), b in clocks(), c in clocks()) {
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        prop_assert_eq!(merged(&a, &a), a.clone());
        prop_assert!(merged(&a, &b).covers(&a) && merged(&a, &b).covers(&b));
        prop_assert!(!(c.covers(&a) && c.covers(&b)) || c.covers(&merged(&a, &b)));
    }

    #[test]
    fn comparing_clocks_is_a_partial_order(a in clocks(), b in clocks(), c in clocks()) {
        let mirrored = match a.compare(&b) {
            Causality::Before => Causality::After,
            Causality::After => Causality::Before,
            same => same,
        };
        prop_assert_eq!(b.compare(&a), mirrored);
        prop_assert_eq!(a.compare(&b) == Causality::Equal, a == b);
        if a.compare(&b) == Causality::Before && b.compare(&c) == Causality::Before {
            prop_assert_eq!(a.compare(&c), Causality::Before);
        }
        if a.compare(&b) == Causality::Before {
            prop_assert!(a.sum() < b.sum(), "the sum extends causal order");
        }
    }

    #[test]
    fn a_tick_is_after_all_that_was_known(a in clocks(), device in "[a-e]") {
        let mut ticked = a.clone();
        ticked.tick(&device).unwrap();
        prop_assert_eq!(a.compare(&ticked), Causality::Before);
    }

    #[test]
    fn clocks_survive_printing(a in clocks()) {
        prop_assert_eq!(a.to_string().parse::<VectorClock>().unwrap(), a);
    }

    #[test]
    fn the_winner_does_not_depend_on_the_order_of_versions(
        written in prop::collection::vec((clocks(), "[a-e]", 0u64..3), 1..6),
        order in any::<prop::sample::Index>(),
    ) {
        let versions: Vec<Entry> = written
            .into_iter()
            .enumerate()
            .map(|(index, (mut vector_clock, device_id, at_ms))| {
                vector_clock.tick(&device_id).unwrap();
                let timestamp = Stamp::Millis(at_ms);
                let message = Message { id: format!("v{index}"), sender_wallet: "w".into(), timestamp, ..Message::default() };
                Entry { message, sequence_number: 0, vector_clock, server_timestamp: 0, original_device_id: device_id }
            })
            .collect();
        // A device writes each counter once, so equal clocks of one device do not occur.
        let distinct = versions.iter().enumerate().all(|(index, one)| {
            versions[..index].iter().all(|other| other.original_device_id != one.original_device_id || other.vector_clock.compare(&one.vector_clock) == Causality::Before)
        });
        prop_assume!(distinct);
        let mut rotated = versions.clone();
        rotated.rotate_left(order.index(versions.len()));
        for strategy in [Resolution::VectorClock, Resolution::Latest, Resolution::Manual] {
            let ids = |versions: &[Entry]| ranked(versions, "w", strategy).iter().map(|version| version.message.id.clone()).collect::<Vec<_>>();
            prop_assert_eq!(ids(&versions), ids(&rotated));
        }
        let mut frontier = Vec::new();
        for version in versions {
            add_version(&mut frontier, version);
        }
        for one in &frontier {
            prop_assert!(frontier.iter().all(|other| one.message.id == other.message.id || one.vector_clock.compare(&other.vector_clock) == Causality::Concurrent));
        }
    }

    #[test]
    fn a_batch_comes_back_as_it_was_written(entries in entries()) {
        let batch = Batch::of(&entries).unwrap();
        prop_assert_eq!(&batch.entries().unwrap(), &entries);
        prop_assert_eq!(&batch.deflate().entries().unwrap(), &entries);
        let body = Body::SyncResponse(SyncResponse { messages: batch, latest_sequence: 9, ..SyncResponse::default() });
        let frame = Frame { head: Head { session_id: "s".into(), ..Head::default() }, body };
        prop_assert_eq!(Frame::from_bytes(&frame.to_bytes().unwrap()).unwrap(), frame.clone());
        prop_assert_eq!(Frame::parse(&frame.to_json()).unwrap(), frame);
    }

    #[test]
    fn splitting_a_batch_loses_nothing(entries in entries(), bytes_max in 0usize..2_000) {
        let mut joined = Vec::new();
        for (taken, batch) in Batch::split(&entries, bytes_max) {
            prop_assert_eq!(&batch.entries().unwrap(), taken);
            joined.extend_from_slice(taken);
        }
        prop_assert_eq!(joined, entries);
    }

    #[test]
    fn halves_of_characters_are_read_as_javascript_sends_them(units in prop::collection::vec(prop_oneof![any::<u16>(), 0xd7f0u16..0xe010], 0..20)) {
        let escaped: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
        let Body::Chat(chat) = Frame::parse(&format!(r#"{{"roomId":"r","message":"{escaped}"}}"#)).unwrap().body else { panic!() };
        prop_assert_eq!(chat.message, String::from_utf16_lossy(&units));
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Frame::parse(&String::from_utf8_lossy(&bytes));
        let _ = Frame::from_bytes(&bytes);
        let _ = Batch::from_bytes(&bytes).entries();
    }

    #[test]
    fn a_damaged_batch_is_refused_or_read_but_never_panics(entries in entries(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        for batch in [Batch::of(&entries).unwrap(), Batch::of(&entries).unwrap().deflate()] {
            let mut bytes = batch.bytes().to_vec();
            if bytes.is_empty() {
                continue;
            }
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] = byte }
            let _ = Batch::from_bytes(&bytes).entries();
        }
    }
}

/// Entries of one session in the order of a log: several devices and wallets, clocks that lag, and every rare field.
fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let text = prop_oneof![
        ".{0,200}",
        "[a-z ]{0,60}",
        "([A-Za-z0-9+/]{4}){2,40}",
        Just("aGVsbG8gd29ybGQ=".to_owned()),
        Just("AAAAAAB=".to_owned())
    ];
    let stamp = prop_oneof![
        (0u64..253_402_300_799_999).prop_map(Stamp::Iso),
        any::<u64>().prop_map(Stamp::Millis),
        any::<f64>().prop_map(Stamp::from),
        "[a-z]{0,9}".prop_map(Stamp::from),
    ];
    let wallet = prop_oneof![
        Just("So11111111111111111111111111111111111111112".to_owned()),
        Just("11111111111111111111111111111111".to_owned()),
        "[a-z]{0,50}",
        "1{0,32}[1-9A-HJ-NP-Za-km-z]{0,45}"
    ];
    let rare = (
        prop::option::of("[a-z/]{0,20}"),
        prop::option::of("[a-z:]{1,9}"),
        prop::option::of("[a-z:]{1,9}"),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    );
    let row = ("[a-e]", clocks(), 0u64..4, text, stamp, wallet, rare);
    let session = prop_oneof![Just("a3bb189e-8bf9-8888-9912-ace4e6543002".to_owned()), "[a-z-]{1,40}"];
    (session, 0u64..1_000_000, prop::collection::vec(row, 0..40)).prop_map(|(session_id, first, rows)| {
        let mut heads = VectorClock::new();
        let mut entries = Vec::new();
        for (number, row) in rows.into_iter().enumerate() {
            let (device, clock, lag, ciphertext, timestamp, sender_wallet, (content_type, replaces, first_id, deleted, own_id, extra)) =
                row;
            // Mostly a clock that follows, sometimes any.
            let mut vector_clock = if lag == 0 { clock } else { heads.clone() };
            let counter = heads.get(&device) + 1;
            vector_clock.raise(&device, counter).unwrap();
            heads.raise(&device, vector_clock.get(&device)).unwrap();
            let counter = vector_clock.get(&device);
            let id = if own_id { format!("{session_id}:{device}:{counter}") } else { format!("message {number}") };
            let extra = if extra { r#"{"nonce":"abc"}"# } else { "" }.into();
            let message = Message {
                id,
                sender_wallet,
                ciphertext,
                timestamp,
                session_id: session_id.clone(),
                content_type,
                replaces,
                first_id,
                deleted,
                extra,
            };
            let sequence_number = if first == 0 { 0 } else { first + number as u64 };
            entries.push(Entry {
                message,
                sequence_number,
                vector_clock,
                server_timestamp: 1_700_000_000_000 + lag,
                original_device_id: device,
            });
        }
        entries
    })
}
