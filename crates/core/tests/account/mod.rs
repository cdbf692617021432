//! An account whose devices are numbers, and a wallet that signs.

use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::identity::{
    Account, Certificate, Change, Claim, DeviceKey, DomainSet, NewRecoveryKey, Offer, Owner, Purpose, Recovery, RecoveryKind, Statement,
    Succession,
};
use solconnect_sync_core::ids::{DeviceId, wallet_address};
use solconnect_sync_core::limits::OFFER_MS;
use solconnect_sync_core::log::LogHead;
use solconnect_sync_vault::account as vault;
use solconnect_sync_vault::layout::Generation;
use solconnect_sync_vault::seal::{PrivateKey, SealedKey};

/// Midnight, so that a day's changes are those of the next 24 hours.
pub const NOW_MS: u64 = 1_800_000_000_000 / (24 * 60 * 60 * 1_000) * (24 * 60 * 60 * 1_000);

pub const DOMAIN: &str = "chat.example";

/// The key of a device by its number.
pub fn key(number: u8) -> DeviceKey {
    DeviceKey::from_secret(&[number; 32])
}

/// The seal key of a device or recovery key by its number.
pub fn seal_key(number: u8) -> PrivateKey {
    PrivateKey::from_secret(&[number; 32])
}

/// The account key of a generation.
pub fn account_key(generation: u64) -> PrivateKey {
    PrivateKey::from_secret(&[generation as u8; 32])
}

/// The key of the wallet.
pub fn wallet() -> DeviceKey {
    DeviceKey::from_secret(&[0xff; 32])
}

/// The wallet in the application of one domain.
pub fn owner(domain: &str) -> Owner {
    Owner::new(&wallet_address(&wallet().public()), DomainSet::new(vec![domain.into()]).unwrap()).unwrap()
}

/// The ids of devices.
pub fn names(numbers: &[u8]) -> Vec<DeviceId> {
    numbers.iter().map(|number| key(*number).device_id()).collect()
}

/// The ids of devices.
pub fn devices<const COUNT: usize>(numbers: [u8; COUNT]) -> Vec<DeviceId> {
    names(&numbers)
}

/// What the wallet signs for a device.
pub fn certificate(owner: &Owner, device: &DeviceKey, purpose: Purpose, issued_ms: u64) -> Certificate {
    let Owner { wallet: address, account_id, domains, .. } = owner.clone();
    let domain = domains.iter().next().unwrap().to_owned();
    let offer =
        Offer { domain, wallet: address, account_id, device: device.public(), purpose, issued_ms, expires_ms: issued_ms + OFFER_MS };
    Certificate { text: offer.text(), signature: wallet().sign(offer.text().as_bytes()) }
}

/// An account, its log, and the relay's clock.
pub struct Desk {
    pub account: Account,
    pub entries: Vec<Entry>,
    pub now_ms: u64,
}

impl Desk {
    pub fn new() -> Desk {
        Desk { account: Account::new(owner(DOMAIN)), entries: Vec::new(), now_ms: NOW_MS }
    }

    /// The same wallet in another application.
    pub fn elsewhere() -> Desk {
        Desk { account: Account::new(owner("other.example")), ..Desk::new() }
    }

    /// An account in which this was done, by words.
    pub fn of<const COUNT: usize>(steps: [&str; COUNT]) -> Desk {
        let mut desk = Desk::new();
        for step in steps {
            let words: Vec<&str> = step.split(' ').collect();
            let number = |place: usize| words[place].parse::<u8>().unwrap();
            desk.now_ms += 1;
            let done = match words[0] {
                "join" => desk.join(number(1)),
                "reset" => desk.reset(number(1)),
                "succeed" => desk.succeed(number(1), number(2)),
                "approve" => desk.approve(number(1), [number(2)]),
                "remove" => desk.remove(number(1), [number(2)], []),
                "seal" => desk.say_seal_key(number(1)),
                "renew" => desk.renew(number(1)),
                "expel" => desk.expel(number(1), [number(2)], []),
                "trust" => desk.approve_with_key(number(1), number(2)),
                "code" => desk.list_code(number(1), number(2)),
                "recover" => desk.recover(number(1), number(2)),
                other => panic!("{other}"),
            };
            done.unwrap_or_else(|code| panic!("{step}: {code:?}"));
        }
        desk
    }

    pub fn certificate(&self, device: u8, purpose: Purpose, issued_ms: u64) -> Certificate {
        certificate(self.account.owner(), &key(device), purpose, issued_ms)
    }

    pub fn succession(&self, old: u8, new: u8) -> Claim {
        Claim::Succeed(Succession::sign(&key(old), self.account.owner(), &key(new).public()))
    }

    /// A device says something behind the log's end.
    pub fn say(&mut self, by: u8, claim: Claim) -> Result<Vec<Change>, ErrorCode> {
        self.say_after(self.account.head(), by, claim)
    }

    pub fn say_after(&mut self, after: LogHead, by: u8, claim: Claim) -> Result<Vec<Change>, ErrorCode> {
        let owner = self.account.owner().clone();
        let counter = self.account.log().counter(&key(by).device_id()) + 1;
        self.put(Statement::sign(&key(by), &owner, after, claim).entry(&owner, counter, self.now_ms))
    }

    /// An entry enters the log. What the relay is told of it before is what comes of it.
    pub fn put(&mut self, mut entry: Entry) -> Result<Vec<Change>, ErrorCode> {
        entry.sequence_number = self.account.head().sequence + 1;
        entry.server_timestamp = self.now_ms;
        entry.knows = entry.knows.min(self.account.head().sequence);
        let checked = self.account.check(&entry).map_err(|error| error.code);
        self.entries.push(entry.clone());
        let taken = self.account.take(&entry).unwrap().map_err(|error| error.code);
        assert_eq!(checked.err(), taken.as_ref().err().copied());
        taken
    }

    pub fn join(&mut self, device: u8) -> Result<Vec<Change>, ErrorCode> {
        self.say(device, Claim::Join(self.certificate(device, Purpose::Join, self.now_ms)))
    }

    pub fn reset(&mut self, device: u8) -> Result<Vec<Change>, ErrorCode> {
        self.say(device, Claim::Reset(self.certificate(device, Purpose::Reset, self.now_ms)))
    }

    pub fn succeed(&mut self, old: u8, new: u8) -> Result<Vec<Change>, ErrorCode> {
        self.say(new, self.succession(old, new))
    }

    pub fn approve<const COUNT: usize>(&mut self, by: u8, numbers: [u8; COUNT]) -> Result<Vec<Change>, ErrorCode> {
        self.say(by, Claim::Approve(devices(numbers)))
    }

    pub fn remove<const COUNT: usize, const KEPT: usize>(
        &mut self,
        by: u8,
        leave: [u8; COUNT],
        kept: [u8; KEPT],
    ) -> Result<Vec<Change>, ErrorCode> {
        self.say(by, Claim::Remove { devices: devices(leave), kept: devices(kept) })
    }

    /// The next account key, as who has all earlier ones makes it where these are removed and those kept.
    pub fn generation(&self, leave: &[u8], kept: &[u8]) -> Generation {
        let number = self.account.generations().len() as u64 + 1;
        let to: Vec<_> = self.account.seal_recipients(&names(leave), &names(kept)).into_iter().map(|(_, key)| key).collect();
        let earlier = (number > 1).then(|| account_key(number - 1));
        let (generation, key) = vault::begin(self.account_id(), number, &to, earlier.as_ref(), &[number as u8; 64]).unwrap();
        assert_eq!(key.public(), account_key(number).public());
        generation
    }

    /// The newest account key for one device or recovery key.
    pub fn sealed(&self, to: u8) -> SealedKey {
        let number = self.account.generations().len() as u64;
        vault::hand_over(self.account_id(), number, &account_key(number), &seal_key(to).public(), &[to; 32]).unwrap()
    }

    pub fn account_id(&self) -> &str {
        &self.account.owner().account_id
    }

    pub fn say_seal_key(&mut self, by: u8) -> Result<Vec<Change>, ErrorCode> {
        self.say(by, Claim::SealKey(seal_key(by).public()))
    }

    pub fn renew(&mut self, by: u8) -> Result<Vec<Change>, ErrorCode> {
        self.say(by, Claim::Generation(self.generation(&[], &[])))
    }

    /// Removes devices or recovery keys, with the next account key.
    pub fn expel<const COUNT: usize, const KEPT: usize>(
        &mut self,
        by: u8,
        leave: [u8; COUNT],
        kept: [u8; KEPT],
    ) -> Result<Vec<Change>, ErrorCode> {
        let generation = self.generation(&leave, &kept);
        self.say(by, Claim::RemoveAndRenew { devices: devices(leave), kept: devices(kept), generation })
    }

    pub fn approve_with_key(&mut self, by: u8, device: u8) -> Result<Vec<Change>, ErrorCode> {
        self.say(by, Claim::ApproveWithKey(vec![(key(device).device_id(), self.sealed(device))]))
    }

    /// A device lists a recovery key.
    pub fn list_code(&mut self, by: u8, code: u8) -> Result<Vec<Change>, ErrorCode> {
        self.say(by, Claim::RecoveryKey(self.code(code)))
    }

    /// A recovery key to be listed.
    pub fn code(&self, number: u8) -> NewRecoveryKey {
        let (key, seal_key, sealed) = (key(number).public(), seal_key(number).public(), self.sealed(number));
        NewRecoveryKey { kind: RecoveryKind::Code, key, seal_key, sealed }
    }

    pub fn recovery(&self, by: u8, code: u8) -> Claim {
        Claim::Recover(Recovery::sign(&key(code), self.account.owner(), &self.account.head(), &key(by).public()))
    }

    pub fn recover(&mut self, by: u8, code: u8) -> Result<Vec<Change>, ErrorCode> {
        self.say(by, self.recovery(by, code))
    }

    /// The account key that a device or recovery key opens: of the newest generation, and from it all that it leads back to.
    pub fn opened(&self, by: u8) -> Vec<u64> {
        let (account, generations) = (self.account_id(), self.account.generations());
        let Some((newest, sealed)) = generations.last().zip(self.account.sealed_for(&key(by).device_id())) else { return Vec::new() };
        let mut key = vault::open(account, newest.number, &newest.public, &seal_key(by), &sealed.sealed).unwrap();
        let mut numbers = vec![newest.number];
        for pair in generations.windows(2).rev() {
            let Some(sealed) = &pair[1].earlier else { break };
            key = vault::open_earlier(account, pair[1].number, &key, &pair[0].public, sealed).unwrap();
            numbers.push(pair[0].number);
        }
        numbers
    }

    /// The devices in their order; those that are approved with an exclamation mark.
    pub fn shown(&self) -> String {
        let number = |id: &str| (0..=0xfe).find(|number| key(*number).device_id() == id).expect("a device of ours");
        let shown = |device: &solconnect_sync_core::identity::Device| {
            format!("{}{}", number(&device.id), if device.is_approved { "!" } else { "" })
        };
        self.account.devices().iter().map(shown).collect::<Vec<_>>().join(" ")
    }
}
