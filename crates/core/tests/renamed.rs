//! A device that takes a new id counts anew, and what it counted before says nothing of what is stored.

use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::client::{Action, Client, ClientConfig, DeviceRecord, Input, SessionRecord, Snapshot};
use solconnect_sync_core::frame::{Body, Frame, Head, SyncResponse};
use solconnect_sync_core::ids::{message_id, session_of};
use solconnect_sync_core::message::{Entry, Message};
use solconnect_sync_core::time::Now;

const WALLET: &str = "So11111111111111111111111111111111111111112";
const PEER: &str = "11111111111111111111111111111111";

#[test]
fn what_is_queued_again_under_a_new_id_is_not_sent_before_it_is_stored() {
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
    let mut client = Client::new(ClientConfig::default(), snapshot, 7);
    let mut handle = |input| client.handle(Now { monotonic_ms: 1, wall_ms: 1_700_000_000_000 }, input);
    let connects = |actions: &[Action]| actions.iter().any(|action| matches!(action, Action::Connect { generation: 1 }));
    assert!(connects(&handle(Input::ConnectWallet { request: 1, wallet: WALLET.into() })));
    let _ = handle(Input::Connected { generation: 1 });

    // While one commit is under way, a message is written and the other copy's message of the same counter arrives.
    let mark = handle(Input::MarkRead { request: 2, session_id: session_id.clone(), message_id: "m".into(), sequence_number: 1 });
    assert!(mark.iter().any(|action| matches!(action, Action::Persist(commit) if commit.id == 1)));
    let _ = handle(Input::Send { request: 3, session_id: session_id.clone(), text: "mine".into(), content_type: None });
    let theirs = Entry {
        message: Message {
            id: message_id(&session_id, "copied", 2),
            sender_wallet: WALLET.into(),
            ciphertext: "theirs".into(),
            session_id: session_id.clone(),
            ..Message::default()
        },
        sequence_number: 2,
        vector_clock: r#"{"copied":2}"#.parse().unwrap(),
        server_timestamp: 1,
        original_device_id: "copied".into(),
    };
    let response = SyncResponse { messages: Batch::of(&[theirs]).unwrap(), latest_sequence: 2, ..SyncResponse::default() };
    let head = Head { session_id, device_id: "server".into(), ..Head::default() };
    let frame = Frame { head, body: Body::SyncResponse(response) }.to_bytes().unwrap();
    let _ = handle(Input::Received { generation: 1, frame: frame.into() });

    let actions = handle(Input::Persisted { commit: 1 });
    assert!(actions.iter().any(|action| matches!(action, Action::Persist(commit) if commit.id == 2)), "both share the next commit");
    let sent = actions.iter().filter_map(|action| match action {
        Action::Transmit { frame, .. } => Frame::from_bytes(frame).ok(),
        _ => None,
    });
    assert!(sent.into_iter().all(|frame| !matches!(frame.body, Body::SyncUpdate(_))), "the message is not stored yet");
}
