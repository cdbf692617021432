//! Wallets that sign, and a relay to which devices sign in.

use std::sync::LazyLock;

use solconnect_sync_core::client::{ClientConfig, Input};
use solconnect_sync_core::identity::{Certificate, DeviceKey, Purpose};
use solconnect_sync_core::ids::wallet_address;
use solconnect_sync_core::relay::{Doorkeeper, Relay};

use crate::world::{TabId, World};

/// The application's domain, and the relay's name.
const DOMAIN: &str = "chat.example";
const RELAY: &str = "relay.example";

/// The keys of the wallets, by what they are made of.
const SECRETS: [u8; 3] = [101, 102, 103];

/// Their addresses.
pub static SIGNERS: LazyLock<[String; 3]> = LazyLock::new(|| SECRETS.map(|secret| wallet_address(&key(secret).public())));

fn key(secret: u8) -> DeviceKey {
    DeviceKey::from_secret(&[secret; 32])
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
        Relay::with_sign_in(Doorkeeper { key: key(1).public(), names: vec![RELAY.into()], is_required, secret: drawn(random) })
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

impl World {
    /// The wallet of a tab signs what is asked for, where something is.
    pub fn sign(&mut self, id: TabId) {
        let Some(tab) = self.tabs.get(&id) else { return };
        let wallet = self.profiles[tab.profile].wallet;
        let place = SIGNERS.iter().position(|signer| signer == wallet);
        let offer = tab.client.offer(self.tab_now(tab), DOMAIN, Purpose::Join);
        if let (Some(offer), Some(place)) = (offer, place) {
            let text = offer.text();
            let signature = key(SECRETS[place]).sign(text.as_bytes());
            self.engine_call(id, |request| Input::Certify { request, certificate: Certificate { text, signature } });
        }
    }
}
