//! What a device makes of sessions that others begin with its wallet.

use crate::desk::{Desk, PEER, WALLET, foreign, session};
use solconnect_sync_core::client::{Answer, Change, Client, ClientConfig, Event, Input, Reply};
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::frame::{Body, ErrorBody, ListedSession, SessionList, WalletAnnounce};
use solconnect_sync_core::ids::{session_of, wallet_address};
use solconnect_sync_core::limits::{INVITATIONS_MAX, SESSION_LISTS_MAX, SESSIONS_MAX};

/// A device that has its wallet, no session, and an open connection.
fn alone() -> Desk {
    let mut desk = Desk::unconnected(ClientConfig::default(), Default::default());
    desk.client = Client::new(ClientConfig::default(), Default::default(), 1);
    desk.records = Default::default();
    begin(&mut desk);
    desk
}

/// The page is opened again.
fn reload(mut desk: Desk) -> Desk {
    desk.client = Client::new(ClientConfig::default(), desk.records.snapshot(), 2);
    desk.forget();
    begin(&mut desk);
    desk
}

fn begin(desk: &mut Desk) {
    desk.connects = 0;
    desk.call(|request| Input::ConnectWallet { request, wallet: WALLET.into() }).unwrap();
    assert_eq!(desk.connects, 1, "a wallet alone wants a connection: it may be written to");
    desk.connect();
}

/// A wallet of this number.
fn stranger(number: usize) -> String {
    let mut key = [7; 32];
    key[..8].copy_from_slice(&(number as u64).to_be_bytes());
    wallet_address(&key)
}

fn listed(peer_wallet: &str, latest_sequence: u64, joined: bool) -> ListedSession {
    ListedSession { session_id: session_of(WALLET, peer_wallet), peer_wallet: peer_wallet.into(), latest_sequence, joined, name: None }
}

/// The relay tells of sessions.
fn tell(desk: &mut Desk, sessions: Vec<ListedSession>) {
    desk.hear_in("", Body::SessionList(SessionList { sessions, ..SessionList::default() }));
}

fn invite(desk: &mut Desk, latest_sequence: u64) {
    tell(desk, vec![listed(PEER, latest_sequence, false)]);
}

/// The invitations told since the last time.
fn invited(desk: &mut Desk) -> Vec<(String, String)> {
    let told = desk.events().into_iter();
    told.filter_map(
        |event| if let Event::SessionInvited { session_id, peer_wallet, .. } = event { Some((session_id, peer_wallet)) } else { None },
    )
    .collect()
}

fn asks(desk: &mut Desk) -> Vec<WalletAnnounce> {
    let sent = desk.sent().into_iter();
    sent.filter_map(|frame| if let Body::WalletAnnounce(said) = frame.body { Some(said) } else { None }).collect()
}

fn accept(desk: &mut Desk) -> Result<Reply, SyncError> {
    desk.call(|request| Input::AcceptSession { request, session_id: session() })
}

fn decline(desk: &mut Desk) -> Result<Reply, SyncError> {
    desk.call(|request| Input::DeclineSession { request, session_id: session() })
}

fn block(desk: &mut Desk, peer: &str) -> Result<Reply, SyncError> {
    desk.call(|request| Input::BlockWallet { request, peer_wallet: peer.into() })
}

fn unblock(desk: &mut Desk, peer: &str) -> Result<Reply, SyncError> {
    desk.call(|request| Input::UnblockWallet { request, peer_wallet: peer.into() })
}

fn code<T: std::fmt::Debug>(result: Result<T, SyncError>) -> ErrorCode {
    result.unwrap_err().code
}

#[test]
fn an_invitation_is_told_once_until_it_is_answered() {
    let mut desk = alone();
    invite(&mut desk, 0);
    assert_eq!(invited(&mut desk), [(session(), PEER.to_owned())]);
    invite(&mut desk, 1);
    invite(&mut desk, 2);
    desk.lose();
    desk.wait(60_000);
    desk.connect();
    invite(&mut desk, 2);
    desk.call(|request| Input::ConnectWallet { request, wallet: WALLET.into() }).unwrap();
    assert_eq!(invited(&mut desk), [], "once");
    let waiting = desk.client.invitations();
    assert_eq!((waiting.len(), waiting[0].peer_wallet.as_str(), waiting[0].received_at), (1, PEER, 1_700_000_000_000));
    assert_eq!((desk.client.sessions().len(), desk.client.stored_sessions().len()), (0, 0), "it is no session yet");
}

#[test]
fn an_invitation_waits_through_a_restart_also_offline() {
    let mut desk = alone();
    invite(&mut desk, 3);
    let mut desk = reload(desk);
    assert_eq!(invited(&mut desk), [(session(), PEER.to_owned())], "before the relay says anything");
    invite(&mut desk, 4);
    desk.call(|request| Input::ConnectWallet { request, wallet: WALLET.into() }).unwrap();
    assert_eq!(invited(&mut desk), []);
    desk.call(|request| Input::DisconnectWallet { request }).unwrap();
    assert_eq!(desk.client.invitations(), [], "they are the wallet's");
}

#[test]
fn an_accepted_session_is_open_and_syncs() {
    let mut desk = alone();
    invite(&mut desk, 1);
    desk.forget();
    let Ok(Reply::Session(view)) = accept(&mut desk) else { panic!("it is accepted") };
    assert_eq!((view.session_id.as_str(), view.peer_wallet.as_str()), (&*session(), PEER));
    desk.answer(&[foreign(1, 1, "hello")], 1);
    assert_eq!(desk.shown(), ["hello"]);
    assert_eq!((desk.client.invitations(), desk.records.invitations.len()), (vec![], 0));
    assert!(accept(&mut desk).is_ok(), "again");
    invite(&mut desk, 9);
    assert_eq!(invited(&mut desk), [], "it is a session");
    assert_eq!(code(decline(&mut desk)), ErrorCode::UnknownSession, "and ends by endSession");
}

#[test]
fn a_declined_invitation_is_told_again_when_more_is_written() {
    let mut desk = alone();
    invite(&mut desk, 1);
    invite(&mut desk, 4);
    decline(&mut desk).unwrap();
    decline(&mut desk).unwrap();
    assert_eq!(desk.client.invitations(), []);
    desk.forget();
    let mut desk = reload(desk);
    invite(&mut desk, 4);
    assert_eq!(invited(&mut desk), [], "nothing new");
    invite(&mut desk, 5);
    assert_eq!(invited(&mut desk), [(session(), PEER.to_owned())]);
    decline(&mut desk).unwrap();
    assert!(accept(&mut desk).is_ok(), "the user changed their mind");
}

#[test]
fn a_refusal_that_is_not_stored_keeps_where_the_log_ended() {
    let mut desk = alone();
    invite(&mut desk, 4);
    desk.held = Some(Default::default());
    desk.ask(|request| Input::DeclineSession { request, session_id: session() });
    desk.fail(ErrorCode::StorageFull);
    desk.held = None;
    decline(&mut desk).unwrap();
    desk.forget();
    invite(&mut desk, 4);
    assert_eq!(invited(&mut desk), [], "it was declined with all that was written");
}

#[test]
fn what_comes_while_a_refusal_is_being_stored_is_told() {
    let mut desk = alone();
    invite(&mut desk, 1);
    assert_eq!(invited(&mut desk).len(), 1);
    desk.held = Some(Default::default());
    desk.ask(|request| Input::BlockWallet { request, peer_wallet: "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA".into() });
    desk.ask(|request| Input::DeclineSession { request, session_id: session() });
    invite(&mut desk, 2);
    while !desk.held.as_ref().unwrap().is_empty() {
        desk.persist();
    }
    assert_eq!(invited(&mut desk), [(session(), PEER.to_owned())]);
}

#[test]
fn what_is_answered_in_the_commit_that_brings_it_is_not_told() {
    let mut desk = alone();
    desk.held = Some(Default::default());
    desk.ask(|request| Input::BlockWallet { request, peer_wallet: stranger(1) });
    invite(&mut desk, 1);
    desk.ask(|request| Input::AcceptSession { request, session_id: session() });
    while !desk.held.as_ref().unwrap().is_empty() {
        desk.persist();
    }
    assert_eq!((invited(&mut desk), desk.client.sessions().len()), (vec![], 1));
}

#[test]
fn a_blocked_wallet_neither_invites_nor_is_written_to() {
    let mut desk = alone();
    invite(&mut desk, 1);
    block(&mut desk, PEER).unwrap();
    block(&mut desk, PEER).unwrap();
    assert_eq!(desk.client.invitations(), []);
    let mut desk = reload(desk);
    invite(&mut desk, 2);
    tell(&mut desk, vec![listed(PEER, 3, true)]);
    assert_eq!((invited(&mut desk), desk.client.sessions().len()), (vec![], 0));
    assert_eq!(code(accept(&mut desk)), ErrorCode::WalletBlocked);
    let start = |request| Input::OpenSession { request, peer_wallet: PEER.into() };
    assert_eq!(code(desk.call(start)), ErrorCode::WalletBlocked);
    desk.forget();
    unblock(&mut desk, PEER).unwrap();
    unblock(&mut desk, PEER).unwrap();
    assert_eq!(asks(&mut desk).len(), 0, "the list that was asked for at the start is not answered yet");
    desk.hear_in("", Body::SessionList(SessionList { in_reply_to: Some("1-1".into()), ..SessionList::default() }));
    assert_eq!(asks(&mut desk).len(), 1, "what was written meanwhile invites again");
    invite(&mut desk, 3);
    assert_eq!(invited(&mut desk).len(), 1);
    assert!(desk.call(start).is_ok());
    assert_eq!(desk.client.invitations(), [], "a session that is started is no invitation");
}

#[test]
fn blocking_ends_the_session_and_keeps_what_is_stored() {
    let mut desk = Desk::new();
    desk.push(&[foreign(1, 1, "hello")]);
    block(&mut desk, PEER).unwrap();
    assert_eq!((desk.client.sessions().len(), desk.shown()), (0, vec!["hello".to_owned()]));
    desk.push(&[foreign(2, 2, "more")]);
    assert_eq!(desk.cursor(), 1);
    unblock(&mut desk, PEER).unwrap();
    desk.forget();
    desk.call(|request| Input::OpenSession { request, peer_wallet: PEER.into() }).unwrap();
    desk.answer(&[foreign(2, 2, "more")], 2);
    assert_eq!(desk.shown(), ["hello", "more"]);
    for (wallet, expected) in [(WALLET, ErrorCode::InvalidArgument), ("nobody", ErrorCode::InvalidWalletAddress)] {
        assert_eq!(code(block(&mut desk, wallet)), expected);
    }
}

#[test]
fn a_session_of_another_own_device_is_simply_there() {
    let mut desk = alone();
    desk.feed(Input::Observe { observed: true });
    invite(&mut desk, 1);
    desk.forget();
    tell(&mut desk, vec![listed(PEER, 1, true)]);
    assert_eq!((desk.client.sessions().len(), desk.client.invitations()), (1, vec![]));
    let events = desk.events();
    assert!(events.contains(&Event::Changed(Change::Session { session_id: session() })), "{events:?}");
    desk.answer(&[foreign(1, 1, "hello")], 1);
    assert_eq!(desk.shown(), ["hello"]);
    desk.call(|request| Input::CloseSession { request, session_id: session() }).unwrap();
    tell(&mut desk, vec![listed(PEER, 2, true)]);
    assert_eq!(desk.client.sessions().len(), 0, "one that was ended here stays so");
}

#[test]
fn the_list_is_asked_for_part_by_part_within_bounds() {
    let mut desk = alone();
    let first = asks(&mut desk);
    assert_eq!((first[0].wallet.as_str(), &first[0].after), (WALLET, &None));
    let answer = |desk: &mut Desk, number: usize| {
        let sessions = vec![listed(&stranger(number), 1, false)];
        let (next, in_reply_to) = (Some("next".to_owned()), Some(format!("1-{number}")));
        desk.hear_in("", Body::SessionList(SessionList { sessions, next, in_reply_to }));
    };
    for number in 1..SESSION_LISTS_MAX {
        answer(&mut desk, number);
        let asked = asks(&mut desk);
        assert_eq!(asked.iter().map(|said| said.after.as_deref()).collect::<Vec<_>>(), [Some("next")], "{number}");
    }
    answer(&mut desk, SESSION_LISTS_MAX);
    assert_eq!(asks(&mut desk), [], "a relay without end");
}

#[test]
fn each_connection_asks_for_the_list_anew() {
    let mut desk = alone();
    for _ in 0..SESSION_LISTS_MAX {
        desk.lose();
        desk.wait(60_000);
        desk.forget();
        desk.connect();
        assert_eq!(asks(&mut desk).len(), 1);
    }
}

#[test]
fn only_the_answer_that_is_awaited_goes_on() {
    let mut desk = alone();
    desk.forget();
    let list =
        |in_reply_to: &str| SessionList { next: Some("next".into()), in_reply_to: Some(in_reply_to.into()), ..SessionList::default() };
    desk.hear_in("", Body::SessionList(list("9-9")));
    assert_eq!(asks(&mut desk), [], "the answer to the first is under way");
    desk.hear_in("", Body::SessionList(list("1-1")));
    assert_eq!(asks(&mut desk)[0].after.as_deref(), Some("next"));
}

#[test]
fn an_error_of_no_session_is_told() {
    let mut desk = alone();
    desk.forget();
    for in_reply_to in [None, Some("9-9".to_owned())] {
        desk.hear_in("", Body::Error(ErrorBody { in_reply_to, ..ErrorBody::new(&SyncError::new(ErrorCode::RelayBusy, "no")) }));
        assert_eq!(desk.warnings(), [ErrorCode::RelayBusy]);
    }
}

#[test]
fn a_refused_list_is_asked_for_again_after_a_wait() {
    let mut desk = alone();
    let frame_id = |desk: &mut Desk| desk.sent().pop().expect("it has asked").head.message_id;
    for number in 1..SESSION_LISTS_MAX {
        let error = SyncError::new(ErrorCode::RelayStorageFailed, "no");
        let in_reply_to = Some(frame_id(&mut desk));
        desk.hear_in("", Body::Error(ErrorBody { in_reply_to, ..ErrorBody::new(&error) }));
        assert_eq!((asks(&mut desk).len(), desk.warnings()), (0, vec![]));
        assert!(desk.client.next_timeout_ms().is_some_and(|at_ms| at_ms <= desk.now.monotonic_ms + 2_000));
        desk.wait(2_000);
        let in_reply_to = Some(frame_id(&mut desk));
        desk.hear_in("", Body::SessionList(SessionList { next: Some("next".into()), in_reply_to, ..SessionList::default() }));
        assert_eq!(desk.sent.len(), 1, "a refusal is no part of the list: {number}");
    }
}

#[test]
fn a_connection_without_a_session_proves_that_it_is_alive() {
    let mut desk = alone();
    desk.forget();
    desk.wait(ClientConfig::default().heartbeat_interval_ms);
    let sent = desk.sent();
    assert!(matches!(&sent[..], [frame] if matches!(frame.body, Body::SyncHeartbeat(_)) && frame.head.session_id.is_empty()), "{sent:?}");
    desk.hear_in("", sent[0].body.clone());
    desk.wait(10_000);
    assert_eq!(desk.disconnects, 0);
    desk.wait(30_000);
    desk.wait(10_000);
    assert_eq!(desk.disconnects, 1, "nothing was heard");
}

#[test]
fn invitations_are_bounded_and_wait_for_room() {
    let mut desk = alone();
    for number in 0..=INVITATIONS_MAX {
        tell(&mut desk, vec![listed(&stranger(number), 1, false)]);
    }
    assert_eq!((invited(&mut desk).len(), desk.records.invitations.len()), (INVITATIONS_MAX, INVITATIONS_MAX));
    let first = session_of(WALLET, &stranger(0));
    desk.call(|request| Input::DeclineSession { request, session_id: first }).unwrap();
    tell(&mut desk, vec![listed(&stranger(INVITATIONS_MAX), 1, false)]);
    assert_eq!(invited(&mut desk).len(), 1, "now there is room");
}

#[test]
fn of_those_that_were_declined_the_oldest_gives_way() {
    let mut desk = alone();
    for number in 0..=INVITATIONS_MAX {
        tell(&mut desk, vec![listed(&stranger(number), 1, false)]);
        let session_id = session_of(WALLET, &stranger(number));
        desk.call(|request| Input::DeclineSession { request, session_id }).unwrap();
        desk.wait(1);
    }
    assert_eq!(desk.records.invitations.len(), INVITATIONS_MAX);
    desk.forget();
    (0..=INVITATIONS_MAX).for_each(|number| tell(&mut desk, vec![listed(&stranger(number), 1, false)]));
    assert_eq!(invited(&mut desk), [(session_of(WALLET, &stranger(0)), stranger(0))], "nobody knows of it any more");
}

#[test]
fn invitations_are_listed_oldest_first() {
    let mut desk = alone();
    for number in [2, 1, 3] {
        tell(&mut desk, vec![listed(&stranger(number), 1, false)]);
        desk.wait(1);
    }
    let peers: Vec<String> = desk.client.invitations().into_iter().map(|invitation| invitation.peer_wallet).collect();
    assert_eq!(peers, [2, 1, 3].map(stranger));
}

#[test]
fn sessions_of_own_devices_are_bounded() {
    let mut desk = alone();
    for number in 0..=SESSIONS_MAX {
        tell(&mut desk, vec![listed(&stranger(number), 1, true)]);
    }
    assert_eq!(desk.client.sessions().len(), SESSIONS_MAX);
    assert_eq!(desk.warnings(), []);
}

#[test]
fn what_is_not_stored_is_not_told_i21() {
    let mut desk = alone();
    desk.held = Some(Default::default());
    invite(&mut desk, 1);
    assert_eq!((invited(&mut desk), desk.client.invitations()), (vec![], vec![]));
    desk.fail(ErrorCode::StorageError);
    desk.wait(60_000);
    desk.connect();
    invite(&mut desk, 1);
    desk.persist();
    assert_eq!((invited(&mut desk).len(), desk.client.invitations().len()), (1, 1));
    desk.ask(|request| Input::DeclineSession { request, session_id: session() });
    assert_eq!(desk.client.invitations().len(), 1);
    desk.fail(ErrorCode::StorageFull);
    assert_eq!(desk.client.invitations().len(), 1, "it waits as before");
    assert_eq!(desk.records.invitations[&session()].answer, Answer::None);
}

#[test]
fn a_relay_that_lists_what_is_not_the_wallets_is_left() {
    for wrong in [
        ListedSession { session_id: "room".into(), ..listed(PEER, 1, false) },
        ListedSession { peer_wallet: stranger(1), ..listed(PEER, 1, false) },
        ListedSession { session_id: session_of(WALLET, "<b>"), peer_wallet: "<b>".into(), ..listed(PEER, 1, false) },
    ] {
        let mut desk = alone();
        desk.forget();
        tell(&mut desk, vec![wrong]);
        assert_eq!((desk.disconnects, desk.warnings()), (1, vec![ErrorCode::RelayMisbehaved]));
        assert_eq!(desk.client.invitations(), []);
    }
}

#[test]
fn calls_about_no_invitation_are_refused_by_name() {
    let mut desk = alone();
    assert_eq!([code(accept(&mut desk)), code(decline(&mut desk))], [ErrorCode::UnknownSession; 2]);
    desk.call(|request| Input::DisconnectWallet { request }).unwrap();
    let refused = [accept(&mut desk), decline(&mut desk), block(&mut desk, PEER), unblock(&mut desk, PEER)];
    assert_eq!(refused.map(code), [ErrorCode::WalletNotConnected; 4]);
}
