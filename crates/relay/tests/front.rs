//! What faces strangers: whose a connection is, also behind a proxy, how many one address has, and the numbers for the operator.

use crate::support;
use std::net::{Ipv4Addr, SocketAddr};

use crate::support::{Client, RelayProcess, frame, open, soon, unsent};
use serde_json::json;
use solconnect_sync_core::limits::ADDRESS_CONNECTIONS_MAX;

const SESSION: &str = "session-123";
const BEHIND_PROXY: [&str; 2] = ["--trusted-proxy", "127.0.0.1"];

/// A connection that a proxy passes on, or the status that it is answered with.
async fn pass_on(relay: &RelayProcess, header: (&'static str, &str)) -> Result<Client, u16> {
    open(relay.address, &[header]).await.map(|(client, _)| client).map_err(|refused| refused.status().as_u16())
}

/// As many connections as an address may have.
async fn crowd(relay: &RelayProcess, header: (&'static str, &str)) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..ADDRESS_CONNECTIONS_MAX {
        clients.push(pass_on(relay, header).await.unwrap());
    }
    clients
}

#[tokio::test]
async fn an_address_behind_a_proxy_has_only_so_many_connections() {
    let mut relay = RelayProcess::start_with(&BEHIND_PROXY).await;
    let mut clients = crowd(&relay, ("x-forwarded-for", "192.0.2.1")).await;
    let refused = open(relay.address, &[("x-forwarded-for", "192.0.2.1")]).await.err().expect("one more is refused");
    let body = String::from_utf8(refused.body().clone().unwrap_or_default()).unwrap();
    assert!(refused.status() == 429 && body.starts_with("RELAY_BUSY: "), "{} {body}", refused.status());
    // What the client itself says stands before what the proxy says.
    for lie in ["203.0.113.7, 192.0.2.1", "127.0.0.1, 192.0.2.1", "192.0.2.1:99"] {
        assert_eq!(pass_on(&relay, ("x-forwarded-for", lie)).await.err(), Some(429), "{lie}");
    }
    assert_eq!(pass_on(&relay, ("forwarded", "for=203.0.113.7, for=\"192.0.2.1\"")).await.err(), Some(429), "in either header");
    let mut other = pass_on(&relay, ("x-forwarded-for", "192.0.2.2")).await.unwrap();
    other.update(SESSION, "other", json!([unsent(SESSION, "other", 1, "others are not hurt")])).await;
    relay.connect().await;
    // Who is counted is served, too.
    let last = clients.last_mut().unwrap();
    last.update(SESSION, "last", json!([unsent(SESSION, "last", 1, "hello")])).await;
    clients.truncate(100);
    let again = async {
        while pass_on(&relay, ("x-forwarded-for", "192.0.2.1")).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    soon("there is room when some have left", again).await;
    relay.signal("TERM");
    let (_, log) = relay.ended().await;
    assert_eq!(log.matches(" WARN ").count(), 1, "a flood does not fill the log: {log}");
    assert!(log.contains("(429)") && !log.contains("others are not hurt"), "{log}");
}

#[tokio::test]
async fn ipv6_addresses_of_one_network_count_together() {
    let relay = RelayProcess::start_with(&BEHIND_PROXY).await;
    let _clients = crowd(&relay, ("x-forwarded-for", "2001:db8:0:1::1")).await;
    assert_eq!(pass_on(&relay, ("x-forwarded-for", "2001:db8:0:1:ffff::2")).await.err(), Some(429));
    assert!(pass_on(&relay, ("x-forwarded-for", "2001:db8:0:2::1")).await.is_ok());
}

#[tokio::test]
async fn what_nobody_trusted_says_is_not_read() {
    let mut relay = RelayProcess::start_with(&["--trusted-proxy", "10.0.0.0/8"]).await;
    let mut clients = crowd(&relay, ("x-forwarded-for", "192.0.2.1")).await;
    clients.push(pass_on(&relay, ("x-forwarded-for", "192.0.2.1")).await.unwrap());
    clients.push(pass_on(&relay, ("forwarded", "for=192.0.2.1")).await.unwrap());
    relay.signal("TERM");
    let (_, log) = relay.ended().await;
    assert_eq!(log.matches("give the relay --trusted-proxy").count(), 1, "the operator is told once: {log}");
}

/// An address on which nobody listens.
fn free() -> SocketAddr {
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn the_numbers_are_on_their_own_address_and_name_nobody() {
    let address = free();
    let relay = RelayProcess::start_with(&["--metrics", &address.to_string()]).await;
    let mut client = relay.device(SESSION, "device-a").await;
    client.update(SESSION, "device-a", json!([unsent(SESSION, "device-a", 1, "a secret text")])).await;
    client.send(frame("sync_update", SESSION, "device-a", json!({ "messages": "none" }))).await;
    client.expect("error").await;
    let (head, body) = RelayProcess::request_at(address, "GET", "/metrics", "").await;
    let text = String::from_utf8(body).unwrap();
    assert!(head.starts_with("http/1.1 200") && head.contains("text/plain; version=0.0.4"), "{head}");
    for line in [
        "solconnect_connections 1",
        "solconnect_sessions 1",
        "solconnect_attachments 1",
        "solconnect_connections_total 1",
        "solconnect_frames_received_total 3",
        "solconnect_entries_total 1",
        "solconnect_errors_total{code=\"INVALID_MESSAGE_FORMAT\"} 1",
        "solconnect_capped_total{cap=\"address_connections\"} 0",
        "solconnect_capped_total{cap=\"wallet_conversations_per_hour\"} 0",
        "solconnect_journal_up 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    for named in [SESSION, "device-a", "wallet-of-device-a", "a secret text", "127.0.0.1"] {
        assert!(!text.contains(named), "{named} in {text}");
    }
    // Each family is said once, before its samples.
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        assert_eq!(text.matches(&format!("# TYPE {name} ")).count(), 1, "{name}");
    }
    assert_eq!(RelayProcess::request_at(address, "GET", "/healthz", "").await.1, b"ok\n");
    assert!(relay.get("/metrics", "").await.0.starts_with("http/1.1 404"), "strangers do not see them");
}

#[tokio::test]
async fn an_open_relay_says_so_whatever_is_logged() {
    for (auth, is_loud) in [("open", true), ("wallet", false)] {
        let mut relay = RelayProcess::start_with(&["--auth", auth, "--log", "off"]).await;
        relay.signal("TERM");
        let (status, log) = relay.ended().await;
        assert!(status.success());
        assert_eq!(log.contains("WARNING: --auth open: nobody has to sign in"), is_loud, "{log}");
        assert_eq!(log.lines().filter(|line| !line.is_empty()).count(), if is_loud { 4 } else { 0 }, "{log}");
    }
}

#[tokio::test]
async fn who_says_nothing_of_it_has_devices_sign_in() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.db");
    let mut child = support::command(&["--listen", "127.0.0.1:0", "--journal", journal.to_str().unwrap()]).spawn().unwrap();
    let mut line = String::new();
    let mut out = tokio::io::BufReader::new(child.stdout.take().unwrap());
    soon("it is ready", tokio::io::AsyncBufReadExt::read_line(&mut out, &mut line)).await.unwrap();
    let address = line.trim().strip_prefix("listening on http://").unwrap().parse().unwrap();
    let (mut client, _) = open(address, &[]).await.unwrap();
    assert_eq!(client.expect("hello").await["signInRequired"], true);
    client.send(support::announcement(SESSION, "device-a")).await;
    assert_eq!(client.expect("error").await["code"], "SIGN_IN_REQUIRED");
}
