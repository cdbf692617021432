//! What the lines of a trace say, for people.

use solconnect_sync_core::client::{Commit, Input, Write};
use solconnect_sync_core::frame::{Frame, Payload};

/// A frame.
pub fn describe(payload: &Payload) -> String {
    let frame = match payload {
        Payload::Text(text) => Frame::parse(text),
        Payload::Binary(bytes) => Frame::from_bytes(bytes),
    };
    match frame {
        Ok(frame) => format!("{}B {:?}", payload.len(), frame.body),
        Err(error) => format!("{}B, no frame: {error}", payload.len()),
    }
}

/// An input of a tab.
pub fn brief(input: &Input) -> String {
    match input {
        Input::Received { frame, .. } => describe(&Payload::Binary(frame.clone())),
        other => format!("{other:?}"),
    }
}

/// What a commit writes.
pub fn writes(commit: &Commit) -> String {
    let name = |write: &Write| match write {
        Write::Device(record) => format!("device {}", record.device_id),
        Write::Identity(record) => format!("identity {record:?}"),
        Write::Account(record) => format!("account of {}", &record.wallet[..4]),
        Write::ForgetAccount { wallet } => format!("forget account of {}", &wallet[..4]),
        Write::Session(record) => format!("session {} cursor {} counter {}", &record.session_id[..4], record.log.end(), record.counter),
        Write::Heads(record) => format!("heads of {}", record.session_id),
        Write::Outbox(record) => format!("outbox {} +{}", record.first(), record.entries.len()),
        Write::DeleteOutbox { first, last, .. } => format!("delete outbox {first} to {last}"),
        Write::Log(record) => format!("log {} to {}", record.first, record.last),
        Write::JoinLog { first, last, .. } => format!("join {first} to {last}"),
        Write::ClearLog { .. } => "clear log".into(),
        Write::Versions(record) => format!("versions of {}", record.message_id),
        Write::Name(record) => format!("name {}", record.message_id),
        Write::Failed(record) => format!("failed {}: {}", record.number, record.refused_id),
        Write::DeleteFailed { number, .. } => format!("delete failed {number}"),
        Write::ForgetName { message_id, .. } => format!("forget name {message_id}"),
        Write::Invitation(record) => format!("invitation {} {:?}", &record.session_id[..4], record.answer),
        Write::Call(record) => format!("call {} of tab {}", record.call, record.tab),
        Write::ForgetCall { tab, call } => format!("forget call {call} of tab {tab}"),
        Write::ForgetCalls { tab, through } => format!("forget calls to {through} of tab {tab}"),
        Write::ForgetInvitation { session_id } => format!("forget invitation {}", &session_id[..4]),
    };
    commit.writes.iter().map(name).collect::<Vec<_>>().join(", ")
}
