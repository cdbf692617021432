//! The relay's door: who signs in on several connections in both forms, with what was signed for it, for others or before.
//! Every `sign_in` that is nearly right is signed and verified, which is what takes time: so there are few in an input.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use solconnect_fuzz::journal::{World, head};
use solconnect_fuzz::people::{DOMAIN, RELAY, certificate, first_entry, key, owner, sign_in, succession};
use solconnect_fuzz::script::Script;
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::frame::{
    Body, DeviceAnnounce, Encoding, Frame, Head, Hello, Payload, ShortNumber, SignIn, SyncRequest, SyncUpdate, WalletAnnounce,
};
use solconnect_sync_core::identity::{Account, Change, Claim, Purpose, Statement};
use solconnect_sync_core::ids::DeviceId;
use solconnect_sync_core::relay::{ConnectionId, Doorkeeper, Input, Relay};
use solconnect_sync_core::time::Now;

/// Steps of an input.
const STEPS_MAX: usize = 96;

/// Devices that take part.
const DEVICES: usize = 6;

fuzz_target!(|bytes: &[u8]| {
    let mut script = Script(bytes);
    let is_required = script.below(4) != 0;
    let keeper = Doorkeeper { key: key(200), earlier: Vec::new(), names: vec![RELAY.into()], is_required, secret: [3; 32] };
    let mut street = Street { world: World::of(Relay::with_sign_in(keeper)), is_required, ..Street::default() };
    for _ in 0..STEPS_MAX {
        let Some(step) = script.step() else { break };
        street.take_step(step, &mut script);
        street.hear();
    }
});

#[derive(Default)]
struct Street {
    world: World,
    is_required: bool,
    /// How many connections there were at each place.
    lives: [u64; 4],
    /// What was said last on each connection.
    hellos: [Option<Hello>; 4],
    /// What was said of whom: to be said again.
    said: Vec<(DeviceId, SignIn)>,
    signed_in: [Option<u8>; 4],
    asked: [Option<u8>; 4],
    /// The account, as the entries that were heard make it.
    account: Option<Account>,
    removed: BTreeSet<DeviceId>,
}

impl Street {
    fn take_step(&mut self, step: u8, script: &mut Script<'_>) {
        let place = usize::from(step >> 4 & 3);
        if step & 15 == 0 && !self.world.open.contains_key(&self.connection(place)) {
            self.lives[place] += 1;
            self.forget(place);
        }
        let connection = self.connection(place);
        match step & 15 {
            0 => self.world.open(connection, if place < 2 { Encoding::Binary } else { Encoding::Json }),
            1..=4 => self.sign_in(connection, script),
            5 => {
                // What was heard before, on this connection or another.
                let Some((device_id, said)) = self.said.get(script.below(self.said.len().clamp(1, 256))).cloned() else { return };
                let nonce = self.hellos[place].as_ref().map(|hello| hello.nonce);
                let is_due = nonce == Some(said.nonce);
                let said = if script.below(4) == 0 { SignIn { nonce: nonce.unwrap_or_default(), ..said } } else { said };
                if !is_due {
                    self.asked[place] = None;
                }
                self.receive(connection, &device_id, "", Body::SignIn(said));
            }
            6 => {
                let bytes = script.bytes();
                let payload = match self.world.open.get(&connection) {
                    Some(Encoding::Json) => Payload::Text(String::from_utf8_lossy(bytes).into()),
                    _ => Payload::Binary(bytes.into()),
                };
                self.world.feed(Input::Received { connection, payload });
            }
            7 | 8 => self.world.answer(false),
            9 => self.world.answer(true),
            10 => {
                let ms = script.number();
                self.world.now = Now { monotonic_ms: self.world.now.monotonic_ms + ms, wall_ms: self.world.now.wall_ms + ms * 100 };
                self.world.feed(Input::Timeout);
            }
            11 if self.world.open.remove(&connection).is_some() => self.world.feed(Input::Closed { connection }),
            11 => {}
            12 | 13 => self.change(connection, script),
            _ => self.speak(connection, script),
        }
    }

    /// No two connections have one number, as in a relay.
    fn connection(&self, place: usize) -> ConnectionId {
        self.lives[place] * 4 + place as u64
    }

    fn forget(&mut self, place: usize) {
        (self.hellos[place], self.signed_in[place], self.asked[place]) = (None, None, None);
    }

    fn receive(&mut self, connection: ConnectionId, device_id: &str, session_id: &str, body: Body) {
        self.world.receive(connection, &Frame { head: Head { message_id: "f".into(), ..head(session_id, device_id) }, body });
    }

    /// A device answers what it heard, more or less.
    fn sign_in(&mut self, connection: ConnectionId, script: &mut Script<'_>) {
        let place = (connection % 4) as usize;
        let Some(hello) = self.hellos[place].clone() else { return };
        let owner = owner(0, DOMAIN);
        let (device, twist) = (script.below(DEVICES) as u8, script.below(16));
        let now_ms = self.world.now.wall_ms;
        let claim = match script.below(6) {
            0 => None,
            1 => Some(Claim::Reset(certificate(&owner, key(device).public(), Purpose::Reset, now_ms))),
            2 => Some(succession(&owner, script.below(DEVICES) as u8, device)),
            _ => Some(Claim::Join(certificate(&owner, key(device).public(), Purpose::Join, now_ms))),
        };
        let after = hello.account.unwrap_or_else(|| Account::new(owner.clone()).head());
        let entry = claim.map(|claim| first_entry(&owner, device, after, claim, now_ms));
        let mut said = sign_in(&owner, device, hello.relay_key, hello.nonce, entry);
        match twist {
            0 => said.proof[script.below(64)] ^= 1,
            1 => said.relay = "evil.example".into(),
            2 => said.domains = vec!["other.example".into()],
            3 => said.key = key((device + 1) % DEVICES as u8).public(),
            4 => said.nonce[0] ^= 1,
            5 => said.wallet = "11111111111111111111111111111111".into(),
            _ => self.asked[place] = Some(device),
        }
        if twist <= 5 {
            self.asked[place] = None;
        }
        let device_id = key(device).device_id();
        self.said.push((device_id.clone(), said.clone()));
        self.receive(connection, &device_id, "", Body::SignIn(said));
    }

    /// A device says something of others, whether it has signed in or not.
    fn change(&mut self, connection: ConnectionId, script: &mut Script<'_>) {
        let owner = owner(0, DOMAIN);
        let by = self.signed_in[(connection % 4) as usize].filter(|_| script.below(4) != 0).unwrap_or(script.below(DEVICES) as u8);
        let devices = vec![key(script.below(DEVICES) as u8).device_id()];
        let claim = if script.below(2) == 0 { Claim::Approve(devices) } else { Claim::Remove { devices, kept: vec![] } };
        let account = self.account.clone().unwrap_or_else(|| Account::new(owner.clone()));
        let device_id = key(by).device_id();
        let counter = account.log().counter(&device_id) + 1;
        let entry = Statement::sign(&key(by), &owner, account.head(), claim).entry(&owner, counter, self.world.now.wall_ms);
        let messages = Batch::of(&[entry]).unwrap_or_default();
        self.receive(connection, &device_id, &owner.account_id, Body::SyncUpdate(SyncUpdate { messages, ..SyncUpdate::default() }));
    }

    /// A frame that needs somebody who has signed in.
    fn speak(&mut self, connection: ConnectionId, script: &mut Script<'_>) {
        let owner = owner(0, DOMAIN);
        let device_id = key(script.below(DEVICES) as u8).device_id();
        let session_id = script.one_of(&[&*owner.account_id, "account:", "a3bb189e-8bf9-8888-9912-ace4e6543002", ""]).to_owned();
        let body = match script.below(4) {
            0 => Body::SyncRequest(SyncRequest::default()),
            1 => Body::ShortNumber(ShortNumber { to: key(script.below(DEVICES) as u8).device_id(), ..ShortNumber::default() }),
            2 => Body::DeviceAnnounce(DeviceAnnounce { wallet: Some(owner.wallet), ..DeviceAnnounce::default() }),
            _ => Body::WalletAnnounce(WalletAnnounce { wallet: owner.wallet, ..WalletAnnounce::default() }),
        };
        self.receive(connection, &device_id, &session_id, body);
    }

    /// What was heard, by the laws.
    fn hear(&mut self) {
        for (connection, frame) in std::mem::take(&mut self.world.heard) {
            let place = (connection % 4) as usize;
            match frame.body {
                Body::Hello(hello) => self.hellos[place] = Some(hello),
                Body::SignedIn(said) => {
                    let device = self.asked[place].expect("who proved nothing is not answered");
                    if said.refused.is_some() {
                        self.asked[place] = None;
                        continue;
                    }
                    assert_eq!(self.signed_in[place].replace(device), None, "a connection signs in once");
                    assert!(said.account.is_some_and(|head| head.sequence > 0), "an account that lists somebody has entries");
                    assert!(!self.removed.contains(&key(device).device_id()), "a removed device never returns");
                }
                Body::Error(error) => assert!(error.code != ErrorCode::DeviceRemoved || !error.error.is_empty()),
                body => {
                    assert!(!self.is_required || self.signed_in[place].is_some(), "before sign-in nothing is served: {body:?}");
                    if let Body::SyncResponse(response) = body {
                        self.follow(&response.messages.entries().unwrap_or_default());
                    }
                }
            }
        }
        for place in 0..4 {
            if !self.world.open.contains_key(&self.connection(place)) {
                self.forget(place);
            }
        }
    }

    /// The account, where this goes on with it.
    fn follow(&mut self, entries: &[solconnect_sync_core::entry::Entry]) {
        let account = self.account.get_or_insert_with(|| Account::new(owner(0, DOMAIN)));
        for entry in entries.iter().filter(|entry| entry.sequence_number == account.head().sequence + 1).collect::<Vec<_>>() {
            if entry.message.session_id != account.owner().account_id {
                continue;
            }
            let changes = account.take(entry).expect("the relay's log goes on").expect("the relay stores what counts");
            for change in changes {
                if let Change::Removed(id) = change {
                    self.removed.insert(id);
                }
            }
        }
    }
}
