//! One WebSocket: reading and writing side by side until either ends, then an orderly close.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::frame::{Body, Encoding, ErrorBody, Frame, Head, Payload};
use solconnect_sync_core::limits::{FRAME_BYTES_MAX, SILENCE_MS_MAX};
use solconnect_sync_core::relay::{ConnectionId, Input, Source};
use tokio::select;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tracing::debug;
use tungstenite::error::{CapacityError, Error as SocketError};

use crate::driver::{CLOSE_SERVICE_RESTART, Event, Goodbye, Outbox};

/// How often the relay pings. Browsers answer by themselves, also for hidden and frozen pages.
const PING_INTERVAL_MS: u64 = 30_000;

/// How long a peer is not read after a ping, or another frame that says nothing: nobody needs more than a hundred a second,
/// and a million would have all of a processor.
const CONTROL_PAUSE_MS: u64 = 10;

/// How long the last frames and the closing handshake may take.
const CLOSE_TIMEOUT_MS: u64 = 2_000;

/// Bytes written before the machine hears that they were: it must see a slow reader make progress.
const WRITE_BYTES_AT_ONCE: usize = 16 * 1024;

/// The longest reason that fits a close frame, in bytes (RFC 6455, 5.5).
const REASON_BYTES_MAX: usize = 123;

/// How a connection ends.
enum End {
    /// The peer closed it, or it broke.
    Gone(String),
    /// We close it; `error` is told in the last frame before that.
    Close { error: Option<SyncError>, goodbye: Goodbye },
}

/// Runs a connection until it is closed. Tells the driver of its beginning, its frames and its end.
pub(crate) async fn run(
    socket: WebSocket,
    connection: ConnectionId,
    peer: SocketAddr,
    source: Option<Source>,
    events: mpsc::Sender<Event>,
) {
    let asked_binary = socket.protocol().is_some_and(|protocol| protocol == Encoding::Binary.subprotocol());
    let encoding = if asked_binary { Encoding::Binary } else { Encoding::Json };
    let (frames, outgoing) = mpsc::unbounded_channel();
    let (close, mut close_asked) = oneshot::channel();
    if events.send(Event::Opened { connection, encoding, source, outbox: Outbox { frames, close } }).await.is_err() {
        return;
    }
    debug!(connection, %peer, "opened");
    let (mut sink, mut stream) = socket.split();
    let end = {
        let mut reader = pin!(read(&mut stream, connection, &events));
        let mut writer = pin!(write(&mut sink, outgoing, connection, &events));
        let mut all_written = false;
        loop {
            select! {
                end = &mut reader => break end,
                result = &mut writer, if !all_written => match result {
                    Ok(()) => all_written = true,
                    Err(error) => break End::Gone(error.to_string()),
                },
                goodbye = &mut close_asked => {
                    if !all_written {
                        // First what was transmitted, as long as the peer takes it.
                        let _ = timeout(Duration::from_millis(CLOSE_TIMEOUT_MS), &mut writer).await;
                    }
                    break End::Close { error: None, goodbye: goodbye.unwrap_or_else(|_| stopping()) };
                }
            }
        }
    };
    let why = match end {
        End::Gone(why) => why,
        End::Close { error, goodbye } => {
            let why = format!("{} {}", goodbye.code, goodbye.reason);
            let closing = close_with(&mut sink, &mut stream, encoding, error, goodbye);
            let _ = timeout(Duration::from_millis(CLOSE_TIMEOUT_MS), closing).await;
            why
        }
    };
    debug!(connection, %peer, why, "closed");
    // The driver is gone only where the relay stops.
    let _ = events.send(Event::Input(Input::Closed { connection })).await;
}

async fn read(stream: &mut SplitStream<WebSocket>, connection: ConnectionId, events: &mpsc::Sender<Event>) -> End {
    // One frame at a time waits for the driver: those of others stand behind one of it at most, however fast it says them.
    let turns = Arc::new(Semaphore::new(1));
    loop {
        // It is never closed. What is not read waits in the peer's own buffers.
        let Ok(turn) = turns.clone().acquire_owned().await else { return End::Close { error: None, goodbye: stopping() } };
        let payload = match timeout(Duration::from_millis(SILENCE_MS_MAX), stream.next()).await {
            Ok(Some(Ok(Message::Text(text)))) => Payload::Text(text.as_str().into()),
            Ok(Some(Ok(Message::Binary(bytes)))) => Payload::Binary(bytes[..].into()),
            // The answers to pings and closes are the library's; after a close the stream ends by itself.
            Ok(Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_)))) => {
                sleep(Duration::from_millis(CONTROL_PAUSE_MS)).await;
                continue;
            }
            Ok(Some(Err(error))) => return end_of(error),
            Ok(None) => return End::Gone("closed by the peer".to_owned()),
            Err(_) => return End::Gone(format!("silent for {SILENCE_MS_MAX} ms")),
        };
        // Waits while the driver has enough to do; the peer's TCP window fills meanwhile.
        if events.send(Event::Received { connection, payload, turn }).await.is_err() {
            return End::Close { error: None, goodbye: stopping() };
        }
    }
}

/// What a failed read means to the peer.
fn end_of(error: axum::Error) -> End {
    let text = error.to_string();
    let error = match error.into_inner().downcast::<SocketError>() {
        Ok(error) => *error,
        Err(_) => return End::Gone(text),
    };
    let (code, error) = match error {
        SocketError::Capacity(CapacityError::MessageTooLong { size, .. }) => {
            let message = format!("the frame has {size} bytes or more, the limit is {FRAME_BYTES_MAX}");
            (1009, Some(SyncError::new(ErrorCode::FrameTooLarge, message)))
        }
        SocketError::Utf8(_) => (1007, None),
        SocketError::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => return End::Gone(text),
        SocketError::Protocol(_) => (1002, None),
        _ => return End::Gone(text),
    };
    End::Close { error, goodbye: Goodbye { code, reason: text } }
}

fn stopping() -> Goodbye {
    Goodbye { code: CLOSE_SERVICE_RESTART, reason: "the relay restarts".to_owned() }
}

/// Writes frames until the driver lets go of the socket.
async fn write(
    sink: &mut SplitSink<WebSocket, Message>,
    mut frames: mpsc::UnboundedReceiver<Payload>,
    connection: ConnectionId,
    events: &mpsc::Sender<Event>,
) -> Result<(), axum::Error> {
    let interval = Duration::from_millis(PING_INTERVAL_MS);
    let mut ping = interval_at(Instant::now() + interval, interval);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let mut next = select! {
            frame = frames.recv() => frame,
            _ = ping.tick() => {
                sink.send(Message::Ping(Bytes::new())).await?;
                continue;
            }
        };
        let mut bytes = 0;
        while let Some(payload) = next.take() {
            bytes += payload.len();
            sink.feed(message(payload)).await?;
            if bytes < WRITE_BYTES_AT_ONCE {
                next = frames.try_recv().ok();
            }
        }
        if bytes == 0 {
            return Ok(());
        }
        sink.flush().await?;
        // The driver is gone only where the relay stops, and then nobody counts.
        let _ = events.send(Event::Input(Input::Sent { connection, bytes })).await;
    }
}

fn message(payload: Payload) -> Message {
    match payload {
        Payload::Text(text) => Message::Text(Utf8Bytes::from(&*text)),
        // Shared by all who are sent it.
        Payload::Binary(bytes) => Message::Binary(Bytes::from_owner(bytes)),
    }
}

/// Says why, closes, and waits for the peer to agree.
async fn close_with(
    sink: &mut SplitSink<WebSocket, Message>,
    stream: &mut SplitStream<WebSocket>,
    encoding: Encoding,
    error: Option<SyncError>,
    goodbye: Goodbye,
) {
    let frame = error.map(|error| Frame { head: Head::default(), body: Body::Error(ErrorBody::new(&error)) });
    let last = frame.and_then(|frame| match encoding {
        Encoding::Json => Some(Message::Text(frame.to_json().into())),
        Encoding::Binary => frame.to_bytes().map(|bytes| Message::Binary(bytes.into())),
    });
    let close = CloseFrame { code: goodbye.code, reason: shorten(&goodbye.reason, REASON_BYTES_MAX).into() };
    for message in last.into_iter().chain([Message::Close(Some(close))]) {
        if sink.send(message).await.is_err() {
            return;
        }
    }
    while let Some(Ok(_)) = stream.next().await {}
}

fn shorten(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_close_reason_is_cut_between_characters() {
        assert_eq!(shorten("short", REASON_BYTES_MAX), "short");
        assert_eq!(shorten("aé", 2), "a");
    }
}
