//! The rules of epochs: what counts in the log of an encrypted session.

use crate::sealing::{NOW_MS, Vault, address, any_text, device, epoch, sealed, wallet};
use proptest::prelude::*;
use solconnect_sync_core::entry::{Digest, Entry, first_digest};
use solconnect_sync_core::epochs::{Epochs, Members, Said, Uncounted};
use solconnect_sync_core::group::{GroupChange, Role};
use solconnect_sync_core::limits::{
    EPOCH_SPANS_MAX, EPOCH_TEXT_BYTES_MAX, EPOCH_WALLETS_MAX, GROUP_MEMBERS_MAX, INTEGER_MAX, UNCAUSED_EPOCH_MS,
};
use solconnect_sync_core::message::{Kind, Message, Stamp};
use solconnect_sync_core::vector_clock::VectorClock;
use solconnect_sync_vault::epoch::Recipient;
use solconnect_sync_vault::layout::{AccountHead, AsksEntry, EpochEntry, EpochMember, ResealEntry, Resealed};
use solconnect_sync_vault::seal::SEAL_BYTES;

const SESSION: &str = "sealed:c91bc237-57ba-8821-8ca4-8b7da6739691";

/// A session whose members are wallets by their numbers, and what its log says.
#[derive(Clone)]
struct Hall {
    vaults: Vec<Vault>,
    members: Vec<u8>,
    admins: Vec<u8>,
    epochs: Epochs,
    /// The digest of the last entry.
    digest: Digest,
    now_ms: u64,
}

impl Hall {
    /// Wallets 0 and 1, with a device and an account key each; 2 is no member.
    fn new() -> Hall {
        let vaults = (0..3).map(Vault::keyed).collect();
        let epochs = Epochs::new(SESSION);
        Hall { vaults, members: vec![0, 1], admins: vec![0, 1], epochs, digest: first_digest(SESSION, ""), now_ms: NOW_MS }
    }

    fn begun() -> Hall {
        let mut hall = Hall::new();
        hall.begin(0).unwrap();
        hall
    }

    fn entry(&self, (author, number): (u8, u8), message: Message) -> Entry {
        let device_id = device(author, number).device_id();
        let message = Message { sender_wallet: address(author), session_id: SESSION.into(), id: "id".into(), ..message };
        Entry { message, device_id, counter: 1, server_timestamp: self.now_ms, ..Entry::default() }
    }

    fn judge(&self, entry: &Entry) -> Result<Said, Uncounted> {
        let mut wallets: Vec<_> = self.members.iter().map(|number| wallet(*number).public()).collect();
        wallets.sort_unstable();
        let role = |wallet: &str| match () {
            () if self.admins.iter().any(|number| address(*number) == wallet) => Role::Admin,
            () if self.members.iter().any(|number| address(*number) == wallet) => Role::Member,
            () => Role::Stranger,
        };
        let account = |key: &_| self.vaults.iter().find(|vault| vault.key() == *key).map(|vault| &vault.account);
        self.epochs.judge(entry, &Members { wallets, role: &role, account: &account })
    }

    fn put(&mut self, entry: &Entry, changes: &[GroupChange]) -> Result<Said, Uncounted> {
        let said = self.judge(entry)?;
        self.digest = entry.digest(&self.digest);
        self.epochs.take(entry, &said, &self.digest, changes);
        // What is stored goes on as what is in memory.
        assert_eq!(Epochs::from_bytes(&self.epochs.to_bytes()).as_ref(), Ok(&self.epochs));
        self.now_ms += 1;
        Ok(said)
    }

    fn say(&mut self, by: (u8, u8), message: Message) -> Result<Said, Uncounted> {
        self.put(&self.entry(by, message), &[])
    }

    fn recipients(&self) -> Vec<Recipient> {
        self.members.iter().map(|number| self.vaults[usize::from(*number)].now()).collect()
    }

    /// The first device of a wallet begins an epoch, by what it knows.
    fn begin(&mut self, author: u8) -> Result<Said, Uncounted> {
        self.begin_for((author, 0), self.recipients())
    }

    fn begin_for(&mut self, by: (u8, u8), recipients: Vec<Recipient>) -> Result<Said, Uncounted> {
        let (epoch, _) = epoch(&self.epochs, &device(by.0, by.1).device_id(), recipients, 1);
        self.say(by, sealed(Kind::EPOCH, &epoch.to_bytes()))
    }

    /// What becomes of the epoch that a wallet would begin, bent.
    fn bent(&self, bend: impl Fn(&mut EpochEntry)) -> Result<Said, Uncounted> {
        let (mut epoch, _) = epoch(&self.epochs, &device(0, 0).device_id(), self.recipients(), 1);
        bend(&mut epoch);
        self.judge(&self.entry((0, 0), sealed(Kind::EPOCH, &epoch.to_bytes())))
    }

    fn text(&mut self, by: (u8, u8)) -> Result<Said, Uncounted> {
        self.say(by, any_text(self.epochs.last()))
    }

    fn change(&mut self, number: u8, comes: bool) {
        let change = if comes { GroupChange::Added(address(number)) } else { GroupChange::Removed(address(number)) };
        self.members.retain(|member| *member != number);
        if comes {
            self.members.push(number);
        }
        self.put(&self.entry((0, 0), Message { kind: Kind::GROUP, ..Message::default() }), &[change]).unwrap();
    }

    fn reseal(&mut self, by: u8, to: u8, epochs: &[u64]) -> Result<Said, Uncounted> {
        let sealed_bytes = vec![0; 32 * epochs.len() + SEAL_BYTES];
        let item = Resealed { wallet: wallet(to).public(), generation: 1, epochs: epochs.to_vec(), sealed: sealed_bytes };
        self.say((by, 0), sealed(Kind::RESEAL, &ResealEntry(vec![item]).to_bytes()))
    }
}

fn never<T: std::fmt::Debug>(result: Result<T, Uncounted>, words: &str) {
    match result {
        Err(Uncounted::Never(what)) if what.contains(words) => {}
        other => panic!("{words}: {other:?}"),
    }
}

fn moved<T: std::fmt::Debug + PartialEq>(result: Result<T, Uncounted>) {
    assert_eq!(result, Err(Uncounted::Moved));
}

#[test]
fn nothing_is_written_before_the_first_epoch() {
    let mut hall = Hall::new();
    moved(hall.say((0, 0), any_text(1)));
    moved(hall.say((0, 0), sealed(Kind::ASKS, &AsksEntry(vec![1]).to_bytes())));
    hall.begin(0).unwrap();
    assert_eq!((hall.epochs.current(), hall.epochs.last()), (Some(1), 1));
    assert!(matches!(hall.text((0, 0)), Ok(Said::Text(_))));
    assert!(matches!(hall.text((1, 0)), Ok(Said::Text(_))));
}

#[test]
fn an_epoch_follows_the_one_before_it_alone() {
    for hall in [Hall::new(), Hall::begun()] {
        for number in [hall.epochs.last(), hall.epochs.last() + 2, INTEGER_MAX] {
            moved(hall.bent(|epoch| epoch.number = number.max(1) + u64::from(number == 0)));
        }
        moved(hall.bent(|epoch| epoch.after[0] ^= 1));
    }
    // One that counts once does not count again, and of two at once the first counts.
    let mut hall = Hall::new();
    let (one, _) = epoch(&hall.epochs, &device(0, 0).device_id(), hall.recipients(), 1);
    let (other, _) = epoch(&hall.epochs, &device(1, 0).device_id(), hall.recipients(), 2);
    hall.say((0, 0), sealed(Kind::EPOCH, &one.to_bytes())).unwrap();
    moved(hall.say((0, 0), sealed(Kind::EPOCH, &one.to_bytes())));
    moved(hall.say((1, 0), sealed(Kind::EPOCH, &other.to_bytes())));
}

#[test]
fn an_epoch_names_exactly_the_members() {
    let mut hall = Hall::begun();
    never(hall.bent(|epoch| epoch.members.truncate(1)), "other wallets");
    never(hall.bent(|epoch| epoch.members[0].wallet[31] ^= 1), "other wallets");
    let stranger = hall.vaults[2].now();
    let too_many = [hall.recipients(), vec![stranger]].concat();
    never(hall.begin_for((0, 0), too_many), "other wallets");
    // Who is no member begins none, also where it is the relay's mistake to ask.
    hall.members = vec![0];
    never(hall.begin_for((2, 0), vec![hall.vaults[0].now()]), "not in the session");
}

#[test]
fn an_epoch_names_places_of_the_members_accounts() {
    let hall = Hall::begun();
    let mut wallets = [0, 1].map(|number| wallet(number).public());
    wallets.sort_unstable();
    for (place, wallet) in wallets.into_iter().enumerate() {
        assert_eq!(hall.bent(|epoch| epoch.members[place].head.sequence += 1), Err(Uncounted::Unknown(wallet)));
        assert_eq!(hall.bent(|epoch| epoch.members[place].head.hash[0] ^= 1), Err(Uncounted::Forked(wallet)));
        never(hall.bent(|epoch| epoch.members[place].sealed = None), "another generation");
        never(hall.bent(|epoch| epoch.members[place].sealed = Some((2, [0; 80]))), "another generation");
    }
    // Of an account that is not known at all nothing is decided.
    let (mut unknown, recipients) = (hall.clone(), hall.recipients());
    let gone = unknown.vaults.remove(1);
    assert_eq!(unknown.begin_for((0, 0), recipients), Err(Uncounted::Unknown(gone.key())));
}

#[test]
fn an_account_head_never_goes_back() {
    let mut hall = Hall::begun();
    hall.vaults[1].join(1);
    hall.begin(0).unwrap();
    let older = vec![hall.vaults[0].now(), hall.vaults[1].at(3)];
    moved(hall.begin_for((0, 0), older));
    // Nor for who was away meanwhile.
    hall.change(2, true);
    hall.begin(0).unwrap();
    hall.change(1, false);
    hall.begin(0).unwrap();
    hall.change(1, true);
    let older = vec![hall.vaults[0].now(), hall.vaults[1].at(3), hall.vaults[2].now()];
    moved(hall.begin_for((0, 0), older));
    hall.begin(0).unwrap();
}

#[test]
fn an_epoch_names_the_newest_account_key_at_its_place() {
    let mut hall = Hall::begun();
    let before = hall.vaults[1].now();
    hall.vaults[1].join(1);
    hall.vaults[1].remove(0, 1, false);
    assert_eq!(hall.vaults[1].now().account_key, None, "a removal leaves none");
    let keyed = Recipient { account_key: before.account_key, ..hall.vaults[1].now() };
    never(hall.begin_for((0, 0), vec![hall.vaults[0].now(), keyed]), "another generation");
    hall.begin(0).unwrap();
    hall.vaults[1].renew(0);
    let none = Recipient { account_key: None, ..hall.vaults[1].now() };
    never(hall.begin_for((0, 0), vec![hall.vaults[0].now(), none]), "another generation");
    hall.begin(0).unwrap();
}

#[test]
fn only_a_device_that_its_own_epoch_lists_begins_it() {
    let mut hall = Hall::begun();
    hall.vaults[0].join(1);
    let place = hall.vaults[0].account.head().sequence;
    let older = vec![hall.vaults[0].at(place - 2), hall.vaults[1].now()];
    never(hall.begin_for((0, 1), older), "not listed");
    hall.begin_for((0, 1), hall.recipients()).unwrap();
    hall.vaults[0].remove(0, 1, true);
    never(hall.begin_for((0, 1), hall.recipients()), "not listed");
    never(hall.begin_for((0, 7), hall.recipients()), "not listed");
    // Another wallet's device is no device of this one.
    let (entry, _) = epoch(&hall.epochs, &device(1, 0).device_id(), hall.recipients(), 1);
    let spliced = Entry { device_id: device(1, 0).device_id(), ..hall.entry((0, 0), sealed(Kind::EPOCH, &entry.to_bytes())) };
    never(hall.judge(&spliced), "not listed");
}

#[test]
fn a_wallet_without_an_account_has_no_seal_and_writes_later() {
    let mut hall = Hall::new();
    hall.vaults[1] = Vault::new(1);
    hall.begin(0).unwrap();
    moved(hall.text((1, 0)));
    let hashed = |epoch: &mut EpochEntry| {
        let place = epoch.members.iter().position(|member| member.wallet == wallet(1).public()).unwrap();
        epoch.members[place].sealed = Some((1, [0; 80]));
    };
    never(hall.bent(hashed), "another generation");
    hall.vaults[1] = Vault::keyed(1);
    hall.begin(1).unwrap();
    hall.text((1, 0)).unwrap();
}

#[test]
fn an_epoch_without_a_cause_waits_ten_minutes() {
    let mut hall = Hall::begun();
    hall.begin(0).unwrap();
    moved(hall.begin(0));
    hall.begin(1).unwrap();
    moved(hall.begin(1));
    // Who is locked out is another wallet, or has a cause.
    hall.vaults[0].join(1);
    hall.begin(0).unwrap();
    moved(hall.begin(0));
    hall.now_ms = NOW_MS + 1 + UNCAUSED_EPOCH_MS - 1;
    moved(hall.begin(0));
    hall.now_ms += 1;
    hall.begin(0).unwrap();
    moved(hall.begin(0));
    hall.change(2, true);
    hall.begin(0).unwrap();
    moved(hall.begin(0));
    // The relay's clock was set back.
    hall.now_ms = NOW_MS - 1;
    hall.begin(0).unwrap();
    moved(hall.begin(0));
    // At the beginning of time too.
    let mut early = Hall { now_ms: 0, ..Hall::begun() };
    early.begin(0).unwrap();
}

#[test]
fn texts_count_in_the_current_epoch_alone() {
    let mut hall = Hall::begun();
    for number in [2, INTEGER_MAX] {
        moved(hall.say((0, 0), any_text(number)));
    }
    hall.vaults[1].join(1);
    moved(hall.text((1, 1)));
    hall.begin(0).unwrap();
    moved(hall.say((0, 0), any_text(1)));
    hall.text((1, 1)).unwrap();
    never(hall.text((2, 0)), "not in the epoch");
    hall.change(2, true);
    moved(hall.text((0, 0)));
    hall.begin(0).unwrap();
    hall.text((2, 0)).unwrap();
    hall.change(2, false);
    moved(hall.text((0, 0)));
    moved(hall.text((2, 0)));
    hall.begin(0).unwrap();
    never(hall.text((2, 0)), "not in the epoch");
}

#[test]
fn secrets_are_given_to_who_was_there_or_by_admins() {
    let mut hall = Hall::begun();
    hall.admins = vec![0];
    hall.change(2, true);
    hall.begin(0).unwrap();
    hall.reseal(1, 0, &[1, 2]).unwrap();
    hall.reseal(1, 2, &[2]).unwrap();
    never(hall.reseal(1, 2, &[1]), "another epoch");
    never(hall.reseal(1, 2, &[1, 2]), "another epoch");
    hall.reseal(0, 2, &[1, 2]).unwrap();
    never(hall.reseal(0, 1, &[3]), "another epoch");
    hall.change(2, false);
    moved(hall.reseal(0, 1, &[1]));
    hall.begin(0).unwrap();
    never(hall.reseal(0, 2, &[1]), "another epoch");
    hall.reseal(1, 2, &[2]).unwrap();
    never(hall.reseal(2, 2, &[2]), "not in the epoch");
    assert!(matches!(hall.say((1, 0), sealed(Kind::ASKS, &AsksEntry(vec![9]).to_bytes())), Ok(Said::Asks(_))));
}

#[test]
fn nothing_stands_in_clear_in_an_encrypted_session() {
    let hall = Hall::begun();
    let text = any_text(1);
    for message in [
        Message { ciphertext: "hello".into(), ..Message::default() },
        Message { ciphertext: "aGVsbG8=".into(), ..Message::default() },
        Message { kind: Kind::EDIT, ciphertext: "hello".into(), replaces: Some("id".into()), ..Message::default() },
        Message { kind: Kind::DELETION, replaces: Some("id".into()), ..Message::default() },
        Message { kind: Kind(77), ciphertext: "later".into(), ..Message::default() },
        Message { content_type: Some("text/plain".into()), ..text.clone() },
        Message { replaces: Some("id".into()), ..text.clone() },
        Message { extra: "{\"a\":1}".into(), ..text.clone() },
        Message { timestamp: Stamp::Millis(1), ..text.clone() },
        Message { timestamp: Stamp::Iso(0), ..text.clone() },
        Message { timestamp: Stamp::Text(String::new()), ..text.clone() },
        Message { ciphertext: text.ciphertext.trim_end_matches('=').to_owned() + " ", ..text.clone() },
    ] {
        never(hall.judge(&hall.entry((0, 0), message)), "");
    }
    let mut also = VectorClock::new();
    also.raise("other", 1).unwrap();
    never(hall.judge(&Entry { also, ..hall.entry((0, 0), text.clone()) }), "in clear");
    let extended = Entry { extensions: vec![9u8, 1, 0].as_slice().into(), ..hall.entry((0, 0), text.clone()) };
    never(hall.judge(&extended), "in clear");
    // Kinds that are not known yet are encrypted, and voids and what is said of groups are not.
    assert!(matches!(hall.judge(&hall.entry((0, 0), Message { kind: Kind(77), ..text })), Ok(Said::Text(_))));
    for kind in [Kind::VOID, Kind::GROUP] {
        assert_eq!(hall.judge(&hall.entry((0, 0), Message { kind, ..Message::default() })), Ok(Said::Clear));
    }
}

#[test]
fn only_who_comes_and_goes_moves_the_transcript() {
    let mut hall = Hall::begun();
    let (before, current) = (hall.epochs.transcript(), hall.epochs.current());
    hall.text((0, 0)).unwrap();
    let renamed = [GroupChange::Renamed, GroupChange::Admin(address(1))];
    hall.put(&hall.entry((0, 0), Message { kind: Kind::GROUP, ..Message::default() }), &renamed).unwrap();
    assert_eq!((hall.epochs.transcript(), hall.epochs.current()), (before, current));
    hall.change(2, true);
    assert!(hall.epochs.transcript() != before && hall.epochs.current().is_none());
    assert_ne!(Epochs::new(SESSION).transcript(), Epochs::new("sealed:another").transcript());
}

#[test]
fn the_wallets_of_the_last_epoch_are_told() {
    let mut hall = Hall::begun();
    hall.change(2, true);
    hall.begin(0).unwrap();
    hall.change(1, false);
    hall.begin(0).unwrap();
    let mut expected = vec![wallet(0).public(), wallet(2).public()];
    expected.sort_unstable();
    assert_eq!(hall.epochs.wallets().map(|named| named.wallet).collect::<Vec<_>>(), expected);
    let left = hall.epochs.named(&wallet(1).public()).unwrap();
    assert_eq!([1, 2, 3].map(|number| left.was_in(number)), [true, true, false]);
    assert_eq!((left.head, left.generation), (hall.vaults[1].account.head(), 1));
}

#[test]
fn who_left_the_longest_time_ago_is_forgotten() {
    let mut hall = Hall::begun();
    let mut epochs = hall.epochs.clone();
    let zero = AccountHead::default();
    let mut comes = |epochs: &mut Epochs, wallets: &[[u8; 32]]| {
        let member = |wallet: &[u8; 32]| EpochMember { wallet: *wallet, head: zero, sealed: None };
        let epoch = EpochEntry {
            after: epochs.transcript(),
            number: epochs.last() + 1,
            members: wallets.iter().map(member).collect(),
            tag: [0; 32],
        };
        let entry = hall.entry((0, 0), sealed(Kind::EPOCH, &epoch.to_bytes()));
        epochs.take(&entry, &Said::Epoch(epoch), &[0; 32], &[]);
        hall.now_ms += 1;
        assert_eq!(Epochs::from_bytes(&epochs.to_bytes()).as_ref(), Ok(&*epochs));
    };
    for round in 0..=EPOCH_WALLETS_MAX as u16 {
        let mut key = [0; 32];
        key[..2].copy_from_slice(&round.to_be_bytes());
        comes(&mut epochs, &[key]);
    }
    assert!(epochs.named(&wallet(0).public()).is_none() && epochs.named(&[0; 32]).is_none(), "those of the first epochs");
    assert!(epochs.to_bytes().len() < 64 * 1024, "{} bytes", epochs.to_bytes().len());
    // Of who comes and goes again and again the last times are known.
    let mut key = [0xee; 32];
    for round in 0..2 * (EPOCH_SPANS_MAX as u8 + 2) {
        key[0] = if round % 2 == 0 { 0xee } else { round };
        comes(&mut epochs, &[key]);
    }
    key[0] = 0xee;
    let first = EPOCH_WALLETS_MAX as u64 + 1 + 1 + 1;
    let named = epochs.named(&key).unwrap();
    assert!(!named.was_in(first) && named.was_in(epochs.last() - 1) && !named.was_in(epochs.last()));
}

#[test]
fn a_full_group_has_an_epoch_that_can_be_written() {
    let hall = Hall::new();
    let mut members: Vec<EpochMember> = (0..GROUP_MEMBERS_MAX as u16)
        .map(|number| {
            let mut wallet = [0; 32];
            wallet[..2].copy_from_slice(&number.to_be_bytes());
            EpochMember { wallet, head: AccountHead { sequence: 100_000, hash: [1; 32] }, sealed: Some((10_000, [2; 80])) }
        })
        .collect();
    members.sort_by_key(|member| member.wallet);
    let epoch = EpochEntry { after: [0; 32], number: 1_000_000, members, tag: [0; 32] };
    let entry = Entry { sequence_number: 1, ..hall.entry((0, 0), sealed(Kind::EPOCH, &epoch.to_bytes())) };
    assert!(entry.message.ciphertext.len() <= EPOCH_TEXT_BYTES_MAX, "{}", entry.message.ciphertext.len());
    entry.message.check().unwrap();
    entry.check().unwrap();
}

#[test]
fn stored_epochs_have_one_form() {
    let mut hall = Hall::begun();
    hall.change(2, true);
    hall.begin(0).unwrap();
    let bytes = hall.epochs.to_bytes();
    for length in 0..bytes.len() {
        assert!(Epochs::from_bytes(&bytes[..length]).is_err(), "{length} bytes");
    }
    assert!(Epochs::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
    for place in 0..bytes.len() {
        for bit in 0..8 {
            let mut bent = bytes.clone();
            bent[place] ^= 1 << bit;
            if let Ok(epochs) = Epochs::from_bytes(&bent) {
                assert_eq!(Epochs::from_bytes(&epochs.to_bytes()), Ok(epochs));
            }
        }
    }
    let huge = [&[1][..], &[0; 32], &[0xff; 9], &[1, 0]].concat();
    assert!(Epochs::from_bytes(&huge).is_err(), "no number that has none behind it");
}

/// Something that happens to a session, with a wallet and a device.
fn steps() -> impl Strategy<Value = Vec<(u8, u8, u8)>> {
    prop::collection::vec((0..10u8, 0..3u8, 0..3u8), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_happens_who_reads_is_who_the_log_says(steps in steps()) {
        let mut hall = Hall::new();
        let mut joined = [1u8; 3];
        let mut pieces = Epochs::new(SESSION);
        for (step, who, number) in steps {
            let place = usize::from(who);
            let before = hall.epochs.clone();
            let mut tried = None;
            match step {
                0 if joined[place] < 6 => { hall.vaults[place].join(joined[place]); joined[place] += 1; }
                1 if hall.vaults[place].account.devices().len() > 1 && number > 0 => {
                    if hall.vaults[place].account.device(&device(who, number).device_id()).is_some() {
                        hall.vaults[place].remove(0, number, number == 2);
                    }
                }
                2 if hall.vaults[place].account.generations().len() < 5 => hall.vaults[place].renew(0),
                3 if who > 0 => {
                    let comes = !hall.members.contains(&who);
                    let change = if comes { GroupChange::Added(address(who)) } else { GroupChange::Removed(address(who)) };
                    let entry = hall.entry((0, 0), Message { kind: Kind::GROUP, ..Message::default() });
                    hall.change(who, comes);
                    pieces.take(&entry, &Said::Clear, &hall.digest, &[change]);
                }
                4..=6 => {
                    // By what an older device knows, or the newest.
                    let behind = u64::from(step == 4) * u64::from(number);
                    let recipients = hall.members.iter().map(|member| {
                        let vault = &hall.vaults[usize::from(*member)];
                        vault.at(vault.account.head().sequence.saturating_sub(behind))
                    }).collect();
                    let (epoch, _) = epoch(&hall.epochs, &device(who, number).device_id(), recipients, step);
                    tried = Some(hall.entry((who, number), sealed(Kind::EPOCH, &epoch.to_bytes())));
                }
                _ => tried = Some(hall.entry((who, number), any_text(hall.epochs.last().max(1) - u64::from(step == 9 && hall.epochs.last() > 1)))),
            }
            if let Some(entry) = tried {
                match hall.put(&entry, &[]) {
                    Ok(said) => {
                        if let Said::Text(text) = &said {
                            prop_assert_eq!(before.current(), Some(text.epoch));
                            prop_assert!(hall.members.contains(&who), "only members write");
                            let named = before.named(&wallet(who).public()).unwrap();
                            prop_assert!(hall.vaults[place].account.was_listed_at(&entry.device_id, named.head.sequence));
                            prop_assert_eq!(&hall.epochs, &before);
                        } else {
                            prop_assert_eq!(hall.epochs.last(), before.last() + 1);
                            for named in hall.epochs.wallets() {
                                let earlier = before.named(&named.wallet).map_or(0, |named| named.head.sequence);
                                prop_assert!(named.head.sequence >= earlier, "no head goes back");
                            }
                            let mut members: Vec<_> = hall.members.iter().map(|number| wallet(*number).public()).collect();
                            members.sort_unstable();
                            prop_assert_eq!(hall.epochs.wallets().map(|named| named.wallet).collect::<Vec<_>>(), members);
                        }
                        pieces.take(&entry, &said, &hall.digest, &[]);
                    }
                    Err(Uncounted::Forked(_) | Uncounted::Unknown(_)) => prop_assert!(false, "nobody names another log here"),
                    Err(_) => prop_assert_eq!(&hall.epochs, &before),
                }
            }
            // Stored and read again behind each entry.
            pieces = Epochs::from_bytes(&pieces.to_bytes()).unwrap();
            prop_assert_eq!(&pieces, &hall.epochs);
        }
    }
}
