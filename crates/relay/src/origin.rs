//! Which web pages may connect (T16), and what the pages we serve may do (T18, T19).

use std::borrow::Cow;
use std::net::IpAddr;

use axum::http::uri::{Authority, Uri};
use percent_encoding::percent_decode_str;

/// What a query begins with that asks whether an origin may connect.
const QUESTION: &str = "solconnect-origin=";

/// Which pages' connections are taken. Programs that are no browsers send no `Origin` and are not asked.
#[derive(Debug, Clone)]
pub(crate) struct OriginRule {
    /// Origins the operator listed.
    pub(crate) listed: Vec<String>,
    /// Whether the relay listens on a loopback address only.
    pub(crate) loopback_only: bool,
}

impl OriginRule {
    /// Whether a page of this origin, having asked this `Host`, may connect.
    pub(crate) fn allows(&self, origin: &str, host: Option<&str>) -> bool {
        if self.listed.iter().any(|listed| listed.eq_ignore_ascii_case(origin)) {
            return true;
        }
        // Also refuses `null`: any page can make a frame of that origin.
        let Some(authority) = authority_of(origin) else { return false };
        if is_loopback(authority.host()) {
            return true;
        }
        // On a loopback address, a page's own host is no proof: a stranger's page may have its name resolve to
        // 127.0.0.1 (DNS rebinding), and would then speak to the relay with its own name in `Host`.
        !self.loopback_only && host.is_some_and(|host| host.eq_ignore_ascii_case(authority.as_str()))
    }
}

/// The origin that a request asks about, where its query is that question. Not the `Origin` of its head: browsers leave that out
/// where a page asks its own host.
pub(crate) fn origin_asked_about(query: Option<&str>) -> Option<Cow<'_, str>> {
    Some(percent_decode_str(query?.strip_prefix(QUESTION)?).decode_utf8_lossy())
}

fn authority_of(origin: &str) -> Option<Authority> {
    let parts = origin.parse::<Uri>().ok()?.into_parts();
    let scheme = parts.scheme?;
    (scheme.as_str() == "http" || scheme.as_str() == "https").then_some(parts.authority).flatten()
}

fn is_loopback(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || host.ends_with(".localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// The `Content-Security-Policy` of a page that was asked for at `host` from a relay listening on `port`.
pub(crate) fn content_security_policy(host: Option<&str>, port: u16) -> String {
    let mut relays = format!("ws://localhost:{port} ws://127.0.0.1:{port}");
    if let Some(host) = host.filter(|host| is_policy_host(host)) {
        relays = format!("ws://{host} {relays}");
    }
    format!(
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
         connect-src 'self' {relays}; frame-src 'self'; frame-ancestors 'self'; base-uri 'none'; form-action 'none'; \
         require-trusted-types-for 'script'"
    )
}

/// Whether it is `name` or `name:port` as a policy may name it. It is the client's own text: anything else in it
/// would let the asker write policy. IPv6 addresses have no form there; `'self'` covers them.
fn is_policy_host(host: &str) -> bool {
    let (name, port) = host.split_once(':').unwrap_or((host, "80"));
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
        && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(loopback_only: bool) -> OriginRule {
        OriginRule { listed: vec!["https://chat.example.org".to_owned()], loopback_only }
    }

    #[test]
    fn strangers_pages_may_not_connect_t16() {
        for (origin, host) in [
            ("http://evil.example", "127.0.0.1:8080"),
            ("http://evil.example:8080", "evil.example:8080"),
            ("https://localhost.evil.example", "localhost:8080"),
            ("https://chat.example.org.evil.example", "localhost:8080"),
            ("http://localhost@evil.example", "localhost:8080"),
            ("file://localhost", "localhost:8080"),
            ("null", "localhost:8080"),
            ("", "localhost:8080"),
            ("garbage", "garbage"),
        ] {
            assert!(!rule(true).allows(origin, Some(host)), "{origin}");
        }
        assert!(!rule(false).allows("http://evil.example", Some("192.0.2.1:8080")));
        assert!(!rule(false).allows("http://192.0.2.1", None));
    }

    #[test]
    fn pages_of_this_machine_and_listed_ones_may_connect() {
        for origin in
            ["http://localhost:3000", "http://127.0.0.1:8080", "http://[::1]:9", "http://app.localhost", "https://chat.example.org"]
        {
            assert!(rule(true).allows(origin, Some("127.0.0.1:8080")), "{origin}");
        }
        assert!(rule(false).allows("http://192.0.2.1:8080", Some("192.0.2.1:8080")));
    }

    #[test]
    fn a_policy_names_only_well_formed_hosts_t19() {
        assert!(content_security_policy(Some("example.org:81"), 80).contains("connect-src 'self' ws://example.org:81 ws://localhost:80 "));
        for host in ["a b", "a;script-src *", "a:b", "a:0", "a:1:2", "[::1]:80", "", "é.example", "a/b", "*"] {
            assert!(content_security_policy(Some(host), 80).contains("connect-src 'self' ws://localhost:80 "), "{host}");
        }
    }
}
