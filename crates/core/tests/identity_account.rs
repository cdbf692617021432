//! The log of a wallet's devices: which entries count, and what they make of the list.

use crate::account;
use crate::account::{Desk, NOW_MS, devices, key, names};
use proptest::prelude::*;
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::identity::{Account, Change, Claim, Purpose, Statement};
use solconnect_sync_core::limits::{ACCOUNT_CHANGES_MAX, ACCOUNT_DEVICES_MAX, OFFER_MS};
use solconnect_sync_core::log::LogHead;
use solconnect_sync_core::message::Kind;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

#[test]
fn only_the_first_device_is_approved_by_itself() {
    let mut desk = Desk::new();
    assert_eq!(desk.join(1), Ok(vec![Change::Added(devices([1])[0].clone())]));
    desk.join(2).unwrap();
    assert_eq!(desk.shown(), "1! 2");
    assert_eq!(desk.approve(1, [2]), Ok(vec![Change::Approved(devices([2])[0].clone())]));
    assert_eq!(desk.shown(), "1! 2!");
}

#[test]
fn a_device_that_is_not_approved_changes_nothing() {
    let mut desk = Desk::of(["join 1", "join 2", "join 3"]);
    assert_eq!(desk.remove(2, [1], []), Err(ErrorCode::DeviceNotApproved));
    assert_eq!(desk.remove(2, [2], []), Err(ErrorCode::DeviceNotApproved));
    assert_eq!(desk.approve(2, [3]), Err(ErrorCode::DeviceNotApproved));
    assert_eq!(desk.approve(9, [3]), Err(ErrorCode::DeviceNotApproved), "a stranger");
    assert_eq!(desk.shown(), "1! 2 3");
}

#[test]
fn an_entry_counts_only_behind_the_head_it_names() {
    let mut desk = Desk::of(["join 1"]);
    let head = desk.account.head();
    desk.join(2).unwrap();
    assert_eq!(desk.say_after(head, 1, Claim::Remove { devices: devices([1]), kept: vec![] }), Err(ErrorCode::AccountMoved));
    let of_another_log = LogHead { hash: [7; 32], ..desk.account.head() };
    assert_eq!(desk.say_after(of_another_log, 1, Claim::Remove { devices: devices([2]), kept: vec![] }), Err(ErrorCode::AccountMoved));
    assert_eq!(desk.shown(), "1! 2");
    desk.remove(1, [2], []).unwrap();
    assert_eq!(desk.shown(), "1!", "what does not count moves the head all the same");
}

#[test]
fn a_reset_by_the_wallet_beats_what_devices_say() {
    let mut desk = Desk::of(["join 1", "join 2", "approve 1 2", "join 3"]);
    let stale = LogHead { sequence: 0, hash: [0; 32] };
    // The device was quicker and removed the others; the wallet did not know of it.
    desk.remove(2, [1, 3], [2]).unwrap();
    let reset = desk.certificate(4, Purpose::Reset, desk.now_ms);
    let changes = desk.say_after(stale, 4, Claim::Reset(reset)).unwrap();
    assert_eq!(changes, [Change::Removed(devices([2])[0].clone()), Change::Added(devices([4])[0].clone())]);
    assert_eq!(desk.shown(), "4!");
    assert_eq!(desk.remove(2, [4], []), Err(ErrorCode::DeviceNotApproved), "a removed device");
}

#[test]
fn a_certificate_older_than_the_last_reset_is_void() {
    let mut desk = Desk::of(["join 1"]);
    let (join, reset) = (desk.certificate(5, Purpose::Join, desk.now_ms), desk.certificate(6, Purpose::Reset, desk.now_ms));
    desk.now_ms += 1;
    desk.reset(2).unwrap();
    assert_eq!(desk.say(5, Claim::Join(join)), Err(ErrorCode::CertificateExpired), "a thief kept it");
    assert_eq!(desk.say(6, Claim::Reset(reset)), Err(ErrorCode::CertificateExpired));
    desk.now_ms += 1;
    desk.join(7).unwrap();
    assert_eq!(desk.shown(), "2! 7");
}

#[test]
fn a_removed_key_never_returns() {
    let mut desk = Desk::of(["join 1", "join 2"]);
    desk.remove(1, [2], []).unwrap();
    assert_eq!(desk.join(2), Err(ErrorCode::DeviceRemoved), "by another certificate");
    let reset = desk.certificate(2, Purpose::Reset, desk.now_ms);
    assert_eq!(desk.say(2, Claim::Reset(reset)), Err(ErrorCode::DeviceRemoved));
    assert_eq!(desk.succeed(1, 2), Err(ErrorCode::DeviceRemoved), "as a successor");
    assert_eq!(desk.succeed(2, 3), Err(ErrorCode::DeviceRemoved), "by a successor");
    assert!(desk.account.was_removed(&devices([2])[0]) && !desk.account.was_removed(&devices([1])[0]));
    desk.now_ms += 1;
    desk.reset(4).unwrap();
    assert_eq!(desk.join(1), Err(ErrorCode::DeviceRemoved), "the reset removed it");
}

#[test]
fn the_removed_take_along_what_they_certified_and_approved() {
    let steps = ["join 1", "join 2", "approve 1 2", "succeed 2 3", "join 4", "approve 3 4", "join 5", "approve 1 5", "succeed 4 6"];
    let mut desk = Desk::of(steps);
    assert_eq!(desk.shown(), "1! 2! 3! 4! 5! 6!");
    desk.remove(1, [2], []).unwrap();
    assert_eq!(desk.shown(), "1! 5!");
    let mut desk = Desk::of(steps);
    desk.remove(1, [2], [4]).unwrap();
    assert_eq!(desk.shown(), "1! 4! 5! 6!", "who is kept keeps its own");
    desk.join(7).unwrap();
    desk.remove(5, [1], [5]).unwrap();
    assert_eq!(desk.shown(), "5! 7", "who had it stay is its surety");
}

#[test]
fn a_device_approved_by_another_still_falls_with_its_old_key() {
    let mut desk = Desk::of(["join 1", "join 2", "succeed 2 3", "approve 1 3"]);
    desk.remove(1, [2], []).unwrap();
    assert_eq!(desk.shown(), "1!");
}

#[test]
fn naming_others_to_stay_binds_none_of_them() {
    let mut desk = Desk::of(["join 1", "join 2", "approve 1 2", "join 3", "approve 1 3", "join 4"]);
    desk.remove(2, [4], [1, 3]).unwrap();
    desk.remove(1, [2], []).unwrap();
    assert_eq!(desk.shown(), "1! 3!");
}

#[test]
fn who_leaves_itself_may_leave_the_others_there() {
    let mut desk = Desk::of(["join 1", "join 2", "approve 1 2", "join 3"]);
    desk.remove(1, [1], [2]).unwrap();
    assert_eq!(desk.shown(), "2! 3");
    desk.remove(2, [2], []).unwrap();
    assert_eq!(desk.shown(), "3");
    desk.join(4).unwrap();
    assert_eq!(desk.shown(), "3 4!", "somebody must be able to approve");
}

#[test]
fn a_successor_may_what_its_old_key_may() {
    let mut desk = Desk::of(["join 1", "join 2", "succeed 1 3", "succeed 2 4"]);
    assert_eq!(desk.shown(), "1! 2 3! 4");
    assert_eq!(desk.succeed(9, 5), Err(ErrorCode::WrongKey), "its old key was never there");
    let claim = desk.succession(2, 5);
    assert_eq!(desk.say(6, claim), Err(ErrorCode::InvalidSignature), "it names another");
    desk.remove(3, [2], []).unwrap();
    assert_eq!(desk.shown(), "1! 3!");
}

#[test]
fn a_removal_names_only_who_is_there() {
    let mut desk = Desk::of(["join 1", "join 2"]);
    for (leave, kept) in [(vec![], vec![]), (vec![9], vec![]), (vec![2], vec![9]), (vec![2], vec![2])] {
        let claim = Claim::Remove { devices: names(&leave), kept: names(&kept) };
        assert_eq!(desk.say(1, claim), Err(ErrorCode::InvalidArgument));
    }
    assert_eq!(desk.say(1, Claim::Approve(vec![])), Err(ErrorCode::InvalidArgument));
    assert_eq!(desk.approve(1, [1]), Err(ErrorCode::InvalidArgument), "it is approved");
    assert_eq!(desk.approve(1, [9]), Err(ErrorCode::InvalidArgument));
}

#[test]
fn thirty_two_devices_and_twenty_changes_a_day() {
    let mut desk = Desk::new();
    for number in 0..ACCOUNT_CHANGES_MAX as u8 {
        desk.join(number).unwrap();
    }
    assert_eq!(desk.join(50), Err(ErrorCode::LimitReached));
    assert_eq!(desk.approve(0, [1]), Err(ErrorCode::LimitReached));
    assert_eq!(desk.succeed(0, 50), Err(ErrorCode::LimitReached));
    desk.remove(0, [1], []).expect("nobody is kept from removing");
    desk.now_ms += DAY_MS;
    for number in 60..60 + (ACCOUNT_DEVICES_MAX - ACCOUNT_CHANGES_MAX + 1) as u8 {
        desk.join(number).unwrap();
    }
    assert_eq!(desk.account.devices().len(), ACCOUNT_DEVICES_MAX);
    assert_eq!(desk.join(50), Err(ErrorCode::LimitReached));
    desk.reset(51).expect("the wallet is not kept from a reset");
    assert_eq!(desk.shown(), "51!");
}

#[test]
fn a_certificate_is_judged_by_the_relays_time() {
    let mut desk = Desk::new();
    let certificate = desk.certificate(1, Purpose::Join, NOW_MS);
    desk.now_ms = NOW_MS + OFFER_MS + 1;
    assert_eq!(desk.say(1, Claim::Join(certificate.clone())), Err(ErrorCode::CertificateExpired));
    desk.now_ms = NOW_MS + OFFER_MS;
    desk.say(1, Claim::Join(certificate)).unwrap();
    desk.now_ms += 1_000 * DAY_MS;
    assert_eq!(desk.shown(), "1!", "what is entered counts for ever");
}

#[test]
fn what_is_no_statement_of_its_device_does_not_count() {
    let mut desk = Desk::of(["join 1", "join 2"]);
    let owner = desk.account.owner().clone();
    let entry = |desk: &Desk, key, claim| {
        Statement::sign(&key, &owner, desk.account.head(), claim).entry(&owner, desk.account.head().sequence + 1, desk.now_ms)
    };
    let remove = || Claim::Remove { devices: devices([2]), kept: vec![] };
    let good = entry(&desk, key(1), remove());
    let mut message = good.clone();
    message.message.kind = Kind::MESSAGE;
    assert_eq!(desk.put(message), Err(ErrorCode::InvalidMessageFormat));
    let mut garbage = entry(&desk, key(1), remove());
    garbage.message.ciphertext = "AQID".into();
    assert_eq!(desk.put(garbage), Err(ErrorCode::InvalidMessageFormat));
    let mut under_another = entry(&desk, key(3), remove());
    under_another.device_id = devices([1])[0].clone();
    assert_eq!(desk.put(under_another), Err(ErrorCode::WrongKey));
    // Signed for another account of the same devices.
    let elsewhere = Desk::elsewhere().account.owner().clone();
    let foreign = Statement::sign(&key(1), &elsewhere, desk.account.head(), remove()).entry(&owner, 10, desk.now_ms);
    assert_eq!(desk.put(foreign), Err(ErrorCode::InvalidSignature));
    assert_eq!(desk.shown(), "1! 2");
    let last = Statement::sign(&key(1), &owner, desk.account.head(), remove()).entry(&owner, 11, desk.now_ms);
    desk.put(last).unwrap();
    assert_eq!(desk.shown(), "1!");
}

#[test]
fn an_account_is_a_function_of_its_entries() {
    let desk = Desk::of(["join 1", "join 2", "approve 1 2", "succeed 2 3", "remove 1 2", "reset 4"]);
    let mut again = Account::new(desk.account.owner().clone());
    for entry in &desk.entries {
        let _ = again.take(entry).unwrap();
    }
    assert_eq!(again, desk.account);
}

/// What may happen to an account. Devices are numbers from 0 to 7, sets of them are bits.
#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Join { device: u8, issued_ago_ms: u64 },
    Reset { device: u8, issued_ago_ms: u64 },
    Succeed { old: u8, new: u8 },
    Approve { by: u8, devices: u8 },
    Remove { by: u8, devices: u8, kept: u8 },
}

fn step() -> impl Strategy<Value = (Step, bool)> {
    let device = 0..8u8;
    let few = || prop::collection::vec(0..8u8, 0..3).prop_map(|places| places.into_iter().fold(0, |bits, place| bits | 1 << place));
    let ago = || prop::sample::select(vec![0, 5, OFFER_MS, OFFER_MS + 1]);
    let step = prop_oneof![
        1 => (1..DAY_MS).prop_map(Step::Wait),
        4 => (device.clone(), ago()).prop_map(|(device, issued_ago_ms)| Step::Join { device, issued_ago_ms }),
        1 => (device.clone(), ago()).prop_map(|(device, issued_ago_ms)| Step::Reset { device, issued_ago_ms }),
        3 => (device.clone(), device.clone()).prop_map(|(old, new)| Step::Succeed { old, new }),
        4 => (device.clone(), few()).prop_map(|(by, devices)| Step::Approve { by, devices }),
        3 => (device, few(), few()).prop_map(|(by, devices, kept)| Step::Remove { by, devices, kept }),
    ];
    (step, prop::bool::weighted(0.1))
}

/// The rules once more, in the slowest way: the whole history is looked through at every question.
#[derive(Default)]
struct Model {
    /// Who is there: whether it is approved, and whose word it stands by.
    listed: Vec<(u8, bool, Vec<u8>)>,
    ever: Vec<u8>,
    resets: Vec<u64>,
    /// The days of what was added.
    added: Vec<u64>,
}

impl Model {
    fn has(&self, device: u8) -> bool {
        self.listed.iter().any(|(other, ..)| *other == device)
    }

    fn may(&self, device: u8) -> bool {
        self.listed.iter().any(|(other, approved, _)| *other == device && *approved)
    }

    fn may_add(&self, now_ms: u64) -> bool {
        let last_day = self.added.last().copied();
        last_day != Some(now_ms / DAY_MS) || self.added.iter().filter(|day| Some(**day) == last_day).count() < ACCOUNT_CHANGES_MAX
    }

    fn is_good(&self, now_ms: u64, ago_ms: u64) -> bool {
        ago_ms <= OFFER_MS && self.resets.iter().all(|reset| now_ms - ago_ms > *reset)
    }

    fn step(&mut self, now_ms: u64, step: &Step, is_stale: bool) {
        let set = |bits: u8| (0..8).filter(move |place| bits >> place & 1 == 1);
        match *step {
            Step::Wait(_) => {}
            Step::Reset { device, issued_ago_ms } => {
                if !self.ever.contains(&device) && self.is_good(now_ms, issued_ago_ms) {
                    self.listed = vec![(device, true, vec![])];
                    self.ever.push(device);
                    self.resets.push(now_ms - issued_ago_ms);
                }
            }
            _ if is_stale => {}
            Step::Join { device, issued_ago_ms } => {
                if !self.ever.contains(&device) && self.is_good(now_ms, issued_ago_ms) && self.may_add(now_ms) {
                    let is_first = !self.listed.iter().any(|(_, approved, _)| *approved);
                    self.listed.push((device, is_first, vec![]));
                    self.ever.push(device);
                    self.added.push(now_ms / DAY_MS);
                }
            }
            Step::Succeed { old, new } => {
                if !self.ever.contains(&new) && self.has(old) && self.may_add(now_ms) {
                    self.listed.push((new, self.may(old), vec![old]));
                    self.ever.push(new);
                    self.added.push(now_ms / DAY_MS);
                }
            }
            Step::Approve { by, devices } => {
                if self.may(by) && devices != 0 && set(devices).all(|device| self.has(device) && !self.may(device)) && self.may_add(now_ms)
                {
                    for (device, approved, sureties) in &mut self.listed {
                        if devices >> *device & 1 == 1 {
                            *approved = true;
                            sureties.push(by);
                        }
                    }
                    self.added.push(now_ms / DAY_MS);
                }
            }
            Step::Remove { by, devices, kept } => {
                if self.may(by) && devices != 0 && devices & kept == 0 && set(devices | kept).all(|device| self.has(device)) {
                    let mut leaving = devices;
                    for _ in 0..8 {
                        for (device, _, sureties) in &self.listed {
                            if kept >> device & 1 == 0 && sureties.iter().any(|surety| leaving >> surety & 1 == 1) {
                                leaving |= 1 << device;
                            }
                        }
                    }
                    self.listed.retain(|(device, ..)| leaving >> device & 1 == 0);
                    for (device, _, sureties) in &mut self.listed {
                        if *device != by && sureties.iter().any(|surety| leaving >> surety & 1 == 1) {
                            *sureties = if leaving >> by & 1 == 0 { vec![by] } else { vec![] };
                        }
                    }
                }
            }
        }
    }

    fn shown(&self) -> String {
        let shown: Vec<String> =
            self.listed.iter().map(|(device, approved, _)| format!("{device}{}", if *approved { "!" } else { "" })).collect();
        shown.join(" ")
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn the_account_agrees_with_a_slow_model(steps in prop::collection::vec(step(), 1..60)) {
        let (mut desk, mut model) = (Desk::new(), Model::default());
        for (step, is_stale) in steps {
            if let Step::Wait(ms) = step {
                desk.now_ms += ms;
            }
            let head = if is_stale { LogHead { hash: [9; 32], ..desk.account.head() } } else { desk.account.head() };
            let bits = |bits: u8| names(&(0..8).filter(|place| bits >> place & 1 == 1).collect::<Vec<u8>>());
            let said = match step {
                Step::Wait(_) => None,
                Step::Join { device, issued_ago_ms } => {
                    Some((device, Claim::Join(desk.certificate(device, Purpose::Join, desk.now_ms - issued_ago_ms))))
                }
                Step::Reset { device, issued_ago_ms } => {
                    Some((device, Claim::Reset(desk.certificate(device, Purpose::Reset, desk.now_ms - issued_ago_ms))))
                }
                Step::Succeed { old, new } => Some((new, desk.succession(old, new))),
                Step::Approve { by, devices } => Some((by, Claim::Approve(bits(devices)))),
                Step::Remove { by, devices, kept } => Some((by, Claim::Remove { devices: bits(devices), kept: bits(kept) })),
            };
            if let Some((by, claim)) = said {
                let _ = desk.say_after(head, by, claim);
            }
            model.step(desk.now_ms, &step, is_stale);
            prop_assert_eq!(desk.shown(), model.shown(), "after {:?}", step);
        }
        let mut again = Account::new(desk.account.owner().clone());
        for entry in &desk.entries {
            let _ = again.take(entry).unwrap();
        }
        prop_assert!(again == desk.account);
    }

    #[test]
    fn no_bytes_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(statement) = Statement::from_bytes(&bytes) {
            prop_assert_eq!(statement.to_bytes(), bytes);
        }
    }
}

#[test]
fn a_statement_has_one_form() {
    let desk = Desk::of(["join 1"]);
    let bytes = Statement::of(&desk.entries[0]).unwrap().to_bytes();
    assert!(Statement::from_bytes(&bytes).is_ok());
    // The number of the entry before it, 0, in two bytes.
    assert_eq!(bytes[..2], [1, 0]);
    let longer = [&[1, 0x80, 0], &bytes[2..]].concat();
    assert!(Statement::from_bytes(&longer).is_err());
    assert!(Claim::from_bytes(&[4, 1, 1, b'a']).is_ok());
    assert!(Claim::from_bytes(&[4, 0x81, 0, 1, b'a']).is_err());
}

#[test]
fn an_account_that_was_stored_goes_on_as_it_was() {
    let steps = ["join 1", "join 2", "approve 1 2", "succeed 2 3", "join 4", "remove 1 4", "reset 5", "join 6", "succeed 5 7"];
    let desk = Desk::of(steps);
    let domains = &desk.account.owner().domains;
    let stored = desk.account.to_bytes();
    let read = Account::from_bytes(&stored, domains).unwrap();
    assert_eq!(read, desk.account);
    let mut desk = Desk { account: read, ..desk };
    assert_eq!(desk.join(1), Err(ErrorCode::DeviceRemoved));
    desk.remove(5, [5], []).unwrap();
    assert_eq!(desk.shown(), "6", "what the removed certified is known");
    assert_eq!(Account::from_bytes(&stored, &account::owner("other.example").domains), None);
    assert_eq!(Account::from_bytes(b"", domains), None);
    assert_eq!(Account::from_bytes(&stored[..stored.len() - 1], domains), None);
}
