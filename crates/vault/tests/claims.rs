//! What docs/encryption.md claims of seals, epochs, texts, account keys and recovery codes.

use std::collections::{BTreeMap, BTreeSet};

use solconnect_sync_vault::epoch::{self, Beginning, EpochSecret, Recipient};
use solconnect_sync_vault::layout::{AccountHead, AsksEntry, EncryptedText, EpochEntry, Generation, ResealEntry, Resealed};
use solconnect_sync_vault::recovery::{CODE_BYTES, RecoveryCode};
use solconnect_sync_vault::reseal::{self, KnownEpoch, ResealTo};
use solconnect_sync_vault::seal::{PrivateKey, check_public, seal};
use solconnect_sync_vault::text::{Place, padded_bytes};
use solconnect_sync_vault::{Fault, account, approval, lock};

fn private(byte: u8) -> PrivateKey {
    PrivateKey::from_secret(&[byte; 32])
}

fn recipient(byte: u8) -> Recipient {
    Recipient {
        wallet: [byte; 32],
        head: AccountHead { sequence: u64::from(byte), hash: [byte; 32] },
        account_key: Some((1, private(byte).public())),
    }
}

fn begin(author: &str, recipients: &[Recipient]) -> (EpochEntry, EpochSecret) {
    epoch::begin(Beginning { after: &[7; 32], number: 1, author }, recipients, &[9; 64]).unwrap()
}

fn place(counter: u64) -> Place<'static> {
    Place { previous: &[5; 32], counter, knows: 2, kind: 0, id: "id" }
}

#[test]
fn a_seal_opens_for_its_recipient_and_purpose_alone() {
    let sealed = seal(&private(1).public(), b"info", b"secret", &[3; 32]).unwrap();
    assert_eq!(private(1).open(b"info", &sealed).unwrap().as_slice(), b"secret");
    assert_eq!(private(2).open(b"info", &sealed).unwrap_err(), Fault::NotOpened);
    assert_eq!(private(1).open(b"inf", &sealed).unwrap_err(), Fault::NotOpened);
    for place in 0..sealed.len() {
        let mut bent = sealed.clone();
        bent[place] ^= 1;
        assert_eq!(private(1).open(b"info", &bent).unwrap_err(), Fault::NotOpened, "byte {place}");
        assert_eq!(private(1).open(b"info", &sealed[..place]).unwrap_err(), Fault::NotOpened, "cut to {place}");
    }
}

#[test]
fn weak_keys_and_other_forms_are_refused() {
    let mut prime = [0xff; 32];
    (prime[0], prime[31]) = (0xed, 0x7f);
    let key = |hex: &str| -> [u8; 32] {
        let bytes: Vec<u8> = (0..32).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect();
        bytes.try_into().unwrap()
    };
    let order_eight = [
        key("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
        key("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    ];
    let small = |number: u8| {
        let mut key = [0; 32];
        key[0] = number;
        key
    };
    let beside_prime = |number: i16| {
        let mut key = prime;
        key[0] = (0xed + number) as u8;
        key
    };
    let mut refused = vec![small(0), small(1), beside_prime(-1), prime, beside_prime(1), beside_prime(18), [0xff; 32]];
    refused.extend(order_eight);
    // With the bit that X25519 ignores: another form of every point.
    refused.extend(refused.clone().into_iter().chain([private(1).public()]).map(|mut key| {
        key[31] |= 0x80;
        key
    }));
    for key in refused {
        assert_eq!(check_public(&key), Err(Fault::WeakKey), "{key:02x?}");
        assert_eq!(seal(&key, b"", b"secret", &[3; 32]), Err(Fault::WeakKey), "{key:02x?}");
        // As the ephemeral key of a seal: the secret would be known to all.
        assert_eq!(private(1).open(b"", &[&key[..], &[0; 48]].concat()).unwrap_err(), Fault::NotOpened);
    }
    for good in [small(2), small(9), beside_prime(-2), private(1).public()] {
        assert_eq!(check_public(&good), Ok(()));
    }
}

#[test]
fn repeated_randomness_repeats_no_ephemeral_key() {
    let ephemeral = |to: u8, info: &[u8], secret: &[u8]| seal(&private(to).public(), info, secret, &[3; 32]).unwrap()[..32].to_vec();
    let all = [
        ephemeral(1, b"info", b"secret"),
        ephemeral(2, b"info", b"secret"),
        ephemeral(1, b"other", b"secret"),
        ephemeral(1, b"info", b"another"),
    ];
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    assert_eq!(ephemeral(1, b"info", b"secret"), all[0]);
}

#[test]
fn every_member_opens_an_epoch_and_nobody_else() {
    let mut members = [1, 2, 3].map(recipient);
    members[2].account_key = None;
    let (entry, secret) = begin("author", &members);
    for byte in [1, 2] {
        assert_eq!(epoch::open(&entry, "author", &[byte; 32], &private(byte)).unwrap().secret(), secret.secret());
    }
    // With another's key, as another, without a seal, without a part in it.
    for (wallet, key) in [(1, 2), (2, 1), (3, 3), (4, 4)] {
        assert_eq!(epoch::open(&entry, "author", &[wallet; 32], &private(key)).unwrap_err(), Fault::NotOpened);
    }
    assert_eq!(epoch::open(&entry, "another", &[1; 32], &private(1)).unwrap_err(), Fault::NotOpened);
}

#[test]
fn a_tag_is_of_one_secret_and_one_transcript() {
    let (entry, secret) = begin("author", &[recipient(1), recipient(2)]);
    let transcript = epoch::after_epoch(&entry, "author");
    assert!(EpochSecret::check(secret.secret(), &transcript, &entry.tag).is_ok());
    assert_eq!(EpochSecret::check(&[8; 32], &transcript, &entry.tag).unwrap_err(), Fault::Another);
    let mut others = vec![epoch::after_epoch(&entry, "another")];
    let mut change = |change: &dyn Fn(&mut EpochEntry)| {
        let mut changed = entry.clone();
        change(&mut changed);
        others.push(epoch::after_epoch(&changed, "author"));
    };
    change(&|entry| entry.after[0] ^= 1);
    change(&|entry| entry.number = 2);
    change(&|entry| entry.members[0].wallet[0] ^= 1);
    change(&|entry| entry.members[0].head.sequence = 2);
    change(&|entry| entry.members[0].head.hash[0] ^= 1);
    change(&|entry| entry.members[0].sealed = None);
    change(&|entry| entry.members[1].sealed = entry.members[0].sealed);
    change(&|entry| entry.members.truncate(1));
    for other in others {
        assert_eq!(EpochSecret::check(secret.secret(), &other, &entry.tag).unwrap_err(), Fault::Another);
    }
}

#[test]
fn a_liars_epoch_gives_no_member_another_secret() {
    let members = [recipient(1), recipient(2)];
    let (mut entry, secret) = begin("author", &members);
    let at = Beginning { after: &[7; 32], number: 1, author: "author" };
    let (other, _) = epoch::begin(at, &members, &[10; 64]).unwrap();
    entry.members[1].sealed = other.members[1].sealed;
    // Who made the tag fit one of both secrets cannot have it fit the other.
    let fitting = epoch::after_epoch(&entry, "author");
    assert_eq!(epoch::open(&entry, "author", &[2; 32], &private(2)).unwrap_err(), Fault::Another);
    assert_ne!(fitting, epoch::after_epoch(&other, "author"));
    assert_eq!(epoch::open(&entry, "author", &[1; 32], &private(1)).unwrap_err(), Fault::Another);
    assert!(EpochSecret::check(secret.secret(), &fitting, &other.tag).is_err());
}

#[test]
fn a_text_opens_at_its_own_place_alone() {
    let (_, secret) = begin("author", &[recipient(1)]);
    let keys = secret.text_keys("device");
    let text = keys.encrypt(1, place(3), b"content");
    assert_eq!(keys.decrypt(place(3), &text).unwrap().as_slice(), b"content");
    let others = [
        Place { previous: &[6; 32], ..place(3) },
        place(4),
        Place { knows: 1, ..place(3) },
        Place { kind: 1, ..place(3) },
        Place { id: "di", ..place(3) },
    ];
    for other in others {
        assert_eq!(keys.decrypt(other, &text).unwrap_err(), Fault::NotOpened, "{other:?}");
    }
    assert_eq!(secret.text_keys("another").decrypt(place(3), &text).unwrap_err(), Fault::NotOpened);
    let (_, elsewhere) = begin("another author", &[recipient(1)]);
    assert_eq!(elsewhere.text_keys("device").decrypt(place(3), &text).unwrap_err(), Fault::NotOpened);
    let bytes = text.to_bytes();
    for at in 2..bytes.len() {
        let mut bent = bytes.clone();
        bent[at] ^= 0x40;
        assert_eq!(keys.decrypt(place(3), &EncryptedText::from_bytes(&bent).unwrap()).unwrap_err(), Fault::NotOpened, "byte {at}");
    }
}

#[test]
fn copies_never_share_a_nonce_for_two_texts() {
    let (_, secret) = begin("author", &[recipient(1)]);
    let copies = [secret.text_keys("device"), secret.text_keys("device")];
    let mut seen: BTreeMap<[u8; 12], Vec<u8>> = BTreeMap::new();
    for (number, keys) in (0..2_000u32).zip(copies.iter().cycle()) {
        // Both copies write other texts under the same counters, and each the same text under several.
        let content = (number % 700).to_le_bytes();
        let text = keys.encrypt(1, place(u64::from(number / 2 % 500)), &content);
        let earlier = seen.entry(text.nonce).or_insert_with(|| text.ciphertext.clone());
        assert_eq!(*earlier, text.ciphertext);
    }
    assert!(seen.len() > 1_900);
}

#[test]
fn the_same_text_at_another_place_looks_different() {
    let (_, secret) = begin("author", &[recipient(1)]);
    let keys = secret.text_keys("device");
    let [one, other] = [1, 2].map(|counter| keys.encrypt(1, place(counter), b"yes"));
    assert!(one.ciphertext != other.ciphertext && one.nonce != other.nonce);
}

#[test]
fn sizes_tell_little() {
    let sizes: BTreeSet<usize> = (0..8_192).map(padded_bytes).collect();
    assert_eq!(sizes.len(), 48);
    for content in 0..100_000 {
        let padded = padded_bytes(content);
        assert!(padded > content && padded.is_multiple_of(32));
        assert!(content < 256 || padded - content <= content / 8 + 1, "{content} to {padded}");
    }
    let (_, secret) = begin("author", &[recipient(1)]);
    for length in [0, 31, 32, 600] {
        let text = secret.text_keys("device").encrypt(1, place(1), &vec![b'x'; length]);
        assert_eq!(text.ciphertext.len(), padded_bytes(length) + 16);
    }
}

#[test]
fn every_content_comes_back_as_it_was() {
    let (_, secret) = begin("author", &[recipient(1)]);
    let keys = secret.text_keys("device");
    // Contents that look like padding, too.
    let contents = [vec![], vec![0x80], vec![0x80, 0, 0], vec![0; 64], vec![0x80; 33], [vec![1; 31], vec![0x80]].concat()];
    for content in contents.into_iter().chain((0..600).map(|length| vec![0; length])) {
        let text = keys.encrypt(1, place(1), &content);
        assert_eq!(keys.decrypt(place(1), &text).unwrap().as_slice(), content);
    }
}

#[test]
fn a_reseal_opens_for_its_wallet_and_shows_what_is_false() {
    let (entry, secret) = begin("author", &[recipient(1)]);
    let (other, another) = epoch::begin(Beginning { after: &[8; 32], number: 2, author: "author" }, &[recipient(1)], &[4; 64]).unwrap();
    let known =
        [&entry, &other].map(|entry| KnownEpoch { number: entry.number, transcript: epoch::after_epoch(entry, "author"), tag: entry.tag });
    let to = ResealTo { wallet: [2; 32], generation: 3, account_key: private(2).public() };
    let sealed = reseal::reseal("device", &to, &[(known[0], &secret), (known[1], &another)], &[6; 32]).unwrap();
    let opened = reseal::open(&sealed, "device", &private(2), &known).unwrap();
    assert!(opened.iter().all(|(_, secret)| secret.is_ok()) && opened.len() == 2);
    assert_eq!(reseal::open(&sealed, "device", &private(3), &known).unwrap_err(), Fault::NotOpened);
    assert_eq!(reseal::open(&sealed, "another", &private(2), &known).unwrap_err(), Fault::NotOpened);
    assert_eq!(reseal::open(&sealed, "device", &private(2), &known[..1]).unwrap_err(), Fault::NotOpened);
    // One of two is rubbish: the other is taken.
    let half = reseal::reseal("device", &to, &[(known[0], &secret), (known[1], &secret)], &[6; 32]).unwrap();
    let opened = reseal::open(&half, "device", &private(2), &known).unwrap();
    assert_eq!(opened.iter().map(|(number, secret)| (*number, secret.is_ok())).collect::<Vec<_>>(), [(1, true), (2, false)]);
}

#[test]
fn an_account_key_reaches_devices_and_all_that_was_before() {
    let to = [private(1).public(), private(2).public()];
    let (first, first_key) = account::begin("account:x", 1, &to, None, &[11; 64]).unwrap();
    let (second, second_key) = account::begin("account:x", 2, &to[..1], Some(&first_key), &[12; 64]).unwrap();
    let opened = account::open("account:x", 2, &second.public, &private(1), &second.seals[0]).unwrap();
    assert_eq!(opened.secret(), second_key.secret());
    let earlier = account::open_earlier("account:x", 2, &opened, &first.public, &second.earlier.unwrap()).unwrap();
    assert_eq!(earlier.secret(), first_key.secret());
    // The removed device, another account, another generation, another key than the listed one.
    assert_eq!(account::open("account:x", 2, &second.public, &private(2), &second.seals[0]).unwrap_err(), Fault::NotOpened);
    assert_eq!(account::open("account:y", 2, &second.public, &private(1), &second.seals[0]).unwrap_err(), Fault::NotOpened);
    assert_eq!(account::open("account:x", 1, &second.public, &private(1), &second.seals[0]).unwrap_err(), Fault::NotOpened);
    assert_eq!(account::open("account:x", 2, &first.public, &private(1), &second.seals[0]).unwrap_err(), Fault::NotOpened);
    // The old key opens nothing of the new generation.
    assert_eq!(first_key.open(b"", &second.earlier.unwrap()).unwrap_err(), Fault::NotOpened);
}

#[test]
fn two_wrong_characters_are_always_noticed() {
    let alphabet = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let code = RecoveryCode::new(&[0x5a; 17]).text();
    assert_eq!(code.len(), CODE_BYTES);
    let places: Vec<usize> = (0..code.len()).filter(|at| code.as_bytes()[*at] != b'-').collect();
    let mut tried = 0;
    for (index, &one) in places.iter().enumerate() {
        for &other in &places[index..] {
            for shift in 1..32 {
                let mut typed = code.as_bytes().to_vec();
                for (at, shift) in [(one, shift), (other, 7 * shift)] {
                    let value = alphabet.iter().position(|byte| *byte == typed[at]).unwrap();
                    typed[at] = alphabet[(value + shift) % 32];
                }
                let is_same = typed == code.as_bytes();
                assert_eq!(RecoveryCode::read(str::from_utf8(&typed).unwrap()).is_ok(), is_same);
                tried += 1;
            }
            let mut swapped = code.as_bytes().to_vec();
            swapped.swap(one, other);
            assert_eq!(RecoveryCode::read(str::from_utf8(&swapped).unwrap()).is_ok(), swapped == code.as_bytes());
        }
    }
    assert!(tried > 12_000);
}

#[test]
fn a_code_is_read_as_people_write_it() {
    for byte in 0..=255 {
        let code = RecoveryCode::new(&[byte; 17]);
        let text = code.text();
        let people = [
            text.to_lowercase(),
            text.replace('-', ""),
            text.replace('-', " "),
            text.replace('1', "l").replace('0', "o"),
            text.replace('1', "I"),
        ];
        for typed in people {
            assert_eq!(*RecoveryCode::read(&typed).unwrap().text(), *text);
        }
        for typed in [&text[1..], &[&**text, "0"].concat(), &text.replacen(|_| true, "U", 1), &text.replacen(|_| true, "ä", 1), ""] {
            assert!(RecoveryCode::read(typed).is_err(), "{typed}");
        }
    }
}

#[test]
fn a_code_opens_one_account_alone() {
    let code = RecoveryCode::new(&[1; 17]);
    let [one, other] = ["account:x", "account:y"].map(|account| code.keys(account));
    assert_ne!(one.seal_key.public(), other.seal_key.public());
    assert_ne!(one.signing_secret, other.signing_secret);
    assert_ne!(**one.seal_key.secret(), *one.signing_secret);
}

/// A lock by a passphrase that costs little: of 8 KiB, one pass and one lane.
fn cheap_lock() -> Vec<u8> {
    [&[1], &[7; 16][..], &[8, 1, 1]].concat()
}

#[test]
fn a_lock_opens_for_its_passphrase_or_passkey_alone() {
    for begin in [cheap_lock(), lock::passkey_lock(&[5; 20])] {
        let (key, record) = lock::close(&begin, &[3; 32]).unwrap();
        assert_eq!(lock::open(&record, &[3; 32]).unwrap(), Some(key.clone()));
        assert_eq!(lock::open(&record, &[4; 32]).unwrap(), None);
        assert_eq!(lock::open(&record, &[]).unwrap(), None);
        let mut another = begin.clone();
        another[1] ^= 1;
        // A passkey's name is not what it gives.
        assert_eq!(lock::close(&another, &[3; 32]).unwrap().0 == key, begin[0] == 2);
    }
}

#[test]
fn what_is_stored_of_a_lock_takes_bounded_memory_and_time() {
    let varint = |number: u32| (0..5).map(|place| (number >> (7 * place) & 0x7f) as u8 | 0x80).collect::<Vec<_>>();
    let cost = |memory: &[u8], passes: u8, lanes: u8| [&[1], &[7; 16][..], memory, &[passes, lanes]].concat();
    let four_times = [0x80, 0x80, 16];
    let most = cost(&four_times, 8, 16);
    let small = [0x80, 1];
    let too_much = [
        cost(&[0x81, 0x80, 16], 1, 1),
        cost(&[0xff, 0xff, 0xff, 0xff, 0x0f], 1, 1),
        cost(&small, 9, 1),
        cost(&small, 1, 17),
        cost(&small, 0, 1),
        cost(&small, 1, 0),
        cost(&[0], 1, 1),
        // Eight KiB for each lane are the least.
        cost(&[31], 1, 4),
        cost(&varint(8), 1, 1),
        [&cheap_lock()[..], &[0]].concat(),
        lock::passkey_lock(&[]),
        lock::passkey_lock(&[0; 1_024]),
        vec![3, 0],
        vec![],
    ];
    for begin in &too_much {
        assert!(matches!(lock::close(begin, b"secret"), Err(Fault::Malformed(_))), "{begin:?}");
        assert!(matches!(lock::open(&[&begin[..], &[0; 32]].concat(), b"secret"), Err(Fault::Malformed(_))), "{begin:?}");
    }
    assert!(lock::close(&most, b"secret").is_ok());
    let (_, record) = lock::close(&cheap_lock(), b"secret").unwrap();
    for length in 0..record.len() {
        assert!(!matches!(lock::open(&record[..length], b"secret"), Ok(Some(_))), "cut to {length}");
    }
}

#[test]
fn a_short_number_depends_on_all_that_both_said() {
    let key = private(1).public();
    let commitment = approval::commitment("account", "device", &key, &[1; 32]);
    let commitments = [
        commitment,
        approval::commitment("another", "device", &key, &[1; 32]),
        approval::commitment("account", "another", &key, &[1; 32]),
        approval::commitment("account", "device", &private(2).public(), &[1; 32]),
        approval::commitment("account", "device", &key, &[2; 32]),
    ];
    assert_eq!(commitments.iter().collect::<BTreeSet<_>>().len(), commitments.len());
    let numbers = [
        approval::number("account", "approver", &commitment, &[1; 32], &[2; 32]),
        approval::number("another", "approver", &commitment, &[1; 32], &[2; 32]),
        approval::number("account", "another", &commitment, &[1; 32], &[2; 32]),
        approval::number("account", "approver", &commitments[1], &[1; 32], &[2; 32]),
        approval::number("account", "approver", &commitment, &[3; 32], &[2; 32]),
        approval::number("account", "approver", &commitment, &[1; 32], &[3; 32]),
    ];
    assert_eq!(numbers.iter().collect::<BTreeSet<_>>().len(), numbers.len());
    assert!(numbers.iter().all(|number| *number < 1_000_000));
}

#[test]
fn what_is_decoded_has_one_form() {
    let (epoch, secret) = begin("author", &[recipient(1), recipient(2)]);
    let reseal = ResealEntry(vec![Resealed { wallet: [1; 32], generation: 1, epochs: vec![1, 300], sealed: vec![0; 112] }]);
    let asks = AsksEntry(vec![1, 127, 128]);
    let text = secret.text_keys("device").encrypt(1, place(1), b"content");
    let (generation, _) = account::begin("account:x", 1, &[private(1).public()], Some(&private(2)), &[1; 64]).unwrap();
    let mut put = Vec::new();
    generation.put(&mut put);
    type Again = fn(&[u8]) -> Option<Vec<u8>>;
    let decoders: [(Vec<u8>, Again); 5] = [
        (epoch.to_bytes(), |bytes| EpochEntry::from_bytes(bytes).ok().map(|entry| entry.to_bytes())),
        (reseal.to_bytes(), |bytes| ResealEntry::from_bytes(bytes).ok().map(|entry| entry.to_bytes())),
        (asks.to_bytes(), |bytes| AsksEntry::from_bytes(bytes).ok().map(|entry| entry.to_bytes())),
        (text.to_bytes(), |bytes| EncryptedText::from_bytes(bytes).ok().map(|text| text.to_bytes())),
        (put, |bytes| {
            let (generation, rest) = Generation::take(bytes).ok()?;
            let mut out = Vec::new();
            generation.put(&mut out);
            Some([&out, rest].concat())
        }),
    ];
    for (good, again) in decoders {
        assert_eq!(again(&good), Some(good.clone()));
        for at in 0..good.len() {
            for byte in 0..=255 {
                let mut bent = good.clone();
                bent[at] = byte;
                if let Some(read) = again(&bent) {
                    assert_eq!(read, bent, "byte {at}");
                }
            }
            // What is cut is another's end, and only a text has no end of its own.
            if let Some(read) = again(&good[..at]) {
                assert_eq!(read, good[..at]);
            }
        }
    }
}
