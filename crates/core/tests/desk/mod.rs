//! One device with its store in memory, and a relay that says what the test has it say: single steps, nothing by chance.

use crate::calls;
use std::collections::{BTreeMap, VecDeque};

use crate::memory::Records;
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::client::{
    Action, Client, ClientConfig, Commit, DeliveryReceipt, Event, Input, LogRecord, MessageStatus, Reply, SyncScope,
};
use solconnect_sync_core::entry::{Digest, Entry};
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::frame::{Body, ErrorBody, Frame, Head, SyncAck, SyncHeartbeat, SyncRequest, SyncResponse};
use solconnect_sync_core::ids::{message_id, session_of};
use solconnect_sync_core::message::Message;
use solconnect_sync_core::time::Now;

pub const WALLET: &str = "So11111111111111111111111111111111111111112";
pub const PEER: &str = "11111111111111111111111111111111";

pub fn session() -> String {
    session_of(WALLET, PEER)
}

/// An update frame that was sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    pub frame_id: String,
    pub device_id: String,
    pub messages: Vec<Entry>,
    pub last_digest: Digest,
    /// The frame's body, byte for byte.
    pub bytes: Vec<u8>,
}

pub struct Desk {
    pub client: Client,
    pub config: ClientConfig,
    pub records: Records,
    pub now: Now,
    /// Commits that wait for `persist`; otherwise they are written at once.
    pub held: Option<VecDeque<Commit>>,
    pub commits: Vec<Commit>,
    pub generation: u64,
    pub connects: u64,
    pub disconnects: u64,
    pub replies: BTreeMap<u64, Result<Reply, SyncError>>,
    request: u64,
    pub sent: Vec<Frame>,
    events: Vec<Event>,
}

impl Desk {
    /// A device that has its wallet and its session, and no connection yet.
    pub fn unconnected(config: ClientConfig, records: Records) -> Desk {
        let mut desk = Desk {
            client: Client::new(config.clone(), records.snapshot(), 1),
            config,
            records,
            now: Now { monotonic_ms: 1_000, wall_ms: 1_700_000_000_000 },
            held: None,
            commits: Vec::new(),
            generation: 0,
            connects: 0,
            disconnects: 0,
            replies: BTreeMap::new(),
            request: 0,
            sent: Vec::new(),
            events: Vec::new(),
        };
        desk.call(|request| Input::ConnectWallet { request, wallet: WALLET.into() }).unwrap();
        desk.call(|request| Input::OpenSession { request, peer_wallet: PEER.into() }).unwrap();
        desk
    }

    /// One that is connected to an empty relay and has caught up.
    pub fn with(config: ClientConfig) -> Desk {
        let mut desk = Desk::unconnected(config, Records::default());
        desk.connect();
        desk.answer(&[], 0);
        desk.forget();
        desk
    }

    pub fn new() -> Desk {
        Desk::with(ClientConfig::default())
    }

    /// The page is opened again.
    pub fn reload(self) -> Desk {
        Desk::unconnected(self.config, self.records)
    }

    pub fn feed(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for action in self.client.handle(self.now, input) {
                match action {
                    Action::Persist(commit) => match &mut self.held {
                        Some(held) => held.push_back(commit),
                        None => inputs.push_back(self.write(commit)),
                    },
                    Action::Connect { generation } => {
                        self.generation = generation;
                        self.connects += 1;
                    }
                    Action::Disconnect { .. } => self.disconnects += 1,
                    Action::Transmit { generation, frame } => {
                        assert_eq!(generation, self.generation, "nothing is sent over an old socket");
                        self.sent.push(Frame::from_bytes(&frame).unwrap());
                    }
                    Action::Reply { request, result } => assert_eq!(self.replies.insert(request, result), None, "a call has one answer"),
                    Action::ReadLog { .. } => unreachable!("no session is encrypted here"),
                    Action::Notify(event) => self.events.push(event),
                }
            }
        }
    }

    fn write(&mut self, commit: Commit) -> Input {
        let id = commit.id;
        commit.writes.iter().for_each(|write| self.records.apply(write).unwrap());
        self.commits.push(commit);
        Input::Persisted { commit: id }
    }

    /// The oldest commit that is held is on disk.
    pub fn persist(&mut self) {
        let commit = self.held.as_mut().and_then(VecDeque::pop_front).expect("a commit waits");
        let input = self.write(commit);
        self.feed(input);
    }

    /// The oldest commit that is held fails.
    pub fn fail(&mut self, code: ErrorCode) {
        let commit = self.held.as_mut().and_then(VecDeque::pop_front).expect("a commit waits");
        self.feed(Input::PersistFailed { commit: commit.id, error: SyncError::new(code, "disk") });
    }

    /// Makes a call without looking for its answer.
    pub fn ask(&mut self, input: impl FnOnce(u64) -> Input) -> u64 {
        self.request += 1;
        let request = self.request;
        self.feed(input(request));
        request
    }

    pub fn call(&mut self, input: impl FnOnce(u64) -> Input) -> Result<Reply, SyncError> {
        let request = self.ask(input);
        self.replies.get(&request).cloned().expect("the call is answered at once")
    }

    pub fn send_in(&mut self, session_id: &str, text: &str) {
        self.ask(calls::send(session_id, text));
    }

    pub fn send(&mut self, text: &str) -> String {
        let call = calls::send(&session(), text);
        match self.call(call) {
            Ok(Reply::Receipt(receipt)) => receipt.message_id,
            other => panic!("{other:?}"),
        }
    }

    /// Sends under a name of the application's own, with what the store has under it.
    pub fn send_named(&mut self, id: &str, text: &str) -> Result<DeliveryReceipt, SyncError> {
        let known = self.records.names.get(&(session(), id.to_owned())).cloned();
        let (session_id, text, message_id) = (session(), text.to_owned(), Some(id.to_owned()));
        let reply = self.call(|request| Input::Send { request, session_id, text, content_type: None, message_id, known });
        reply.map(|reply| if let Reply::Receipt(receipt) = reply { receipt } else { panic!("{reply:?}") })
    }

    /// `syncMessages`; the request.
    pub fn sync(&mut self, scope: SyncScope) -> u64 {
        self.ask(|request| Input::Sync { request, session_id: None, scope })
    }

    pub fn connect(&mut self) {
        self.feed(Input::Connected { generation: self.generation });
    }

    pub fn lose(&mut self) {
        self.feed(Input::Disconnected { generation: self.generation, reason: "lost".into() });
    }

    /// Time passes.
    pub fn wait(&mut self, ms: u64) {
        self.now = Now { monotonic_ms: self.now.monotonic_ms + ms, wall_ms: self.now.wall_ms + ms };
        self.feed(Input::Timeout);
    }

    /// The relay says something in the session.
    pub fn hear(&mut self, body: Body) {
        self.hear_in(&session(), body);
    }

    pub fn hear_in(&mut self, session_id: &str, body: Body) {
        let frame = Frame { head: Head { session_id: session_id.into(), ..Head::default() }, body };
        self.hear_bytes(&frame.to_bytes().unwrap());
    }

    pub fn hear_bytes(&mut self, frame: &[u8]) {
        self.feed(Input::Received { generation: self.generation, frame: frame.into() });
    }

    /// The relay answers the last request.
    pub fn answer(&mut self, entries: &[Entry], latest_sequence: u64) {
        let request = self.sent.iter().rev().find(|frame| matches!(frame.body, Body::SyncRequest(_))).expect("it has asked");
        let in_reply_to = Some(request.head.message_id.clone());
        let messages = Batch::of(entries).unwrap();
        self.hear(Body::SyncResponse(SyncResponse { messages, latest_sequence, in_reply_to, ..SyncResponse::default() }));
    }

    /// A live push.
    pub fn push(&mut self, entries: &[Entry]) {
        let latest_sequence = entries.last().map_or(0, |entry| entry.sequence_number);
        let messages = Batch::of(entries).unwrap();
        self.hear(Body::SyncResponse(SyncResponse { messages, latest_sequence, ..SyncResponse::default() }));
    }

    /// The relay has taken own messages, at these places, and there was time to store that.
    pub fn acknowledge(&mut self, places: &[(u64, u64)]) {
        self.acknowledge_in(&session(), places);
    }

    pub fn acknowledge_in(&mut self, session_id: &str, places: &[(u64, u64)]) {
        self.hear_in(
            session_id,
            Body::SyncAck(SyncAck {
                acknowledged_sequences: places.iter().map(|(_, sequence)| *sequence).collect(),
                acknowledged_counters: places.iter().map(|(counter, _)| *counter).collect(),
                server_timestamps: places.iter().map(|_| 9).collect(),
                ..SyncAck::default()
            }),
        );
        self.wait(50);
    }

    pub fn head_is(&mut self, sequence_number: u64) {
        self.hear(Body::SyncHeartbeat(SyncHeartbeat { sequence_number, ..SyncHeartbeat::default() }));
    }

    pub fn refuse(&mut self, code: ErrorCode, change: impl FnOnce(&mut ErrorBody)) {
        let mut error = ErrorBody { session_id: Some(session()), ..ErrorBody::new(&SyncError::new(code, "no")) };
        change(&mut error);
        self.hear(Body::Error(error));
    }

    /// What was sent and told since the last time is of no interest.
    pub fn forget(&mut self) {
        self.sent.clear();
        self.events.clear();
        self.commits.clear();
    }

    /// Frames sent since the last time.
    pub fn sent(&mut self) -> Vec<Frame> {
        std::mem::take(&mut self.sent)
    }

    pub fn updates(&mut self) -> Vec<Update> {
        let update = |frame: Frame| {
            let Frame { head: Head { message_id: frame_id, device_id, .. }, body } = frame;
            let bytes = Frame { head: Head::default(), body: body.clone() }.to_bytes().unwrap();
            let Body::SyncUpdate(update) = body else { return None };
            let messages = update.messages.entries().unwrap();
            Some(Update { frame_id, device_id, messages, last_digest: update.last_digest, bytes })
        };
        self.sent().into_iter().filter_map(update).collect()
    }

    /// Cursors that were asked from.
    pub fn requests(&mut self) -> Vec<SyncRequest> {
        let requests =
            self.sent.iter().filter_map(|frame| if let Body::SyncRequest(request) = &frame.body { Some(request.clone()) } else { None });
        requests.collect()
    }

    /// Events since the last time.
    pub fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Statuses told since the last time, by the counter or the id of the message.
    pub fn statuses(&mut self) -> Vec<(String, MessageStatus)> {
        let own = |id: &str| id.rsplit(':').next().unwrap_or(id).to_owned();
        let told = self.events().into_iter();
        told.filter_map(
            |event| if let Event::StatusChanged { message_id, status, .. } = event { Some((own(&message_id), status)) } else { None },
        )
        .collect()
    }

    pub fn warnings(&mut self) -> Vec<ErrorCode> {
        let told = self.events().into_iter();
        told.filter_map(|event| if let Event::Warning { error } = event { Some(error.code) } else { None }).collect()
    }

    /// How far a message is that has no place in the log.
    pub fn status(&self, message_id: &str) -> Option<MessageStatus> {
        self.client.unsent_message(message_id).map(|(status, _)| status)
    }

    /// What it is called in the session.
    pub fn device_id(&self) -> String {
        self.client.stored_sessions()[0].device_id.clone()
    }

    pub fn cursor(&self) -> u64 {
        self.client.stored_sessions()[0].last_synced_sequence
    }

    pub fn queued(&self) -> u64 {
        self.client.sync_status().queued_message_count
    }

    pub fn log(&self) -> Vec<LogRecord> {
        self.records.log(&session())
    }

    /// The stored log.
    pub fn entries(&self) -> Vec<Entry> {
        self.log().iter().flat_map(|record| record.entries().unwrap()).collect()
    }

    pub fn shown(&self) -> Vec<String> {
        self.client
            .show(&session(), self.entries().into_iter().map(|entry| (entry, None)).collect(), true)
            .into_iter()
            .map(|message| message.text)
            .collect()
    }
}

/// A message of the peer's phone at this place of the log, its `counter`th, that knows nothing but its own.
pub fn foreign(sequence_number: u64, counter: u64, text: &str) -> Entry {
    let message = Message {
        id: message_id(&session(), "phone", "", counter),
        session_id: session(),
        sender_wallet: PEER.into(),
        ciphertext: text.into(),
        ..Message::default()
    };
    Entry { message, sequence_number, counter, server_timestamp: 8, device_id: "phone".into(), ..Entry::default() }
}

/// The peer's messages `from` to `through`, at the same places of the log.
pub fn foreign_log(from: u64, through: u64) -> Vec<Entry> {
    (from..=through).map(|sequence| foreign(sequence, sequence, &format!("text {sequence}"))).collect()
}
