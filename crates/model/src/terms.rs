//! What there is: wallets, devices, secrets, entries. Entries and transcripts are numbered as they come up, equal ones alike.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::Hash;
use std::rc::Rc;

/// A wallet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wallet {
    /// An honest one with two devices.
    A,
    /// An honest one with one device.
    B,
    /// The adversary's.
    M,
}

/// All of them, in the order of their places in an epoch.
pub const WALLETS: [Wallet; 3] = [Wallet::A, Wallet::B, Wallet::M];

/// The key of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Device {
    /// The first of A. It may be copied.
    A1,
    /// The second of A. In some scenes it is stolen.
    A2,
    /// The one of B.
    B1,
    /// The one of M.
    M1,
}

impl Device {
    /// Whose it is.
    pub fn wallet(self) -> Wallet {
        match self {
            Device::A1 | Device::A2 => Wallet::A,
            Device::B1 => Wallet::B,
            Device::M1 => Wallet::M,
        }
    }
}

/// An epoch's secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Secret {
    /// One that an honest device drew: which device's, and the how many-th.
    Fresh(u8, u8),
    /// Made of the secret before it, which is forbidden: that one, and how often.
    Derived(u8, u8, u8),
    /// One that the adversary drew.
    Adversary(u8),
}

/// A number of an entry.
pub type EntryId = u16;

/// A number of a list of entries.
pub type ListId = u32;

/// A number of a transcript: the list of entries that counted.
pub type TranscriptId = ListId;

/// The generation whose key the adversary made and gives out as B's.
pub const FALSE_GENERATION: u8 = 9;

/// What an epoch says of a wallet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Named {
    /// Its account head.
    pub head: u8,
    /// The generation there; 0: none.
    pub generation: u8,
    /// What is sealed to it.
    pub sealed: Option<Secret>,
}

/// What an entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Body {
    /// It begins an epoch.
    Epoch {
        /// The transcript that it follows.
        after: TranscriptId,
        /// Its number.
        number: u8,
        /// The wallets, each at its place; none: it is no member.
        members: [Option<Named>; 3],
        /// The secret that its tag is of.
        tag: Secret,
    },
    /// A text.
    Text {
        /// The secret that it is encrypted under.
        secret: Secret,
        /// The transcript that its key is made of.
        key_of: TranscriptId,
        /// The number of its epoch.
        number: u8,
        /// What it says. The same number is the same text.
        content: u8,
        /// Which text of its author's it is, for the promises.
        which: u8,
        /// Its author could expect that nobody but members of good devices reads it, for the promises.
        is_private: bool,
        /// The transcript of its author, for the promises.
        written_after: TranscriptId,
    },
    /// M leaves the session.
    RemoveMember,
    /// An earlier secret for a wallet.
    Reseal {
        /// The wallet.
        to: Wallet,
        /// The generation that it is sealed to.
        generation: u8,
        /// The entry of the epoch.
        epoch: EntryId,
        /// The secret.
        secret: Secret,
    },
}

/// An entry, signed by its device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The key that signed it.
    pub by: Device,
    /// Its place among its device's.
    pub counter: u8,
    /// The one before, whose digest it names.
    pub previous: Option<EntryId>,
    /// What it says.
    pub body: Body,
    /// The honest device that made it, for the promises; none: the adversary.
    pub made_by: Option<u8>,
}

impl Entry {
    /// The name of a text: its id. It keeps it where it is made anew.
    pub fn name(&self) -> (Device, Option<u8>, u8) {
        match self.body {
            Body::Text { which, .. } => (self.by, self.made_by, which),
            _ => (self.by, self.made_by, u8::MAX),
        }
    }
}

/// Numbers for what is equal.
#[derive(Debug)]
struct Numbered<T> {
    all: Vec<T>,
    numbers: HashMap<T, u32>,
}

impl<T: Clone + Eq + Hash> Numbered<T> {
    fn new() -> Self {
        Numbered { all: Vec::new(), numbers: HashMap::new() }
    }

    fn number(&mut self, thing: T) -> u32 {
        if let Some(number) = self.numbers.get(&thing) {
            return *number;
        }
        let number = self.all.len() as u32;
        self.all.push(thing.clone());
        self.numbers.insert(thing, number);
        number
    }
}

/// All entries and lists of entries of one search. The list 0 is empty.
#[derive(Debug)]
pub struct Terms {
    entries: RefCell<Numbered<Entry>>,
    lists: RefCell<Numbered<Rc<[EntryId]>>>,
}

impl Terms {
    /// None yet.
    pub fn new() -> Terms {
        let terms = Terms { entries: RefCell::new(Numbered::new()), lists: RefCell::new(Numbered::new()) };
        terms.list_number(&[]);
        terms
    }

    /// The number of an entry.
    pub fn number(&self, entry: Entry) -> EntryId {
        EntryId::try_from(self.entries.borrow_mut().number(entry)).expect("fewer entries than 65,536")
    }

    /// The entry of a number.
    pub fn entry(&self, id: EntryId) -> Entry {
        self.entries.borrow().all[usize::from(id)]
    }

    /// The number of a list.
    pub fn list_number(&self, entries: &[EntryId]) -> ListId {
        self.lists.borrow_mut().number(entries.into())
    }

    /// The list of a number.
    pub fn list(&self, number: ListId) -> Rc<[EntryId]> {
        self.lists.borrow().all[number as usize].clone()
    }

    /// The list with one more entry at its end.
    pub fn longer(&self, list: ListId, entry: EntryId) -> ListId {
        self.list_number(&[&self.list(list)[..], &[entry]].concat())
    }
}

impl Default for Terms {
    fn default() -> Self {
        Terms::new()
    }
}
