//! Account keys, recovery keys and what an account was at an earlier place: which entries count, and what they make of it.

use crate::account;
use crate::account::{Desk, account_key, devices, key, names, seal_key};
use proptest::prelude::*;
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::identity::{Account, Change, Claim, DeviceKey, NewRecoveryKey, Recovery, RecoveryKind, Statement};
use solconnect_sync_core::limits::{ACCOUNT_CHANGES_KEPT, ACCOUNT_CHANGES_MAX, ACCOUNT_DEVICES_MAX, ACCOUNT_UNASKED_MAX};
use solconnect_sync_vault::account::{hand_over, open, open_earlier};
use solconnect_sync_vault::layout::Generation;
use solconnect_sync_vault::recovery::RecoveryCode;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// The number of the generation that holds now.
fn holds(desk: &Desk) -> Option<u64> {
    desk.account.generation_at(desk.account.head().sequence).map(|generation| generation.number)
}

/// Whom the next generation is sealed to.
fn recipients(desk: &Desk) -> Vec<String> {
    desk.account.seal_recipients(&[], &[]).into_iter().map(|(id, _)| id).collect()
}

#[test]
fn a_listed_device_says_its_seal_key_once() {
    let mut desk = Desk::of(["join 1", "join 2"]);
    desk.say_seal_key(2).expect("it need not be approved");
    assert_eq!(desk.account.seal_key(&names(&[2])[0]), Some(seal_key(2).public()));
    assert_eq!(desk.say_seal_key(2), Err(ErrorCode::InvalidArgument));
    assert_eq!(desk.say(2, Claim::SealKey(seal_key(3).public())), Err(ErrorCode::InvalidArgument));
    assert_eq!(desk.say_seal_key(9), Err(ErrorCode::DeviceNotApproved), "a stranger");
    for weak in [[0; 32], [0xff; 32]] {
        assert_eq!(desk.say(1, Claim::SealKey(weak)), Err(ErrorCode::InvalidKey));
    }
    assert_eq!(desk.account.seal_key(&names(&[1])[0]), None);
}

#[test]
fn an_account_key_follows_the_last_one() {
    let mut desk = Desk::of(["join 1", "seal 1", "join 2", "seal 2"]);
    assert_eq!((holds(&desk), desk.account.last_cut()), (None, 0));
    assert_eq!(desk.renew(2), Err(ErrorCode::DeviceNotApproved));
    let good = desk.generation(&[], &[]);
    for number in [2, 7] {
        assert_eq!(desk.say(1, Claim::Generation(Generation { number, ..good.clone() })), Err(ErrorCode::InvalidArgument));
    }
    assert_eq!(desk.say(1, Claim::Generation(Generation { public: [0; 32], ..good.clone() })), Err(ErrorCode::InvalidKey));
    desk.say(1, Claim::Generation(good.clone())).unwrap();
    assert_eq!((holds(&desk), desk.account.last_cut()), (Some(1), desk.account.head().sequence));
    assert_eq!(desk.say(1, Claim::Generation(good)), Err(ErrorCode::InvalidArgument), "the same once more");
    desk.renew(1).unwrap();
    assert_eq!((holds(&desk), desk.opened(1), desk.opened(2)), (Some(2), vec![2, 1], vec![]));
    let made = desk.account.generations().iter().map(|generation| (generation.number, generation.by.clone()));
    assert_eq!(made.collect::<Vec<_>>(), [(1, devices([1])[0].clone()), (2, devices([1])[0].clone())]);
}

#[test]
fn an_account_key_is_sealed_to_each_approved_device_and_recovery_key() {
    // 4 has said no seal key, 5 is not approved.
    let steps =
        ["join 1", "seal 1", "renew 1", "code 1 100", "join 2", "seal 2", "approve 1 2", "join 4", "approve 1 4", "join 5", "seal 5"];
    let mut desk = Desk::of(steps);
    assert_eq!(recipients(&desk), devices([1, 2, 100]), "devices first");
    let good = desk.generation(&[], &[]);
    for count in [0, 2, 4] {
        let seals = good.seals.iter().cycle().take(count).copied().collect();
        assert_eq!(desk.say(1, Claim::Generation(Generation { seals, ..good.clone() })), Err(ErrorCode::InvalidArgument));
    }
    desk.say(2, Claim::Generation(good)).unwrap();
    assert_eq!([1, 2, 100, 4, 5].map(|number| desk.opened(number).len()), [2, 2, 2, 0, 0]);
    let by = desk.account.sealed_for(&names(&[1])[0]).map(|sealed| sealed.by.clone());
    assert_eq!(by, Some(devices([2])[0].clone()), "who sealed it is known");
}

#[test]
fn a_removal_without_an_account_key_leaves_none() {
    let mut desk = Desk::of(["join 1", "seal 1", "join 2", "seal 2", "approve 1 2", "renew 1"]);
    let before = desk.account.head().sequence;
    desk.remove(1, [2], []).unwrap();
    assert_eq!((holds(&desk), desk.account.last_cut()), (None, before + 1));
    assert_eq!(desk.account.generation_at(before).map(|generation| generation.number), Some(1), "it held at that place");
    assert_eq!(desk.opened(1), [1], "what was written is still read");
    desk.renew(1).unwrap();
    assert_eq!((holds(&desk), desk.opened(1)), (Some(2), vec![2, 1]));
    assert_eq!(desk.account.generation_at(before + 1), None);
    desk.now_ms += 1;
    desk.reset(3).unwrap();
    assert_eq!((holds(&desk), desk.account.last_reset()), (None, desk.account.head().sequence));
    desk.say_seal_key(3).unwrap();
    assert_eq!(desk.generation(&[], &[]).number, 3, "the numbers go on");
}

#[test]
fn a_removal_with_an_account_key_seals_to_who_stays() {
    let steps = ["join 1", "seal 1", "join 2", "seal 2", "approve 1 2", "join 3", "seal 3", "approve 2 3", "renew 1", "code 2 100"];
    let mut desk = Desk::of(steps);
    assert_eq!(recipients(&desk), devices([1, 2, 3, 100]));
    let of_all = desk.generation(&[], &[]);
    let claim = Claim::RemoveAndRenew { devices: devices([2]), kept: vec![], generation: of_all };
    assert_eq!(desk.say(1, claim), Err(ErrorCode::InvalidArgument), "it has a seal for who leaves");
    assert_eq!(desk.expel(1, [9], []), Err(ErrorCode::InvalidArgument), "nobody that is there");
    let mut again = Desk { account: desk.account.clone(), entries: desk.entries.clone(), now_ms: desk.now_ms };
    desk.expel(1, [2], []).unwrap();
    assert_eq!((desk.shown().as_str(), holds(&desk)), ("1!", Some(2)));
    assert_eq!([1, 2, 3, 100].map(|number| desk.opened(number).len()), [2, 0, 0, 0], "whom 2 approved or listed falls with it");
    again.expel(1, [2], [3, 100]).unwrap();
    assert_eq!((again.shown().as_str(), recipients(&again)), ("1! 3!", devices([1, 3, 100])));
    assert_eq!([1, 2, 3, 100].map(|number| again.opened(number).len()), [2, 0, 2, 2]);
}

#[test]
fn who_leaves_makes_no_account_key() {
    let mut desk = Desk::of(["join 1", "seal 1", "join 2", "seal 2", "approve 1 2", "renew 1"]);
    assert_eq!(desk.expel(1, [1], [2]), Err(ErrorCode::InvalidArgument));
    assert_eq!(desk.expel(2, [1], []), Err(ErrorCode::InvalidArgument), "it falls with who approved it");
    desk.expel(2, [1], [2]).unwrap();
    assert_eq!((desk.shown().as_str(), desk.opened(2)), ("2!", vec![2, 1]));
}

#[test]
fn an_approval_hands_the_newest_key_over() {
    let mut desk = Desk::of(["join 1", "seal 1", "join 2"]);
    let approval = |desk: &Desk, numbers: &[u8]| {
        let sealed = hand_over(desk.account_id(), 1, &account_key(1), &seal_key(2).public(), &[0; 32]).unwrap();
        Claim::ApproveWithKey(names(numbers).into_iter().map(|id| (id, sealed)).collect())
    };
    desk.renew(1).unwrap();
    assert_eq!(desk.say(1, approval(&desk, &[2])), Err(ErrorCode::InvalidArgument), "it has no seal key");
    desk.say_seal_key(2).unwrap();
    assert_eq!(desk.say(2, approval(&desk, &[2])), Err(ErrorCode::DeviceNotApproved));
    for wrong in [&[][..], &[1], &[9], &[2, 1]] {
        assert_eq!(desk.say(1, approval(&desk, wrong)), Err(ErrorCode::InvalidArgument), "{wrong:?}");
    }
    assert_eq!(desk.approve_with_key(1, 2), Ok(vec![Change::Approved(devices([2])[0].clone())]));
    assert_eq!((desk.shown().as_str(), desk.opened(2)), ("1! 2!", vec![1]));
    // 3 stands by the word of 2.
    desk.join(3).unwrap();
    desk.say_seal_key(3).unwrap();
    desk.approve_with_key(2, 3).unwrap();
    desk.remove(1, [2], []).unwrap();
    assert_eq!(desk.shown(), "1!");
    desk.join(4).unwrap();
    desk.say_seal_key(4).unwrap();
    assert_eq!(desk.approve_with_key(1, 4), Err(ErrorCode::InvalidArgument), "no account key holds");
    desk.approve(1, [4]).expect("without one it is approved");
}

#[test]
fn a_recovery_key_is_listed_as_devices_are() {
    let mut desk = Desk::of(["join 1", "seal 1", "join 2", "seal 2"]);
    let at = |desk: &Desk, code: u8| NewRecoveryKey {
        kind: RecoveryKind::Passkey,
        key: key(code).public(),
        seal_key: seal_key(code).public(),
        sealed: hand_over(desk.account_id(), 1, &account_key(1), &seal_key(code).public(), &[0; 32]).unwrap(),
    };
    assert_eq!(desk.say(1, Claim::RecoveryKey(at(&desk, 100))), Err(ErrorCode::InvalidArgument), "there is no account key");
    desk.renew(1).unwrap();
    assert_eq!(desk.list_code(2, 100), Err(ErrorCode::DeviceNotApproved));
    assert_eq!(desk.list_code(1, 1), Err(ErrorCode::UnknownRecoveryCode), "that is a device's key");
    let weak = NewRecoveryKey { seal_key: [0; 32], ..at(&desk, 100) };
    assert_eq!(desk.say(1, Claim::RecoveryKey(weak)), Err(ErrorCode::InvalidKey));
    desk.say(1, Claim::RecoveryKey(at(&desk, 100))).unwrap();
    let listed: Vec<_> = desk.account.recovery_keys().iter().map(|key| (key.id.clone(), key.kind)).collect();
    assert_eq!(listed, [(devices([100])[0].clone(), RecoveryKind::Passkey)]);
    assert_eq!(desk.account.seal_key(&listed[0].0), Some(seal_key(100).public()));
    assert_eq!(desk.opened(100), [1]);
    assert_eq!(desk.join(100), Err(ErrorCode::DeviceRemoved), "its key is no device's");
    assert_eq!(desk.remove(100, [1], []), Err(ErrorCode::DeviceNotApproved), "it says nothing");
    assert!(!desk.account.was_listed(&listed[0].0) && desk.account.device(&listed[0].0).is_none(), "nor writes anything");
}

#[test]
fn a_removed_recovery_key_never_returns() {
    let mut desk = Desk::of(["join 1", "seal 1", "renew 1", "code 1 100", "join 2"]);
    desk.expel(1, [100], []).unwrap();
    assert_eq!(desk.account.recovery_keys(), []);
    assert_eq!(desk.list_code(1, 100), Err(ErrorCode::UnknownRecoveryCode));
    assert_eq!(desk.recover(2, 100), Err(ErrorCode::DeviceRemoved));
    assert_eq!(desk.join(100), Err(ErrorCode::DeviceRemoved));
    desk.list_code(1, 101).unwrap();
    desk.now_ms += 1;
    desk.reset(3).unwrap();
    assert_eq!(desk.account.recovery_keys(), [], "a reset removes all");
    desk.now_ms += 1;
    desk.join(4).unwrap();
    assert_eq!(desk.recover(4, 101), Err(ErrorCode::DeviceRemoved));
}

#[test]
fn a_recovery_key_approves_one_device_at_one_place() {
    let mut desk = Desk::of(["join 1", "seal 1", "renew 1", "code 1 100", "join 2", "join 3"]);
    assert_eq!(desk.recover(1, 100), Err(ErrorCode::InvalidArgument), "it is approved");
    assert_eq!(desk.recover(9, 100), Err(ErrorCode::DeviceNotApproved), "a stranger");
    assert_eq!(desk.recover(2, 101), Err(ErrorCode::WrongKey), "it was never listed");
    let (of_another, earlier) = (desk.recovery(3, 100), desk.recovery(2, 100));
    assert_eq!(desk.say(2, of_another), Err(ErrorCode::InvalidSignature));
    assert_eq!(desk.say(2, earlier), Err(ErrorCode::InvalidSignature), "the log has gone on");
    assert_eq!(desk.recover(2, 100), Ok(vec![Change::Approved(devices([2])[0].clone())]));
    desk.approve(2, [3]).unwrap();
    assert_eq!(desk.shown(), "1! 2! 3!");
    desk.remove(1, [100], []).unwrap();
    assert_eq!(desk.shown(), "1!", "who was approved by it falls with it, and whom that one approved");
}

#[test]
fn recovery_keys_fall_with_who_listed_them() {
    let steps = ["join 1", "seal 1", "renew 1", "join 2", "approve 1 2", "code 2 100", "join 3", "recover 3 100"];
    let mut desk = Desk::of(steps);
    assert_eq!(desk.shown(), "1! 2! 3!");
    desk.expel(3, [2], [3, 100]).unwrap();
    assert_eq!(desk.shown(), "1! 3!");
    assert_eq!(desk.account.recovery_keys().len(), 1);
    desk.remove(1, [3], []).unwrap();
    assert_eq!((desk.shown().as_str(), desk.account.recovery_keys()), ("1!", &[][..]), "who had it stay is its surety");
}

#[test]
fn a_code_alone_opens_everything_and_approves() {
    let mut desk = Desk::of(["join 1", "seal 1", "renew 1", "renew 1"]);
    let keys = RecoveryCode::new(&[7; 17]).keys(desk.account_id());
    let signing = DeviceKey::from_secret(&keys.signing_secret);
    let (key, seal_key) = (signing.public(), keys.seal_key.public());
    let sealed = hand_over(desk.account_id(), 2, &account_key(2), &seal_key, &[0; 32]).unwrap();
    desk.say(1, Claim::RecoveryKey(NewRecoveryKey { kind: RecoveryKind::Code, key, seal_key, sealed })).unwrap();
    // Later the device is lost, and the person has the code.
    desk.join(2).unwrap();
    let newest = desk.account.generations()[1].clone();
    let sealed = desk.account.sealed_for(&signing.device_id()).unwrap();
    let opened = open(desk.account_id(), 2, &newest.public, &keys.seal_key, &sealed.sealed).unwrap();
    let first = desk.account.generations()[0].public;
    assert!(open_earlier(desk.account_id(), 2, &opened, &first, &newest.earlier.unwrap()).is_ok());
    let device = account::key(2).public();
    let recovery = Recovery::sign(&signing, desk.account.owner(), &desk.account.head(), &device);
    desk.say(2, Claim::Recover(recovery)).unwrap();
    desk.say_seal_key(2).unwrap();
    // It has the account key, so it makes the next, and removes what was lost.
    desk.expel(2, [1], [2]).unwrap();
    assert_eq!((desk.shown().as_str(), desk.opened(2)), ("2!", vec![3, 2, 1]));
}

#[test]
fn recovery_keys_and_devices_are_thirty_two_together() {
    let mut desk = Desk::of(["join 1", "seal 1", "renew 1"]);
    for code in 1..ACCOUNT_DEVICES_MAX as u8 {
        desk.now_ms += DAY_MS / 10;
        desk.list_code(1, 100 + code).unwrap();
    }
    desk.now_ms += DAY_MS;
    assert_eq!(desk.list_code(1, 99), Err(ErrorCode::LimitReached));
    assert_eq!(desk.join(2), Err(ErrorCode::LimitReached));
    assert_eq!(desk.generation(&[], &[]).seals.len(), ACCOUNT_DEVICES_MAX);
    desk.renew(1).expect("a full account has a seal for each");
    desk.remove(1, [101], []).unwrap();
    desk.join(2).unwrap();
}

#[test]
fn account_keys_are_made_so_often_in_a_day() {
    let mut desk = Desk::of(["join 1", "seal 1", "renew 1", "join 2"]);
    for _ in 2..ACCOUNT_CHANGES_MAX {
        desk.renew(1).unwrap();
    }
    assert_eq!(desk.renew(1), Err(ErrorCode::LimitReached));
    assert_eq!(desk.list_code(1, 100), Err(ErrorCode::LimitReached));
    desk.say_seal_key(2).expect("once for each device");
    assert_eq!(desk.approve_with_key(1, 2), Err(ErrorCode::LimitReached));
    desk.expel(1, [2], []).expect("nobody is kept from removing");
    desk.now_ms += 1;
    desk.reset(3).unwrap();
    desk.renew(3).expect("nor from the key behind it");
    assert_eq!(desk.renew(3), Err(ErrorCode::LimitReached));
    desk.now_ms += DAY_MS;
    desk.renew(3).unwrap();
}

#[test]
fn recovery_codes_leave_changes_of_the_day_for_devices() {
    let mut desk = Desk::of(["join 1", "seal 1", "renew 1"]);
    let codes = ACCOUNT_CHANGES_MAX - ACCOUNT_CHANGES_KEPT - 1;
    for code in 0..codes as u8 {
        desk.list_code(1, 100 + code).unwrap();
    }
    assert_eq!(desk.list_code(1, 99), Err(ErrorCode::LimitReached));
    desk.expel(1, [100], [1]).expect("nobody is kept from removing");
    desk.join(2).expect("nor from a device in the place of a lost one");
    desk.say_seal_key(2).unwrap();
    desk.approve_with_key(1, 2).unwrap();
    desk.now_ms += DAY_MS;
    desk.list_code(1, 99).unwrap();
}

#[test]
fn devices_do_so_much_without_the_wallet_in_a_life() {
    let mut desk = Desk::of(["join 1", "renew 1"]);
    let public = desk.account.generations()[0].public;
    let next = |desk: &Desk| Generation { number: desk.account.generations().len() as u64 + 1, public, earlier: None, seals: vec![] };
    for _ in 0..ACCOUNT_UNASKED_MAX {
        desk.now_ms += DAY_MS / 10;
        desk.say(1, Claim::Generation(next(&desk))).unwrap();
    }
    desk.now_ms += DAY_MS;
    assert_eq!(desk.say(1, Claim::Generation(next(&desk))), Err(ErrorCode::LimitReached));
    assert_eq!(desk.succeed(1, 2), Err(ErrorCode::LimitReached));
    desk.join(2).unwrap();
    desk.remove(1, [2], []).unwrap();
    desk.say(1, Claim::Generation(next(&desk))).expect("it follows a removal");
}

#[test]
fn every_claim_has_one_form() {
    let desk = Desk::of(["join 1", "seal 1", "renew 1", "join 2"]);
    let (ids, generation) = (devices([1, 2]), desk.generation(&[], &[]));
    let (key, sealed) = (key(3).public(), desk.sealed(3));
    let recovery_key = |kind| Claim::RecoveryKey(NewRecoveryKey { kind, key, seal_key: seal_key(3).public(), sealed });
    let claims = [
        Claim::SealKey(seal_key(3).public()),
        Claim::Generation(generation.clone()),
        Claim::RemoveAndRenew { devices: ids.clone(), kept: vec![], generation },
        Claim::ApproveWithKey(ids.iter().map(|id| (id.clone(), sealed)).collect()),
        recovery_key(RecoveryKind::Code),
        recovery_key(RecoveryKind::Passkey),
        desk.recovery(2, 3),
    ];
    let mut first = Vec::new();
    for claim in claims {
        let bytes = claim.to_bytes();
        first.push(bytes[0]);
        assert_eq!(Claim::from_bytes(&bytes), Ok(claim));
        assert!(Claim::from_bytes(&[&bytes[..], &[0]].concat()).is_err(), "more behind it");
        assert!(Claim::from_bytes(&bytes[..bytes.len() - 1]).is_err(), "less");
    }
    assert_eq!(first, [6, 7, 8, 9, 10, 10, 11]);
    assert!(Claim::from_bytes(&[&[7, 0x82, 0][..], &desk.generation(&[], &[]).public, &[0, 0]].concat()).is_err(), "a longer number");
    let twice = Claim::ApproveWithKey(vec![(ids[0].clone(), sealed), (ids[0].clone(), sealed)]).to_bytes();
    assert!(Claim::from_bytes(&twice).is_err());
    let mut other_kind = recovery_key(RecoveryKind::Code).to_bytes();
    other_kind[1] = 3;
    assert!(Claim::from_bytes(&other_kind).is_err());
}

/// What may happen. Devices are numbers from 0 to 5, recovery keys from 100 to 102.
#[derive(Debug, Clone, Copy)]
enum Step {
    Join(u8),
    Reset(u8),
    Succeed(u8, u8),
    Approve(u8, u8),
    Remove(u8, u8, Option<u8>),
    SealKey(u8),
    Renew(u8),
    Expel(u8, u8, Option<u8>),
    ApproveWithKey(u8, u8),
    List(u8, u8),
    Recover(u8, u8),
}

fn step() -> impl Strategy<Value = Step> {
    let (device, code) = (0..6u8, 100..103u8);
    let any = || prop_oneof![3 => 0..6u8, 1 => 100..103u8];
    prop_oneof![
        4 => device.clone().prop_map(Step::Join),
        1 => device.clone().prop_map(Step::Reset),
        1 => (device.clone(), device.clone()).prop_map(|(old, new)| Step::Succeed(old, new)),
        2 => (device.clone(), device.clone()).prop_map(|(by, other)| Step::Approve(by, other)),
        2 => (device.clone(), any(), prop::option::of(any())).prop_map(|(by, other, kept)| Step::Remove(by, other, kept)),
        4 => device.clone().prop_map(Step::SealKey),
        4 => device.clone().prop_map(Step::Renew),
        3 => (device.clone(), any(), prop::option::of(any())).prop_map(|(by, other, kept)| Step::Expel(by, other, kept)),
        3 => (device.clone(), device.clone()).prop_map(|(by, other)| Step::ApproveWithKey(by, other)),
        2 => (device.clone(), code.clone()).prop_map(|(by, code)| Step::List(by, code)),
        2 => (device, code).prop_map(|(by, code)| Step::Recover(by, code)),
    ]
}

fn take(desk: &mut Desk, step: Step) -> Result<Vec<Change>, ErrorCode> {
    let of = |kept: Option<u8>| kept.map(|number| names(&[number])).unwrap_or_default();
    match step {
        Step::Join(device) => desk.join(device),
        Step::Reset(device) => desk.reset(device),
        Step::Succeed(old, new) => desk.succeed(old, new),
        Step::Approve(by, other) => desk.approve(by, [other]),
        Step::Remove(by, other, kept) => desk.say(by, Claim::Remove { devices: devices([other]), kept: of(kept) }),
        Step::SealKey(by) => desk.say_seal_key(by),
        Step::Renew(by) => desk.renew(by),
        Step::Expel(by, other, kept) => {
            let kept: Vec<u8> = kept.into_iter().collect();
            let generation = desk.generation(&[other], &kept);
            desk.say(by, Claim::RemoveAndRenew { devices: devices([other]), kept: names(&kept), generation })
        }
        Step::ApproveWithKey(by, other) => desk.approve_with_key(by, other),
        Step::List(by, code) => desk.list_code(by, code),
        Step::Recover(by, code) => desk.recover(by, code),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Each place is compared with the account as it was there.
    #[test]
    fn an_old_place_is_known_as_it_was(steps in prop::collection::vec(step(), 1..50)) {
        let mut desk = Desk::new();
        // What holds, who is there and the last cut and reset, found out from what was said alone.
        let mut before = vec![(desk.account.clone(), None, 0, 0)];
        for step in steps {
            desk.now_ms += 1_000;
            let taken = take(&mut desk, step);
            let (.., mut held, mut cut, mut reset) = before.last().cloned().unwrap();
            let (sequence, newest) = (desk.account.head().sequence, desk.account.generations().len() as u64);
            match (&taken, step) {
                (Ok(_), Step::Renew(_) | Step::Expel(..)) => (held, cut) = (Some(newest), sequence),
                (Ok(_), Step::Remove(..)) => (held, cut) = (None, sequence),
                (Ok(_), Step::Reset(_)) => (held, cut, reset) = (None, sequence, sequence),
                _ => {}
            }
            prop_assert_eq!((holds(&desk), desk.account.last_cut(), desk.account.last_reset()), (held, cut, reset), "after {:?}", step);
            let open = |number: &u8| !desk.opened(*number).is_empty();
            let is_there = |number: &u8| {
                let id = &names(&[*number])[0];
                desk.account.device(id).is_some_and(|device| device.is_approved) || desk.account.recovery_keys().iter().any(|key| key.id == *id)
            };
            for number in (0..6).chain(100..103).filter(|_| held.is_some()) {
                prop_assert!(!open(&number) || is_there(&number), "{} opens the key after {:?}", number, step);
            }
            before.push((desk.account.clone(), held, cut, reset));
        }
        let account = &desk.account;
        for (sequence, (then, held, ..)) in before.iter().enumerate() {
            let sequence = sequence as u64;
            prop_assert_eq!(account.place(sequence), Some(then.head().hash));
            prop_assert_eq!(account.generation_at(sequence).map(|generation| generation.number), *held);
            for id in names(&[0, 1, 2, 3, 4, 5, 100, 101, 102]) {
                prop_assert_eq!(account.was_listed_at(&id, sequence), then.device(&id).is_some());
            }
        }
        let beyond = account.head().sequence + 1;
        prop_assert!(account.place(beyond).is_none() && account.generation_at(beyond).is_none());
        prop_assert!(names(&[0, 1, 2, 3, 4, 5]).iter().all(|id| !account.was_listed_at(id, beyond)));
        let read = Account::from_bytes(&account.to_bytes(), &account.owner().domains);
        prop_assert_eq!(read.as_ref(), Some(account), "what is stored is read as it was");
        let mut again = Account::new(account.owner().clone());
        for entry in &desk.entries {
            let _ = again.take(entry).unwrap();
            prop_assert!(Statement::of(entry).is_ok());
        }
        prop_assert_eq!(&again, account, "the same entries make the same account");
    }
}
