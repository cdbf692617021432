//! People with wallets and devices of their own, who sign in to a relay whose journal is in memory.

use serde_json::{Value, json};
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::entry::{Digest, Entry, first_digest, first_log_hash};
use solconnect_sync_core::frame::{Body, Frame, Head, Hello, PROTOCOL_VERSION, SignIn};
use solconnect_sync_core::identity::{
    Certificate, Challenge, Claim, DeviceKey, DomainSet, Offer, Owner, Purpose, Statement, UpdateSignature,
};
use solconnect_sync_core::ids::{message_id, wallet_address};
use solconnect_sync_core::limits::OFFER_MS;
use solconnect_sync_core::log::LogHead;
use solconnect_sync_core::relay::{Doorkeeper, Relay};

use crate::rooms::{Rooms, hex};

const RELAY: &str = "relay.example";
const DOMAIN: &str = "chat.example";

fn key(kind: u8, number: u16) -> DeviceKey {
    let mut secret = [kind; 32];
    secret[..2].copy_from_slice(&number.to_be_bytes());
    DeviceKey::from_secret(&secret)
}

/// A relay where devices may sign in, and need not.
pub fn open_relay() -> Relay {
    relay(false)
}

/// A relay where they must.
pub fn closed_relay() -> Relay {
    relay(true)
}

fn relay(is_required: bool) -> Relay {
    Relay::with_sign_in(Doorkeeper { key: key(9, 0), earlier: Vec::new(), names: vec![RELAY.into()], is_required, secret: [3; 32] })
}

/// A device of a wallet.
pub struct Person {
    pub wallet: DeviceKey,
    pub device: DeviceKey,
    pub domain: &'static str,
}

/// The one device of a wallet.
pub fn person(number: u16) -> Person {
    Person { wallet: key(1, number), device: key(2, number), domain: DOMAIN }
}

/// The address of the wallet of this number.
pub fn address(number: u16) -> String {
    wallet_address(&key(1, number).public())
}

impl Person {
    pub fn address(&self) -> String {
        wallet_address(&self.wallet.public())
    }

    pub fn device_id(&self) -> String {
        self.device.device_id()
    }

    fn owner(&self) -> Owner {
        Owner::new(&self.address(), DomainSet::new(vec![self.domain.into()]).unwrap()).unwrap()
    }

    fn answer(&self, hello: &Hello) -> Value {
        let owner = self.owner();
        let Owner { wallet, account_id, .. } = owner.clone();
        let challenge = Challenge { relay: RELAY.into(), relay_key: hello.relay_key, nonce: hello.nonce, device_nonce: [7; 16] };
        let entry = hello.account.map(|after| {
            let (issued_ms, expires_ms) = (hello.time, hello.time + OFFER_MS);
            let (account_id, device) = (account_id.clone(), self.device.public());
            let offer = Offer {
                domain: self.domain.into(),
                wallet: wallet.clone(),
                account_id,
                device,
                purpose: Purpose::Join,
                issued_ms,
                expires_ms,
            };
            let certificate = Certificate { text: offer.text(), signature: self.wallet.sign(offer.text().as_bytes()) };
            Statement::sign(&self.device, &owner, after, Claim::Join(certificate)).entry(&owner, 1, hello.time)
        });
        let said = SignIn {
            proof: challenge.prove(&account_id, &self.device),
            wallet,
            domains: vec![self.domain.into()],
            key: self.device.public(),
            relay: RELAY.into(),
            nonce: hello.nonce,
            device_nonce: challenge.device_nonce,
            messages: entry.map(|entry| Batch::of(&[entry]).unwrap()).unwrap_or_default(),
            known: 0,
        };
        let head = Head { device_id: self.device_id(), protocol_version: Some(PROTOCOL_VERSION), ..Head::default() };
        serde_json::from_str(&Frame { head, body: Body::SignIn(said) }.to_json()).unwrap()
    }

    /// Signs in on an open connection: what it hears in the end.
    pub fn sign_in(&self, rooms: &mut Rooms, connection: u64) -> Value {
        loop {
            let mut heard = rooms.hear(connection);
            let last = heard.pop().unwrap_or_else(|| panic!("connection {connection} hears nothing"));
            if last["type"] != "hello" {
                return last;
            }
            rooms.say(connection, &self.answer(&serde_json::from_value(last).unwrap()));
        }
    }

    /// Opens a connection and signs in.
    pub fn enter(&self, rooms: &mut Rooms, connection: u64) {
        rooms.open_binary(connection);
        assert_eq!(self.sign_in(rooms, connection)["type"], "signed_in");
    }

    /// Its session with another wallet.
    pub fn session(&self, peer: &str) -> String {
        self.owner().domains.session_of(&self.address(), peer).unwrap()
    }

    /// A frame of the session with another wallet.
    pub fn frame(&self, peer: &str, kind: &str, fields: Value) -> Value {
        let mut frame = json!({ "type": kind, "sessionId": self.session(peer), "deviceId": self.device_id(), "messageId": "f",
            "protocolVersion": 1 });
        frame.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        frame
    }

    /// Announces itself in the session with another wallet.
    pub fn announce(&self, peer: &str) -> Value {
        let device_info = json!({ "platform": "web", "version": "1" });
        self.frame(peer, "device_announce", json!({ "deviceInfo": device_info, "wallet": self.address(), "peerWallet": peer }))
    }

    /// Its first message in the session with another wallet.
    pub fn write(&self, peer: &str, text: &str) -> Value {
        let (session, device) = (self.session(peer), self.device_id());
        let message = json!({ "id": message_id(&session, &device, "start0", 1), "sender_wallet": self.address(), "ciphertext": text,
            "session_id": session, "timestamp": "2023-11-14T22:13:20.000Z" });
        let entry = json!({ "message": message, "originalDeviceId": device, "counter": 1, "knows": 0, "serverTimestamp": 7 });
        let digest = serde_json::from_value::<Entry>(entry.clone()).unwrap().digest(&first_digest(&session, &device));
        self.update(peer, &[entry], 1, &digest, LogHead { sequence: 0, hash: first_log_hash(&session) })
    }

    /// An update of these messages, signed under the last of them as who has seen the log up to there.
    pub fn update(&self, peer: &str, messages: &[Value], counter: u64, digest: &Digest, seen: LogHead) -> Value {
        let session = self.session(peer);
        let signature = UpdateSignature::sign(&self.device, &session, counter, digest, seen);
        self.frame(peer, "sync_update", json!({ "messages": messages, "lastDigest": hex(digest), "signature": signature }))
    }
}
