//! The values of options: each is what it must be to have an effect, or is refused with the form that has.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::http::uri::Uri;
use ipnet::IpNet;

/// An address to listen on.
///
/// # Errors
/// Says the right form.
pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text
        .parse()
        .map_err(|_| "it must be an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080; names are not looked up".to_owned())?;
    let is_one = match address.ip() {
        IpAddr::V4(ip) => !ip.is_multicast() && !ip.is_broadcast(),
        IpAddr::V6(ip) => !ip.is_multicast(),
    };
    is_one.then_some(address).ok_or_else(|| "nobody can connect to a multicast or broadcast address".to_owned())
}

/// Who is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Auth {
    /// Devices that have signed in.
    Wallet,
    /// Everybody.
    Open,
}

/// The address of a wallet.
///
/// # Errors
/// Says the right form.
pub fn wallet(text: &str) -> Result<String, String> {
    // That of a seed client may be any text.
    if text.is_empty() { Err("it must be the address of a wallet".to_owned()) } else { Ok(text.to_owned()) }
}

/// Addresses of proxies that are believed: an address, or a network in CIDR form.
///
/// # Errors
/// Says the right form.
pub fn network(text: &str) -> Result<IpNet, String> {
    let network: IpNet = text
        .parse()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| "it must be an IP address or a network, such as 127.0.0.1, 10.0.0.0/8 or 2001:db8::/32".to_owned())?;
    if network.prefix_len() == 0 {
        return Err("that is everybody, and so everybody could say any address: name the proxies".to_owned());
    }
    Ok(network)
}

/// The name that devices know a relay by, given the address that they connect to: the host, and the port where it is not the
/// scheme's own.
///
/// # Errors
/// Says the right form.
pub fn public_url(text: &str) -> Result<String, String> {
    const FORM: &str = "it must be the address that devices connect to, such as wss://relay.example.org";
    let (scheme, rest) = text.split_once("://").ok_or(FORM)?;
    let scheme = match &*scheme.to_ascii_lowercase() {
        "wss" | "https" => "https",
        "ws" | "http" => "http",
        _ => return Err(FORM.to_owned()),
    };
    // A path leads a proxy to the relay, and is no part of its name.
    let host = rest.split_once('/').map_or(rest, |(host, _)| host);
    let origin = origin(&format!("{scheme}://{host}")).map_err(|_| FORM)?;
    let name = origin.split_once("://").map(|(_, name)| name.to_owned());
    name.ok_or_else(|| FORM.to_owned())
}

/// What devices of this machine may call a relay that listens here.
pub fn loopback_names(port: u16) -> Vec<String> {
    ["localhost", "127.0.0.1", "[::1]"].map(|host| if port == 80 { host.to_owned() } else { format!("{host}:{port}") }).to_vec()
}

/// An origin, written as browsers write it in `Origin`: in lower case, without the scheme's own port, without a path.
///
/// # Errors
/// What no browser ever sends, and the right form.
pub fn origin(text: &str) -> Result<String, String> {
    const FORM: &str = "an origin is a scheme and a host, with a port where it is not the scheme's own, such as https://chat.example.org";
    let wrong = |why: &str| format!("{why}: {FORM}");
    match text {
        "" => return Err(wrong("it is empty")),
        "*" => return Err(format!("there is no pattern for every origin: give the option once for each of them; {FORM}")),
        "null" => return Err(wrong("any page can make itself a frame of the origin null")),
        _ => {}
    }
    if !text.is_ascii() {
        return Err(wrong("browsers send names with other letters in their ASCII form (xn--...)"));
    }
    let lower = text.to_ascii_lowercase();
    let (scheme, rest) = lower.split_once("://").ok_or_else(|| wrong("the scheme is missing"))?;
    // A lone slash at the end is how address bars show an origin, and means the same.
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#']) {
        return Err(wrong("an origin has no path"));
    }
    if authority.contains('@') {
        return Err(wrong("an origin has no user"));
    }
    if authority.contains('*') {
        return Err(wrong("there are no patterns"));
    }
    let parsed: Uri = format!("{scheme}://{authority}").parse().map_err(|_| wrong("it is no origin"))?;
    let name = parsed.host().filter(|name| !name.is_empty()).ok_or_else(|| wrong("the host is missing"))?;
    let host = host(name).ok_or_else(|| wrong("the host is no name and no address as browsers write it"))?;
    let port = match authority.strip_prefix(name).and_then(|port| port.strip_prefix(':')) {
        None => None,
        Some(port) => {
            let port: u16 = port.parse().ok().filter(|port| *port > 0).ok_or_else(|| wrong("the port is not from 1 to 65535"))?;
            Some(port).filter(|port| !matches!((scheme, port), ("http", 80) | ("https", 443)))
        }
    };
    Ok(port.map_or_else(|| format!("{scheme}://{host}"), |port| format!("{scheme}://{host}:{port}")))
}

fn host(name: &str) -> Option<String> {
    if let Some(address) = name.strip_prefix('[') {
        return address.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(|address| format!("[{address}]"));
    }
    // Browsers write every number in the last place as an IPv4 address.
    let last = name.trim_end_matches('.').rsplit('.').next()?;
    if last.starts_with(|first: char| first.is_ascii_digit()) && last.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'x') {
        return name.parse::<Ipv4Addr>().ok().map(|address| address.to_string());
    }
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_written_as_browsers_write_it() {
        for (given, written) in [
            ("https://chat.example.org", "https://chat.example.org"),
            ("HTTPS://Chat.Example.ORG", "https://chat.example.org"),
            ("https://chat.example.org/", "https://chat.example.org"),
            ("https://chat.example.org:443", "https://chat.example.org"),
            ("http://chat.example.org:0080/", "http://chat.example.org"),
            ("http://chat.example.org:443", "http://chat.example.org:443"),
            ("http://192.0.2.1:3000", "http://192.0.2.1:3000"),
            ("http://[2001:DB8:0:0::1]:3000", "http://[2001:db8::1]:3000"),
            ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh"),
            ("https://4chan.example", "https://4chan.example"),
        ] {
            assert_eq!(origin(given).as_deref(), Ok(written), "{given}");
        }
    }

    #[test]
    fn an_origin_that_can_never_match_is_refused() {
        for (given, why) in [
            ("", "empty"),
            ("*", "each"),
            ("null", "null"),
            ("chat.example.org", "scheme"),
            ("chat.example.org:443", "scheme"),
            ("https://", "no origin"),
            ("https:///", "no origin"),
            ("https://chat.example.org/chat", "path"),
            ("https://chat.example.org?x", "path"),
            ("https://chat.example.org#x", "path"),
            ("https://*.example.org", "patterns"),
            ("https://user@chat.example.org", "user"),
            ("https://chat.example.org:0", "port"),
            ("https://chat.example.org:65536", "port"),
            ("https://chat.example.org:", "port"),
            ("https://chat.example.org,https://other.example", "path"),
            (" https://chat.example.org", "no origin"),
            ("https://münchen.example", "xn--"),
            ("http://127.1", "address"),
            ("http://[::g]", "address"),
        ] {
            let error = origin(given).unwrap_err();
            assert!(error.contains(why) && error.contains("https://chat.example.org"), "{given}: {error}");
        }
    }

    #[test]
    fn a_public_url_names_host_and_port() {
        for (given, name) in [
            ("wss://relay.example.org", "relay.example.org"),
            ("WSS://Relay.Example.ORG/", "relay.example.org"),
            ("wss://relay.example.org:443", "relay.example.org"),
            ("wss://relay.example.org/relay?x", "relay.example.org"),
            ("https://relay.example.org:8443", "relay.example.org:8443"),
            ("ws://192.0.2.1:80", "192.0.2.1"),
            ("ws://[2001:db8::1]:8080", "[2001:db8::1]:8080"),
        ] {
            assert_eq!(public_url(given).as_deref(), Ok(name), "{given}");
        }
        for given in ["", "relay.example.org", "ftp://relay.example.org", "wss://user@relay.example.org", "wss://"] {
            assert!(public_url(given).unwrap_err().contains("wss://relay.example.org"), "{given}");
        }
        assert_eq!(loopback_names(8080), ["localhost:8080", "127.0.0.1:8080", "[::1]:8080"]);
        assert_eq!(loopback_names(80)[0], "localhost");
    }

    #[test]
    fn a_network_of_proxies_is_an_address_or_cidr() {
        for (given, network) in
            [("127.0.0.1", "127.0.0.1/32"), ("10.1.2.3/8", "10.1.2.3/8"), ("::1", "::1/128"), ("2001:db8::/32", "2001:db8::/32")]
        {
            assert_eq!(super::network(given).map(|network| network.to_string()).as_deref(), Ok(network));
        }
        for given in ["", "localhost", "10.0.0.0/33", "10.0.0.0/", "10.0.0/8", "proxy.example/8"] {
            assert!(super::network(given).unwrap_err().contains("10.0.0.0/8"), "{given}");
        }
        for given in ["0.0.0.0/0", "::/0"] {
            assert!(super::network(given).unwrap_err().contains("everybody"), "{given}");
        }
    }

    #[test]
    fn an_address_that_nobody_can_reach_is_refused() {
        assert_eq!(listen_address("[::1]:0").map(|address| address.port()), Ok(0));
        for text in ["", "localhost:8080", "127.0.0.1", "127.0.0.1:99999", ":8080", "::1:8080", "http://127.0.0.1:8080"] {
            assert!(listen_address(text).unwrap_err().contains("127.0.0.1:8080"), "{text}");
        }
        for text in ["224.0.0.1:80", "255.255.255.255:80", "[ff02::1]:80"] {
            assert!(listen_address(text).unwrap_err().contains("multicast"), "{text}");
        }
    }
}
