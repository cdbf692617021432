//! A TCP stream that is read at a pace, and closed without losing what was said last.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use crate::address::Entered;

/// How long a peer may go on sending into a closed connection.
const LINGER_MS_MAX: u64 = 2_000;

/// Bytes that are read of one connection at once, and in a second in the long run: more than the machine would hear of it.
/// It is what bounds fragments without end, and what is read away.
const BYTES_MAX: i64 = 8 * 1024 * 1024;
const BYTES_PER_MS: i64 = 4 * 1024;

/// Bytes that a connection may still be read, and the wait until there are some.
struct Pace {
    left: i64,
    since: Instant,
    wait: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    fn new() -> Self {
        Pace { left: BYTES_MAX, since: Instant::now(), wait: None }
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.left <= 0 {
            let missing_ms = u64::try_from(1 - self.left / BYTES_PER_MS).unwrap_or_default();
            let until = self.since + Duration::from_millis(missing_ms);
            ready!(self.wait.get_or_insert_with(|| Box::pin(sleep_until(until))).as_mut().poll(context));
            self.wait = None;
            self.earn();
        }
        Poll::Ready(())
    }

    fn earn(&mut self) {
        let passed_ms = i64::try_from(self.since.elapsed().as_millis()).unwrap_or(BYTES_MAX).min(BYTES_MAX);
        self.since += Duration::from_millis(passed_ms.unsigned_abs());
        self.left = (self.left + passed_ms * BYTES_PER_MS).min(BYTES_MAX);
    }

    fn took(&mut self, bytes: usize) {
        self.earn();
        self.left -= i64::try_from(bytes).unwrap_or(BYTES_MAX);
    }
}

/// Closing a TCP socket while input is unread resets the connection, and the reset overtakes what was written: a
/// client in the middle of a frame that is too large would never read why it was refused. So, when dropped, this one
/// ends its own direction and reads away what still comes, for [`LINGER_MS_MAX`] at most.
pub(crate) struct Linger {
    /// There until it is dropped.
    stream: Option<TcpStream>,
    pace: Pace,
    /// It counts for its address as long as it is open.
    _entered: Option<Entered>,
}

impl Linger {
    pub(crate) fn new(stream: TcpStream, entered: Option<Entered>) -> Self {
        Linger { stream: Some(stream), pace: Pace::new(), _entered: entered }
    }

    fn stream(self: Pin<&mut Self>) -> io::Result<Pin<&mut TcpStream>> {
        self.get_mut().stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for Linger {
    fn drop(&mut self) {
        if let (Some(stream), Ok(runtime)) = (self.stream.take(), Handle::try_current()) {
            let pace = std::mem::replace(&mut self.pace, Pace::new());
            runtime.spawn(timeout(Duration::from_millis(LINGER_MS_MAX), drain(stream, pace)));
        }
    }
}

async fn drain(mut stream: TcpStream, mut pace: Pace) {
    if stream.shutdown().await.is_ok() {
        let mut unread = [0; 4096];
        loop {
            std::future::poll_fn(|context| pace.poll_ready(context)).await;
            match stream.read(&mut unread).await {
                Ok(bytes @ 1..) => pace.took(bytes),
                _ => return,
            }
        }
    }
}

impl AsyncRead for Linger {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.pace.poll_ready(context));
        let Some(stream) = this.stream.as_mut() else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        let before = buffer.filled().len();
        let result = Pin::new(stream).poll_read(context, buffer);
        this.pace.took(buffer.filled().len() - before);
        result
    }
}

impl AsyncWrite for Linger {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write(context, bytes)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(context)
    }
}
