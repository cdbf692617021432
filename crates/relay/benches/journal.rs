//! What the journal costs: SQLite on a real disk, every append synced.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::collections::BTreeMap;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use solconnect_relay::journal::{Answer, Journal};
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::relay::{DeviceRow, JournalAnswer, JournalQuestion, StoredEntry};
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Bytes of a short message as the journal stores it.
const BODY_BYTES: usize = 180;

struct Bench {
    journal: Journal,
    answers: UnboundedReceiver<Answer>,
    heads: BTreeMap<String, u64>,
    /// That write in turn.
    devices: u64,
    _folder: TempDir,
}

impl Bench {
    fn new() -> Bench {
        // Beside the program: a temporary folder of the system may be memory.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let (sender, answers) = unbounded_channel();
        let journal = Journal::open(&folder.path().join("journal.db"), sender).expect("a journal");
        Bench { journal, answers, heads: BTreeMap::new(), devices: 1, _folder: folder }
    }

    /// The next entries of a session, as one append.
    fn append(&mut self, session: &str, count: u64) -> JournalQuestion {
        let head = self.heads.entry(session.to_owned()).or_default();
        let devices = self.devices;
        let device_id = |sequence: u64| format!("3JhYcP8sVbE6u{:04}", sequence % devices);
        let entry = |sequence| StoredEntry {
            sequence,
            device_id: device_id(sequence),
            counter: sequence.div_ceil(devices),
            key: None,
            log_hash: [7; 32],
            signature: None,
            body: Batch::from_bytes(&[7; BODY_BYTES]),
        };
        let entries = (*head + 1..=*head + count).map(entry).collect();
        *head += count;
        let device = DeviceRow { device_id: device_id(*head), last_counter: head.div_ceil(devices), ..DeviceRow::default() };
        JournalQuestion::Append {
            session_id: session.to_owned(),
            entries,
            devices: vec![device],
            members: Vec::new(),
            group: None,
            epochs: None,
        }
    }

    /// Asks all at once and waits for all answers.
    fn ask(&mut self, questions: Vec<JournalQuestion>) {
        let count = questions.len();
        for (question, ticket) in questions.into_iter().zip(0..) {
            self.journal.ask(ticket, question);
        }
        for _ in 0..count {
            let answer = self.answers.blocking_recv();
            assert!(!matches!(answer, None | Some((_, JournalAnswer::Failed { .. }))), "{answer:?}");
        }
    }
}

fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append to the journal, synced");
    group.sample_size(20);
    let mut bench = Bench::new();
    for (name, sessions, messages) in
        [("1 message", 1, 1), ("1 message of each of 100 sessions", 100, 1), ("1,000 messages of a session", 1, 1_000)]
    {
        group.throughput(Throughput::Elements(sessions * messages));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let questions = (0..sessions).map(|session| bench.append(&format!("session-{session}"), messages)).collect();
                bench.ask(questions);
            });
        });
    }
}

fn read(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read from the journal, out of 100,000 messages");
    let mut bench = Bench::new();
    for _ in 0..100 {
        let question = bench.append("session", 1_000);
        bench.ask(vec![question]);
    }
    for count in [1, 100, 1_000] {
        group.throughput(Throughput::Elements(count));
        let mut from = 1;
        group.bench_function(format!("{count} messages"), |bencher| {
            bencher.iter(|| {
                from = (from + 7_919) % 99_000 + 1;
                let session_id = "session".to_owned();
                bench.ask(vec![JournalQuestion::Read { session_id, from, count_max: count as usize, bytes_max: 256 * 1024 }]);
            });
        });
    }
}

fn clocks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("clocks of 100 places out of 100,000 messages");
    group.sample_size(20);
    for devices in [2, 1_000] {
        let mut bench = Bench::new();
        bench.devices = devices;
        for _ in 0..100 {
            let question = bench.append("session", 1_000);
            bench.ask(vec![question]);
        }
        for (places, step) in [("one after the other", 1), ("all over the log", 990)] {
            let mut from = 1;
            group.bench_function(format!("{devices} devices, {places}"), |bencher| {
                bencher.iter(|| {
                    from = (from + 7_919) % (99_900 - 100 * step + 1) + 1;
                    let at = (0..100).map(|place| from + place * step).collect();
                    bench.ask(vec![JournalQuestion::Clocks { session_id: "session".to_owned(), at }]);
                });
            });
        }
    }
}

criterion_group!(benches, append, read, clocks);
criterion_main!(benches);
