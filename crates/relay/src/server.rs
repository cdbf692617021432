//! The listening side: HTTP connections, the WebSocket upgrade, and the page.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
use ipnet::IpNet;
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::frame::{Encoding, PROTOCOL_VERSION};
use solconnect_sync_core::limits::{ADDRESS_CONNECTIONS_MAX, ADDRESS_REQUESTS_MAX, FRAME_BYTES_MAX};
use solconnect_sync_core::relay::Source;
use tokio::net::{TcpListener, TcpSocket};
use tokio::select;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tracing::{debug, error, warn};

use crate::address::{Client, Connections, Entered, Proxies, is_forwarded};
use crate::driver::Event;
use crate::linger::Linger;
use crate::metrics::{Metrics, Refused};
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
    /// Proxies that are believed when they say whom they speak for.
    pub trusted_proxy: Vec<IpNet>,
    /// Counts what is refused before the machine hears of it.
    pub refused: Arc<Refused>,
}

#[derive(Clone)]
struct Context {
    events: mpsc::Sender<Event>,
    last_connection: Arc<AtomicU64>,
    rule: Arc<OriginRule>,
    refusals: Arc<Refusals>,
    door: Arc<Door>,
    refused: Arc<Refused>,
    page: Option<Pages>,
    port: u16,
}

/// Whom connections come from, and how many there are of each.
#[derive(Default)]
struct Door {
    proxies: Proxies,
    /// TCP connections, by their peers.
    streams: Connections,
    /// WebSockets, by whom they come from.
    sockets: Connections,
    refusals: Refusals,
    /// It was said that a proxy is not believed.
    told_of_proxy: AtomicBool,
}

impl Door {
    /// A TCP connection comes in; an error where its address has as many as it may have. Those that proxies pass on are
    /// counted when it is known whose they are.
    fn stream(&self, peer: IpAddr) -> Result<Option<Entered>, ()> {
        let peer = peer.to_canonical();
        if peer.is_loopback() || self.proxies.has(peer) {
            return Ok(None);
        }
        let Some(source) = Client::At(peer).source() else { return Ok(None) };
        self.streams.enter(source, ADDRESS_CONNECTIONS_MAX + ADDRESS_REQUESTS_MAX).map(Some).ok_or(())
    }

    /// A WebSocket is asked for: where it comes from, and what counts it.
    fn socket(&self, peer: SocketAddr, headers: &HeaderMap) -> Result<(Option<Source>, Option<Entered>), ()> {
        let client = self.proxies.client(peer.ip(), headers);
        if client == Client::Local && is_forwarded(headers) && !self.told_of_proxy.swap(true, Ordering::Relaxed) {
            warn!(
                peer = %peer.ip(),
                "a proxy on this machine says whose connections it passes on, and is not believed: all of them are served without limits \
                 by address. To have their addresses counted, give the relay --trusted-proxy with this peer"
            );
        }
        let Some(source) = client.source() else { return Ok((None, None)) };
        match self.sockets.enter(source, ADDRESS_CONNECTIONS_MAX) {
            Some(entered) => Ok((Some(source), Some(entered))),
            None => {
                match self.refusals.count(Instant::now()) {
                    Some(unlogged) => warn!(unlogged, "an address has as many connections as it may have (429)"),
                    None => debug!(?client, "an address has as many connections as it may have (429)"),
                }
                Err(())
            }
        }
    }
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
    let door = Arc::new(Door { proxies: Proxies(config.trusted_proxy.clone()), ..Door::default() });
    let refused = config.refused.clone();
    let router = router(listener.local_addr()?, config, door.clone(), events, trouble);
    accept(listener, router, |peer| door.stream(peer).inspect_err(|()| refused.count(&refused.streams)), stop).await;
    Ok(())
}

/// Serves the numbers of a relay until `stop` resolves.
pub async fn serve_metrics(listener: TcpListener, metrics: Metrics, stop: impl Future<Output = ()>) {
    let trouble = metrics.trouble.clone();
    let router =
        Router::new().route("/metrics", get(move || metrics.clone().answer())).route("/healthz", get(move || health(trouble.clone())));
    accept(listener, router, |_| Ok(None), stop).await;
}

/// Accepts connections that `enters` lets in, until `stop` resolves, and then lets running requests end.
async fn accept(
    listener: TcpListener,
    router: Router,
    enters: impl Fn(IpAddr) -> Result<Option<Entered>, ()>,
    stop: impl Future<Output = ()>,
) {
    let (stopping, requests) = watch::channel(());
    let mut stop = pin!(stop);
    loop {
        let accepted = select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        match accepted {
            // Who has too many is told nothing: that would cost more than the next attempt does.
            Ok((stream, peer)) => {
                if let Ok(entered) = enters(peer.ip()) {
                    // Frames are small and awaited. Where this fails the socket is gone, and the first read says so.
                    let _ = stream.set_nodelay(true);
                    tokio::spawn(answer_requests(Linger::new(stream, entered), peer, router.clone(), requests.clone()));
                }
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
}

/// Answers the requests of one TCP connection, until one makes it a WebSocket or the relay stops.
async fn answer_requests(stream: Linger, peer: SocketAddr, router: Router, mut stopping: watch::Receiver<()>) {
    let service = TowerToHyperService::new(router.layer(Extension(Peer(peer))));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(HEAD_TIMEOUT_MS))
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
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

fn router(
    address: SocketAddr,
    config: ServerConfig,
    door: Arc<Door>,
    events: mpsc::Sender<Event>,
    trouble: watch::Receiver<Option<String>>,
) -> Router {
    let page = config.www.map(Pages::new);
    let context = Context {
        events,
        last_connection: Arc::default(),
        rule: Arc::new(OriginRule { listed: config.allow_origin, loopback_only: address.ip().is_loopback() }),
        refusals: Arc::default(),
        door,
        refused: config.refused,
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
        context.refused.count(&context.refused.origins);
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
    let Ok((source, entered)) = context.door.socket(peer, request.headers()) else {
        context.refused.count(&context.refused.sockets);
        let text = format!("{}: an address has at most {ADDRESS_CONNECTIONS_MAX} connections here\n", ErrorCode::RelayBusy.as_str());
        return (StatusCode::TOO_MANY_REQUESTS, text).into_response();
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
        .on_upgrade(async move |socket| {
            socket::run(socket, connection, peer, source, context.events).await;
            drop(entered);
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_only_so_many_tcp_connections() {
        let door = Door { proxies: Proxies(vec!["10.0.0.0/8".parse().unwrap()]), ..Door::default() };
        let most = ADDRESS_CONNECTIONS_MAX + ADDRESS_REQUESTS_MAX;
        let stream = |address: &str| door.stream(address.parse().unwrap());
        let held: Vec<_> = (0..most).map(|_| stream("192.0.2.1").unwrap()).collect();
        assert!(stream("192.0.2.1").is_err() && stream("::ffff:192.0.2.1").is_err());
        assert!(stream("192.0.2.2").is_ok_and(|entered| entered.is_some()), "others are not hurt");
        for uncounted in ["127.0.0.1", "::1", "10.1.2.3"] {
            assert!((0..=most).all(|_| stream(uncounted).is_ok_and(|entered| entered.is_none())), "{uncounted}");
        }
        drop(held);
        assert!(stream("192.0.2.1").is_ok());
    }
}
