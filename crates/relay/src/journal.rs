//! The journal: one SQLite file, and the one thread that reads and writes it.
//!
//! Writing waits for the disk, so the thread takes everything that waits in its queue and stores it in one
//! transaction: many messages share one wait (group commit). Nothing is answered before that transaction is on the
//! disk. Reads share the thread because they must see the appends asked before them, and because they are short.
//!
//! Before and after each group, and twice a second in between, the thread sees whether the journal's files are still
//! those at its path (see [`crate::place`]). Where they are not, every question fails until the same files are back: what
//! would be acknowledged would be lost. The process stays, because what was acknowledged before is in the files that it
//! holds, and an operator can still copy them.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior};
use solconnect_sync_core::relay::{JournalAnswer, JournalQuestion, Ticket};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;
use tracing::{error, info};

use crate::notes::Notes;
use crate::place::{Place, Watch};
use crate::store::{self, Reason};

/// Questions answered together at most: bounds how long the first of them waits for the last.
const GROUP_QUESTIONS_MAX: usize = 1_024;

/// How often the files are looked at while nothing is asked: an operator hears of it within a second.
const CHECK_INTERVAL_MS: u64 = 500;

/// An answer and the question it belongs to.
pub type Answer = (Ticket, JournalAnswer);

/// The handle of the journal's thread.
pub struct Journal {
    questions: Sender<(Ticket, JournalQuestion)>,
    answers: UnboundedSender<Answer>,
    thread: JoinHandle<()>,
    trouble: watch::Receiver<Option<Reason>>,
    sessions: u64,
    entries: u64,
}

impl Journal {
    /// Opens the file, making it where there is none, and starts the thread. Answers go to `answers`; there is one
    /// for every question but [`JournalQuestion::Note`], and no more, so that channel needs no bound of its own.
    ///
    /// # Errors
    /// A sentence for the operator, where the file cannot be opened or made, is in use by another process, is no journal,
    /// or was written by a newer version.
    pub fn open(path: &Path, answers: UnboundedSender<Answer>) -> Result<Journal, String> {
        let (trouble_in, trouble) = watch::channel(None);
        let writer = Writer::open(path, answers.clone(), trouble_in)?;
        let (sessions, entries) = store::count(&writer.connection).map_err(store::reason)?;
        let (questions, received) = channel();
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run(&received))
            .map_err(|error| format!("the journal's thread cannot be started: {error}"))?;
        Ok(Journal { questions, answers, thread, trouble, sessions, entries })
    }

    /// How many sessions there were when it was opened.
    pub fn sessions(&self) -> u64 {
        self.sessions
    }

    /// How many entries there were when it was opened.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Why nothing can be stored at present; `None` while all is well.
    pub fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.trouble.clone()
    }

    /// Asks. Never waits; questions are answered in their order.
    pub fn ask(&self, ticket: Ticket, question: JournalQuestion) {
        if let Err(refused) = self.questions.send((ticket, question)) {
            let (ticket, question) = refused.0;
            if !matches!(question, JournalQuestion::Note { .. }) {
                let answer = JournalAnswer::Failed { reason: "the journal has stopped".to_owned() };
                // Where nobody listens any more, nobody waits either.
                let _ = self.answers.send((ticket, answer));
            }
        }
    }

    /// Stores what still waits, and closes the file. Blocks until it is done.
    pub fn close(self) {
        drop(self.questions);
        if self.thread.join().is_err() {
            error!("the journal's thread panicked");
        }
    }
}

struct Writer {
    connection: Connection,
    watch: Watch,
    answers: UnboundedSender<Answer>,
    notes: Notes,
    trouble: watch::Sender<Option<Reason>>,
}

impl Writer {
    fn open(path: &Path, answers: UnboundedSender<Answer>, trouble: watch::Sender<Option<Reason>>) -> Result<Writer, Reason> {
        let place = Place::take(path)?;
        let connection = store::open(&place, path)?;
        Ok(Writer { connection, watch: Watch::new(place)?, answers, notes: Notes::default(), trouble })
    }

    fn run(mut self, questions: &Receiver<(Ticket, JournalQuestion)>) {
        loop {
            let interval = Duration::from_millis(CHECK_INTERVAL_MS);
            let wait = self.notes.due.map_or(interval, |due| due.saturating_duration_since(Instant::now()).min(interval));
            match questions.recv_timeout(wait) {
                Ok(first) => {
                    let group: Vec<_> = std::iter::once(first).chain(questions.try_iter().take(GROUP_QUESTIONS_MAX - 1)).collect();
                    self.answer(group);
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.check();
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.notes.due.is_some_and(|due| due <= Instant::now()) {
                self.write_notes();
            }
        }
        self.write_notes();
        let lost = self.check().is_some();
        if let Err(error) = store::close(self.connection, lost) {
            error!("closing the journal failed: {error}");
        }
    }

    /// Why the files cannot be used now, if they cannot. Says so once.
    fn check(&self) -> Option<Reason> {
        let lost = self.watch.check().err();
        self.tell(lost.clone());
        lost
    }

    fn tell(&self, trouble: Option<Reason>) {
        self.trouble.send_if_modified(|known| {
            let is_news = *known != trouble;
            match &trouble {
                Some(reason) if is_news => error!(
                    "the journal is lost, and nothing is stored or read: {reason}. What was acknowledged is in the files that this \
                     process holds open: copy them before you stop it, or put the same files back"
                ),
                None if is_news => info!("the journal is back"),
                _ => {}
            }
            *known = trouble;
            is_news
        });
    }

    fn answer(&mut self, group: Vec<(Ticket, JournalQuestion)>) {
        let appends = group.iter().any(|(_, question)| matches!(question, JournalQuestion::Append { .. }));
        let answers = match self.check() {
            Some(reason) => failed(&group, &reason),
            None if appends => self.store(&group),
            None => self.read_only(&group, ""),
        };
        for answer in answers {
            // Where nobody listens any more, nobody waits either.
            let _ = self.answers.send(answer);
        }
    }

    /// Answers a group that has appends, in one transaction.
    fn store(&mut self, group: &[(Ticket, JournalQuestion)]) -> Vec<Answer> {
        let result = self.commit(group);
        if let Err(lost) = self.watch.written() {
            self.check();
            return failed(group, &lost);
        }
        match result {
            Ok(answers) => answers,
            Err(reason) => {
                error!("the journal stored nothing of a group of {} questions: {reason}", group.len());
                // What may be lost is: kept, it would fail again and again and grow meanwhile.
                self.notes = Notes::default();
                self.read_only(group, &reason)
            }
        }
    }

    /// The answers of the group, if all that they say is on the disk. Otherwise why nothing is.
    fn commit(&mut self, group: &[(Ticket, JournalQuestion)]) -> Result<Vec<Answer>, Reason> {
        let mut answers = Vec::with_capacity(group.len());
        let mut transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(store::reason)?;
        for (ticket, question) in group {
            let answer = match question {
                JournalQuestion::Append { session_id, entries, devices, members, group, epochs } => {
                    // Its own savepoint, so that it fails alone.
                    let savepoint = transaction.savepoint().map_err(store::reason)?;
                    let done = store::append(&savepoint, session_id, entries, devices, members, group.as_ref(), epochs.as_deref())
                        .and_then(|()| savepoint.commit().map_err(store::reason));
                    if let Err(reason) = &done {
                        error!("an append failed: {reason}");
                        // A full or failing disk may make SQLite roll everything back by itself.
                        if transaction.is_autocommit() {
                            return Err(reason.clone());
                        }
                    }
                    self.notes.supersede(session_id, devices, members);
                    Some(done.map_or_else(|reason| JournalAnswer::Failed { reason }, |()| JournalAnswer::Appended))
                }
                other => look_up(&transaction, &mut self.notes, other),
            };
            answers.extend(answer.map(|answer| (*ticket, answer)));
        }
        let notes = std::mem::take(&mut self.notes);
        let savepoint = transaction.savepoint().map_err(store::reason)?;
        if let Err(error) = notes.write(&savepoint).and_then(|()| savepoint.commit()) {
            error!("devices and receipts were not stored: {error}");
            if transaction.is_autocommit() {
                return Err(store::reason(error));
            }
        }
        transaction.commit().map_err(store::reason)?;
        Ok(answers)
    }

    /// Answers a group with appends failing for this reason.
    fn read_only(&mut self, group: &[(Ticket, JournalQuestion)], reason: &str) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(group.len());
        for (ticket, question) in group {
            let answer = match question {
                JournalQuestion::Append { .. } => Some(JournalAnswer::Failed { reason: reason.to_owned() }),
                other => look_up(&self.connection, &mut self.notes, other),
            };
            answers.extend(answer.map(|answer| (*ticket, answer)));
        }
        answers
    }

    fn write_notes(&mut self) {
        let notes = std::mem::take(&mut self.notes);
        if notes.due.is_none() || self.check().is_some() {
            return;
        }
        let write = || -> rusqlite::Result<()> {
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            notes.write(&transaction)?;
            transaction.commit()
        };
        if let Err(error) = { write }() {
            error!("devices and receipts were not stored: {error}");
        }
        if self.watch.written().is_err() {
            self.check();
        }
    }
}

/// Answers a group whose questions all failed. Notes are let go: they may be lost.
fn failed(group: &[(Ticket, JournalQuestion)], reason: &str) -> Vec<Answer> {
    let asked = group.iter().filter(|(_, question)| !matches!(question, JournalQuestion::Note { .. }));
    asked.map(|(ticket, _)| (*ticket, JournalAnswer::Failed { reason: reason.to_owned() })).collect()
}

/// Answers anything but an append.
fn look_up(connection: &Connection, notes: &mut Notes, question: &JournalQuestion) -> Option<JournalAnswer> {
    let answer = match question {
        JournalQuestion::Note { session_id, devices, watermarks, members } => {
            notes.add(session_id.clone(), devices.clone(), watermarks.clone(), members.clone());
            return None;
        }
        JournalQuestion::Append { .. } => return None,
        JournalQuestion::Load { session_id } => {
            store::load(connection, session_id).map(|stored| JournalAnswer::Session(notes.complete(session_id, stored)))
        }
        JournalQuestion::Read { session_id, from, count_max, bytes_max } => {
            store::read(connection, session_id, *from, *count_max, *bytes_max).map(JournalAnswer::Entries)
        }
        JournalQuestion::Find { session_id, counters, keys, places } => {
            store::find(connection, session_id, counters, keys, places).map(JournalAnswer::Entries)
        }
        JournalQuestion::Clocks { session_id, at } => store::clocks(connection, session_id, at).map(JournalAnswer::Clocks),
        JournalQuestion::Sessions { wallet, after, count_max, account_id, sealed } => {
            let sessions = store::sessions_of(connection, wallet, after.as_deref(), *count_max, account_id.as_deref(), *sealed);
            sessions.map(|sessions| JournalAnswer::Sessions(notes.complete_list(wallet, sessions)))
        }
    };
    Some(answer.unwrap_or_else(|reason| {
        error!("reading the journal failed: {reason}");
        JournalAnswer::Failed { reason }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use solconnect_sync_core::relay::{DeviceRow, StoredEntry};

    fn entry(sequence: u64, body_bytes: usize) -> StoredEntry {
        let body = solconnect_sync_core::batch::Batch::from_bytes(&vec![7; body_bytes]);
        StoredEntry { sequence, device_id: "d".to_owned(), counter: sequence, key: None, log_hash: [7; 32], signature: None, body }
    }

    fn row(sequence: u64) -> DeviceRow {
        let (last_counter, last_sequence, last_digest) = (sequence, sequence, [9; 32]);
        DeviceRow { device_id: "d".to_owned(), last_counter, last_sequence, last_digest, ..DeviceRow::default() }
    }

    fn append(session: &str, sequence: u64, body_bytes: usize) -> JournalQuestion {
        let device = row(sequence);
        JournalQuestion::Append {
            session_id: session.to_owned(),
            entries: vec![entry(sequence, body_bytes)],
            devices: vec![device],
            members: Vec::new(),
            group: None,
            epochs: None,
        }
    }

    fn writer(path: &Path) -> (Writer, tokio::sync::mpsc::UnboundedReceiver<Answer>) {
        let (answers, received) = tokio::sync::mpsc::unbounded_channel();
        (Writer::open(path, answers, watch::channel(None).0).unwrap(), received)
    }

    fn answers(
        writer: &mut Writer,
        received: &mut tokio::sync::mpsc::UnboundedReceiver<Answer>,
        questions: Vec<JournalQuestion>,
    ) -> Vec<JournalAnswer> {
        writer.answer(questions.into_iter().zip(0..).map(|(question, ticket)| (ticket, question)).collect());
        std::iter::from_fn(|| received.try_recv().ok()).map(|(_, answer)| answer).collect()
    }

    fn load(session: &str) -> JournalQuestion {
        JournalQuestion::Load { session_id: session.to_owned() }
    }

    #[test]
    fn a_commit_waits_for_the_disk_i1() {
        let folder = tempfile::tempdir().unwrap();
        let (writer, _received) = writer(&folder.path().join("journal.db"));
        let mode: String = writer.connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        let synchronous: i64 = writer.connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
        // 2 is FULL.
        assert_eq!((mode.as_str(), synchronous), ("wal", 2));
    }

    #[test]
    fn a_failing_append_does_not_fail_its_group() {
        let folder = tempfile::tempdir().unwrap();
        let (mut writer, mut received) = writer(&folder.path().join("journal.db"));
        let group = vec![append("a", 1, 9), append("a", 7, 9), append("b", 1, 9), append("a", 2, 9), load("a")];
        let answers = answers(&mut writer, &mut received, group);
        assert_eq!(answers[0], JournalAnswer::Appended);
        assert!(matches!(&answers[1], JournalAnswer::Failed { reason } if reason.contains("next is 2")), "{answers:?}");
        assert_eq!(answers[2], JournalAnswer::Appended);
        assert_eq!(answers[3], JournalAnswer::Appended);
        assert!(matches!(&answers[4], JournalAnswer::Session(session) if session.head == 2 && session.devices[0].last_counter == 2));
    }

    #[test]
    fn a_full_disk_fails_the_group_but_not_the_journal_f14() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        let (mut writer, mut received) = writer(&path);
        assert_eq!(answers(&mut writer, &mut received, vec![append("a", 1, 100)]), [JournalAnswer::Appended]);
        let pages: i64 = writer.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        writer.connection.pragma_update(None, "max_page_count", pages + 2).unwrap();
        let group = vec![append("a", 2, 1_000_000), append("b", 1, 1_000_000), load("a")];
        let full = answers(&mut writer, &mut received, group);
        assert!(matches!(&full[0], JournalAnswer::Failed { reason } if reason.contains("full")), "{full:?}");
        assert!(matches!(&full[1], JournalAnswer::Failed { .. }));
        assert!(matches!(&full[2], JournalAnswer::Session(session) if session.head == 1), "reads are answered all the same");
        writer.connection.pragma_update(None, "max_page_count", pages + 1_000).unwrap();
        assert_eq!(answers(&mut writer, &mut received, vec![append("a", 2, 1_000_000)]), [JournalAnswer::Appended]);
    }

    #[test]
    fn what_is_noted_never_changes_what_the_log_says_of_a_device() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        let noted = DeviceRow { device_id: "d".to_owned(), last_counter: 9, last_sequence: 9, last_seen_ms: 5, ..DeviceRow::default() };
        let note = JournalQuestion::Note { session_id: "a".to_owned(), devices: vec![noted], watermarks: Vec::new(), members: Vec::new() };
        let (mut first, mut received) = writer(&path);
        let questions = vec![append("a", 1, 9), note, load("a")];
        let expected = [DeviceRow { last_seen_ms: 5, ..row(1) }];
        let Some(JournalAnswer::Session(before)) = answers(&mut first, &mut received, questions).pop() else { panic!() };
        assert_eq!(before.devices, expected);
        first.write_notes();
        drop(first);
        let (mut second, mut received) = writer(&path);
        let Some(JournalAnswer::Session(after)) = answers(&mut second, &mut received, vec![load("a")]).pop() else { panic!() };
        assert_eq!(after.devices, expected);
    }
}
