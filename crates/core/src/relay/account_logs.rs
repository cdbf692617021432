//! Account logs for who asks: whoever has signed in reads any of them, to find out whose the devices are that write to it. Who has
//! how many devices is no secret among them. Who is refused, because its account lists it no longer, reads why.

use super::api::{ConnectionId, JournalAnswer, JournalQuestion};
use super::budget;
use super::context::{CLOSE_REFUSED, CLOSE_TRY_LATER, Context, Purpose, refusal};
use crate::batch::Batch;
use crate::entry::{Entry, first_log_hash};
use crate::error::{ErrorCode, SyncError};
use crate::frame::{Body, Head, SyncRequest, SyncResponse};
use crate::limits::{ACCOUNT_READS_MAX, BATCH_MESSAGES_MAX};
use crate::log::LogHead;

/// Bytes of entries that one frame takes to a device, at least one entry: in JSON they are twice as many, and all that a connection
/// may ask for at once fits its queue.
const SENT_BYTES_MAX: usize = 8 * 1024;

/// What is read for whom.
pub(super) struct AccountRead {
    connection: ConnectionId,
    /// The frame that is answered.
    frame_id: String,
    from: u64,
    /// Why the connection ends when all is read; `None` where it goes on.
    end: Option<SyncError>,
}

/// A device asks for what follows its cursor.
pub(super) fn ask(ctx: &mut Context, connection: ConnectionId, head: &Head, request: &SyncRequest) {
    ctx.charge(connection, 2 * budget::LOAD_US);
    let Some(socket) = ctx.sockets.get_mut(&connection) else { return };
    if socket.account_reads >= ACCOUNT_READS_MAX {
        let message = format!("{ACCOUNT_READS_MAX} account logs are being read already; ask again when they have come");
        return ctx.refuse(connection, refusal(&SyncError::new(ErrorCode::RelayBusy, message), head));
    }
    let from = request.last_synced_sequence.saturating_add(1);
    begin(ctx, &head.session_id, AccountRead { connection, frame_id: head.message_id.clone(), from, end: None });
}

/// A device that its account lists no longer is refused. It believes that of the account's log alone: first it reads what follows its
/// cursor.
pub(super) fn turn_out(ctx: &mut Context, connection: ConnectionId, account_id: &str, (head, known): (&Head, u64), why: SyncError) {
    ctx.charge(connection, 2 * budget::LOAD_US);
    let frame_id = head.message_id.clone();
    begin(ctx, account_id, AccountRead { connection, frame_id, from: known.saturating_add(1), end: Some(why) });
}

fn begin(ctx: &mut Context, account_id: &str, read: AccountRead) {
    if let Some(socket) = ctx.sockets.get_mut(&read.connection) {
        socket.account_reads += 1;
    }
    ctx.ask(account_id, Purpose::AccountHead(read), JournalQuestion::Load { session_id: account_id.to_owned() });
}

/// The journal says where a log ends: what of it was asked for is read.
pub(super) fn on_head(ctx: &mut Context, account_id: &str, read: AccountRead, answer: JournalAnswer) {
    let JournalAnswer::Session(stored) = answer else { return fail(ctx, account_id, read, &answer) };
    ctx.charge(read.connection, stored.devices.len() as u64);
    let hash = if stored.head == 0 { first_log_hash(account_id) } else { stored.log_hash };
    let head = LogHead { sequence: stored.head, hash };
    if read.from > head.sequence {
        return send(ctx, account_id, read, &[], head, head);
    }
    read_on(ctx, account_id, read, head);
}

fn read_on(ctx: &mut Context, account_id: &str, read: AccountRead, head: LogHead) {
    let (session_id, from) = (account_id.to_owned(), read.from);
    let question = JournalQuestion::Read { session_id, from, count_max: BATCH_MESSAGES_MAX, bytes_max: SENT_BYTES_MAX };
    ctx.ask(account_id, Purpose::AccountEntries(read, head), question);
}

/// The socket took some bytes: what waits for that is read.
pub(super) fn go_on(ctx: &mut Context, connection: ConnectionId) {
    let socket = ctx.sockets.get_mut(&connection).filter(|socket| !socket.is_full());
    if let Some((account_id, read, head)) = socket.and_then(|socket| socket.waiting_read.take()) {
        read_on(ctx, &account_id, read, head);
    }
}

/// The journal has read entries.
pub(super) fn on_read(ctx: &mut Context, account_id: &str, read: AccountRead, head: LogHead, answer: JournalAnswer) {
    let JournalAnswer::Entries(stored) = answer else { return fail(ctx, account_id, read, &answer) };
    ctx.charge(read.connection, stored.len() as u64 * budget::MESSAGE_US);
    let entries: Vec<Entry> = stored.iter().filter_map(|stored| stored.body.entries().ok()?.pop()).collect();
    match stored.last().filter(|_| entries.len() == stored.len()) {
        Some(last) => send(ctx, account_id, read, &entries, LogHead { sequence: last.sequence, hash: last.log_hash }, head),
        None => fail(ctx, account_id, read, &JournalAnswer::Failed { reason: "an entry of an account cannot be read".into() }),
    }
}

fn send(ctx: &mut Context, account_id: &str, mut read: AccountRead, entries: &[Entry], log: LogHead, head: LogHead) {
    let response = SyncResponse {
        messages: Batch::of(entries).unwrap_or_default(),
        // It may have grown since.
        latest_sequence: head.sequence.max(log.sequence),
        in_reply_to: Some(read.frame_id.clone()),
        log: Some(log),
        ..SyncResponse::default()
    };
    ctx.transmit(read.connection, account_id, Body::SyncResponse(response));
    if read.end.is_some()
        && log.sequence < head.sequence
        && let Some(socket) = ctx.sockets.get_mut(&read.connection)
    {
        read.from = log.sequence + 1;
        // Nobody but who takes it has the relay read on.
        if socket.is_full() {
            socket.waiting_read = Some((account_id.to_owned(), read, head));
            return;
        }
        return read_on(ctx, account_id, read, head);
    }
    is_done(ctx, &read);
    if let Some(why) = read.end {
        ctx.refuse(read.connection, refusal(&why, &Head { message_id: read.frame_id, ..Head::default() }));
        ctx.cut(read.connection, CLOSE_REFUSED, why.message.clone());
    }
}

fn fail(ctx: &mut Context, account_id: &str, read: AccountRead, answer: &JournalAnswer) {
    is_done(ctx, &read);
    let error = ctx.journal_failed(account_id, answer);
    let head = Head { session_id: account_id.to_owned(), message_id: read.frame_id, ..Head::default() };
    ctx.refuse(read.connection, refusal(&error, &head));
    if read.end.is_some() {
        ctx.cut(read.connection, CLOSE_TRY_LATER, error.message.clone());
    }
}

fn is_done(ctx: &mut Context, read: &AccountRead) {
    if let Some(socket) = ctx.sockets.get_mut(&read.connection) {
        socket.account_reads -= 1;
    }
}
