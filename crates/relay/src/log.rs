//! The log: a thread of its own writes it to stderr, so that the relay goes on where nobody reads it.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::time::{Duration, Instant};

/// Lines that wait to be written; what comes beyond is dropped and counted. Of some hundred bytes each.
const LINES_MAX: usize = 1_024;

/// How long the program waits at its end for what is not written yet.
const FLUSH_TIMEOUT_MS: u64 = 500;

/// How often it sees whether there is room again meanwhile.
const FLUSH_INTERVAL_MS: u64 = 5;

enum Line {
    Text(Vec<u8>),
    /// To be told when all before it is written.
    Flush(Sender<()>),
}

/// The way to the log. Each write is one line, and never waits.
#[derive(Debug, Clone)]
pub struct Log {
    lines: SyncSender<Line>,
    dropped: Arc<AtomicU64>,
}

impl Log {
    /// Starts the thread.
    ///
    /// # Errors
    /// Where the system has no thread to give.
    pub fn start() -> io::Result<Log> {
        let (lines, waiting) = sync_channel(LINES_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let log = Log { lines, dropped: dropped.clone() };
        std::thread::Builder::new().name("log".to_owned()).spawn(move || write_lines(&waiting, &dropped))?;
        Ok(log)
    }

    /// Waits until all is written, where somebody reads it.
    pub fn finish(&self) {
        let deadline = Instant::now() + Duration::from_millis(FLUSH_TIMEOUT_MS);
        let (written, is_written) = channel();
        while let Err(TrySendError::Full(_)) = self.lines.try_send(Line::Flush(written.clone())) {
            if Instant::now() >= deadline {
                return;
            }
            std::thread::sleep(Duration::from_millis(FLUSH_INTERVAL_MS));
        }
        // Where it is not in time, nobody reads.
        let _ = is_written.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.lines.try_send(Line::Text(line.to_vec())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_lines(lines: &Receiver<Line>, dropped: &AtomicU64) {
    let mut stderr = io::stderr();
    for line in lines {
        // Where stderr is closed there is nobody to tell.
        let _ = match line {
            Line::Text(text) => stderr.write_all(&text),
            Line::Flush(written) => written.send(()).map_err(io::Error::other),
        };
        let count = dropped.swap(0, Ordering::Relaxed);
        if count > 0 {
            let _ = writeln!(stderr, "solconnect-relay: {count} lines of the log were dropped: they came faster than they were read");
        }
    }
}
