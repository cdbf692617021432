//! Wallets that sign, and a relay to which devices sign in.

use std::sync::LazyLock;

use solconnect_sync_core::client::{Client, ClientConfig, DeviceView, Input};
use solconnect_sync_core::identity::{Account, Certificate, DeviceKey, DomainSet, Owner, Purpose};
use solconnect_sync_core::ids::{self, SessionId, wallet_address};
use solconnect_sync_core::relay::{Doorkeeper, Relay};

use crate::checker::e;
use crate::relay_disk::Rows;
use crate::world::{PageId, ProfileId, TabId, World};

/// The application's domain, and the relay's name.
pub(crate) const DOMAIN: &str = "chat.example";
const RELAY: &str = "relay.example";

/// The keys of the wallets, by what they are made of.
const SECRETS: [u8; 3] = [101, 102, 103];

/// Their addresses.
pub static SIGNERS: LazyLock<[String; 3]> = LazyLock::new(|| SECRETS.map(|secret| wallet_address(&key(secret).public())));

/// A key that is made of this.
pub(crate) fn key(secret: u8) -> DeviceKey {
    DeviceKey::from_secret(&[secret; 32])
}

/// The relay's key.
pub(crate) fn relay_key() -> DeviceKey {
    key(1)
}

/// Whether devices sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SignIn {
    /// Nobody does.
    #[default]
    Never,
    /// Devices do; hostile members and what they pretend to be need not.
    Open,
    /// Nobody is served who has not.
    Required,
}

impl SignIn {
    /// The relay of such a world.
    pub fn relay(self, random: &mut fastrand::Rng) -> Relay {
        if self == SignIn::Never {
            return Relay::new();
        }
        let is_required = self == SignIn::Required;
        Relay::with_sign_in(Doorkeeper {
            key: relay_key(),
            earlier: Vec::new(),
            names: vec![RELAY.into()],
            is_required,
            secret: drawn(random),
        })
    }

    /// What its devices know.
    pub fn config(self, config: ClientConfig) -> ClientConfig {
        if self == SignIn::Never {
            return config;
        }
        ClientConfig { domains: vec![DOMAIN.into()], relay_name: RELAY.into(), ..config }
    }

    /// What a new machine makes keys of.
    pub fn entropy(self, random: &mut fastrand::Rng) -> Option<[u8; 32]> {
        (self != SignIn::Never).then(|| drawn(random))
    }
}

fn drawn(random: &mut fastrand::Rng) -> [u8; 32] {
    std::array::from_fn(|_| random.u8(..))
}

/// The application's.
pub(crate) fn domains() -> DomainSet {
    DomainSet::new(vec![DOMAIN.into()]).unwrap_or_else(|error| panic!("{error}"))
}

/// The session of two wallets: of those that sign, in the application.
pub fn session_of(one: &str, other: &str, encrypts: bool) -> SessionId {
    let signs = |wallet: &str| SIGNERS.iter().any(|signer| signer == wallet);
    let own = if encrypts { domains().sealed_session_of(one, other) } else { domains().session_of(one, other) };
    let own = own.filter(|_| signs(one) && signs(other));
    own.unwrap_or_else(|| ids::session_of(one, other))
}

/// What one of the wallets signs.
pub(crate) fn signed_by_wallet(wallet: &str, text: &[u8]) -> Option<[u8; 64]> {
    let place = SIGNERS.iter().position(|signer| signer == wallet)?;
    Some(key(SECRETS[place]).sign(text))
}

/// The account log of a wallet.
pub fn account_id(wallet: &str) -> SessionId {
    Owner::new(wallet, domains()).map_or_else(|error| panic!("{error}"), |owner| owner.account_id)
}

/// Up to where a device has stored this account log.
pub fn account_end<'a>(stored: impl Iterator<Item = &'a Vec<u8>>, id: &str) -> u64 {
    let accounts = stored.filter_map(|bytes| Account::from_bytes(bytes, &domains()));
    accounts.filter(|account| account.owner().account_id == id).map(|account| account.head().sequence).max().unwrap_or(0)
}

/// A wallet's account as its log stands here.
pub(crate) fn account_of(wallet: &str, rows: Option<&Rows>) -> Option<Account> {
    let mut account = Account::new(Owner::new(wallet, domains()).ok()?);
    for stored in rows.map(|rows| rows.entries.as_slice()).unwrap_or_default() {
        let entry = stored.body.entries().ok()?.pop()?;
        // The relay stores what counts, and nothing else.
        account.take(&entry).ok()?.ok()?;
    }
    Some(account)
}

impl World {
    /// Somebody has another device of the wallet approved or removed. Few do, because an account has few changes in a day.
    pub fn manage_devices(&mut self, profile: ProfileId, page: PageId) {
        const CHANGES_MAX: u8 = 4;
        let Some(tab) = self.profiles[profile].tab.and_then(|tab| self.tabs.get(&tab)) else { return };
        let others: Vec<DeviceView> = tab.client.account_devices().into_iter().filter(|device| !device.is_this_device).collect();
        if others.is_empty() || self.device_changes >= CHANGES_MAX || !self.may_change_devices(profile) {
            return;
        }
        self.device_changes += 1;
        let DeviceView { id: device_id, is_approved, .. } = self.ctx.pick(&others).clone();
        if is_approved || self.ctx.random.bool() {
            self.call(page, |request| Input::RemoveDevice { request, device_id });
        } else {
            self.call(page, |request| Input::ApproveDevice { request, device_id });
        }
    }

    /// Which profile knows other devices of its wallet than the relay has stored (I16); `None` where all know the same, and each is
    /// one of them.
    pub fn devices_unsettled(&self) -> Option<(u8, String)> {
        if self.sign_in == SignIn::Never {
            return None;
        }
        for (index, profile) in self.profiles.iter().enumerate() {
            let tab = self.tabs.get(&profile.tab?)?;
            let client = &tab.client;
            let account_id = Owner::new(profile.wallet, domains()).ok()?.account_id;
            let Some(account) = account_of(profile.wallet, self.relay.journal().sessions().get(&account_id)) else {
                return Some((16, format!("the relay has stored an entry of {account_id} that does not count")));
            };
            let is_in = account.device(client.device_id()).is_some();
            let known: Vec<_> = client.account_devices().into_iter().map(|device| (device.id, device.is_approved)).collect();
            let stored: Vec<_> = account.devices().iter().map(|device| (device.id.clone(), device.is_approved)).collect();
            if known != stored {
                return Some((16, format!("profile {index} knows the devices {known:?}, and the relay has {stored:?}")));
            }
            if !is_in {
                return Some((16, format!("profile {index} is served, and is none of {stored:?}")));
            }
        }
        None
    }

    /// Which two devices show each other two numbers, where people are to see one (E12).
    pub fn numbers_unsettled(&self) -> Option<(u8, String)> {
        let devices = || self.profiles.iter().filter_map(|profile| Some(&self.tabs.get(&profile.tab?)?.client));
        let shown = |client: &Client, other: &str| client.account_devices().into_iter().find(|device| device.id == other)?.number;
        for one in devices() {
            for other in one.account_devices().into_iter().filter(|device| device.number.is_some()) {
                let same = devices().find(|device| device.device_id() == other.id).and_then(|device| shown(device, one.device_id()));
                if same.is_some() && same != other.number {
                    return Some((e(12), format!("{} and {} show {same:?} and {:?}", one.device_id(), other.id, other.number)));
                }
            }
        }
        None
    }

    /// Whether the account that a profile has stored is another than the relay's, which was set back.
    pub fn account_is_other(&self, profile: ProfileId) -> bool {
        let records = &self.profiles[profile].disk.state().records;
        records.identity.as_ref().is_some_and(|identity| self.is_other(&identity.account))
    }

    /// The same of an account of another wallet that it has stored. It says so where it asks for more of it.
    pub fn knows_other_account(&self, profile: ProfileId) -> bool {
        self.profiles[profile].disk.state().records.accounts.values().any(|record| self.is_other(&record.account))
    }

    fn is_other(&self, stored: &[u8]) -> bool {
        let stored = Account::from_bytes(stored, &domains()).filter(|account| account.head().sequence > 0);
        let Some(stored) = stored else { return false };
        let rows = self.relay.journal().sessions().get(&stored.owner().account_id);
        let at = rows.and_then(|rows| rows.entries.get(stored.head().sequence as usize - 1));
        at.is_none_or(|row| row.log_hash != stored.head().hash)
    }

    /// The wallet of a tab signs what is asked for, where something is.
    pub fn sign(&mut self, id: TabId) {
        // Who has stolen a copy has not the wallet.
        let Some(tab) = self.tabs.get(&id).filter(|tab| !self.profiles[tab.profile].is_stolen) else { return };
        let offer = tab.client.offer(self.tab_now(tab), DOMAIN, Purpose::Join);
        let text = offer.map(|offer| offer.text()).unwrap_or_default();
        let signature = signed_by_wallet(self.profiles[tab.profile].wallet, text.as_bytes());
        if let Some(signature) = signature.filter(|_| !text.is_empty()) {
            self.engine_call(id, |request| Input::Certify { request, certificate: Certificate { text, signature } });
        }
    }
}
