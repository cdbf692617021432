//! Where connections come from: the address of who connects, also behind proxies, and how many connections one address has.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;
use solconnect_sync_core::relay::Source;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Who connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    /// A program of this machine, directly. It is its operator's, and nothing of it is counted by address.
    Local,
    /// Whoever has this address.
    At(IpAddr),
}

impl Client {
    /// What is counted together: an IPv4 address, and of IPv6 a /64, which is what one customer of a provider has at least.
    pub(crate) fn source(self) -> Option<Source> {
        match self {
            Client::Local => None,
            Client::At(IpAddr::V4(address)) => Some(Source(address.to_ipv6_mapped().to_bits())),
            Client::At(IpAddr::V6(address)) => Some(Source(address.to_bits() & !u128::from(u64::MAX))),
        }
    }
}

/// The proxies that are believed when they say whom they speak for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Proxies(pub(crate) Vec<IpNet>);

impl Proxies {
    /// Whether that is the address of one.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Who is behind a connection from `peer`, given the header of its request: what anybody but a trusted proxy says there is
    /// not read.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Client {
        let peer = peer.to_canonical();
        let said = if self.has(peer) { [hops(headers, &header::FORWARDED), hops(headers, &X_FORWARDED_FOR)] } else { [None, None] };
        match said.map(|hops| hops.map(|hops| self.nearest_stranger(peer, &hops))) {
            [None, None] if peer.is_loopback() => Client::Local,
            [None, None] => Client::At(peer),
            [Some(one), None] | [None, Some(one)] => Client::At(one),
            [Some(one), Some(other)] if one == other => Client::At(one),
            // The proxy writes one of the two, and passes on the other as it came from whoever it is.
            [Some(_), Some(_)] => Client::At(peer),
        }
    }

    /// The last hop that is no trusted proxy: what is before it is that one's own word. Where a proxy does not say an address,
    /// all whom it speaks for count as that proxy.
    fn nearest_stranger(&self, peer: IpAddr, hops: &[Option<IpAddr>]) -> IpAddr {
        let mut nearest = peer;
        for hop in hops.iter().rev().map_while(|hop| *hop) {
            nearest = hop;
            if !self.has(hop) {
                break;
            }
        }
        nearest
    }
}

/// Whether somebody says in this header whom it speaks for.
pub(crate) fn is_forwarded(headers: &HeaderMap) -> bool {
    headers.contains_key(header::FORWARDED) || headers.contains_key(X_FORWARDED_FOR)
}

/// The hops that a header names, first to last; `None` for each that is no address. `None` where the header is not there.
fn hops(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<Option<IpAddr>>> {
    let mut found = None;
    for value in headers.get_all(name) {
        let hops: &mut Vec<_> = found.get_or_insert_default();
        match value.to_str() {
            Ok(text) if *name == X_FORWARDED_FOR => hops.extend(text.split(',').map(address_of)),
            Ok(text) if is_balanced(text) => hops.extend(split(text, ',').map(forwarded_for)),
            // A quote that somebody left open would swallow what the proxy has added.
            _ => hops.push(None),
        }
    }
    found
}

/// The `for` of one element of `Forwarded` (RFC 7239).
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut said = split(element, ';').filter_map(|pair| pair.split_once('=')).filter(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
    let (_, value) = said.next()?;
    said.next().is_none().then(|| address_of(value.trim().trim_matches('"'))).flatten()
}

/// An address as proxies write it: alone, in brackets, with a port.
fn address_of(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.parse::<IpAddr>().ok().or_else(with_port).or_else(bare).map(|address| address.to_canonical())
}

/// Splits where a character stands outside quotes.
fn split(text: &str, at: char) -> impl Iterator<Item = &str> {
    let mut quotes = Quotes::default();
    text.split(move |character| !quotes.pass(character) && character == at)
}

fn is_balanced(text: &str) -> bool {
    let mut quotes = Quotes::default();
    text.chars().for_each(|character| {
        quotes.pass(character);
    });
    !quotes.is_open
}

#[derive(Default)]
struct Quotes {
    is_open: bool,
    /// A backslash stands before.
    is_escaped: bool,
}

impl Quotes {
    /// Goes on by one character; says whether that one is within quotes.
    fn pass(&mut self, character: char) -> bool {
        let was_open = self.is_open;
        match character {
            _ if self.is_escaped => self.is_escaped = false,
            '\\' if self.is_open => self.is_escaped = true,
            '"' => self.is_open = !self.is_open,
            _ => {}
        }
        was_open
    }
}

/// How many connections there are from each address.
#[derive(Clone, Default)]
pub(crate) struct Connections(Arc<Mutex<HashMap<Source, usize>>>);

impl Connections {
    /// One more, which counts until what is given is dropped; `None` where there are `max`.
    pub(crate) fn enter(&self, source: Source, max: usize) -> Option<Entered> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(source).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Entered { connections: self.clone(), source })
    }
}

/// A connection that counts.
pub(crate) struct Entered {
    connections: Connections,
    source: Source,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut counts = self.connections.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn proxies() -> Proxies {
        Proxies(["10.0.0.0/8", "127.0.0.1/32", "2001:db8:1::/48"].map(|network| network.parse().unwrap()).to_vec())
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())).collect()
    }

    fn client(peer: &str, lines: &[(&'static str, &str)]) -> String {
        let mut all = HeaderMap::new();
        for (name, value) in lines {
            all.append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        match proxies().client(peer.parse().unwrap(), &all) {
            Client::Local => "local".into(),
            Client::At(address) => address.to_string(),
        }
    }

    #[test]
    fn a_trusted_proxys_last_stranger_is_the_client() {
        for (said, found) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:4711", "192.0.2.1"),
            ("198.51.100.9, 192.0.2.1", "192.0.2.1"),
            ("192.0.2.1, 10.1.2.3", "192.0.2.1"),
            ("198.51.100.9,192.0.2.1 , 10.1.2.3,10.0.0.7", "192.0.2.1"),
            ("10.1.2.3, 10.0.0.7", "10.1.2.3"),
            ("2001:db8:2::5", "2001:db8:2::5"),
            ("[2001:db8:2::5]:443", "2001:db8:2::5"),
            ("[2001:db8:2::5]", "2001:db8:2::5"),
            ("2001:db8:2::5, 2001:db8:1::9", "2001:db8:2::5"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(client("127.0.0.1", &[("x-forwarded-for", said)]), found, "{said}");
        }
        for (said, found) in [
            ("for=192.0.2.1", "192.0.2.1"),
            ("For=\"192.0.2.1:4711\";proto=https;by=10.0.0.1", "192.0.2.1"),
            ("proto=https; for=\"[2001:db8:2::5]:4711\"", "2001:db8:2::5"),
            ("for=198.51.100.9;host=\"a,b;c\", for=192.0.2.1", "192.0.2.1"),
            ("for=192.0.2.1, for=10.1.2.3", "192.0.2.1"),
        ] {
            assert_eq!(client("10.9.9.9", &[("forwarded", said)]), found, "{said}");
        }
        let lines = [("x-forwarded-for", "198.51.100.9"), ("x-forwarded-for", "192.0.2.1")];
        assert_eq!(client("127.0.0.1", &lines), "192.0.2.1", "lines count as one list");
    }

    #[test]
    fn what_other_peers_say_is_not_read() {
        for lines in [&[("x-forwarded-for", "192.0.2.1")][..], &[("forwarded", "for=192.0.2.1")]] {
            assert_eq!(client("198.51.100.9", lines), "198.51.100.9");
            assert_eq!(client("2001:db8:2::5", lines), "2001:db8:2::5");
            assert_eq!(client("127.0.0.2", lines), "local");
        }
        assert_eq!(client("::ffff:10.0.0.1", &[("x-forwarded-for", "192.0.2.1")]), "192.0.2.1");
        assert_eq!((client("127.0.0.1", &[]), client("10.0.0.1", &[])), ("local".into(), "10.0.0.1".into()));
    }

    #[test]
    fn who_lies_behind_a_trusted_proxy_gains_no_other_address() {
        let attacks: [&[(&'static str, &str)]; 9] = [
            // The proxy adds the address to what the client said.
            &[("x-forwarded-for", "203.0.113.7, 192.0.2.1")],
            &[("x-forwarded-for", "203.0.113.7, 10.0.0.1, 192.0.2.1")],
            &[("forwarded", "for=203.0.113.7, for=192.0.2.1")],
            &[("forwarded", "for=203.0.113.7;x=\", for=192.0.2.1")],
            &[("forwarded", "for=203.0.113.7;x=\", for=\"[2001:db8:2::5]\"")],
            &[("forwarded", "for=203.0.113.7;x=\"\\, for=\"[2001:db8:2::5]\"")],
            // The proxy writes one of the two headers, and passes the other one on.
            &[("forwarded", "for=203.0.113.7"), ("x-forwarded-for", "192.0.2.1")],
            &[("x-forwarded-for", "203.0.113.7"), ("forwarded", "for=192.0.2.1")],
            &[("x-forwarded-for", "203.0.113.7, unknown")],
        ];
        for lines in attacks {
            assert!(["192.0.2.1", "127.0.0.1"].contains(&&*client("127.0.0.1", lines)), "{lines:?}");
        }
    }

    #[test]
    fn a_proxy_that_names_no_address_counts_itself() {
        for lines in [
            &[("x-forwarded-for", "unknown")][..],
            &[("x-forwarded-for", "")],
            &[("x-forwarded-for", "\u{e9}")],
            &[("forwarded", "for=_hidden")],
            &[("forwarded", "proto=https")],
            &[("forwarded", "for=192.0.2.1;for=192.0.2.2")],
            &[("forwarded", "")],
        ] {
            assert_eq!(client("127.0.0.1", lines), "127.0.0.1", "{lines:?}");
        }
        assert_eq!(client("127.0.0.1", &[("x-forwarded-for", "192.0.2.1, _x, 10.0.0.4")]), "10.0.0.4");
    }

    #[test]
    fn ipv6_is_counted_by_64_bits_and_ipv4_by_all() {
        let source = |address: &str| Client::At(address.parse().unwrap()).source();
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:1"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
        assert_eq!(Client::Local.source(), None);
    }

    #[test]
    fn a_connection_counts_until_it_is_gone() {
        let connections = Connections::default();
        let entered: Vec<_> = (0..3).map(|_| connections.enter(Source(1), 3).unwrap()).collect();
        assert!(connections.enter(Source(1), 3).is_none());
        assert!(connections.enter(Source(2), 3).is_some(), "others are not hurt");
        drop(entered);
        assert!(connections.0.lock().unwrap().is_empty(), "nothing is kept of who is gone");
    }

    #[test]
    fn a_header_is_noticed_in_either_form() {
        assert!(is_forwarded(&headers(&[("forwarded", "x")])) && is_forwarded(&headers(&[("x-forwarded-for", "x")])));
        assert!(!is_forwarded(&headers(&[("host", "x")])));
    }
}
