//! The relay's program: options, logging, signals, exit codes.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser;
use clap::builder::{NonEmptyStringValueParser, TypedValueParser};
use ipnet::IpNet;
use solconnect_relay::driver::{Driver, EVENTS_MAX, Event};
use solconnect_relay::erase::{self, Erased};
use solconnect_relay::journal::Journal;
use solconnect_relay::key;
use solconnect_relay::log::Log;
use solconnect_relay::metrics::{Metrics, Refused};
use solconnect_relay::options::{self, Auth};
use solconnect_relay::server::{self, ServerConfig};
use solconnect_relay::verify::{self, Verified};
use solconnect_sync_core::identity::Verdict;
use solconnect_sync_core::ids::wallet_address;
use solconnect_sync_core::relay::{Doorkeeper, Relay};
use tokio::select;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tracing::info;
use tracing::level_filters::LevelFilter;

/// The options. The help is written by hand in a file of its own: `npm run relay -- --help` prints that file before
/// anything is built.
#[derive(Parser)]
#[command(version, override_help = include_str!("help.txt"), args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
struct Options {
    #[command(subcommand)]
    command: Option<Command>,

    #[arg(long, default_value = "127.0.0.1:8080", value_parser = options::listen_address)]
    listen: SocketAddr,

    #[arg(long, default_value = "solconnect-relay.db")]
    journal: PathBuf,

    #[arg(long)]
    www: Option<PathBuf>,

    #[arg(long)]
    pkg: Option<PathBuf>,

    #[arg(long, value_parser = options::origin)]
    allow_origin: Vec<String>,

    #[arg(long, default_value = "wallet", value_enum)]
    auth: Auth,

    #[arg(long, value_parser = options::public_url)]
    public_url: Option<String>,

    #[arg(long)]
    insecure_open: bool,

    #[arg(long, value_parser = options::network)]
    trusted_proxy: Vec<IpNet>,

    #[arg(long, value_parser = options::listen_address)]
    metrics: Option<SocketAddr>,

    #[arg(long, default_value = "info", value_parser = NonEmptyStringValueParser::new().try_map(|level| level.parse::<LevelFilter>()))]
    log: LevelFilter,
}

/// What is done instead of serving.
#[derive(clap::Subcommand)]
enum Command {
    #[command(override_help = include_str!("help.txt"))]
    Erase {
        journal: PathBuf,

        #[arg(long, value_parser = options::wallet)]
        wallet: String,
    },

    #[command(override_help = include_str!("help.txt"))]
    Verify { journal: PathBuf },

    #[command(override_help = include_str!("help.txt"))]
    RenewKey { journal: PathBuf },

    #[command(override_help = include_str!("help.txt"))]
    VerifyEvidence {
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

/// What is said at a start with `--auth open`.
const OPEN_MEANS: &str = "
solconnect-relay: WARNING: --auth open: nobody has to sign in to this relay.
solconnect-relay: Anybody who reaches it can say to be any wallet and any device, can see who writes to whom,
solconnect-relay: and can read and write every session that was begun without signing in.
solconnect-relay: It is for clients that cannot sign in, on this machine. For anything else say --auth wallet.

";

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
        Ok(runtime) => runtime.block_on(run(options, log.clone())),
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

async fn run(options: Options, mut log: Log) -> Result<(), Failure> {
    match &options.command {
        Some(Command::Erase { journal, wallet }) => return erase(journal, wallet),
        Some(Command::Verify { journal }) => return verify(journal),
        Some(Command::RenewKey { journal }) => return renew_key(journal),
        Some(Command::VerifyEvidence { files }) => return verify_evidence(files),
        None => {}
    }
    check_auth(&options).map_err(|message| Failure { code: 2, message })?;
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
    let listener = server::listen(options.listen).map_err(|error| failure(explain_listen("--listen", options.listen, &error)))?;
    let address = listener.local_addr().map_err(|error| failure(explain_listen("--listen", options.listen, &error)))?;
    let metrics_listener = match options.metrics {
        Some(address) => Some(server::listen(address).map_err(|error| failure(explain_listen("--metrics", address, &error)))?),
        None => None,
    };
    let (answers_in, answers) = mpsc::unbounded_channel();
    let journal = Journal::open(&options.journal, answers_in).map_err(failure)?;
    log_start(address, &options.journal, &journal);
    if let Some(metrics) = metrics_listener.as_ref().and_then(|listener| listener.local_addr().ok()) {
        info!("numbers for the operator are at http://{metrics}/metrics");
    }
    if options.auth == Auth::Open {
        // Not by the log's level: whoever starts it so is told in any case.
        let _ = log.write_all(OPEN_MEANS.as_bytes());
    }

    let (events_in, events) = mpsc::channel(EVENTS_MAX);
    let (stop, stop_asked) = oneshot::channel();
    let trouble = journal.trouble();
    // Behind the journal, which says where it cannot be.
    let key = key::relay_key(&options.journal).map_err(failure)?;
    info!(key = wallet_address(&key.public()), "this relay's key, which clients may name (relayKey)");
    let earlier = key::earlier_keys(&options.journal, &key).map_err(failure)?;
    let names = options.public_url.map_or_else(|| options::loopback_names(address.port()), |name| vec![name]);
    let is_required = options.auth == Auth::Wallet;
    let keeper = Doorkeeper { key, earlier, names, is_required, secret: key::random().map_err(failure)? };
    let driver = Driver::new(Relay::with_sign_in(keeper), journal);
    let driver = tokio::spawn(driver.run(events, answers, stop_asked));
    // Nobody may be reading what is printed; the relay serves all the same.
    let _ = writeln!(io::stdout(), "listening on http://{address}").and_then(|()| io::stdout().flush());
    let refused = Arc::new(Refused::default());
    let config = ServerConfig {
        www: options.www,
        pkg: options.pkg,
        allow_origin: options.allow_origin,
        trusted_proxy: options.trusted_proxy,
        refused: refused.clone(),
    };
    if let Some(metrics_listener) = metrics_listener {
        let started_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let metrics = Metrics { events: events_in.clone(), trouble: trouble.clone(), refused, started_s };
        // It ends with the program.
        tokio::spawn(server::serve_metrics(metrics_listener, metrics, std::future::pending()));
    }
    let stopped = stopped(terminate, interrupt, events_in.clone());
    server::serve(listener, config, events_in, trouble, stopped).await.map_err(|error| failure(error.to_string()))?;

    // A driver that has ended already has panicked, which awaiting it tells.
    let _ = stop.send(());
    let journal = driver.await.map_err(|error| failure(format!("the relay failed: {error}")))?;
    tokio::task::spawn_blocking(|| journal.close()).await.map_err(|error| failure(format!("closing the journal failed: {error}")))?;
    info!("stopped");
    Ok(())
}

fn erase(journal: &Path, wallet: &str) -> Result<(), Failure> {
    let erased = erase::erase(journal, wallet).map_err(failure)?;
    if (Erased { kept_accounts: 0, ..erased.clone() }) == Erased::default() {
        return Err(failure(format!("the journal {} has nothing of the wallet {wallet}: is that its whole address?", journal.display())));
    }
    let Erased { entries, accounts, kept_accounts, sessions } = erased;
    // Nobody may be reading what is printed; it is erased all the same.
    let _ = writeln!(
        io::stdout(),
        "erased: {entries} entries and what was known of the wallet in {sessions} sessions, {accounts} account logs. {kept_accounts} account logs \
         stay, because encrypted sessions hang on them. What others wrote is there as it was, and so are backups, and what devices have \
         received"
    );
    Ok(())
}

fn verify(journal: &Path) -> Result<(), Failure> {
    let Verified { sessions, entries, signatures } = verify::verify(journal).map_err(failure)?;
    let _ = writeln!(io::stdout(), "right: {entries} entries in {sessions} sessions, {signatures} signatures of devices");
    Ok(())
}

fn renew_key(journal: &Path) -> Result<(), Failure> {
    let key = key::renew(journal).map_err(failure)?;
    let _ = writeln!(
        io::stdout(),
        "the relay's key is {} now, which the one before names. Keep a copy of both files",
        wallet_address(&key.public())
    );
    Ok(())
}

/// Says what evidence shows; with an exit code of its own where the relay contradicts itself.
fn verify_evidence(files: &[PathBuf]) -> Result<(), Failure> {
    let verdict = verify::verify_evidence(files).map_err(failure)?;
    match verdict {
        Verdict::Consistent(_) => {
            let _ = writeln!(io::stdout(), "{verdict}");
            Ok(())
        }
        Verdict::Forked(..) | Verdict::SetBack(..) => Err(Failure { code: 3, message: verdict.to_string() }),
    }
}

/// Checks who is served against where that is.
fn check_auth(options: &Options) -> Result<(), String> {
    let Options { listen, auth, public_url, insecure_open, .. } = options;
    match (auth, public_url) {
        (Auth::Open, Some(name)) => Err(format!(
            "--public-url says that others know this relay as {name}, and --auth open that nobody has to sign in: say --auth wallet, or leave the \
             address out"
        )),
        (Auth::Open, None) if !listen.ip().is_loopback() && !insecure_open => Err(format!(
            "{listen} can be reached by other machines, and nobody has to sign in: whoever reaches it can read and write every session \
             whose id they know. Listen on 127.0.0.1, or say --insecure-open if that is what you want"
        )),
        (Auth::Wallet, None) if !listen.ip().is_loopback() => Err(format!(
            "devices sign in to a relay by its name, and what they call the one that listens on {listen} is not known: name the address \
             that they connect to with --public-url wss://..."
        )),
        _ => Ok(()),
    }
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

fn explain_listen(option: &str, address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!("{address} is in use: stop the program that has it, or choose another port with {option}"),
        _ => format!("cannot listen on {address} ({error}): choose another address or port with {option}"),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn help_names_every_option_with_its_default() {
        let help = include_str!("help.txt");
        for option in Options::command().get_arguments() {
            let name = option.get_long().unwrap();
            assert!(help.contains(&format!("--{name} ")), "{name}");
            for default in option.get_default_values().iter().filter(|_| option.get_action().takes_values()) {
                assert!(help.contains(&format!("[default: {}]", default.display())), "{name}");
            }
        }
    }
}
