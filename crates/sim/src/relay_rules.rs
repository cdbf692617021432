//! What the relay shows: what it asks of its journal, what it sends, and what it holds.

use std::rc::Rc;

use solconnect_sync_core::entry::{Digest, Entry};
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::frame::{Body, Encoding, ErrorBody, Payload, SeedEntry, SignedIn};
use solconnect_sync_core::identity::{Challenge, Claim, DomainSet, Owner, Statement, device_id};
use solconnect_sync_core::ids::{DeviceId, SessionId, is_account_id, is_sealed_id, parse_message_id, start_of};
use solconnect_sync_core::limits::{
    ALSO_MAX, BATCH_MESSAGES_MAX, FRAME_BYTES_MAX, INTEGER_MAX, SOCKET_QUEUE_BYTES_CUT, SOCKET_QUEUE_BYTES_MAX, SOCKET_STALL_MS_MAX,
    UNACKNOWLEDGED_MESSAGES_MAX, UPDATE_QUEUE_MESSAGES_MAX,
};
use solconnect_sync_core::log::LogHead;
use solconnect_sync_core::message::Kind;
use solconnect_sync_core::relay::StoredEntry;
use solconnect_sync_core::vector_clock::VectorClock;

use crate::checker::{Checker, ConnectionView, Mark, Named, Waiting, Window};
use crate::faults::Fault;
use crate::hostile::QUEUED_AGAIN;
use crate::ledger::Fate;
use crate::network::ConnectionId;
use crate::relay_disk::Journal;
use crate::signers::relay_key;
use crate::world::Context;

impl Checker {
    /// The journal has stored these and the relay is told so: from now on they are in the log for ever.
    pub fn appended(&mut self, session_id: &str, stored: &[StoredEntry]) {
        for stored in stored {
            match stored.body.entries().map(|mut entries| (entries.len(), entries.pop())) {
                Ok((1, Some(entry))) => self.log_goes_on(session_id, entry, stored),
                _ => self.violate(22, format!("entry {} of the journal cannot be read", stored.sequence)),
            }
        }
    }

    fn log_goes_on(&mut self, session_id: &str, entry: Entry, stored: &StoredEntry) {
        if let Ok(Statement { claim: Claim::Succeed(_), .. }) = Statement::of(&entry) {
            self.mark(Mark::Succeeded);
        }
        let log = self.ledger.log(session_id);
        let (device, counter, sequence) = (entry.device_id.clone(), entry.counter, entry.sequence_number);
        let follows = sequence == log.head() + 1 && sequence == stored.sequence;
        let own_head = log.head_of(&device, sequence);
        let repeats = log.place_of(&device, counter).is_some() || counter == 0 || stored.counter != counter || stored.device_id != device;
        let (knows, beside, extended) = (entry.knows, entry.also.len(), !entry.extensions.is_empty());
        let head = log.head();
        let kind = entry.message.kind;
        let opened = self.ledger.opened(&entry);
        let log = self.ledger.log(session_id);
        let text = &opened.message.ciphertext;
        let queued_again = text.starts_with(QUEUED_AGAIN);
        let twice = queued_again && log.entries().iter().any(|before| before.message.ciphertext == *text);
        let namesake = log.place_of_name(&entry.message.sender_wallet, &entry.message.id);
        // The relay's own ids are for messages of seed clients. Such a client, and nobody else, can have given that id to
        // another of its messages before.
        let is_given = start_of(&entry.message.id, session_id, &device, counter) == Some("");
        let is_own = namesake.and_then(|place| log.entry(place)).is_some_and(|named| named.device_id == device);
        let is_voided = self.voided.contains(&(session_id.to_owned(), device.clone(), counter));
        self.require(5, follows, || format!("the log of {session_id} goes on with {sequence} after {head}"));
        self.require(3, !repeats, || {
            format!("counter {counter} of {device} is used a second time in the log of {session_id}, at {sequence}")
        });
        self.require_where(3, !(is_given && is_own) && kind != Kind::VOID, namesake.is_none(), || {
            format!("{} of one wallet stands at {namesake:?} of {session_id}, and again at {sequence}", entry.message.id)
        });
        self.require(11, counter > own_head, || format!("counter {counter} of {device} comes after its counter {own_head}, at {sequence}"));
        // The application was told that the message is not sent: then nothing of it stands there.
        let honest = self.device_ids.contains(&device);
        self.require_where(2, honest && kind == Kind::VOID, is_voided && text.is_empty(), || {
            format!("void {sequence} of {session_id} stands for nothing that was said to have failed")
        });
        for (mark, is_one) in [
            (Mark::VoidStands, kind == Kind::VOID && honest),
            (Mark::Unknown, extended || kind.0 > Kind::VOID.0),
            (Mark::KnowsBeside, beside > 0),
        ] {
            if is_one {
                self.mark(mark);
            }
        }
        if let Some((number, sent)) = self.ledger.sent(&opened.message.ciphertext) {
            let (fits, again, id) = (sent.session_id == session_id, sent.again, sent.id.clone());
            let (page, forgotten) = (sent.page, sent.forgotten);
            let (cancelled, alone) = (sent.fate == Fate::Cancelled, !again && !sent.copied && !self.set_back);
            // What several devices were given to send knows what one of them had.
            let seen = sent.seen.filter(|_| !again);
            self.require_where(2, alone, !cancelled, || format!("s{number} was cancelled, and stands in the log at {sequence}"));
            self.require(5, fits, || format!("message s{number} stands in another session than it was sent to"));
            let named = id.is_none_or(|id| id == entry.message.id);
            self.require_where(3, !forgotten, named, || {
                format!("s{number} stands in the log as {}, which is not what it was called", entry.message.id)
            });
            self.require_where(10, seen.is_some(), seen.is_none_or(|seen| seen < sequence), || {
                format!("s{number} stands at {sequence} of {session_id}, its device had stored {seen:?} when it wrote it")
            });
            self.require_where(11, seen.is_some(), seen.is_none_or(|seen| seen == knows), || {
                format!("s{number} knows {knows} entries in the log of {session_id}, its device had stored {seen:?}")
            });
            // What is sent again on another device comes when that one sends it.
            let before = if again { None } else { self.logged.insert((session_id.to_owned(), device.clone(), page), number) };
            let ordered = before.is_none_or(|before| before < number);
            self.require_where(8, before.is_some(), ordered, || {
                format!("message s{number} of {device} stands behind s{} in the log", before.unwrap_or(0))
            });
            for profile in &mut self.profiles {
                profile.pending.remove(&number);
            }
            let places = &mut self.ledger.sent[number as usize].places;
            places.push((sequence, device));
            let places = places.clone();
            self.require_where(3, !forgotten, places.len() == 1, || {
                format!("message s{number} stands in the log more than once: {places:?}")
            });
        }
        if queued_again {
            self.mark(Mark::HostileTaken);
        }
        self.require_where(3, queued_again, !twice, || {
            format!("the log of {session_id} has what was queued again a second time, at {sequence}")
        });
        self.knows_as_sent(session_id, &entry);
        self.knows_as_said(session_id, &entry);
        self.group_goes_on(session_id, &entry);
        self.vault_goes_on(session_id, &entry);
        self.ledger.push(session_id, entry);
        let same = self.ledger.log(session_id).hash_at(session_id, sequence) == Some(stored.log_hash);
        self.require(5, same, || format!("entry {sequence} of {session_id} is stored with another hash of the log than it has"));
    }

    /// What a message knows is what its device has sent, whoever that is: the relay mends nothing.
    fn knows_as_sent(&mut self, session_id: &str, entry: &Entry) {
        let key = (session_id.to_owned(), Named::Counter(entry.counter));
        let waiting = self.said_under(&key);
        let alike = |waiting: &&Waiting| waiting.entry.device_id == entry.device_id && waiting.entry.says_the_same(entry);
        let said: Vec<u64> = waiting.filter(alike).map(|waiting| waiting.entry.knows).collect();
        let (knows, sequence) = (entry.knows, self.ledger.log(session_id).head() + 1);
        self.require_where(11, !said.is_empty(), said.contains(&knows), || {
            format!("entry {sequence} of {session_id} knows the log up to {knows}, its device said {said:?}")
        });
    }

    /// What was said under this name and is not answered, also where its connection is gone: it may still be stored.
    fn said_under(&self, key: &(SessionId, Named)) -> impl Iterator<Item = &Waiting> {
        let unanswered = self.connections.values().map(|view| &view.unanswered);
        unanswered.chain([&self.unanswered_gone]).filter_map(|waiting| waiting.get(key)).flatten()
    }

    /// What a message of a seed client knows is what its clock said of each device, so far as that is in the log.
    fn knows_as_said(&mut self, session_id: &str, entry: &Entry) {
        let key = (session_id.to_owned(), Named::Id(entry.message.id.clone()));
        let waiting = self.said_under(&key);
        let of_seed = waiting.filter(|waiting| waiting.update.is_none() && waiting.entry.says_the_same(entry));
        let said: Vec<_> = of_seed.map(|waiting| waiting.entry.also.clone()).filter(|clock| !clock.is_empty()).collect();
        let log = self.ledger.log(session_id);
        let others: Vec<_> = log.devices().filter(|device| **device != entry.device_id).collect();
        let known = log.clock_of(entry);
        let known = |device: &str| known.get(device).copied().unwrap_or(0);
        let fits =
            said.iter().any(|clock| others.iter().all(|device| known(device) == clock.get(device).min(log.head_of(device, log.head()))));
        let (sequence, judged) = (log.head() + 1, !said.is_empty() && others.len() <= ALSO_MAX);
        self.require_where(11, judged, fits, || {
            format!("entry {sequence} of {session_id} knows other entries than its clock said, {said:?}")
        });
    }

    /// The relay was started over a journal: all that was in the log is (I1), and what else is found is from now on.
    pub fn recovered(&mut self, journal: &Journal) {
        let known: Vec<(SessionId, u64)> = self.ledger.sessions().map(|(session_id, log)| (session_id.clone(), log.head())).collect();
        for (session_id, head) in known {
            let rows = journal.sessions().get(&session_id).map(|rows| rows.entries.as_slice()).unwrap_or_default();
            let log = self.ledger.log(&session_id);
            let kept = |(entry, stored): (&Entry, &StoredEntry)| {
                (&entry.device_id, entry.counter, entry.sequence_number) == (&stored.device_id, stored.counter, stored.sequence)
            };
            let holds = rows.len() as u64 >= head && log.entries().iter().zip(rows).all(kept);
            let found = rows.len();
            self.require_where(1, !self.set_back && head > 0, holds, || {
                format!("{head} entries of {session_id} were in the log, {found} survive the crash, or others")
            });
        }
        for (session_id, rows) in journal.sessions() {
            let visitor = rows.devices().find(|row| row.last_counter == 0).map(|row| row.device_id.clone());
            self.require_none(20, rows.devices().count(), visitor, |device| {
                format!("the journal has device {device:?} of {session_id}, which has written nothing")
            });
            let head = self.ledger.log(session_id).head() as usize;
            if rows.entries.len() > head {
                self.appended(session_id, &rows.entries[head..]);
            }
        }
    }

    /// The journal refused an append, and no fault made it do so.
    pub fn append_refused(&mut self, session_id: &str, reason: &str) {
        let invariant = if reason.contains("follow") { 5 } else { 3 };
        self.violate(invariant, format!("the relay asked for an append to {session_id} that no journal takes: {reason}"));
    }

    /// The relay has a new connection.
    pub fn relay_opened(&mut self, connection: ConnectionId, encoding: Encoding, honest: bool) {
        self.connections.insert(connection, ConnectionView { encoding, honest, ..ConnectionView::default() });
    }

    /// The relay hears a frame.
    pub fn relay_received(&mut self, ctx: &mut Context, connection: ConnectionId, payload: &Payload) {
        // What arrives on a connection after its end is dropped.
        let Some(view) = self.connections.get_mut(&connection) else { return };
        let Some(reading) = self.reader.read(payload).filter(|_| view.carries(payload)) else { return };
        let frame = &reading.frame;
        let session_id = frame.head.session_id.clone();
        let is_v1 = frame.head.protocol_version.is_some();
        if let Body::WalletAnnounce(said) = &frame.body
            && is_v1
        {
            // Of the connection, whatever session it names.
            view.wallets.insert(said.wallet.clone());
        }
        if let Body::SignIn(said) = &frame.body {
            let domains = DomainSet::new(said.domains.clone());
            view.signed_in = Some(said.wallet.clone());
            view.account = domains.and_then(|domains| Owner::new(&said.wallet, domains)).ok().map(|owner| (owner.account_id, false));
            let names = |claim: Claim| if let Claim::Succeed(by) = claim { Some(device_id(&by.predecessor)) } else { None };
            let entry = said.messages.entries().ok().and_then(|mut entries| entries.pop());
            let predecessor = entry.and_then(|entry| names(Statement::of(&entry).ok()?.claim));
            let (nonce, device_nonce) = (said.nonce, said.device_nonce);
            let challenge = Challenge { relay: said.relay.clone(), relay_key: relay_key().public(), nonce, device_nonce };
            view.was_listed = view.account.as_ref().is_some_and(|(account_id, _)| {
                let log = self.ledger.log(account_id);
                let has_said = |id: DeviceId| log.place_of(&id, 1).is_some();
                challenge.check(account_id, &said.key, &said.proof).is_ok()
                    && [Some(device_id(&said.key)), predecessor].into_iter().flatten().any(has_said)
            });
        }
        if session_id.is_empty() || is_account_id(&session_id) {
            // Nothing of it is held, and its refusal names no session either.
            return;
        }
        let spoken = view.spoken.entry(session_id.clone()).or_default();
        (spoken.v1, spoken.seed) = (spoken.v1 || is_v1, spoken.seed || !is_v1);
        match &frame.body {
            Body::DeviceAnnounce(_) if is_v1 => {
                self.announced.insert((session_id.clone(), frame.head.device_id.clone()));
                view.v1.insert(session_id, frame.head.device_id.clone());
            }
            Body::SyncUpdate(update) => {
                let Some(entries) = &reading.entries else { return };
                let log = self.ledger.log(&session_id);
                let whole = Rc::new((entries.clone(), update.last_digest));
                for entry in entries {
                    if log.place_of(&entry.device_id, entry.counter).is_some() {
                        ctx.faults.count(Fault::DuplicateResend);
                    }
                    let alike = view.unanswered.entry((session_id.clone(), Named::Counter(entry.counter))).or_default();
                    if !alike.iter().any(|waiting| waiting.entry == *entry) {
                        alike.push(Waiting { entry: entry.clone(), update: Some(whole.clone()) });
                        *self.held.entry(session_id.clone()).or_default() += 1;
                    }
                }
            }
            Body::SeedUpdate(update) => {
                for unsent in &update.messages {
                    let message = unsent.message.clone();
                    let alike = view.unanswered.entry((session_id.clone(), Named::Id(message.id.clone()))).or_default();
                    if !alike.iter().any(|waiting| waiting.entry.message == message) {
                        let also = unsent.vector_clock.clone();
                        alike.push(Waiting { entry: Entry { message, also, ..Entry::default() }, update: None });
                        *self.held.entry(session_id.clone()).or_default() += 1;
                    }
                }
            }
            Body::SyncRequest(request) => {
                let head = self.ledger.log(&session_id).head();
                let window = view.windows.entry(session_id).or_default();
                let batch_max = request.max_batch_size.map_or(100, |count| count.clamp(1, BATCH_MESSAGES_MAX as u64) as usize);
                if request.missing_ranges.is_empty() {
                    *window = Window { stored: request.last_synced_sequence.min(head), batch_max, ..Window::default() };
                } else {
                    // Who asks for ranges does not say how much it has, and was sent some of it in larger batches.
                    window.batch_max = window.batch_max.max(batch_max);
                }
            }
            Body::SyncAck(ack) => {
                let through = ack.acknowledged_sequences.iter().copied().max().unwrap_or(0).min(self.ledger.log(&session_id).head());
                view.windows.entry(session_id).or_default().store(through);
            }
            _ => {}
        }
    }

    /// The relay gives a frame to a socket.
    pub fn relay_transmitted(&mut self, connection: ConnectionId, payload: &Payload) {
        let bytes = payload.len();
        let Some(view) = self.connections.get_mut(&connection) else {
            return self.violate(20, format!("the relay sends on connection {connection}, which has ended"));
        };
        let was_full = view.outstanding_bytes >= SOCKET_QUEUE_BYTES_MAX;
        view.outstanding_bytes += bytes;
        let fits = view.carries(payload);
        self.require(20, bytes <= FRAME_BYTES_MAX, || format!("the relay sends a frame of {bytes} bytes"));
        let Some(reading) = self.reader.read(payload).filter(|_| fits) else {
            return self.violate(22, format!("the relay sends a frame that cannot be read on connection {connection}"));
        };
        self.frame_seen_by_others(payload, &reading);
        let session_id = &reading.frame.head.session_id;
        if let Body::SignedIn(SignedIn { refused: None, .. }) = &reading.frame.body {
            let account = self.connections.get_mut(&connection).and_then(|view| view.account.as_mut());
            account.into_iter().for_each(|(_, is_in)| *is_in = true);
        }
        if is_account_id(session_id) {
            let account = self.connections.get(&connection).and_then(|view| view.account.as_ref());
            // Who has signed in is answered of any.
            let is_answer = match &reading.frame.body {
                Body::SyncResponse(response) => response.in_reply_to.is_some(),
                Body::Error(_) => true,
                _ => false,
            };
            let was_listed = self.connections.get(&connection).is_some_and(|view| view.was_listed);
            let may_hear = account.is_some_and(|(account_id, is_in)| {
                *is_in && (account_id == session_id || is_answer) || was_listed && account_id == session_id && is_answer
            });
            self.require(16, may_hear, || format!("connection {connection} is told of {session_id}, and is of no device of it"));
            if let (Body::SyncResponse(response), Some(entries)) = (&reading.frame.body, &reading.entries) {
                self.served(connection, session_id, entries, response.latest_sequence);
                self.names_log(session_id, response.log);
            }
            return;
        }
        self.told_after_announcement(connection, session_id, &reading.frame.body);
        let last = reading.entries.as_ref().and_then(|entries| entries.last()).map(|entry| entry.sequence_number);
        self.told_as_member(connection, session_id, &reading.frame.body, last);
        match &reading.frame.body {
            Body::SessionList(list) => self.listed(connection, list),
            Body::SyncAck(ack) => {
                let counters = ack.acknowledged_counters.iter().map(|counter| Named::Counter(*counter));
                let ids = ack.acknowledged_message_ids.iter().map(|id| Named::Id(id.clone()));
                for (name, sequence) in counters.chain(ids).zip(&ack.acknowledged_sequences) {
                    self.acknowledged(connection, session_id, name, *sequence);
                }
                self.names_log(session_id, ack.log);
            }
            Body::SyncHeartbeat(heartbeat) => self.names_log(session_id, heartbeat.log),
            Body::SyncResponse(_) | Body::Chat(_) if was_full => {
                self.violate(20, format!("the log is served to connection {connection}, whose socket is full"));
            }
            Body::DeviceList(list) => {
                // The reader is the machines' own code, and may take what no device can.
                let largest = list.devices.iter().map(|device| device.sync_state.last_synced_sequence).max();
                self.require_where(22, largest.is_some(), largest.is_none_or(|largest| largest <= INTEGER_MAX), || {
                    format!("the relay passes on {largest:?}, which no device can read")
                });
            }
            Body::ReadReceiptSync(told) => {
                let head = self.ledger.log(session_id).head();
                let farthest = told.receipts.iter().filter_map(|receipt| receipt.sequence_number).max();
                self.require_where(5, farthest.is_some(), farthest.is_none_or(|place| place <= head), || {
                    format!("the relay tells of receipts up to {farthest:?} of {session_id}, the log ends at {head}")
                });
            }
            Body::SyncResponse(response) => match &reading.entries {
                Some(entries) => {
                    self.served(connection, session_id, entries, response.latest_sequence);
                    let end = entries.last().map_or(response.latest_sequence, |entry| entry.sequence_number);
                    let fits = response.log.is_none_or(|log| log.sequence == end);
                    self.require_where(5, response.log.is_some(), fits, || {
                        format!("a batch up to {end} comes with the hash of another place")
                    });
                    self.names_log(session_id, response.log);
                }
                None => self.violate(22, "the relay sends a batch that cannot be read".into()),
            },
            Body::Error(error) => {
                let Some(session_id) = &error.session_id else { return };
                self.refused(connection, session_id, error);
            }
            Body::SeedResponse(response) => {
                for entry in response.messages.iter() {
                    self.served_to_seed(session_id, entry);
                }
            }
            Body::Chat(chat) => {
                if let (Some(sequence), Some(clock)) = (chat.sequence_number, &chat.vector_clock) {
                    let entry = self.ledger.log(session_id).entry(sequence);
                    let told = (chat.message_id.as_ref(), Some(&chat.message));
                    let same = (entry.map(|entry| &entry.message.id), entry.map(|entry| &entry.message.ciphertext)) == told;
                    self.require(5, same, || format!("a seed client is told {sequence} of {session_id} other than it stands in the log"));
                    self.has_clock(session_id, sequence, clock);
                }
            }
            _ => {}
        }
    }

    /// What speaks by our rules hears nothing of a session but refusals before it has announced itself there.
    fn told_after_announcement(&mut self, connection: ConnectionId, session_id: &str, body: &Body) {
        let Some(view) = self.connections.get(&connection) else { return };
        let spoken = view.spoken.get(session_id).copied().unwrap_or_default();
        let announced = view.v1.contains_key(session_id);
        let tells = !matches!(body, Body::Error(_)) && !session_id.is_empty();
        self.require_where(16, tells && spoken.v1 && !spoken.seed, announced, || {
            format!("connection {connection} is told of {session_id}, where it has announced nothing")
        });
    }

    /// Whoever names a hash of a log names the one that it has.
    fn names_log(&mut self, session_id: &str, log: Option<LogHead>) {
        let Some(LogHead { sequence, hash }) = log else { return };
        let same = self.ledger.log(session_id).hash_at(session_id, sequence) == Some(hash);
        self.require(5, same, || format!("the relay names another hash of {session_id} at {sequence} than its log has"));
    }

    fn acknowledged(&mut self, connection: ConnectionId, session_id: &str, name: Named, sequence: u64) {
        let log = self.ledger.log(session_id);
        let entry = log.as_stored(sequence).cloned();
        let Some(view) = self.connections.get_mut(&connection) else { return };
        let honest = view.honest;
        let device = view.v1.get(session_id).filter(|_| honest);
        let stands = entry.as_ref().is_some_and(|entry| match &name {
            Named::Counter(counter) => entry.counter == *counter && device.is_none_or(|device| *device == entry.device_id),
            Named::Id(id) => entry.message.id == *id,
        });
        // Who has all before it has it by this acknowledgement.
        if let Some(window) = view.windows.get_mut(session_id).filter(|window| window.stored + 1 == sequence) {
            window.store(sequence);
        }
        let key = (session_id.to_owned(), name);
        let (mut is_sent, mut is_chain) = (true, None);
        if let (Some(sent), Some(entry)) = (view.unanswered.get_mut(&key), &entry) {
            let place = sent.iter().position(|sent| match &key.1 {
                Named::Counter(_) => sent.entry.is_repeat_of(entry),
                Named::Id(_) => sent.entry.says_the_same(entry),
            });
            is_sent = place.is_some();
            if let Some(place) = place {
                let ends = |update: &(Vec<Entry>, Digest)| update.0.last().is_some_and(|last| last.counter == entry.counter);
                let update = sent[place].update.as_deref().filter(|update| ends(update));
                is_chain = update.map(|(_, digest)| log.chain_at(session_id, &entry.device_id, entry.counter) == Some(*digest));
                sent.swap_remove(place);
                if sent.is_empty() {
                    view.unanswered.remove(&key);
                }
                self.let_go(session_id);
            }
        }
        self.require_where(11, is_chain.is_some(), is_chain == Some(true), || {
            format!("{sequence} of {session_id} is acknowledged, behind other messages than its device wrote before it")
        });
        self.require(1, stands, || format!("{sequence} of {session_id} is acknowledged, where the journal does not have what was sent"));
        self.require_where(4, honest, is_sent, || format!("{sequence} of {session_id} is acknowledged, where another content stands"));
    }

    fn let_go(&mut self, session_id: &str) {
        if let Some(held) = self.held.get_mut(session_id) {
            *held = held.saturating_sub(1);
        }
    }

    fn refused(&mut self, connection: ConnectionId, session_id: &str, error: &ErrorBody) {
        let Some(view) = self.connections.get_mut(&connection) else { return };
        let log = self.ledger.log(session_id);
        let is_meant = |waiting: &&Waiting| Some(&waiting.entry.message.id) == error.refused_message_id.as_ref();
        let sent: Vec<&Waiting> = view.unanswered.iter().filter(|((id, _), _)| id == session_id).flat_map(|(_, sent)| sent).collect();
        let meant: Vec<&Waiting> = sent.into_iter().filter(is_meant).filter(|_| view.honest).collect();
        // A copy of an outbox may have several messages of one name: it is about one of them. So may a database that has forgotten
        // its names, and then it may be about one that was found in the log meanwhile.
        let name = error.refused_message_id.clone().map(|name| (session_id.to_owned(), name));
        let is_shared = name.and_then(|name| self.ledger.names.get(&name)).is_some_and(|numbers| numbers.len() > 1);
        let unless = |fits: &dyn Fn(&Waiting) -> bool, what: &'static str| {
            (!meant.is_empty() && !is_shared && !meant.iter().any(|sent| fits(sent))).then_some(what)
        };
        let wrong = match error.code {
            // Something else stands there, or what the device wrote before is not what the relay has.
            ErrorCode::CounterReused => unless(&|sent| is_other(session_id, log, sent), "nothing else stands under it"),
            ErrorCode::MessageIdTaken => {
                let named = |sent: &Waiting| log.place_of_name(&sent.entry.message.sender_wallet, &sent.entry.message.id);
                let taken = |sent: &Waiting| {
                    let other = named(sent).and_then(|place| log.entry(place));
                    other.is_some_and(|entry| !entry.says_the_same(&self.ledger.opened(&sent.entry)))
                };
                let in_place = |sent: &Waiting| {
                    let device = parse_message_id(&sent.entry.message.id).map(|(_, device, _)| device);
                    let other = named(sent).and_then(|place| log.entry(place)).map(|entry| &*entry.device_id);
                    // One that speaks our rules, and no seed client, may use any name first, where nobody signs in.
                    let is_free_to = other.is_some_and(|other| self.announced.contains(&(session_id.to_owned(), other.into())));
                    device == Some(&sent.entry.device_id) && other != device && !is_free_to
                };
                let nobodys = unless(&taken, "nobody has this name");
                nobodys.or_else(|| unless(&|sent| !in_place(sent), "another device was let take a name that this one gives"))
            }
            ErrorCode::AlreadyStored => {
                let stored = error.stored_sequence.and_then(|sequence| log.entry(sequence));
                // Of what is encrypted the relay knows no more than the names.
                let is_named = |sent: &Waiting, stored: &Entry| {
                    let (stored, sent) = (&stored.message, &sent.entry.message);
                    is_sealed_id(session_id) && (&stored.sender_wallet, &stored.id) == (&sent.sender_wallet, &sent.id)
                };
                let stands = |sent: &Waiting, stored: &Entry| stored.says_the_same(&sent.entry) || is_named(sent, stored);
                unless(&|sent| stored.is_some_and(|stored| stands(sent, stored)), "it does not stand there")
            }
            ErrorCode::CounterGap => {
                let expected = error.expected_counter.unwrap_or(0);
                unless(&|sent| sent.entry.counter > expected, "it does not lie behind what is expected")
            }
            ErrorCode::RelayRolledBack => {
                // Accounts are set back with the journal, and an epoch may name more of one.
                let names_more = |sent: &Waiting| self.set_back && is_sealed_id(session_id) && sent.entry.message.kind.is_of_epochs();
                unless(&|sent| sent.entry.knows > log.head() || names_more(sent), "it knows no more than there is")
            }
            _ => None,
        };
        let honest = view.honest;
        // What was sent before it is not answered any more.
        let given_up: usize = view.unanswered.extract_if(.., |(id, _), _| id == session_id).map(|(_, sent)| sent.len()).sum();
        self.held.entry(session_id.to_owned()).and_modify(|held| *held = held.saturating_sub(given_up));
        let (code, id) = (error.code, &error.refused_message_id);
        let judged = [
            ErrorCode::CounterReused,
            ErrorCode::MessageIdTaken,
            ErrorCode::AlreadyStored,
            ErrorCode::CounterGap,
            ErrorCode::RelayRolledBack,
        ];
        self.require_where(4, honest && judged.contains(&code), wrong.is_none(), || {
            format!("{id:?} of {session_id} is refused with {code:?}, and {}", wrong.unwrap_or_default())
        });
    }

    /// An entry as seed clients are sent it: what stands in the log, with the clock that follows from it.
    fn served_to_seed(&mut self, session_id: &str, served: &SeedEntry) {
        let sequence = served.sequence_number;
        let entry = self.ledger.log(session_id).entry(sequence);
        let same = entry.is_some_and(|entry| (&entry.message, &entry.device_id) == (&served.message, &served.original_device_id));
        self.require(5, same, || format!("a seed client is served {sequence} of {session_id} other than it stands in the log"));
        self.has_clock(session_id, sequence, &served.vector_clock);
    }

    /// The clock of an entry is that of the log up to what its writer knew; one that would be too large is left out.
    fn has_clock(&mut self, session_id: &str, sequence: u64, told: &VectorClock) {
        const DEVICES_MAX: usize = 100;
        let log = self.ledger.log(session_id);
        let Some(entry) = log.entry(sequence) else { return };
        let clock = log.clock_of(entry);
        let same = clock.iter().map(|(device, counter)| (&**device, *counter)).eq(told.iter());
        self.require_where(11, clock.len() <= DEVICES_MAX, same, || {
            format!("a seed client is told the clock {told} of {sequence} of {session_id}, it is {clock:?}")
        });
    }

    fn served(&mut self, connection: ConnectionId, session_id: &str, entries: &[Entry], latest: u64) {
        let log = self.ledger.log(session_id);
        let wrong = entries.iter().find(|entry| log.as_stored(entry.sequence_number) != Some(*entry)).map(|entry| entry.sequence_number);
        let head = log.head();
        let count = entries.len();
        self.require_none(5, count, wrong, |wrong| format!("the relay serves {wrong} of {session_id} other than it stands in the log"));
        self.require(5, latest <= head, || format!("the relay names {latest} as the head of {session_id}, the log ends at {head}"));
        let Some(view) = self.connections.get_mut(&connection) else { return };
        if view.v1.contains_key(session_id) {
            let window = view.windows.entry(session_id.to_owned()).or_default();
            let stored = window.stored;
            window.ahead.extend(entries.iter().map(|entry| entry.sequence_number).filter(|sequence| *sequence > stored));
            let ahead = window.ahead.len();
            // One batch may begin below the limit and end above it.
            let limit = UNACKNOWLEDGED_MESSAGES_MAX as usize + window.batch_max;
            self.require(20, ahead < limit, || format!("{ahead} messages are sent ahead of what connection {connection} has stored"));
        }
    }

    /// The socket has taken so much.
    pub fn relay_sent(&mut self, now_ms: u64, connection: ConnectionId, bytes: usize) {
        if let Some(view) = self.connections.get_mut(&connection) {
            view.outstanding_bytes = view.outstanding_bytes.saturating_sub(bytes);
            view.full_since_ms = (view.outstanding_bytes >= SOCKET_QUEUE_BYTES_MAX).then_some(now_ms);
        }
    }

    /// The relay has handled an input: what it holds is bounded (I20).
    pub fn relay_handled(&mut self, now_ms: u64) {
        let (mut full, mut worst) = (false, None);
        for (connection, view) in &mut self.connections {
            if view.outstanding_bytes >= SOCKET_QUEUE_BYTES_MAX {
                let since_ms = *view.full_since_ms.get_or_insert(now_ms);
                let stalled = now_ms > since_ms + SOCKET_STALL_MS_MAX;
                if stalled || view.outstanding_bytes > SOCKET_QUEUE_BYTES_CUT {
                    worst = Some((*connection, view.outstanding_bytes, now_ms - since_ms));
                }
                full = true;
            }
        }
        if full {
            self.require(20, worst.is_none(), || format!("the relay holds for a socket that takes nothing: {worst:?}"));
        }
        // One append is under way beside what waits.
        let limit = UPDATE_QUEUE_MESSAGES_MAX + BATCH_MESSAGES_MAX;
        let over = self
            .held
            .iter()
            .find(|(session_id, held)| **held > limit && !self.loading.contains(*session_id))
            .map(|(session_id, held)| (session_id.clone(), *held));
        let sessions = self.held.len();
        self.require_none(20, sessions, over, |over| format!("the relay holds more unanswered messages than it may: {over:?}"));
    }

    /// A connection is gone for the relay.
    pub fn relay_forgot(&mut self, connection: ConnectionId) {
        if let Some(ConnectionView { unanswered, .. }) = self.connections.remove(&connection) {
            for (key, sent) in unanswered {
                sent.iter().for_each(|_| self.let_go(&key.0));
                self.unanswered_gone.entry(key).or_default().extend(sent);
            }
        }
    }

    /// The relay is a new process.
    pub fn relay_ended(&mut self) {
        self.connections.clear();
        self.unanswered_gone.clear();
        self.held.clear();
        self.loading.clear();
    }
}

/// Whether something in the log is other than what was sent: an entry under the same counter, or what the device wrote before.
fn is_other(session_id: &str, log: &crate::ledger::Log, sent: &Waiting) -> bool {
    let Some((entries, last_digest)) = sent.update.as_deref() else { return true };
    let stored = |entry: &Entry| log.place_of(&entry.device_id, entry.counter).and_then(|place| log.as_stored(place));
    if entries.iter().any(|entry| stored(entry).is_some_and(|stored| !stored.is_repeat_of(entry))) {
        return true;
    }
    let Some(first) = entries.first() else { return true };
    let before: Option<Digest> = log.chain_at(session_id, &first.device_id, first.counter - 1);
    before.is_none_or(|before| entries.iter().fold(before, |digest, entry| entry.digest(&digest)) != *last_digest)
}
