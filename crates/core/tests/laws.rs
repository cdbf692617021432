//! Laws that hold for all values: clocks form a lattice, winners do not depend on order, frames survive their encoding.

use proptest::prelude::*;
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::conflict::{Strategy as Resolution, add_version, ranked};
use solconnect_sync_core::entry::{Entry, Extensions, first_digest};
use solconnect_sync_core::frame::{Body, Frame, Head, SyncResponse, SyncUpdate};
use solconnect_sync_core::ids::message_id;
use solconnect_sync_core::log::Log;
use solconnect_sync_core::message::{Extra, Kind, Message, Stamp};
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
    fn a_ticked_clock_comes_after_its_previous_state(a in clocks(), device in "[a-e]") {
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
        log in logs(12),
        order in any::<prop::sample::Index>(),
    ) {
        let versions: Vec<Entry> = log.into_iter().map(|mut entry| {
            entry.message.sender_wallet = "w".into();
            entry
        }).collect();
        let mut frontier = Vec::new();
        for version in versions {
            add_version(&mut frontier, version);
        }
        let mut rotated = frontier.clone();
        rotated.rotate_left(order.index(frontier.len().max(1)));
        for strategy in [Resolution::VectorClock, Resolution::Latest, Resolution::Manual] {
            let ids = |versions: &[Entry]| ranked(versions, "w", strategy).iter().map(|version| version.message.id.clone()).collect::<Vec<_>>();
            prop_assert_eq!(ids(&frontier), ids(&rotated));
        }
        for (place, late) in frontier.iter().enumerate() {
            for early in &frontier[..place] {
                prop_assert!(early.device_id != late.device_id && early.sequence_number > late.knows, "{:?} knows {:?}", late, early);
            }
        }
    }

    #[test]
    fn a_log_is_the_same_however_it_comes(log in logs(40), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let mut whole = Log::new("s");
        prop_assert_eq!(whole.accept(log.clone(), |_, _| Ok(())).unwrap().len(), log.len());
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(log.len() + 1)).collect();
        places.sort_unstable();
        let (mut parts, mut from) = (Log::new("s"), 0);
        for place in places.into_iter().chain([log.len()]) {
            // What is known already comes again.
            parts.accept(log[from / 2..place].to_vec(), |_, _| Ok(())).unwrap();
            from = place;
        }
        prop_assert_eq!((parts.log_head(), parts.heads()), (whole.log_head(), whole.heads()));
        let restored = Log::restore(whole.end(), whole.hash(), whole.heads().to_vec());
        prop_assert_eq!(&restored, &whole);
        prop_assert_eq!(restored.clock(), whole.clock());
    }

    #[test]
    fn what_is_concurrent_agrees_with_the_clocks(log in logs(40)) {
        let mut taken = Log::new("s");
        let mut clocks: Vec<VectorClock> = Vec::new();
        for (place, entry) in log.iter().enumerate() {
            let clock = taken.clock_of(entry);
            let unknown = log[..place].iter().any(|other| other.device_id != entry.device_id && clock.get(&other.device_id) < other.counter);
            prop_assert_eq!(taken.is_concurrent(entry), unknown, "{:?}", entry);
            let restored = Log::restore(taken.end(), taken.hash(), taken.heads().to_vec());
            prop_assert_eq!(restored.is_concurrent(entry), unknown);
            taken.take(entry).unwrap();
            prop_assert_eq!(taken.clock_of(entry), clock.clone());
            clocks.push(clock);
        }
        for sequence in 0..=log.len() {
            let mut brute = VectorClock::new();
            for entry in &log[..sequence] {
                brute.raise(&entry.device_id, entry.counter).unwrap();
            }
            prop_assert_eq!(taken.clock_at(sequence as u64), Some(brute));
        }
    }

    #[test]
    fn a_digest_differs_where_anything_its_author_fixed_differs(entries in entries(), at in any::<prop::sample::Index>(), which in 0usize..CHANGES.len()) {
        prop_assume!(!entries.is_empty());
        let entry = &entries[at.index(entries.len())];
        let before = first_digest(&entry.message.session_id, &entry.device_id);
        let mut changed = entry.clone();
        CHANGES[which](&mut changed);
        prop_assert!(!changed.is_repeat_of(entry));
        prop_assert_ne!(changed.digest(&before), entry.digest(&before), "{:?}", changed);
        prop_assert_ne!(entry.digest(&entry.digest(&before)), entry.digest(&before), "and where anything before it does");
        let placed = Entry { sequence_number: entry.sequence_number + 1, server_timestamp: 1, ..entry.clone() };
        prop_assert!(placed.is_repeat_of(entry));
        prop_assert_eq!(placed.digest(&before), entry.digest(&before), "the relay's part is not in it");
    }

    #[test]
    fn different_entries_have_different_digests(one in entries(), other in entries()) {
        for (one, other) in one.iter().zip(&other) {
            // The session and the device stand at the beginning of the chain.
            let other = Entry { device_id: one.device_id.clone(), message: Message { session_id: one.message.session_id.clone(), ..other.message.clone() }, ..other.clone() };
            prop_assert_eq!(one.digest(&[0; 32]) == other.digest(&[0; 32]), one.is_repeat_of(&other));
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
    fn unsent_messages_come_back_as_they_were_written(entries in entries()) {
        let unsent: Vec<Entry> = entries.into_iter().map(|entry| Entry { sequence_number: 0, ..entry }).collect();
        let batch = Batch::of(&unsent).unwrap();
        prop_assert_eq!(&batch.entries().unwrap(), &unsent);
        let update = Body::SyncUpdate(SyncUpdate { messages: batch, last_digest: [7; 32], ..SyncUpdate::default() });
        let frame = Frame { head: Head { session_id: "s".into(), protocol_version: Some(1), ..Head::default() }, body: update };
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
        prop_oneof![Just(0u32), 0u32..6, any::<u32>()],
        prop_oneof![Just(String::new()), Just("aB3xY9".to_owned()), Just("Zz0000".to_owned()), "[ -~]{1,20}"],
        any::<bool>(),
        prop_oneof![Just(Vec::new()), prop::collection::vec(any::<u8>(), 0..40)],
    );
    let counters = prop_oneof![Just(1u64), Just(1), 1u64..9];
    let row = ("[a-e]", counters, clocks(), 0u64..4, text, stamp, wallet, rare);
    let session = prop_oneof![Just("a3bb189e-8bf9-8888-9912-ace4e6543002".to_owned()), "[a-z-]{1,40}"];
    (session, 0u64..1_000_000, prop::collection::vec(row, 0..40)).prop_map(|(session_id, first, rows)| {
        let mut heads = VectorClock::new();
        let mut entries = Vec::new();
        for (number, row) in rows.into_iter().enumerate() {
            let (
                device_id,
                step,
                also,
                lag,
                ciphertext,
                timestamp,
                sender_wallet,
                (content_type, replaces, kind, start, extra, extensions),
            ) = row;
            let counter = heads.get(&device_id) + step;
            heads.raise(&device_id, counter).unwrap();
            // Most ids follow from the place, some have another form.
            let own = start.is_empty() || start.len() == 6;
            let id = if own { message_id(&session_id, &device_id, &start, counter) } else { start };
            let extra = Extra::from(if extra { r#"{"nonce":"abc"}"# } else { "" });
            let kind = Kind(kind);
            let session_id = session_id.clone();
            let message = Message { id, sender_wallet, ciphertext, timestamp, session_id, content_type, replaces, kind, extra };
            let sequence_number = if first == 0 { 0 } else { first + number as u64 };
            // Mostly all that is before it, sometimes less.
            let knows = if first == 0 { lag * 7 } else { (sequence_number - 1).saturating_sub(lag * lag) };
            let also = if lag == 3 { also } else { VectorClock::new() };
            let (extensions, server_timestamp) = (Extensions::from(&*extensions), 1_700_000_000_000 + lag);
            entries.push(Entry { message, device_id, counter, knows, also, extensions, sequence_number, server_timestamp });
        }
        entries
    })
}

/// The log of the session "s": some devices, whose authors knew it up to somewhere, and a little beside it.
fn logs(count_max: usize) -> impl Strategy<Value = Vec<Entry>> {
    let row = ("[a-e]", 1u64..3, any::<prop::sample::Index>(), any::<bool>(), prop::option::of(("[a-e]", 1u64..9)), 0u64..3);
    prop::collection::vec(row, 0..count_max).prop_map(|rows| {
        let mut heads = VectorClock::new();
        let mut log = Vec::new();
        for (number, (device_id, step, knows, knows_all, also_knows, at_ms)) in rows.into_iter().enumerate() {
            let counter = heads.get(&device_id) + step;
            heads.raise(&device_id, counter).unwrap();
            let mut also = VectorClock::new();
            if let Some((other, counter)) = also_knows {
                also.raise(&other, counter).unwrap();
            }
            let timestamp = Stamp::Millis(at_ms);
            let message = Message { id: format!("m{number}"), session_id: "s".into(), timestamp, ..Message::default() };
            let knows = if knows_all { number } else { knows.index(number + 1) } as u64;
            let sequence_number = number as u64 + 1;
            log.push(Entry { message, device_id, counter, knows, also, sequence_number, server_timestamp: at_ms, ..Entry::default() });
        }
        log
    })
}

/// One field of all that an author fixes becomes another.
const CHANGES: [fn(&mut Entry); 18] = [
    |entry| entry.counter += 1,
    |entry| entry.knows += 1,
    |entry| entry.also.raise("another", 1).unwrap(),
    |entry| entry.also.raise("a", entry.also.get("a") + 1).unwrap(),
    |entry| entry.extensions = Extensions::from(&[entry.extensions.bytes(), &[0]].concat()[..]),
    |entry| entry.message.id.push('x'),
    |entry| entry.message.sender_wallet.push('x'),
    |entry| entry.message.ciphertext.push('x'),
    |entry| entry.message.ciphertext.insert(0, '\0'),
    |entry| entry.message.timestamp = Stamp::Text(format!("{:?} ", entry.message.timestamp)),
    |entry| entry.message.timestamp = Stamp::Millis(entry.message.timestamp.ms() ^ 1),
    |entry| entry.message.timestamp = if let Stamp::Iso(ms) = entry.message.timestamp { Stamp::Millis(ms) } else { Stamp::Iso(5) },
    |entry| entry.message.content_type = entry.message.content_type.as_ref().map_or_else(|| Some(String::new()), |_| None),
    |entry| entry.message.replaces = entry.message.replaces.as_ref().map_or_else(|| Some(String::new()), |_| None),
    |entry| {
        let Message { content_type, replaces, .. } = &mut entry.message;
        if content_type == replaces {
            (*content_type, *replaces) = (Some("x".into()), None);
        }
        std::mem::swap(content_type, replaces);
    },
    |entry| entry.message.kind.0 ^= 1,
    |entry| entry.message.kind.0 ^= 1 << 31,
    |entry| entry.message.extra = Extra::from(if entry.message.extra.is_empty() { "{}" } else { "" }),
];
