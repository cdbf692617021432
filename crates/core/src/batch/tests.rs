use super::*;

const SESSION: &str = "a3bb189e-8bf9-8888-9912-ace4e6543002";

/// A log in which `devices` take turns and know all that came before.
fn log(devices: usize, texts: &[&str]) -> Vec<Entry> {
    let mut heads = VectorClock::new();
    let entry = |(number, text): (usize, &&str)| {
        let device = format!("device-{:010}", number * 7 % devices);
        let counter = heads.tick(&device).unwrap();
        let ms = 1_700_000_000_000 + number as u64 * 30_000;
        let message = Message {
            id: message_id(SESSION, &device, counter),
            sender_wallet: "So11111111111111111111111111111111111111112".into(),
            ciphertext: (*text).to_owned(),
            timestamp: Stamp::Iso(ms),
            session_id: SESSION.into(),
            ..Message::default()
        };
        let sequence_number = number as u64 + 1;
        Entry { message, sequence_number, vector_clock: heads.clone(), server_timestamp: ms + 20, original_device_id: device }
    };
    texts.iter().enumerate().map(entry).collect()
}

#[test]
fn a_message_costs_few_bytes_beside_its_text() {
    let texts: Vec<&str> = std::iter::repeat_n("does a subversion gnome client exist?", 100).collect();
    let batch = Batch::of(&log(5, &texts)).unwrap();
    let beside = batch.bytes().len() - texts.iter().map(|text| text.len()).sum::<usize>();
    assert!(beside <= 24 * texts.len(), "{} bytes for each message", beside / texts.len());
}

#[test]
fn a_message_that_follows_tells_its_times_and_text_only() {
    let entries = log(1, &["~"; 3]);
    let bytes = |count: usize| Batch::of(&entries[..count]).unwrap().bytes().len();
    let (kind, stamp, server, length, text) = (1, 3, 3, 1, 1);
    assert_eq!(bytes(3) - bytes(2), kind + stamp + server + length + text);
}

#[test]
fn every_field_comes_back_in_every_form() {
    let changes: [fn(&mut Message); 12] = [
        |_| {},
        |message| message.id = "of another form".into(),
        |message| message.id = message_id(SESSION, "another device", 2),
        |message| message.sender_wallet = "another".into(),
        |message| message.ciphertext = Base64::encode_string(&[7; 9]),
        |message| message.timestamp = Stamp::Millis(5),
        |message| message.timestamp = Stamp::Text("yesterday".into()),
        |message| message.content_type = Some("text/x".into()),
        |message| message.replaces = Some("m".into()),
        |message| message.first_id = Some("f".into()),
        |message| message.deleted = true,
        |message| message.extra = r#"{"a":1}"#.into(),
    ];
    let comes_back = |changed: &dyn Fn(&mut Message)| {
        let mut entries = log(1, &["a", "b", "c"]);
        changed(&mut entries[1].message);
        assert_eq!(Batch::of(&entries).unwrap().entries().as_ref(), Ok(&entries));
    };
    changes.iter().for_each(|change| comes_back(change));
    comes_back(&|message| changes.iter().for_each(|change| change(message)));
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
fn ciphertext_in_base64_is_stored_as_the_bytes_that_it_means() {
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
fn a_batch_is_compressed_from_a_kibibyte_on_and_where_it_saves_a_tenth() {
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
fn a_batch_of_which_the_end_does_not_shrink_is_not_tried_further() {
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
    assert_eq!(Batch(bytes.into()).entries(), Err(Malformed("a count or place is out of range")));
}

#[test]
fn clocks_grow_no_further_than_the_limit() {
    // Rows without a difference stand for clocks of a thousand devices each.
    let mut heads = VectorClock::new();
    for number in 0..CLOCK_DEVICES_MAX {
        heads.raise(&format!("device-{number}"), 5).unwrap();
    }
    let entry = |number: u64| {
        let mut vector_clock = heads.clone();
        vector_clock.raise("device-0", 5 + number).unwrap();
        let message = Message { id: message_id("s", "device-0", 5 + number), session_id: "s".into(), ..Message::default() };
        Entry { message, sequence_number: number, vector_clock, server_timestamp: 0, original_device_id: "device-0".into() }
    };
    let entries: Vec<Entry> = (1..=200).map(entry).collect();
    let sizes: Vec<usize> = Batch::split(&entries, INFLATED_BYTES_MAX).map(|(taken, _)| taken.len()).collect();
    assert_eq!(sizes, [64, 64, 64, 8]);
    let (_, batch) = Batch::split(&entries, INFLATED_BYTES_MAX).next().unwrap();
    let mut bytes = batch.bytes().to_vec();
    let count_at = 2 + 2 + 1;
    assert_eq!(bytes[count_at], 64);
    bytes[count_at] = 65;
    assert!(Batch(bytes.into()).entries().is_err());
}

#[test]
fn what_was_pushed_and_did_not_fit_leaves_no_trace() {
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
fn a_message_that_did_not_fit_leaves_no_wallet_to_its_device() {
    let long = "~".repeat(400);
    let tried = |wallets: [&str; 3], wrote_before: bool| {
        let mut entries = log(1, &["a", &long, "b"]);
        if !wrote_before {
            entries[0].original_device_id = "another".into();
        }
        entries[2].sequence_number = 2;
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
fn entries_of_one_batch_are_of_one_session_and_follow_each_other() {
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
fn a_batch_is_as_long_as_it_may_be_with_all_its_names() {
    let mut entries = log(1, &["~"; 300]);
    for (number, entry) in entries.iter_mut().enumerate() {
        entry.original_device_id = format!("{number:0>100}");
        entry.message.sender_wallet = format!("{:0>80}", number / 10);
        entry.vector_clock = VectorClock::new();
        entry.vector_clock.tick(&entry.original_device_id).unwrap();
    }
    let batches: Vec<(usize, usize)> = Batch::split(&entries, 10_000).map(|(taken, batch)| (taken.len(), batch.bytes().len())).collect();
    let (_, whole) = batches.split_last().unwrap();
    assert!(whole.len() >= 2 && whole.iter().all(|(_, bytes)| (9_500..=10_200).contains(bytes)), "{batches:?}");
    let each = Batch::split(&entries, 0).map(|(taken, batch)| (taken.len(), batch.entries().unwrap().len()));
    assert!(each.eq(std::iter::repeat_n((1, 1), 300)), "one fits in any case");
}

#[test]
fn a_batch_names_so_many_devices_and_no_more() {
    let of = |counts: &[usize]| {
        let mut devices = (0..).map(|number| format!("device-{number}"));
        let entry = |(sequence_number, count): (u64, &usize)| {
            let mut vector_clock = VectorClock::new();
            devices.by_ref().take(*count).for_each(|device| vector_clock.raise(&device, 1).unwrap());
            let original_device_id = vector_clock.iter().next().unwrap().0.to_owned();
            let message = Message { session_id: "s".into(), ..Message::default() };
            Entry { message, sequence_number, vector_clock, server_timestamp: 0, original_device_id }
        };
        let entries: Vec<Entry> = (1..).zip(counts).map(entry).collect();
        Batch::of(&entries).map(|batch| assert_eq!(batch.entries().as_ref(), Ok(&entries)))
    };
    assert_eq!(of(&[CLOCK_DEVICES_MAX, CLOCK_DEVICES_MAX]), Ok(()));
    assert!(of(&[CLOCK_DEVICES_MAX, CLOCK_DEVICES_MAX, 1]).is_err());
    assert!(of(&[CLOCK_DEVICES_MAX, CLOCK_DEVICES_MAX, 2]).is_err());
}

/// What no encoder writes: so many wallets and devices, and these rows, of which each tells what it is.
struct Raw {
    first: u64,
    count: u64,
    wallets: usize,
    devices: usize,
    rows: Vec<u8>,
    texts: &'static [u8],
}

/// A row that tells nothing: the next message of the same device, without a text.
const PLAIN: [u8; 4] = [0, 0, 0, 0];

impl Raw {
    fn of(rows: &[u8]) -> Raw {
        Raw { first: 1, count: 1, wallets: 1, devices: 1, rows: rows.to_vec(), texts: &[] }
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
            put_varint(&mut bytes, 0);
        }
        put_bytes(&mut bytes, &self.rows);
        bytes.extend_from_slice(self.texts);
        Batch(bytes.into()).entries()
    }

    fn is_read(&self) -> bool {
        self.entries().is_ok()
    }
}

/// A row whose clock has these differences, at these places.
fn clock_row(changes: &[(u64, i64)]) -> Vec<u8> {
    let mut row = vec![row::CLOCK as u8];
    put_varint(&mut row, changes.len() as u64);
    for (place, change) in changes {
        put_varint(&mut row, *place);
        put_signed(&mut row, *change);
    }
    [&row[..], &PLAIN[1..]].concat()
}

#[test]
fn a_batch_is_read_up_to_its_limits_and_no_further() {
    let plain = |count: u64| Raw { count, ..Raw::of(&PLAIN.repeat(count as usize)) };
    assert!(plain(BATCH_MESSAGES_MAX as u64).is_read() && !plain(BATCH_MESSAGES_MAX as u64 + 1).is_read());
    let first = |first| Raw { first, ..Raw::of(&PLAIN) };
    let last_first = INTEGER_MAX - BATCH_MESSAGES_MAX as u64;
    assert!(first(last_first).is_read() && !first(last_first + 1).is_read() && !first(last_first + 2).is_read());
    let wallets = |wallets| Raw { wallets, ..Raw::of(&PLAIN) };
    assert!(wallets(BATCH_MESSAGES_MAX).is_read() && !wallets(BATCH_MESSAGES_MAX + 1).is_read() && !wallets(0).is_read());
    let devices = |devices| Raw { devices, ..Raw::of(&PLAIN) };
    assert!(devices(2 * CLOCK_DEVICES_MAX).is_read() && !devices(2 * CLOCK_DEVICES_MAX + 1).is_read() && !devices(0).is_read());
}

#[test]
fn a_clock_is_read_up_to_its_limits_and_no_further() {
    let changed = |changes: &[(u64, i64)]| Raw { devices: 3, ..Raw::of(&clock_row(changes)) };
    let clock = |raw: Raw| raw.entries().unwrap()[0].vector_clock.to_string();
    assert_eq!(clock(changed(&[(0, 4), (1, 2), (2, 0)])), r#"{"d0":5,"d1":2}"#);
    assert!(!changed(&[(0, 1), (1, 1), (2, 1), (2, 1)]).is_read(), "more changes than devices");
    assert!(!changed(&[(3, 1)]).is_read() && !changed(&[(1, -1)]).is_read());
    let max = INTEGER_MAX.cast_signed();
    assert!(changed(&[(0, max - 1), (1, max)]).is_read());
    assert!(!changed(&[(0, max)]).is_read() && !changed(&[(1, max + 1)]).is_read());
    let last = clock_row(&[(0, max - 1)]);
    assert!(!Raw { count: 2, ..Raw::of(&[&last[..], &PLAIN].concat()) }.is_read(), "no counter follows the last");
    let all = |devices: usize| {
        let changes: Vec<(u64, i64)> = (1..devices as u64).map(|place| (place, 1)).collect();
        Raw { devices, ..Raw::of(&clock_row(&changes)) }
    };
    assert!(all(CLOCK_DEVICES_MAX).is_read() && !all(CLOCK_DEVICES_MAX + 1).is_read());
    // Rows that tell nothing stand for clocks that are as long as the first.
    let repeated = |count: usize| {
        let Raw { rows, .. } = all(CLOCK_DEVICES_MAX);
        let rows = [&rows[..], &PLAIN.repeat(count - 1)].concat();
        Raw { count: count as u64, devices: CLOCK_DEVICES_MAX, ..Raw::of(&rows) }
    };
    let most = CLOCK_ENTRIES_MAX / CLOCK_DEVICES_MAX;
    assert!(repeated(most).is_read() && !repeated(most + 1).is_read());
}

#[test]
fn a_row_says_what_it_may_and_no_more() {
    assert!(Raw::of(&PLAIN).is_read());
    for unknown in [6, 12, 13] {
        let mut row = Vec::new();
        put_varint(&mut row, 1 << unknown);
        assert!(!Raw::of(&[&row[..], &PLAIN[1..]].concat()).is_read(), "bit {unknown}");
    }
    let device = |place: u8| Raw { devices: 2, ..Raw::of(&[row::DEVICE as u8, place, 0, 0, 0]) };
    assert!(device(1).is_read() && !device(2).is_read());
    let wallet = |place: u8| Raw { wallets: 2, ..Raw::of(&[row::WALLET as u8 | 0x80, 1, place, 0, 0, 0]) };
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
    for (at, byte) in [(0, 0), (0, 2), (1, 2), (1, 3)] {
        let mut bytes = batch.bytes().to_vec();
        bytes[at] = byte;
        assert!(Batch(bytes.into()).entries().is_err(), "{byte} at {at}");
    }
    // The same device twice in the table.
    let mut bytes = Batch::of(&log(2, &["a", "b"])).unwrap().bytes().to_vec();
    let at = bytes.windows(10).rposition(|name| name == b"0000000001").unwrap();
    bytes[at + 9] = b'0';
    assert!(Batch(bytes.into()).entries().is_err());
}

#[test]
fn compressed_rows_have_the_size_that_they_name() {
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
    assert_eq!(deflated(INFLATED_BYTES_MAX, &largest), Err(Malformed("a batch goes on after its last row")));
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
