//! The relay's program: options, logging, signals, exit codes.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use clap::builder::{NonEmptyStringValueParser, TypedValueParser};
use solconnect_relay::driver::{Driver, EVENTS_MAX, Event};
use solconnect_relay::journal::Journal;
use solconnect_relay::log::Log;
use solconnect_relay::options;
use solconnect_relay::server::{self, ServerConfig};
use solconnect_sync_core::relay::Relay;
use tokio::select;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tracing::info;
use tracing::level_filters::LevelFilter;

/// The relay of SolConnect Sync: gives every session its one order, keeps it in a journal, and passes it on.
///
/// Clients connect with a WebSocket at the address it listens on (path /). It prints `listening on http://...` when it
/// is ready. SIGTERM or SIGINT (Ctrl-C) stop it in order: what it has acknowledged is in the journal either way.
///
/// Exit codes: 0 stopped by a signal, 1 it could not start or go on, 2 the options are wrong.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Address and port to listen on; port 0 takes any free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080", value_parser = options::listen_address)]
    listen: SocketAddr,

    /// The journal: a SQLite file, made where there is none. One relay at a time can use it: FILE-lock beside it is held
    /// while it runs, and FILE-wal is part of it. Where these files are deleted, moved, replaced or written to by others
    /// while the relay runs, it refuses to store and to read, says so in its log, and answers 503 at /healthz, until the
    /// same files are back. It does not end by itself: what it has acknowledged is still in the files that it holds open,
    /// and can be copied (on Linux from /proc/PID/fd) until it is stopped
    #[arg(long, value_name = "FILE", default_value = "solconnect-relay.db")]
    journal: PathBuf,

    /// Folder of the web page to serve at /; without it none is served. Only regular files inside are served, also where
    /// links lead to them, and nothing whose name begins with a dot but .well-known
    #[arg(long, value_name = "DIR")]
    www: Option<PathBuf>,

    /// Folder to serve at /pkg/: the built SDK that the page imports
    #[arg(long, value_name = "DIR")]
    pkg: Option<PathBuf>,

    /// Let pages of this origin connect, such as https://chat.example.org (a scheme and a host, with a port where it is
    /// not the scheme's own; no path, no patterns); may be given several times. Pages of this
    /// machine (localhost) always may; where other machines can reach the relay, so may pages of the host that they
    /// reach it at
    #[arg(long, value_name = "ORIGIN", value_parser = options::origin)]
    allow_origin: Vec<String>,

    /// Listen on an address that other machines can reach. There is no sign-in and no TLS: whoever reaches the relay
    /// and knows a session's id can read it and write to it
    #[arg(long)]
    insecure_open: bool,

    /// What to log to stderr: off, error, warn, info, debug or trace. Never the content of messages
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = NonEmptyStringValueParser::new().try_map(|level| level.parse::<LevelFilter>()))]
    log: LevelFilter,
}

/// Why the program ends: a sentence for the operator, and its exit code.
struct Failure {
    code: u8,
    message: String,
}

fn failure(message: impl Into<String>) -> Failure {
    Failure { code: 1, message: message.into() }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let mut log = match Log::start() {
        Ok(log) => log,
        Err(error) => {
            // Where stderr is closed there is nobody to tell.
            let _ = writeln!(io::stderr(), "solconnect-relay: the log cannot be written: {error}");
            return ExitCode::FAILURE;
        }
    };
    let lines = log.clone();
    tracing_subscriber::fmt()
        .with_writer(move || lines.clone())
        .with_max_level(options.log)
        .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(options)),
        Err(error) => Err(failure(format!("the runtime cannot be started: {error}"))),
    };
    let code = match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, message }) => {
            // Where the log is not read there is nobody to tell.
            let _ = log.write_all(format!("solconnect-relay: {message}\n").as_bytes());
            ExitCode::from(code)
        }
    };
    log.finish();
    code
}

async fn run(options: Options) -> Result<(), Failure> {
    if !options.listen.ip().is_loopback() && !options.insecure_open {
        let message = format!(
            "{} can be reached by other machines, and this relay has no sign-in: whoever reaches it can read and write every session \
             whose id they know. Listen on 127.0.0.1, or say --insecure-open if that is what you want",
            options.listen
        );
        return Err(Failure { code: 2, message });
    }
    for (option, folder) in [("--www", &options.www), ("--pkg", &options.pkg)] {
        if let Some(folder) = folder.as_deref().filter(|folder| !folder.is_dir()) {
            return Err(failure(format!("{option}: there is no folder {}", folder.display())));
        }
    }
    for (option, folder) in [("--www", &options.www), ("--pkg", &options.pkg)] {
        if folder.as_deref().is_some_and(|folder| is_inside(&options.journal, folder)) {
            let message = format!("{option}: the journal is in that folder, and everybody could download it: keep them apart");
            return Err(Failure { code: 2, message });
        }
    }
    // Before anything says that it is ready, so that a signal is never missed.
    let mut signals = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
    let [Ok(terminate), Ok(interrupt)] = &mut signals else {
        return Err(failure("signals cannot be awaited here"));
    };
    let listener = server::listen(options.listen).map_err(|error| failure(explain_listen(options.listen, &error)))?;
    let address = listener.local_addr().map_err(|error| failure(explain_listen(options.listen, &error)))?;
    let (answers_in, answers) = mpsc::unbounded_channel();
    let journal = Journal::open(&options.journal, answers_in).map_err(failure)?;
    log_start(address, &options.journal, &journal);

    let (events_in, events) = mpsc::channel(EVENTS_MAX);
    let (stop, stop_asked) = oneshot::channel();
    let trouble = journal.trouble();
    let driver = Driver::new(Relay::new(), journal);
    let driver = tokio::spawn(driver.run(events, answers, stop_asked));
    // Nobody may be reading what is printed; the relay serves all the same.
    let _ = writeln!(io::stdout(), "listening on http://{address}").and_then(|()| io::stdout().flush());
    let config = ServerConfig { www: options.www, pkg: options.pkg, allow_origin: options.allow_origin };
    let stopped = stopped(terminate, interrupt, events_in.clone());
    server::serve(listener, config, events_in, trouble, stopped).await.map_err(|error| failure(error.to_string()))?;

    // A driver that has ended already has panicked, which awaiting it tells.
    let _ = stop.send(());
    let journal = driver.await.map_err(|error| failure(format!("the relay failed: {error}")))?;
    tokio::task::spawn_blocking(|| journal.close()).await.map_err(|error| failure(format!("closing the journal failed: {error}")))?;
    info!("stopped");
    Ok(())
}

async fn stopped(terminate: &mut Signal, interrupt: &mut Signal, events: mpsc::Sender<Event>) {
    let why = select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
        () = events.closed() => "the relay failed",
    };
    info!("stopping: {why}");
}

/// Whether the file is in the folder, or will be when it is made.
fn is_inside(file: &Path, folder: &Path) -> bool {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let place = file.canonicalize().or_else(|_| parent.canonicalize());
    // What cannot be found is refused where it is opened.
    place.is_ok_and(|place| folder.canonicalize().is_ok_and(|folder| place.starts_with(folder)))
}

fn log_start(address: SocketAddr, path: &Path, journal: &Journal) {
    let (version, sessions, entries) = (env!("CARGO_PKG_VERSION"), journal.sessions(), journal.entries());
    info!(version, %address, journal = %path.display(), sessions, entries, "started");
}

fn explain_listen(address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!("{address} is in use: stop the program that has it, or choose another with --listen"),
        _ => format!("cannot listen on {address}: {error}"),
    }
}
