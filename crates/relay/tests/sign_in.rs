//! Signing in to the real relay: its options, its key, and what it remembers of devices.

use crate::support::{Client, RelayProcess, refusal};
use serde_json::{Value, json};
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::frame::{Body, Frame, Head, Hello, PROTOCOL_VERSION, SignIn};
use solconnect_sync_core::identity::{Account, Certificate, Challenge, Claim, DeviceKey, DomainSet, Offer, Owner, Purpose, Statement};
use solconnect_sync_core::ids::wallet_address;
use solconnect_sync_core::limits::OFFER_MS;

const WALLET_OPTIONS: [&str; 2] = ["--auth", "wallet"];
const DOMAIN: &str = "chat.example";

fn wallet() -> DeviceKey {
    DeviceKey::from_secret(&[1; 32])
}

fn device() -> DeviceKey {
    DeviceKey::from_secret(&[2; 32])
}

fn owner() -> Owner {
    Owner::new(&wallet_address(&wallet().public()), DomainSet::new(vec![DOMAIN.into()]).unwrap()).unwrap()
}

async fn hello(client: &mut Client) -> Hello {
    serde_json::from_value(client.expect("hello").await).unwrap()
}

/// What the device says; with the wallet's certificate where it is new.
fn answer(hello: &Hello, relay: &str, is_new: bool) -> Value {
    let owner = owner();
    let challenge = Challenge { relay: relay.into(), relay_key: hello.relay_key, nonce: hello.nonce, device_nonce: [7; 16] };
    let offer = Offer {
        domain: DOMAIN.into(),
        wallet: owner.wallet.clone(),
        account_id: owner.account_id.clone(),
        device: device().public(),
        purpose: Purpose::Join,
        issued_ms: hello.time,
        expires_ms: hello.time + OFFER_MS,
    };
    let certificate = Certificate { text: offer.text(), signature: wallet().sign(offer.text().as_bytes()) };
    let statement = Statement::sign(&device(), &owner, Account::new(owner.clone()).head(), Claim::Join(certificate));
    let said = SignIn {
        wallet: owner.wallet.clone(),
        domains: vec![DOMAIN.into()],
        key: device().public(),
        relay: relay.into(),
        nonce: hello.nonce,
        device_nonce: challenge.device_nonce,
        proof: challenge.prove(&owner.account_id, &device()),
        messages: if is_new { Batch::of(&[statement.entry(&owner, 1, hello.time)]).unwrap() } else { Batch::default() },
        known: 0,
    };
    let head = Head { device_id: device().device_id(), protocol_version: Some(PROTOCOL_VERSION), ..Head::default() };
    serde_json::from_str(&Frame { head, body: Body::SignIn(said) }.to_json()).unwrap()
}

fn announce() -> Value {
    let (wallet, peer) = (owner().wallet, "So11111111111111111111111111111111111111112");
    json!({ "type": "device_announce", "sessionId": owner().domains.session_of(&wallet, peer), "deviceId": device().device_id(), "messageId": "a",
        "protocolVersion": 1, "wallet": wallet, "peerWallet": peer })
}

#[tokio::test]
async fn who_has_signed_in_is_served_also_after_a_kill() {
    let relay = RelayProcess::start_with(&WALLET_OPTIONS).await;
    let mut client = relay.connect().await;
    let first = hello(&mut client).await;
    assert!(first.sign_in_required);
    client.send(announce()).await;
    assert_eq!(client.expect("error").await["code"], "SIGN_IN_REQUIRED");
    client.send(answer(&first, &relay.address.to_string(), true)).await;
    client.expect("signed_in").await;
    client.send(announce()).await;
    client.expect("device_list").await;

    let relay = relay.kill_and_restart_with(&WALLET_OPTIONS).await;
    let mut client = relay.connect().await;
    let second = hello(&mut client).await;
    assert_eq!((second.relay_key, second.nonce == first.nonce), (first.relay_key, false), "the key is kept, and no nonce is said twice");
    client.send(answer(&second, &format!("localhost:{}", relay.address.port()), false)).await;
    assert_eq!(client.expect("signed_in").await["account"]["sequence"], 1);
}

#[tokio::test]
async fn a_relay_with_a_public_name_is_called_nothing_else() {
    let options = [&WALLET_OPTIONS[..], &["--public-url", "wss://relay.example.org/", "--listen", "0.0.0.0:0"]].concat();
    let relay = RelayProcess::start_with(&options).await;
    for (name, expected) in [("relay.example.org", "signed_in"), ("127.0.0.1:8080", "error")] {
        let mut client = relay.connect().await;
        let said = hello(&mut client).await;
        client.send(answer(&said, name, true)).await;
        let frame = client.expect(expected).await;
        assert!(expected == "signed_in" || frame["code"] == "WRONG_RELAY", "{frame}");
    }
}

#[tokio::test]
async fn options_that_leave_the_door_open_are_refused() {
    for (options, words) in [
        (&["--auth", "open", "--public-url", "wss://relay.example.org"][..], "say --auth wallet"),
        (&["--auth", "open", "--public-url", "wss://relay.example.org", "--insecure-open"], "say --auth wallet"),
        (&["--listen", "0.0.0.0:0"], "--public-url wss://"),
        (&["--auth", "wallet", "--public-url", "relay.example.org"], "wss://relay.example.org"),
        (&["--auth", "none"], "possible values: wallet, open"),
    ] {
        let (code, text) = refusal(options).await;
        assert!(code == 2 && text.contains(words), "{options:?}: {text}");
    }
}
