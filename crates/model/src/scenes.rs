//! The scenes: who is there, and what may happen at most.

use crate::rules::Rule;
use crate::terms::{Device, Wallet};

/// An honest device: its key, and what it does at most.
#[derive(Debug, Clone, Copy)]
pub struct Actor {
    /// Its key. A copy has that of another one.
    pub key: Device,
    /// Whether it is a copy, which is made at some time.
    pub is_copy: bool,
    /// What it wants to say: numbers of texts.
    pub texts: &'static [u8],
    /// Epochs that it begins at most.
    pub epochs: u8,
    /// Entries that it is shown at most.
    pub entries: usize,
}

/// A scene.
#[derive(Debug, Clone, Copy)]
pub struct Scene {
    /// What it is called.
    pub name: &'static str,
    /// Who is in the session at the beginning.
    pub members: &'static [Wallet],
    /// The honest devices.
    pub actors: &'static [Actor],
    /// The device A2 is the adversary's.
    pub is_stolen: bool,
    /// A1 removes A2 at some time.
    pub removes_device: bool,
    /// A1 removes M from the session at some time.
    pub removes_member: bool,
    /// B was never here at the beginning.
    pub is_first_contact: bool,
    /// Epochs that count at most.
    pub epochs: u8,
    /// Epochs and texts that the adversary makes at most.
    pub adversary: (usize, usize),
}

const fn actor(key: Device, texts: &'static [u8], epochs: u8, entries: usize) -> Actor {
    Actor { key, is_copy: false, texts, epochs, entries }
}

/// A member that lies is removed. A has two devices, of which one is copied.
pub const MEMBER: Scene = Scene {
    name: "a dishonest member is removed, and a device is copied",
    members: &[Wallet::A, Wallet::B, Wallet::M],
    actors: &[
        actor(Device::A1, &[], 1, 4),
        actor(Device::A2, &[1], 0, 2),
        Actor { key: Device::A2, is_copy: true, texts: &[2], epochs: 0, entries: 2 },
        actor(Device::B1, &[], 1, 3),
    ],
    is_stolen: false,
    removes_device: false,
    removes_member: true,
    is_first_contact: false,
    epochs: 3,
    adversary: (0, 0),
};

/// A device of A is stolen and removed, and a dishonest member helps it.
pub const DEVICE: Scene = Scene {
    name: "a stolen device is removed, and a dishonest member helps it",
    members: &[Wallet::A, Wallet::B, Wallet::M],
    actors: &[actor(Device::A1, &[], 2, 4), actor(Device::B1, &[1], 0, 4)],
    is_stolen: true,
    removes_device: true,
    removes_member: false,
    is_first_contact: false,
    epochs: 3,
    adversary: (1, 1),
};

/// The same between two honest wallets.
pub const PAIR: Scene = Scene {
    name: "a stolen device is removed from a pair",
    members: &[Wallet::A, Wallet::B],
    actors: &[actor(Device::A1, &[1], 2, 5), actor(Device::B1, &[2, 2], 1, 5)],
    adversary: (0, 1),
    ..DEVICE
};

/// B comes for the first time when there is a text for it already.
pub const FIRST_CONTACT: Scene = Scene {
    name: "first contact",
    members: &[Wallet::A, Wallet::B],
    actors: &[actor(Device::A1, &[1, 2], 2, 7), actor(Device::B1, &[3], 1, 7)],
    is_stolen: false,
    removes_device: false,
    removes_member: false,
    is_first_contact: true,
    epochs: 3,
    adversary: (0, 0),
};

/// All of them.
pub const SCENES: [Scene; 4] = [MEMBER, DEVICE, PAIR, FIRST_CONTACT];

/// The scene that shows what a rule is for.
pub fn scene_of(rule: Rule) -> &'static Scene {
    match rule {
        Rule::MembershipEndsEpoch | Rule::SyntheticNonce | Rule::ResealToMembers => &MEMBER,
        Rule::Signatures | Rule::Listed | Rule::HeadsGrow | Rule::NeverAgain | Rule::Tag => &DEVICE,
        Rule::RemovalWithGeneration | Rule::EpochBeforeWriting | Rule::PlaceInAad | Rule::Transcript | Rule::FreshSecret => &PAIR,
        Rule::Chain | Rule::Names | Rule::StrictEpochs | Rule::CertifiedAccounts | Rule::ResealOwed => &FIRST_CONTACT,
    }
}
