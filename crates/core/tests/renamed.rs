//! A device that takes a new id: what it has said and stored under the old one.

use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::client::{Action, Client, ClientConfig, Commit, DeviceRecord, Input, SessionRecord, Snapshot, Write};
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::frame::{Body, ErrorBody, Frame, Head, SyncAck, SyncResponse};
use solconnect_sync_core::ids::{message_id, session_of};
use solconnect_sync_core::message::{Entry, Message};
use solconnect_sync_core::time::Now;

const WALLET: &str = "So11111111111111111111111111111111111111112";
const PEER: &str = "11111111111111111111111111111111";

/// A device that is a copy, connected in generation 1, with a commit under way. Message 1 is in its log.
struct Copied {
    client: Client,
    session_id: String,
}

impl Copied {
    fn new() -> Copied {
        let session_id = session_of(WALLET, PEER);
        let record = SessionRecord {
            session_id: session_id.clone(),
            wallet: WALLET.into(),
            peer_wallet: PEER.into(),
            open: true,
            cursor: 1,
            counter: 1,
            heads: r#"{"copied":1}"#.parse().unwrap(),
            ..SessionRecord::default()
        };
        let device = Some(DeviceRecord { device_id: "copied".into() });
        let snapshot = Snapshot { device, sessions: vec![record], ..Snapshot::default() };
        let mut copied = Copied { client: Client::new(ClientConfig::default(), snapshot, 7), session_id };
        let _ = copied.handle(Input::ConnectWallet { request: 1, wallet: WALLET.into() });
        let _ = copied.handle(Input::Connected { generation: 1 });
        copied
    }

    fn handle(&mut self, input: Input) -> Vec<Action> {
        self.client.handle(Now { monotonic_ms: 1, wall_ms: 1_700_000_000_000 }, input)
    }

    fn send(&mut self, text: &str) -> Vec<Action> {
        let session_id = self.session_id.clone();
        self.handle(Input::Send { request: 2, session_id, text: text.into(), content_type: None })
    }

    /// Something that is written.
    fn mark_read(&mut self) -> Vec<Action> {
        let session_id = self.session_id.clone();
        self.handle(Input::MarkRead { request: 3, session_id, message_id: "m".into(), sequence_number: 1 })
    }

    fn receive(&mut self, body: Body) -> Vec<Action> {
        let head = Head { session_id: self.session_id.clone(), device_id: "server".into(), ..Head::default() };
        self.handle(Input::Received { generation: 1, frame: Frame { head, body }.to_bytes().unwrap().into() })
    }
}

fn commit(actions: &[Action]) -> &Commit {
    let mut commits = actions.iter().filter_map(|action| match action {
        Action::Persist(commit) => Some(commit),
        _ => None,
    });
    commits.next().expect("something is written")
}

#[test]
fn what_is_queued_again_under_a_new_id_is_not_sent_before_it_is_stored() {
    let mut copied = Copied::new();
    // While one commit is under way, a message is written and the other copy's message of the same counter arrives.
    assert_eq!(commit(&copied.mark_read()).id, 1);
    let _ = copied.send("mine");
    let theirs = Entry {
        message: Message {
            id: message_id(&copied.session_id, "copied", 2),
            sender_wallet: WALLET.into(),
            ciphertext: "theirs".into(),
            session_id: copied.session_id.clone(),
            ..Message::default()
        },
        sequence_number: 2,
        vector_clock: r#"{"copied":2}"#.parse().unwrap(),
        server_timestamp: 1,
        original_device_id: "copied".into(),
    };
    let response = SyncResponse { messages: Batch::of(&[theirs]).unwrap(), latest_sequence: 2, ..SyncResponse::default() };
    let _ = copied.receive(Body::SyncResponse(response));

    let actions = copied.handle(Input::Persisted { commit: 1 });
    assert_eq!(commit(&actions).id, 2, "both share the next commit");
    let sent = actions.iter().filter_map(|action| match action {
        Action::Transmit { frame, .. } => Frame::from_bytes(frame).ok(),
        _ => None,
    });
    assert!(sent.into_iter().all(|frame| !matches!(frame.body, Body::SyncUpdate(_))), "the message is not stored yet");
}

#[test]
fn what_was_acknowledged_is_not_queued_again_under_a_new_id() {
    let mut copied = Copied::new();
    assert_eq!(commit(&copied.send("taken")).id, 1);
    let _ = copied.handle(Input::Persisted { commit: 1 });
    assert_eq!(commit(&copied.mark_read()).id, 2);
    // Behind a commit that is under way wait the word that the id is used elsewhere, and an acknowledgement.
    let refusal = SyncError::new(ErrorCode::CounterReused, "another session's counter stands for another message");
    let _ = copied.receive(Body::Error(ErrorBody { session_id: Some(copied.session_id.clone()), ..ErrorBody::new(&refusal) }));
    let ack = SyncAck {
        acknowledged_sequences: vec![5],
        acknowledged_message_ids: vec![message_id(&copied.session_id, "copied", 2)],
        ..SyncAck::default()
    };
    let _ = copied.receive(Body::SyncAck(ack));

    let actions = copied.handle(Input::Persisted { commit: 2 });
    let writes = &commit(&actions).writes;
    assert!(writes.iter().any(|write| matches!(write, Write::Device(_))), "it takes a new id");
    assert!(!writes.iter().any(|write| matches!(write, Write::Outbox(_))), "I3: the relay has the message already");
}
