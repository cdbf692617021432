//! What browsers need: the page with its headers, and who may connect.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::process::Command;

use crate::support::{RelayProcess, handshake};
use tempfile::TempDir;

fn folders() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in [
        ("www/index.html", "<!doctype html><title>page</title>"),
        ("www/app.js", "export {}"),
        ("www/app.css", "p {}"),
        ("pkg/sdk.wasm", "\0asm"),
        ("pkg/index.js", "export {}"),
        ("secret.txt", "secret"),
    ] {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

async fn relay_with_page(folder: &TempDir) -> RelayProcess {
    let (www, pkg) = (folder.path().join("www"), folder.path().join("pkg"));
    RelayProcess::start_with(&["--www", www.to_str().unwrap(), "--pkg", pkg.to_str().unwrap()]).await
}

#[tokio::test]
async fn the_page_and_the_sdk_have_the_right_types() {
    let folder = folders();
    let relay = relay_with_page(&folder).await;
    for (path, mime, body) in [
        ("/", "text/html", "<!doctype"),
        ("/index.html", "text/html", "<!doctype"),
        ("/app.js", "text/javascript", "export"),
        ("/app.css", "text/css", "p {}"),
        ("/pkg/sdk.wasm", "application/wasm", "\0asm"),
        ("/pkg/index.js", "text/javascript", "export"),
        ("/healthz", "text/plain", "ok"),
    ] {
        let (head, found) = relay.get(path, "").await;
        assert!(head.starts_with("http/1.1 200 "), "{path}: {head}");
        assert!(head.contains(&format!("content-type: {mime}")), "{path}: {head}");
        assert!(found.starts_with(body.as_bytes()), "{path}");
    }
    for path in [
        "/missing",
        "/pkg/missing",
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/pkg/../secret.txt",
        "/pkg/%2e%2e/secret.txt",
    ] {
        let (head, body) = relay.get(path, "").await;
        assert!(head.starts_with("http/1.1 404 ") || head.starts_with("http/1.1 400 "), "{path}: {head}");
        assert!(!String::from_utf8_lossy(&body).contains("secret"));
    }
}

#[tokio::test]
async fn only_regular_files_inside_the_folder_are_served() {
    let folder = folders();
    let www = folder.path().join("www");
    for (path, text) in [
        (".env", "secret"),
        (".git/config", "secret"),
        ("docs/page.html", "shown"),
        (".well-known/security.txt", "shown"),
        ("a b.txt", "shown"),
    ] {
        fs::create_dir_all(www.join(path).parent().unwrap()).unwrap();
        fs::write(www.join(path), text).unwrap();
    }
    symlink(folder.path().join("secret.txt"), www.join("out.txt")).unwrap();
    symlink("../secret.txt", www.join("up.txt")).unwrap();
    symlink(folder.path(), www.join("parent")).unwrap();
    symlink("/dev/zero", www.join("zero")).unwrap();
    symlink(".env", www.join("env.txt")).unwrap();
    symlink("app.js", www.join("link.js")).unwrap();
    assert!(Command::new("mkfifo").arg(www.join("pipe.txt")).status().unwrap().success());
    let _socket = UnixListener::bind(www.join("socket.txt")).unwrap();
    let relay = relay_with_page(&folder).await;
    for path in [
        "/out.txt",
        "/up.txt",
        "/parent/secret.txt",
        "/zero",
        "/env.txt",
        "/.env",
        "/%2eenv",
        "/.git/config",
        "/.well-known",
        "/.well-known/",
        "/pipe.txt",
        "/socket.txt",
        "/docs",
        "/docs/",
        "/docs/page.html/",
        "/app.js%00.txt",
        "/%ff",
    ] {
        for method in ["GET", "HEAD"] {
            let (head, body) = relay.request(method, path, "").await;
            assert!(head.starts_with("http/1.1 404 "), "{method} {path}: {head}");
            assert!(!String::from_utf8_lossy(&body).contains("secret"), "{path}");
        }
    }
    for path in ["/docs/page.html", "/.well-known/security.txt", "/a%20b.txt"] {
        assert_eq!(relay.get(path, "").await.1, b"shown", "{path}");
    }
    assert_eq!(relay.get("/link.js", "").await.1, b"export {}", "a link that stays inside");
}

#[tokio::test]
async fn head_requests_get_headers_and_other_methods_are_refused() {
    let folder = folders();
    let relay = relay_with_page(&folder).await;
    for (path, bytes) in [("/", 34), ("/app.js", 9), ("/pkg/index.js", 9)] {
        let (head, body) = relay.request("HEAD", path, "").await;
        assert!(head.starts_with("http/1.1 200 ") && head.contains(&format!("content-length: {bytes}")), "{path}: {head}");
        assert!(body.is_empty(), "{path}");
        let (head, _) = relay.request("POST", path, "Content-Length: 0\r\n").await;
        assert!(head.starts_with("http/1.1 405 "), "{path}: {head}");
    }
}

#[tokio::test]
async fn a_linked_folder_is_followed_to_its_newest_target() {
    let folder = folders();
    let (current, next) = (folder.path().join("current"), folder.path().join("next"));
    symlink("www", &current).unwrap();
    let relay = RelayProcess::start_with(&["--www", current.to_str().unwrap()]).await;
    assert_eq!(relay.get("/app.js", "").await.1, b"export {}");
    fs::create_dir(folder.path().join("www2")).unwrap();
    fs::write(folder.path().join("www2/app.js"), "export default 2").unwrap();
    symlink("www2", &next).unwrap();
    fs::rename(&next, &current).unwrap();
    assert_eq!(relay.get("/app.js", "").await.1, b"export default 2");
}

#[tokio::test]
async fn every_answer_has_a_strict_policy_t18_t19() {
    let folder = folders();
    let relay = relay_with_page(&folder).await;
    let port = relay.address.port();
    for path in ["/", "/pkg/sdk.wasm", "/missing"] {
        let (head, _) = relay.get(path, &format!("Host: localhost:{port}\r\n")).await;
        let policy = format!(
            "content-security-policy: default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
             connect-src 'self' ws://localhost:{port} ws://localhost:{port} ws://127.0.0.1:{port}; frame-src 'self'; frame-ancestors 'self'; base-uri 'none'; \
             form-action 'none'; require-trusted-types-for 'script'"
        );
        for line in [policy.as_str(), "x-content-type-options: nosniff", "referrer-policy: no-referrer", "cache-control: no-cache"] {
            assert!(head.lines().any(|found| found == line), "{path}: {line} in {head}");
        }
    }
    let (head, _) = relay.get("/", "Host: chat.example:81\r\n").await;
    assert!(head.contains("connect-src 'self' ws://chat.example:81 "), "{head}");
    let (head, _) = relay.get("/", "Host: x; script-src *\r\n").await;
    assert!(!head.contains("script-src *"), "{head}");
}

#[tokio::test]
async fn a_relay_without_a_page_says_what_it_is() {
    let relay = RelayProcess::start().await;
    let (head, body) = relay.get("/", "").await;
    assert!(head.starts_with("http/1.1 404 "), "{head}");
    assert!(String::from_utf8(body).unwrap().contains("WebSocket"));
}

#[tokio::test]
async fn the_subprotocol_is_chosen_where_it_is_offered() {
    let relay = RelayProcess::start().await;
    let response = handshake(relay.address, &[]).await.unwrap();
    assert_eq!(response.headers().get("sec-websocket-protocol"), None);
    let offers = ["solconnect.sync.v1.json", "solconnect.sync.v1", "solconnect.sync.v9, solconnect.sync.v1"];
    for (offer, chosen) in offers.into_iter().zip(["solconnect.sync.v1.json", "solconnect.sync.v1", "solconnect.sync.v1"]) {
        let response = handshake(relay.address, &[("sec-websocket-protocol", offer)]).await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], chosen);
    }
}

#[tokio::test]
async fn pages_of_strangers_may_not_connect_t16() {
    let relay = RelayProcess::start_with(&["--allow-origin", "HTTPS://Chat.example.org:443/"]).await;
    let own = format!("http://{}", relay.address);
    for origin in [own.as_str(), "http://localhost:3000", "https://chat.example.org"] {
        assert!(handshake(relay.address, &[("origin", origin)]).await.is_ok(), "{origin}");
    }
    for origin in ["https://evil.example", "null", "https://chat.example.org.evil.example"] {
        assert_eq!(handshake(relay.address, &[("origin", origin)]).await.err(), Some(403), "{origin}");
    }
    // A stranger's name that resolves to this machine (DNS rebinding).
    let rebound = [("origin", "http://evil.example:8080"), ("host", "evil.example:8080")];
    assert_eq!(handshake(relay.address, &rebound).await.err(), Some(403));
}

#[tokio::test]
async fn a_page_can_ask_whether_its_origin_is_served() {
    let folder = folders();
    let (www, pkg) = (folder.path().join("www"), folder.path().join("pkg"));
    let listed = ["--allow-origin", "https://chat.example.org"];
    let with_page = [listed.as_slice(), &["--www", www.to_str().unwrap(), "--pkg", pkg.to_str().unwrap()]].concat();
    for options in [listed.as_slice(), &with_page] {
        let relay = RelayProcess::start_with(options).await;
        for (asked, allowed) in [
            ("https://chat.example.org", true),
            ("https%3A%2F%2Fchat.example.org", true),
            ("http%3A%2F%2Flocalhost%3A3000", true),
            ("https://evil.example", false),
            ("null", false),
            ("", false),
            ("%", false),
            ("%ff%00", false),
            ("https://chat.example.org&x=1", false),
        ] {
            // What its head says of an origin is not asked about: of a page's own host there is nothing.
            let (head, body) = relay.get(&format!("/?solconnect-origin={asked}"), "Origin: https://other.example\r\n").await;
            assert!(head.starts_with("http/1.1 200 "), "{asked}: {head}");
            for line in ["content-type: application/json", "access-control-allow-origin: *", "cache-control: no-cache", "connection: close"]
            {
                assert!(head.lines().any(|found| found == line), "{asked}: {line} in {head}");
            }
            let known = format!("{{\"relay\":\"solconnect\",\"protocolVersion\":1,\"originAllowed\":{allowed}}}\n");
            assert_eq!(String::from_utf8(body).unwrap(), known, "{asked}");
        }
    }
}

#[tokio::test]
async fn the_answer_about_an_origin_is_what_its_sockets_get() {
    let relay = RelayProcess::start_with(&["--listen", "0.0.0.0:0", "--insecure-open"]).await;
    let port = relay.address.port();
    let address = format!("127.0.0.1:{port}").parse().unwrap();
    for (origin, host, allowed) in [
        ("http://chat.example", "chat.example", true),
        ("http://chat.example", "other.example", false),
        ("http://localhost:1", "chat.example", true),
        ("null", "null", false),
    ] {
        let (_, body) = relay.get(&format!("/?solconnect-origin={origin}"), &format!("Host: {host}\r\n")).await;
        assert_eq!(String::from_utf8(body).unwrap().contains("\"originAllowed\":true"), allowed, "{origin} at {host}");
        assert_eq!(handshake(address, &[("origin", origin), ("host", host)]).await.is_ok(), allowed, "{origin} at {host}");
    }
}

#[tokio::test]
async fn refused_origins_are_logged_with_what_to_do() {
    let mut relay = RelayProcess::start_with(&["--log", "info"]).await;
    for _ in 0..20 {
        assert_eq!(handshake(relay.address, &[("origin", "https://chat.example.org")]).await.err(), Some(403));
    }
    relay.signal("TERM");
    let (_, log) = relay.ended().await;
    let lines: Vec<_> = log.lines().filter(|line| line.contains("(403)")).collect();
    assert_eq!(lines.len(), 1, "one line, however often it is refused: {log}");
    for part in ["WARN", "origin=https://chat.example.org", "--allow-origin"] {
        assert!(lines[0].contains(part), "{part} in {}", lines[0]);
    }
}
