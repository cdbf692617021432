use base64ct::{Base64, Encoding as _};

use super::encoder::from_base64;
use super::*;
use crate::entry::Extensions;
use crate::ids::message_id;
use crate::limits::{ALSO_MAX, BATCH_MESSAGES_MAX, EXTENSIONS_BYTES_MAX, INTEGER_MAX};
use crate::message::{Kind, Message, Stamp};
use crate::wire::{put_bytes, put_name, put_signed};

const SESSION: &str = "a3bb189e-8bf9-8888-9912-ace4e6543002";

/// A log in which `devices` take turns and know all that came before.
fn log(devices: usize, texts: &[&str]) -> Vec<Entry> {
    let mut counters = vec![0; devices];
    let entry = |(number, text): (usize, &&str)| {
        let device = number * 7 % devices;
        counters[device] += 1;
        let (counter, device_id) = (counters[device], format!("device-{device:010}"));
        let ms = 1_700_000_000_000 + number as u64 * 30_000;
        let message = Message {
            id: message_id(SESSION, &device_id, "aB3xY9", counter),
            sender_wallet: "So11111111111111111111111111111111111111112".into(),
            ciphertext: (*text).to_owned(),
            timestamp: Stamp::Iso(ms),
            session_id: SESSION.into(),
            ..Message::default()
        };
        let (sequence_number, knows, server_timestamp) = (number as u64 + 1, number as u64, ms + 20);
        Entry { message, device_id, counter, knows, sequence_number, server_timestamp, ..Entry::default() }
    };
    texts.iter().enumerate().map(entry).collect()
}

#[test]
fn a_message_costs_few_bytes_beside_its_text() {
    let texts: Vec<&str> = std::iter::repeat_n("does a subversion gnome client exist?", 100).collect();
    let batch = Batch::of(&log(5, &texts)).unwrap();
    let beside = batch.bytes().len() - texts.iter().map(|text| text.len()).sum::<usize>();
    assert!(beside <= 12 * texts.len(), "{} bytes for each message", beside / texts.len());
}

#[test]
fn a_following_message_stores_only_its_times_and_text() {
    let entries = log(1, &["~"; 3]);
    let bytes = |count: usize| Batch::of(&entries[..count]).unwrap().bytes().len();
    let (kind, stamp, server, length, text) = (1, 3, 3, 1, 1);
    assert_eq!(bytes(3) - bytes(2), kind + stamp + server + length + text);
}

#[test]
fn a_batch_of_one_message_costs_few_bytes() {
    let bytes = Batch::of(&log(1, &[""])).unwrap().bytes().len();
    assert!(bytes <= 105, "{bytes}");
}

#[test]
fn every_field_comes_back_in_every_form() {
    let changes: [fn(&mut Entry); 18] = [
        |_| {},
        |entry| entry.message.id = "of another form".into(),
        |entry| entry.message.id = message_id(SESSION, "another device", "aB3xY9", 2),
        |entry| entry.message.id = message_id(SESSION, &entry.device_id, "zzzzzz", entry.counter),
        |entry| entry.message.id = message_id(SESSION, &entry.device_id, "", entry.counter),
        |entry| entry.message.sender_wallet = "another".into(),
        |entry| entry.message.ciphertext = Base64::encode_string(&[7; 9]),
        |entry| entry.message.timestamp = Stamp::Millis(5),
        |entry| entry.message.timestamp = Stamp::Text("yesterday".into()),
        |entry| entry.message.timestamp = Stamp::Number(1732.5),
        |entry| entry.message.timestamp = Stamp::Number(-1e300),
        |entry| entry.message.content_type = Some("text/x".into()),
        |entry| entry.message.replaces = Some("m".into()),
        |entry| entry.message.kind = Kind::DELETION,
        |entry| entry.message.extra = r#"{"a":1}"#.into(),
        |entry| entry.extensions = Extensions::from(&[9, 1, 7][..]),
        |entry| entry.knows = 0,
        |entry| entry.also.raise("another device", 7).unwrap(),
    ];
    let comes_back = |changed: &dyn Fn(&mut Entry)| {
        let mut entries = log(1, &["a", "b", "c", "d"]);
        changed(&mut entries[1]);
        assert_eq!(Batch::of(&entries).unwrap().entries().as_ref(), Ok(&entries));
        changed(&mut entries[2]);
        entries.iter_mut().for_each(|entry| entry.sequence_number = 0);
        assert_eq!(Batch::of(&entries).unwrap().entries().as_ref(), Ok(&entries));
    };
    changes.iter().for_each(|change| comes_back(change));
    comes_back(&|entry| changes.iter().for_each(|change| change(entry)));
}

#[test]
fn counters_that_jump_come_back() {
    let mut entries = log(2, &["a", "b", "c", "d", "e"]);
    for (entry, counter) in entries.iter_mut().zip([7, 1, INTEGER_MAX, 2, 3]) {
        entry.counter = counter;
    }
    assert_eq!(Batch::of(&entries).unwrap().entries(), Ok(entries));
}

#[test]
fn unknown_kinds_and_extensions_survive_reading_and_rewriting() {
    let mut entries = log(2, &["a", "b", "c"]);
    entries[1].message.kind = Kind(77);
    // Two fields, of which this version knows neither.
    entries[1].extensions = Extensions::from(&[200, 1, 3, 1, 2, 3, 9, 0][..]);
    let batch = Batch::of(&entries).unwrap();
    let read = batch.entries().unwrap();
    assert_eq!(read, entries);
    assert_eq!(Batch::of(&read).unwrap(), batch);
}

#[test]
fn in_json_a_batch_is_the_list_of_its_entries() {
    let entries = log(2, &["a", "b"]);
    let batch = Batch::of(&entries).unwrap();
    let json = serde_json::to_string(&batch).unwrap();
    assert_eq!(json, serde_json::to_string(&entries).unwrap());
    assert_eq!(serde_json::from_str::<Batch>(&json).unwrap(), batch);
    assert!(serde_json::from_str::<Batch>(&serde_json::to_string(&[&entries[1], &entries[0]]).unwrap()).is_err());
}

#[test]
fn a_batch_of_nothing_has_no_bytes() {
    let nothing = Batch::of(&[]).unwrap();
    assert_eq!((nothing.is_empty(), nothing.bytes(), nothing.entries()), (true, &[][..], Ok(Vec::new())));
    assert!(!Batch::of(&log(1, &["a"])).unwrap().is_empty());
}

#[test]
fn base64_ciphertext_is_stored_as_its_decoded_bytes() {
    let text = Base64::encode_string(&[7; 150]);
    let batch = Batch::of(&log(1, &[&text])).unwrap();
    assert!(batch.bytes().len() < 150 + 110, "{}", batch.bytes().len());
    assert_eq!(batch.entries().unwrap()[0].message.ciphertext, text);
    assert_eq!(from_base64("AAAAAAB="), None, "bits that no encoder sets");
}

#[test]
fn a_batch_is_compressed_only_where_that_pays() {
    let chat: Vec<String> = (0..100).map(|number| format!("{number}: does a subversion gnome client exist?")).collect();
    let chat = Batch::of(&log(3, &chat.iter().map(String::as_str).collect::<Vec<_>>())).unwrap();
    let deflated = chat.deflate();
    assert!(deflated.bytes().len() * 2 < chat.bytes().len());
    assert_eq!(deflated.entries(), chat.entries());
    assert_eq!(deflated.deflate(), deflated, "once");
    let mut random = fastrand::Rng::with_seed(1);
    let cipher: Vec<String> = (0..50).map(|_| Base64::encode_string(&std::array::from_fn::<u8, 150, _>(|_| random.u8(..)))).collect();
    let cipher = Batch::of(&log(3, &cipher.iter().map(String::as_str).collect::<Vec<_>>())).unwrap();
    assert_eq!(cipher.deflate(), cipher);
}

#[test]
fn compressible_rows_are_compressed_from_1024_bytes_on() {
    let of_bytes = |bytes: usize| {
        let batch = |length: usize| Batch::of(&log(1, &["~".repeat(length).as_str()])).unwrap();
        let rows_bytes = |batch: &Batch| Layout::of(batch.bytes()).unwrap().rows.len();
        let batch = batch(500 + bytes - rows_bytes(&batch(500)));
        assert_eq!(rows_bytes(&batch), bytes);
        batch
    };
    assert_eq!(of_bytes(1_023).deflate(), of_bytes(1_023));
    assert!(of_bytes(1_024).deflate().bytes().len() < 200);
    // Letters of which each is one of sixteen take half a byte.
    let mut random = fastrand::Rng::with_seed(1);
    let texts: Vec<String> = (0..50).map(|_| (0..100).map(|_| char::from(b"aeiou nrtsldhcm~"[random.usize(..16)])).collect()).collect();
    let half = Batch::of(&log(1, &texts.iter().map(String::as_str).collect::<Vec<_>>())).unwrap();
    let saved = half.bytes().len() - half.deflate().bytes().len();
    assert!((half.bytes().len() / 4..half.bytes().len() / 2).contains(&saved), "{saved}");
    assert_eq!(half.deflate().entries(), half.entries());
}

#[test]
fn a_batch_with_an_incompressible_end_stays_uncompressed() {
    let mut random = fastrand::Rng::with_seed(1);
    let cipher: Vec<String> = (0..30).map(|_| Base64::encode_string(&std::array::from_fn::<u8, 150, _>(|_| random.u8(..)))).collect();
    let words = "does a subversion gnome client exist? ".repeat(20);
    let texts: Vec<&str> = std::iter::repeat_n(words.as_str(), 30).chain(cipher.iter().map(String::as_str)).collect();
    let batch = Batch::of(&log(1, &texts)).unwrap();
    assert_eq!(batch.deflate(), batch);
}

#[test]
fn a_bomb_is_refused_before_it_is_inflated() {
    let texts: Vec<&str> = std::iter::repeat_n("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 100).collect();
    let batch = Batch::of(&log(1, &texts)).unwrap();
    let tables_end = Layout::of(batch.bytes()).unwrap().tables_end;
    let mut bytes = batch.bytes()[..tables_end].to_vec();
    bytes[1] = DEFLATED;
    put_varint(&mut bytes, INFLATED_BYTES_MAX as u64 + 1);
    bytes.extend(miniz_oxide::deflate::compress_to_vec(&vec![0; INFLATED_BYTES_MAX + 1], 5));
    assert_eq!(Batch(bytes.into()).entries(), Err(Malformed(&"a count or place is out of range")));
}

#[test]
fn an_entry_that_does_not_fit_leaves_no_trace() {
    let long = "x".repeat(400);
    let mut entries = log(2, &["a", &long, "b"]);
    entries[1].message.sender_wallet = "another".into();
    let mut encoder = Encoder::new(&entries[0], 200);
    assert!(encoder.push(&entries[0]));
    assert!(!encoder.push(&entries[1]));
    assert_eq!(encoder.finish(), Batch::of(&entries[..1]).unwrap());
    // What is pushed instead is written as if nothing had been.
    let shorter = Entry { message: Message { ciphertext: "b".into(), ..entries[1].message.clone() }, ..entries[1].clone() };
    let mut encoder = Encoder::new(&entries[0], 200);
    assert!(encoder.push(&entries[0]) && !encoder.push(&entries[1]) && encoder.push(&shorter));
    assert_eq!(encoder.finish(), Batch::of(&[entries[0].clone(), shorter.clone()]).unwrap());
}

#[test]
fn a_message_that_does_not_fit_changes_no_devices_wallet() {
    let long = "~".repeat(400);
    let tried = |wallets: [&str; 3], wrote_before: bool| {
        let mut entries = log(1, &["a", &long, "b"]);
        if !wrote_before {
            entries[0].device_id = "another".into();
        }
        (entries[2].sequence_number, entries[2].knows) = (2, 1);
        for (entry, wallet) in entries.iter_mut().zip(wallets) {
            entry.message.sender_wallet = wallet.into();
        }
        let mut encoder = Encoder::new(&entries[0], 200);
        assert!(encoder.push(&entries[0]) && !encoder.push(&entries[1]) && encoder.push(&entries[2]));
        let batch = encoder.finish();
        entries.remove(1);
        assert_eq!(batch, Batch::of(&entries).unwrap());
        assert_eq!(batch.entries(), Ok(entries));
    };
    for wallets in [["v", "w", "x"], ["v", "v", "w"], ["v", "w", "v"]] {
        tried(wallets, true);
        tried(wallets, false);
    }
}

#[test]
fn a_batch_takes_only_consecutive_entries_of_one_session() {
    let twisted: [fn(&mut Entry); 3] =
        [|entry| entry.message.session_id = "another".into(), |entry| entry.sequence_number = 3, |entry| entry.sequence_number = 1];
    for twist in twisted {
        let mut entries = log(2, &["a", "b"]);
        assert!(Batch::of(&entries).is_ok());
        twist(&mut entries[1]);
        assert!(Batch::of(&entries).is_err(), "{:?}", entries[1]);
    }
}

#[test]
fn split_batches_fill_the_byte_limit_with_names_included() {
    let mut entries = log(1, &["~"; 300]);
    for (number, entry) in entries.iter_mut().enumerate() {
        entry.device_id = format!("{number:0>100}");
        entry.message.sender_wallet = format!("{:0>80}", number / 10);
    }
    let batches: Vec<(usize, usize)> = Batch::split(&entries, 10_000).map(|(taken, batch)| (taken.len(), batch.bytes().len())).collect();
    let (_, whole) = batches.split_last().unwrap();
    assert!(whole.len() >= 2 && whole.iter().all(|(_, bytes)| (9_500..=10_200).contains(bytes)), "{batches:?}");
    let each = Batch::split(&entries, 0).map(|(taken, batch)| (taken.len(), batch.entries().unwrap().len()));
    assert!(each.eq(std::iter::repeat_n((1, 1), 300)), "one fits in any case");
}

/// What no encoder writes: so many wallets and devices, and these rows, of which each tells what it is.
struct Raw {
    first: u64,
    count: u64,
    wallets: usize,
    devices: usize,
    start: &'static [u8],
    before_first: u64,
    rows: Vec<u8>,
    texts: &'static [u8],
}

/// A row that tells nothing: the next message of the same device, without a text.
const PLAIN: [u8; 4] = [0, 0, 0, 0];

impl Raw {
    fn of(rows: &[u8]) -> Raw {
        Raw { first: 1, count: 1, wallets: 1, devices: 1, start: b"", before_first: 0, rows: rows.to_vec(), texts: &[] }
    }

    fn entries(&self) -> Result<Vec<Entry>, Malformed> {
        let mut bytes = vec![LAYOUT, 0];
        put_name(&mut bytes, "s");
        put_varint(&mut bytes, self.first);
        put_varint(&mut bytes, self.count);
        put_varint(&mut bytes, self.wallets as u64);
        (0..self.wallets).for_each(|_| put_name(&mut bytes, "w"));
        put_varint(&mut bytes, self.devices as u64);
        for number in 0..self.devices {
            put_bytes(&mut bytes, format!("d{number}").as_bytes());
            put_bytes(&mut bytes, self.start);
            put_varint(&mut bytes, 0);
            put_varint(&mut bytes, self.before_first);
        }
        put_bytes(&mut bytes, &self.rows);
        bytes.extend_from_slice(self.texts);
        Batch(bytes.into()).entries()
    }

    fn is_read(&self) -> bool {
        self.entries().is_ok()
    }
}

#[test]
fn a_batch_beyond_its_limits_is_refused() {
    let plain = |count: u64| Raw { count, ..Raw::of(&PLAIN.repeat(count as usize)) };
    assert!(plain(BATCH_MESSAGES_MAX as u64).is_read() && !plain(BATCH_MESSAGES_MAX as u64 + 1).is_read());
    let first = |first| Raw { first, ..Raw::of(&PLAIN) };
    let last_first = INTEGER_MAX - BATCH_MESSAGES_MAX as u64;
    assert!(first(last_first).is_read() && !first(last_first + 1).is_read() && !first(last_first + 2).is_read());
    let wallets = |wallets| Raw { wallets, ..Raw::of(&PLAIN) };
    assert!(wallets(BATCH_MESSAGES_MAX).is_read() && !wallets(BATCH_MESSAGES_MAX + 1).is_read() && !wallets(0).is_read());
    let devices = |devices| Raw { devices, ..Raw::of(&PLAIN) };
    assert!(devices(BATCH_MESSAGES_MAX).is_read() && !devices(BATCH_MESSAGES_MAX + 1).is_read() && !devices(0).is_read());
}

/// A row that tells one number or bytes more than [`PLAIN`].
fn row_with(bit: u64, says: &[u8]) -> Vec<u8> {
    let mut row = Vec::new();
    put_varint(&mut row, bit);
    [&row[..], says, &PLAIN[1..]].concat()
}

#[test]
fn a_counter_outside_its_limits_is_refused() {
    let counter = |before_first: u64, change: i64| {
        let mut says = Vec::new();
        put_signed(&mut says, change);
        let raw = Raw { before_first, ..Raw::of(&row_with(row::COUNTER, &says)) };
        raw.entries().ok().map(|entries| entries[0].counter)
    };
    assert_eq!([counter(4, 0), counter(4, 3), counter(4, -4)], [Some(5), Some(8), Some(1)]);
    assert_eq!([counter(4, -5), counter(4, -6), counter(u64::MAX, 0), counter(u64::MAX, -9)], [None; 4]);
    assert_eq!([counter(INTEGER_MAX - 1, 0), counter(INTEGER_MAX, 0)], [Some(INTEGER_MAX), None]);
    let both = Raw { count: 2, before_first: INTEGER_MAX - 1, ..Raw::of(&PLAIN.repeat(2)) };
    assert!(!both.is_read(), "no counter follows the last");
}

#[test]
fn an_entry_can_know_only_places_before_its_own() {
    let knows = |first: u64, says: u64| {
        let mut said = Vec::new();
        put_varint(&mut said, says);
        let raw = Raw { first, ..Raw::of(&row_with(row::KNOWS, &said)) };
        raw.entries().ok().map(|entries| entries[0].knows)
    };
    assert_eq!([knows(7, 0), knows(7, 6), knows(7, 7), knows(7, u64::MAX)], [Some(6), Some(0), None, None]);
    assert_eq!([knows(0, 9), knows(0, INTEGER_MAX), knows(0, INTEGER_MAX + 1)], [Some(9), Some(INTEGER_MAX), None]);
}

#[test]
fn also_extensions_kind_and_start_have_limits() {
    let also = |count: usize| {
        let mut says = vec![count as u8];
        for number in 0..count {
            put_bytes(&mut says, format!("{number}").as_bytes());
            says.push(1);
        }
        Raw::of(&row_with(row::ALSO, &says)).is_read()
    };
    assert!(also(1) && also(ALSO_MAX) && !also(ALSO_MAX + 1));
    assert!(!Raw::of(&row_with(row::ALSO, &[1, 0, 1])).is_read(), "a device without a name");
    let extensions = |bytes: usize| {
        let mut says = Vec::new();
        put_bytes(&mut says, &vec![0; bytes]);
        Raw::of(&row_with(row::EXTENSIONS, &says)).is_read()
    };
    assert!(extensions(0) && extensions(EXTENSIONS_BYTES_MAX) && !extensions(EXTENSIONS_BYTES_MAX + 1));
    let kind = |kind: u64| {
        let mut says = Vec::new();
        put_varint(&mut says, kind);
        Raw::of(&row_with(row::KIND, &says)).is_read()
    };
    assert!(kind(5) && kind(u64::from(u32::MAX)) && !kind(u64::from(u32::MAX) + 1));
    let start = |start| Raw { start, ..Raw::of(&PLAIN) }.is_read();
    assert!(start(b"aB3xY9") && !start(b"aB3xY") && !start(b"aB3xY9z") && !start(b"aB3:Y9"));
}

#[test]
fn malformed_rows_are_refused() {
    assert!(Raw::of(&PLAIN).is_read());
    for unknown in [15, 16, 63] {
        let mut row = Vec::new();
        put_varint(&mut row, 1 << unknown);
        assert!(!Raw::of(&[&row[..], &PLAIN[1..]].concat()).is_read(), "bit {unknown}");
    }
    let device = |place: u8| Raw { devices: 2, ..Raw::of(&[row::DEVICE as u8, place, 0, 0, 0]) };
    assert!(device(1).is_read() && !device(2).is_read());
    let wallet = |place: u8| Raw { wallets: 2, ..Raw::of(&row_with(row::WALLET, &[place])) };
    assert!(wallet(1).is_read() && !wallet(2).is_read());
    let time = |ms: u64| {
        let mut row = vec![0, 0];
        put_signed(&mut row, ms.cast_signed());
        Raw::of(&[&row[..], &[0]].concat())
    };
    assert!(time(INTEGER_MAX).is_read() && !time(INTEGER_MAX + 1).is_read() && !time(INTEGER_MAX + 2).is_read());
    let text = |length: u8, texts| Raw { texts, ..Raw::of(&[0, 0, 0, length]) };
    assert!(text(2, b"hi").is_read());
    assert!(!text(1, b"hi").is_read() && !text(3, b"hi").is_read(), "the texts end where the last one does");
    assert!(!Raw::of(&PLAIN.repeat(2)).is_read() && !Raw::of(&PLAIN[1..]).is_read(), "and so do the rows");
}

#[test]
fn a_batch_of_another_layout_or_kind_is_refused() {
    let batch = Batch::of(&log(1, &["a"])).unwrap();
    for (at, byte) in [(0, 0), (0, 1), (0, 3), (1, 2), (1, 3)] {
        let mut bytes = batch.bytes().to_vec();
        bytes[at] = byte;
        assert!(Batch(bytes.into()).entries().is_err(), "{byte} at {at}");
    }
}

#[test]
fn compressed_rows_must_have_their_declared_size() {
    let batch = Batch::of(&log(1, &["~".repeat(2_000).as_str()])).unwrap();
    let Layout { tables_end, rows, .. } = Layout::of(batch.bytes()).unwrap();
    let deflated = |size: usize, rows: &[u8]| {
        let mut bytes = batch.bytes()[..tables_end].to_vec();
        bytes[1] = DEFLATED;
        put_varint(&mut bytes, size as u64);
        bytes.extend(miniz_oxide::deflate::compress_to_vec(rows, 5));
        Batch(bytes.into()).entries()
    };
    assert_eq!(deflated(rows.len(), rows), batch.entries());
    assert!(deflated(rows.len() + 1, rows).is_err() && deflated(rows.len() - 1, rows).is_err());
    // The largest that there may be is only wrong in what follows the rows.
    let largest = [rows, &vec![0; INFLATED_BYTES_MAX - rows.len()]].concat();
    assert_eq!(deflated(INFLATED_BYTES_MAX, &largest), Err(Malformed(&"a batch goes on after its last row")));
}

#[test]
fn names_have_a_short_form_and_come_back() {
    for (name, bytes) in [
        ("So11111111111111111111111111111111111111112", 33),
        (SESSION, 17),
        ("room", 5),
        ("", 1),
        ("A3BB189E-8BF9-8888-9912-ACE4E6543002", 37),
    ] {
        let mut out = Vec::new();
        put_name(&mut out, name);
        assert_eq!((out.len(), take_name(&mut Reader(&out))), (bytes, Ok(name.to_owned())));
    }
}
