//! The listening side: HTTP connections, the WebSocket upgrade, and the page.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection};
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use solconnect_sync_core::frame::{Encoding, PROTOCOL_VERSION};
use solconnect_sync_core::limits::FRAME_BYTES_MAX;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::select;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tracing::{debug, error, warn};

use crate::driver::Event;
use crate::linger::Linger;
use crate::origin::{OriginRule, content_security_policy, origin_asked_about};
use crate::pages::Pages;
use crate::refusals::{Refusals, Shown};
use crate::socket;

/// How long a client may take to send the head of a request (T15).
const HEAD_TIMEOUT_MS: u64 = 5_000;

/// Header fields of a request, and the bytes of its head (T15).
const HEADERS_MAX: usize = 64;
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What one WebSocket reads at once: the library's own 128 KiB would be held by every idle connection.
const READ_BUFFER_BYTES: usize = 4 * 1024;

/// What one WebSocket gathers before it writes.
const WRITE_BUFFER_BYTES: usize = 4 * 1024;

/// What the kernel holds for one socket. Left to itself it takes megabytes for a client that never reads (T12).
const SEND_BUFFER_BYTES: u32 = 256 * 1024;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1_024;

/// How long to wait before accepting again where the process has no file descriptors left.
const ACCEPT_PAUSE_MS: u64 = 100;

/// How long requests may go on while the relay stops.
const REQUESTS_TIMEOUT_MS: u64 = 1_000;

/// What is served, to whom.
#[derive(Debug, Clone, Default)]
pub struct ServerConfig {
    /// The folder of the page, where one is served.
    pub www: Option<PathBuf>,
    /// The folder served under `/pkg/`.
    pub pkg: Option<PathBuf>,
    /// Origins of pages that may connect, beside those of this machine.
    pub allow_origin: Vec<String>,
}

#[derive(Clone)]
struct Context {
    events: mpsc::Sender<Event>,
    last_connection: Arc<AtomicU64>,
    rule: Arc<OriginRule>,
    refusals: Arc<Refusals>,
    page: Option<Pages>,
    port: u16,
}

/// Who is at the other end.
#[derive(Clone, Copy)]
struct Peer(SocketAddr);

/// Starts to listen.
///
/// # Errors
/// Those of the operating system: an address in use, or not of this machine.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address.ip() {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A restarted relay must not wait for old connections to time out.
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts connections until `stop` resolves, then lets running requests end. WebSockets go on: they are the driver's.
/// `/healthz` answers 503 while there is `trouble`.
///
/// # Errors
/// Where the listener has no address.
pub async fn serve(
    listener: TcpListener,
    config: ServerConfig,
    events: mpsc::Sender<Event>,
    trouble: watch::Receiver<Option<String>>,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let router = router(listener.local_addr()?, config, events, trouble);
    let (stopping, requests) = watch::channel(());
    let mut stop = pin!(stop);
    loop {
        let accepted = select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                tokio::spawn(answer_requests(stream, peer, router.clone(), requests.clone()));
            }
            Err(error) => {
                error!("a connection could not be accepted: {error}");
                sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
            }
        }
    }
    drop((listener, requests));
    let _ = stopping.send(());
    // Those that take longer end with the process.
    let _ = timeout(Duration::from_millis(REQUESTS_TIMEOUT_MS), stopping.closed()).await;
    Ok(())
}

/// Answers the requests of one TCP connection, until one makes it a WebSocket or the relay stops.
async fn answer_requests(stream: TcpStream, peer: SocketAddr, router: Router, mut stopping: watch::Receiver<()>) {
    // Frames are small and awaited. Where this fails the socket is gone, and the first read says so.
    let _ = stream.set_nodelay(true);
    let service = TowerToHyperService::new(router.layer(Extension(Peer(peer))));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(HEAD_TIMEOUT_MS))
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(Linger::new(stream)), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let result = select! {
        result = &mut connection => result,
        _ = stopping.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        debug!(%peer, "a request failed: {error}");
    }
}

fn router(address: SocketAddr, config: ServerConfig, events: mpsc::Sender<Event>, trouble: watch::Receiver<Option<String>>) -> Router {
    let page = config.www.map(Pages::new);
    let context = Context {
        events,
        last_connection: Arc::default(),
        rule: Arc::new(OriginRule { listed: config.allow_origin, loopback_only: address.ip().is_loopback() }),
        refusals: Arc::default(),
        page: page.clone(),
        port: address.port(),
    };
    let mut router = Router::new().route("/", get(root)).route("/healthz", get(move || health(trouble.clone())));
    if let Some(pkg) = config.pkg.map(Pages::new) {
        router = router.nest("/pkg", Router::new().fallback(move |request| serve_page(pkg.clone(), request)));
    }
    if let Some(page) = page {
        router = router.fallback(move |request| serve_page(page.clone(), request));
    }
    router.layer(from_fn_with_state(context.clone(), add_headers)).with_state(context)
}

async fn serve_page(pages: Pages, request: Request) -> Response {
    pages.answer(request).await
}

/// For whoever restarts services: what is wrong is in the log, because anybody may ask here.
async fn health(trouble: watch::Receiver<Option<String>>) -> (StatusCode, &'static str) {
    match *trouble.borrow() {
        None => (StatusCode::OK, "ok\n"),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "the journal is lost\n"),
    }
}

/// A WebSocket where one is asked for, whether an origin is served where that is asked, the page otherwise.
async fn root(
    State(context): State<Context>,
    Extension(Peer(peer)): Extension<Peer>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    request: Request,
) -> Response {
    if !request.headers().contains_key(header::UPGRADE) {
        if let Some(origin) = origin_asked_about(request.uri().query()) {
            return about_origin(context.rule.allows(&origin, host(request.headers())));
        }
        return match context.page {
            Some(page) => page.answer(request).await,
            None => (StatusCode::NOT_FOUND, "This is a SolConnect relay. It speaks WebSocket here.\n").into_response(),
        };
    }
    let origin = request.headers().get(header::ORIGIN);
    if let Some(origin) = origin
        && !origin.to_str().is_ok_and(|origin| context.rule.allows(origin, host(request.headers())))
    {
        match context.refusals.count(Instant::now()) {
            Some(unlogged) => warn!(
                origin = %Shown(origin),
                unlogged,
                "a page of this origin may not connect (403). To let its pages connect, give the relay this origin with --allow-origin"
            ),
            None => debug!(%peer, origin = %Shown(origin), "a page of this origin may not connect (403)"),
        }
        return (StatusCode::FORBIDDEN, "Pages of this origin may not connect to this relay (see --allow-origin).\n").into_response();
    }
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    let connection = context.last_connection.fetch_add(1, Ordering::Relaxed) + 1;
    upgrade
        .max_message_size(FRAME_BYTES_MAX)
        .max_frame_size(FRAME_BYTES_MAX)
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        // What is gathered, and one frame of the largest size with its head.
        .max_write_buffer_size(2 * (WRITE_BUFFER_BYTES + FRAME_BYTES_MAX))
        // A client that offers none of them is taken too, and speaks JSON.
        .protocols([Encoding::Binary.subprotocol(), Encoding::Json.subprotocol()])
        .on_upgrade(move |socket| socket::run(socket, connection, peer, context.events))
}

/// Tells a page what its browser does not: that this is a relay, and whether the page's origin may connect. Any page may read it.
fn about_origin(is_allowed: bool) -> Response {
    let body = format!("{{\"relay\":\"solconnect\",\"protocolVersion\":{PROTOCOL_VERSION},\"originAllowed\":{is_allowed}}}\n");
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        // Who asks without end pays for a connection each time.
        (header::CONNECTION, "close"),
    ];
    (headers, body).into_response()
}

fn host(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::HOST)?.to_str().ok()
}

/// Adds to every answer what a browser needs to know to trust it no further than it must.
async fn add_headers(State(context): State<Context>, request: Request, next: Next) -> Response {
    let policy = content_security_policy(host(request.headers()), context.port);
    let mut response = next.run(request).await;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let headers = response.headers_mut();
        if let Ok(policy) = HeaderValue::from_str(&policy) {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    response
}
