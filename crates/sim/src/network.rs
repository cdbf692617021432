//! The network between devices and the relay. Like TCP: what is sent on one socket arrives in order, and what is lost is a
//! suffix; but frames of an older socket may come late, a path may die without a word, and the end may be told to one side
//! only.

use std::collections::{BTreeMap, VecDeque};

use solconnect_sync_core::frame::{Encoding, Payload};

use crate::faults::Fault;
use crate::world::{Context, Happening, TabId};

/// Names one socket.
pub type ConnectionId = u64;

/// What a socket's system buffers before it takes no more, in bytes.
const SOCKET_BUFFER_BYTES: usize = 64 * 1024;

/// The two ends of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Towards the relay.
    Relay,
    /// Towards the device.
    Peer,
}

/// Whose socket it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A tab's, with the generation that the tab gave to this socket.
    Tab(TabId, u64),
    /// A hostile member's.
    Hostile(usize),
}

/// What arrives.
pub enum Parcel {
    /// The socket is open.
    Opened,
    /// A frame.
    Frame(Payload),
    /// The socket has ended, for this reason.
    Closed(String),
}

struct Flight {
    due_ms: u64,
    parcel: Parcel,
    /// The sender's system has it in its buffer.
    taken: bool,
}

impl Flight {
    fn bytes(&self) -> usize {
        if let Parcel::Frame(payload) = &self.parcel { payload.len() } else { 0 }
    }
}

/// One direction of a socket.
#[derive(Default)]
struct Channel {
    flights: VecDeque<Flight>,
    last_due_ms: u64,
    /// Nothing passes before this time; `u64::MAX` where nothing ever will.
    blocked_until_ms: u64,
    /// The end is on its way: nothing more is taken.
    sealed: bool,
    /// A delivery is in the agenda.
    awaited: bool,
    taken_bytes: usize,
}

/// A socket.
pub struct Link {
    /// Whose it is.
    pub peer: Peer,
    /// How its frames are written.
    pub encoding: Encoding,
    /// In which life of the relay it was made.
    pub relay_life: u64,
    /// When it was made.
    pub opened_ms: u64,
    to_relay: Channel,
    to_peer: Channel,
}

/// All sockets.
#[derive(Default)]
pub struct Network {
    links: BTreeMap<ConnectionId, Link>,
    last_connection: ConnectionId,
}

impl Network {
    /// A new socket; it opens on both sides when the greetings arrive.
    pub fn open(&mut self, ctx: &mut Context, peer: Peer, encoding: Encoding, relay_life: u64) -> ConnectionId {
        self.last_connection += 1;
        let connection = self.last_connection;
        let opened_ms = ctx.agenda.now_ms();
        let link = Link { peer, encoding, relay_life, opened_ms, to_relay: Channel::default(), to_peer: Channel::default() };
        self.links.insert(connection, link);
        self.push(ctx, connection, Side::Relay, Parcel::Opened);
        self.push(ctx, connection, Side::Peer, Parcel::Opened);
        connection
    }

    /// A socket that is not gone.
    pub fn link(&self, connection: ConnectionId) -> Option<&Link> {
        self.links.get(&connection)
    }

    /// The sockets of a peer, oldest first.
    pub fn sockets_of(&self, is: impl Fn(Peer) -> bool) -> Vec<ConnectionId> {
        self.links.iter().filter(|(_, link)| is(link.peer)).map(|(connection, _)| *connection).collect()
    }

    /// Whether such a peer has a socket that was opened after this one.
    pub fn has_newer(&self, connection: ConnectionId, is: impl Fn(Peer) -> bool) -> bool {
        let Some(opened_ms) = self.links.get(&connection).map(|link| link.opened_ms) else { return false };
        self.links.range(connection + 1..).any(|(_, link)| link.opened_ms > opened_ms && is(link.peer))
    }

    /// Sends a frame, which may be the occasion of a fault.
    pub fn send(&mut self, ctx: &mut Context, connection: ConnectionId, side: Side, payload: Payload) {
        if !self.links.contains_key(&connection) {
            return;
        }
        if ctx.strikes(Fault::SuffixLost) {
            return self.cut(ctx, connection, "1006");
        }
        if ctx.strikes(Fault::CutFrame) {
            return self.cut(ctx, connection, "1006 in the middle of a frame");
        }
        if ctx.strikes(Fault::CloseCode) {
            let code = *ctx.pick(&["1006", "1009", "1012", "1013"]);
            return self.cut(ctx, connection, code);
        }
        if ctx.strikes(Fault::HalfOpen) {
            self.die_silently(ctx, connection);
        }
        if ctx.strikes(Fault::Clogged) {
            let until_ms = ctx.agenda.now_ms() + ctx.random.u64(0..5_000);
            if let Some(channel) = self.channel(connection, side) {
                channel.blocked_until_ms = channel.blocked_until_ms.max(until_ms);
            }
        }
        self.push(ctx, connection, side, Parcel::Frame(payload));
    }

    fn channel(&mut self, connection: ConnectionId, side: Side) -> Option<&mut Channel> {
        let link = self.links.get_mut(&connection)?;
        Some(if side == Side::Relay { &mut link.to_relay } else { &mut link.to_peer })
    }

    fn push(&mut self, ctx: &mut Context, connection: ConnectionId, side: Side, parcel: Parcel) {
        let due_ms = ctx.agenda.now_ms() + ctx.latency_ms();
        let Some(channel) = self.channel(connection, side) else { return };
        if channel.sealed {
            return;
        }
        channel.sealed = matches!(parcel, Parcel::Closed(_));
        channel.last_due_ms = channel.last_due_ms.max(due_ms);
        channel.flights.push_back(Flight { due_ms: channel.last_due_ms, parcel, taken: false });
        self.take(ctx, connection, side);
        self.await_next(ctx, connection, side);
    }

    /// The system takes what its buffer has room for, and the relay is told so.
    fn take(&mut self, ctx: &mut Context, connection: ConnectionId, side: Side) {
        if side == Side::Relay {
            return;
        }
        let Some(channel) = self.channel(connection, side) else { return };
        for flight in channel.flights.iter_mut().filter(|flight| !flight.taken) {
            let bytes = flight.bytes();
            if channel.taken_bytes >= SOCKET_BUFFER_BYTES {
                break;
            }
            flight.taken = true;
            channel.taken_bytes += bytes;
            if bytes > 0 {
                ctx.agenda.after(1, Happening::Sent(connection, bytes));
            }
        }
    }

    fn await_next(&mut self, ctx: &mut Context, connection: ConnectionId, side: Side) {
        let Some(channel) = self.channel(connection, side) else { return };
        let Some(flight) = channel.flights.front().filter(|_| !channel.awaited) else { return };
        let due_ms = flight.due_ms.max(channel.blocked_until_ms);
        if due_ms < u64::MAX {
            channel.awaited = true;
            ctx.agenda.at(due_ms, Happening::Deliver(connection, side));
        }
    }

    /// What arrives now, if the way is clear.
    pub fn arrive(&mut self, ctx: &mut Context, connection: ConnectionId, side: Side) -> Option<Parcel> {
        let now_ms = ctx.agenda.now_ms();
        let channel = self.channel(connection, side)?;
        channel.awaited = false;
        let clear = channel.blocked_until_ms <= now_ms && channel.flights.front().is_some_and(|flight| flight.due_ms <= now_ms);
        let flight = if clear { channel.flights.pop_front() } else { None };
        if let Some(flight) = &flight
            && flight.taken
        {
            channel.taken_bytes -= flight.bytes();
        }
        self.take(ctx, connection, side);
        self.await_next(ctx, connection, side);
        let parcel = flight?.parcel;
        if matches!(parcel, Parcel::Closed(_)) {
            let ended = |channel: &Channel| channel.sealed && channel.flights.is_empty();
            if self.links.get(&connection).is_some_and(|link| ended(&link.to_relay) && ended(&link.to_peer)) {
                self.links.remove(&connection);
            }
        }
        Some(parcel)
    }

    /// Nothing passes in this direction for a while, or ever.
    pub fn block(&mut self, connection: ConnectionId, side: Side, until_ms: u64) {
        if let Some(channel) = self.channel(connection, side) {
            channel.blocked_until_ms = channel.blocked_until_ms.max(until_ms);
        }
    }

    /// The path dies and nobody hears of it; the relay's system gives it up much later.
    pub fn die_silently(&mut self, ctx: &mut Context, connection: ConnectionId) {
        let one_way = ctx.random.u8(0..4);
        for side in [Side::Relay, Side::Peer] {
            if one_way != side as u8 {
                self.lose_suffix(ctx, connection, side);
                self.block(connection, side, u64::MAX);
            }
        }
        let wait_ms = ctx.random.u64(20_000..90_000);
        ctx.agenda.after(wait_ms, Happening::Reap(connection));
    }

    /// A suffix of what is under way may be lost.
    fn lose_suffix(&mut self, ctx: &mut Context, connection: ConnectionId, side: Side) {
        let Some(channel) = self.channel(connection, side) else { return };
        let kept = ctx.random.usize(0..=channel.flights.len());
        for flight in channel.flights.drain(kept..) {
            if flight.taken {
                channel.taken_bytes -= flight.bytes();
            }
        }
    }

    /// The connection breaks: a suffix is lost either way, and both sides hear of it, the relay perhaps much later.
    pub fn cut(&mut self, ctx: &mut Context, connection: ConnectionId, reason: &str) {
        for side in [Side::Relay, Side::Peer] {
            self.lose_suffix(ctx, connection, side);
        }
        if ctx.random.u8(0..4) == 0 {
            // What did arrive at the relay's system is slow to be read: later than frames of the next socket.
            let until_ms = ctx.agenda.now_ms() + ctx.random.u64(0..6_000);
            self.block(connection, Side::Relay, until_ms);
        }
        self.end(ctx, connection, Side::Relay, reason);
        self.end(ctx, connection, Side::Peer, reason);
    }

    /// This side is told of the end, after what is under way.
    pub fn end(&mut self, ctx: &mut Context, connection: ConnectionId, side: Side, reason: &str) {
        self.push(ctx, connection, side, Parcel::Closed(reason.to_owned()));
    }

    /// One side is gone, with all that was under way to it: the process that had the socket was killed.
    pub fn vanish(&mut self, ctx: &mut Context, connection: ConnectionId, side: Side) {
        let Some(channel) = self.channel(connection, side) else { return };
        channel.flights.clear();
        channel.sealed = true;
        let other = if side == Side::Relay { Side::Peer } else { Side::Relay };
        self.lose_suffix(ctx, connection, other);
        if ctx.faults.active() && ctx.random.u8(0..6) == 0 {
            // The machine went down with it: nobody is told.
            ctx.faults.count(Fault::HalfOpen);
            self.block(connection, other, u64::MAX);
            if other == Side::Relay {
                let wait_ms = ctx.random.u64(20_000..90_000);
                ctx.agenda.after(wait_ms, Happening::Reap(connection));
            }
        }
        self.end(ctx, connection, other, "1006");
    }

    /// The relay's system gives up a socket that has been dead for long.
    pub fn reap(&mut self, ctx: &mut Context, connection: ConnectionId) {
        let Some(channel) = self.channel(connection, Side::Relay) else { return };
        channel.flights.clear();
        channel.sealed = false;
        channel.blocked_until_ms = 0;
        self.end(ctx, connection, Side::Relay, "timed out");
    }

    /// Partitions and clogs end. A path that has died stays dead.
    pub fn heal(&mut self, ctx: &mut Context) {
        let now_ms = ctx.agenda.now_ms();
        let connections: Vec<ConnectionId> = self.links.keys().copied().collect();
        for (connection, side) in connections.into_iter().flat_map(|connection| [(connection, Side::Relay), (connection, Side::Peer)]) {
            let Some(channel) = self.channel(connection, side) else { continue };
            if (now_ms + 1..u64::MAX).contains(&channel.blocked_until_ms) {
                // What was held up comes now, and not when the way would have been clear.
                (channel.blocked_until_ms, channel.awaited) = (now_ms, false);
                self.await_next(ctx, connection, side);
            }
        }
    }
}
