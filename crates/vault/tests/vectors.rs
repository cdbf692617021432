//! What another implementation has computed from docs/encryption.md (`vectors.mjs`) is what this one computes.

use serde_json::Value;
use solconnect_sync_vault::epoch::{self, Beginning, EpochSecret, Recipient};
use solconnect_sync_vault::layout::{AccountHead, AsksEntry, EncryptedText, EpochEntry, Generation, ResealEntry};
use solconnect_sync_vault::recovery::{RecoveryCode, RecoveryKeys};
use solconnect_sync_vault::reseal::{self, KnownEpoch, ResealTo};
use solconnect_sync_vault::seal::{PrivateKey, seal};
use solconnect_sync_vault::text::{Place, padded_bytes};
use solconnect_sync_vault::{account, approval, lock};

struct Vectors(Value);

impl Vectors {
    fn read() -> Vectors {
        Vectors(serde_json::from_str(include_str!("../vectors.json")).unwrap())
    }

    fn list(&self, name: &str) -> Vec<Vectors> {
        let list = self.0[name].as_array().unwrap_or_else(|| panic!("{name}"));
        assert!(!list.is_empty() || name == "to" || name == "toSecrets", "{name}");
        list.iter().cloned().map(Vectors).collect()
    }

    fn at(&self, name: &str) -> Vectors {
        Vectors(self.0[name].clone())
    }

    fn text(&self) -> &str {
        self.0.as_str().unwrap()
    }

    fn number(&self, name: &str) -> u64 {
        self.0[name].as_u64().unwrap_or_else(|| panic!("{name}"))
    }

    fn hex(&self) -> Vec<u8> {
        self.text().as_bytes().chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        self.at(name).hex()
    }

    fn key<const COUNT: usize>(&self, name: &str) -> [u8; COUNT] {
        self.bytes(name).try_into().unwrap_or_else(|_| panic!("{name}"))
    }

    fn known(&self) -> KnownEpoch {
        KnownEpoch { number: self.number("number"), transcript: self.key("transcript"), tag: self.key("tag") }
    }
}

#[test]
fn seals_are_those_of_the_vectors() {
    for case in Vectors::read().list("seals") {
        let key = PrivateKey::from_secret(&case.key("secret"));
        assert_eq!(key.public(), case.key("public"));
        let (info, plain, sealed) = (case.bytes("info"), case.bytes("plain"), case.bytes("sealed"));
        assert_eq!(seal(&key.public(), &info, &plain, &case.key("random")).unwrap(), sealed);
        assert_eq!(key.open(&info, &sealed).unwrap().as_slice(), plain);
    }
}

#[test]
fn transcripts_are_those_of_the_vectors() {
    let case = Vectors::read().at("transcripts");
    let first = epoch::first_transcript(case.at("session").text());
    assert_eq!(first, case.key("first"));
    assert_eq!(epoch::after_membership(&first, &case.key("digest")), case.key("afterMembership"));
}

#[test]
fn epochs_are_those_of_the_vectors() {
    for case in Vectors::read().list("epochs") {
        let recipients: Vec<Recipient> = case.list("recipients").iter().map(recipient).collect();
        let (after, author, number) = (case.key("after"), case.at("author"), case.number("number"));
        let at = Beginning { after: &after, number, author: author.text() };
        let (entry, secret) = epoch::begin(at, &recipients, &case.key("random")).unwrap();
        assert_eq!(entry.to_bytes(), case.bytes("entry"));
        assert_eq!(entry.tag, case.key("tag"));
        assert_eq!(epoch::after_epoch(&entry, author.text()), case.key("transcript"));
        assert_eq!(**secret.secret(), case.key("secret"));
        assert_eq!(EpochEntry::from_bytes(&case.bytes("entry")), Ok(entry.clone()));
        for member in case.list("recipients").iter().filter(|member| member.number("generation") > 0) {
            let key = PrivateKey::from_secret(&member.key("accountSecret"));
            let opened = epoch::open(&entry, author.text(), &member.key("wallet"), &key).unwrap();
            assert_eq!(opened.secret(), secret.secret());
        }
    }
}

fn recipient(member: &Vectors) -> Recipient {
    let generation = member.number("generation");
    Recipient {
        wallet: member.key("wallet"),
        head: AccountHead { sequence: member.number("sequence"), hash: member.key("hash") },
        account_key: (generation > 0).then(|| (generation, member.key("accountKey"))),
    }
}

#[test]
fn texts_are_those_of_the_vectors() {
    let vectors = Vectors::read();
    let epochs = vectors.list("epochs");
    for case in vectors.list("texts") {
        let epoch = epochs.iter().find(|epoch| epoch.number("number") == case.number("epoch")).unwrap();
        let secret = EpochSecret::check(&epoch.key("secret"), &epoch.key("transcript"), &epoch.key("tag")).unwrap();
        let (previous, id) = (case.key("previous"), case.at("id"));
        let [counter, knows, kind] = ["counter", "knows", "kind"].map(|name| case.number(name));
        let place = Place { previous: &previous, counter, knows, kind, id: id.text() };
        let keys = secret.text_keys(case.at("device").text());
        let text = keys.encrypt(case.number("epoch"), place, &case.bytes("content"));
        assert_eq!(text.to_bytes(), case.bytes("text"));
        assert_eq!(EncryptedText::from_bytes(&case.bytes("text")), Ok(text.clone()));
        assert_eq!(keys.decrypt(place, &text).unwrap().as_slice(), case.bytes("content"));
    }
    for pair in vectors.list("padded") {
        let [length, padded] = [0, 1].map(|place| pair.0[place].as_u64().unwrap() as usize);
        assert_eq!(padded_bytes(length), padded, "of {length}");
    }
}

#[test]
fn reseals_and_asks_are_those_of_the_vectors() {
    let vectors = Vectors::read();
    for case in vectors.list("reseals") {
        let known: Vec<KnownEpoch> = case.list("epochs").iter().map(Vectors::known).collect();
        let secrets: Vec<EpochSecret> = case
            .list("epochs")
            .iter()
            .map(|epoch| EpochSecret::check(&epoch.key("secret"), &epoch.key("transcript"), &epoch.key("tag")).unwrap())
            .collect();
        let to = ResealTo { wallet: case.key("wallet"), generation: case.number("generation"), account_key: case.key("accountKey") };
        let author = case.at("author");
        let pairs: Vec<(KnownEpoch, &EpochSecret)> = known.iter().copied().zip(&secrets).collect();
        let entry = ResealEntry(vec![reseal::reseal(author.text(), &to, &pairs, &case.key("random")).unwrap()]);
        assert_eq!(entry.to_bytes(), case.bytes("entry"));
        let read = ResealEntry::from_bytes(&case.bytes("entry")).unwrap();
        let key = PrivateKey::from_secret(&case.key("accountSecret"));
        let opened = reseal::open(&read.0[0], author.text(), &key, &known).unwrap();
        let opened: Vec<[u8; 32]> = opened.into_iter().map(|(_, secret)| **secret.unwrap().secret()).collect();
        assert_eq!(opened, secrets.iter().map(|secret| **secret.secret()).collect::<Vec<_>>());
    }
    for case in vectors.list("asks") {
        let numbers = case.list("epochs").iter().map(|number| number.0.as_u64().unwrap()).collect();
        assert_eq!(AsksEntry(numbers).to_bytes(), case.bytes("entry"));
    }
}

#[test]
fn generations_are_those_of_the_vectors() {
    for case in Vectors::read().list("generations") {
        let (log, number) = (case.at("account"), case.number("number"));
        let to: Vec<[u8; 32]> = case.list("to").iter().map(|key| key.hex().try_into().unwrap()).collect();
        let earlier = (!case.at("earlierSecret").0.is_null()).then(|| PrivateKey::from_secret(&case.key("earlierSecret")));
        let (generation, key) = account::begin(log.text(), number, &to, earlier.as_ref(), &case.key("random")).unwrap();
        let mut bytes = Vec::new();
        generation.put(&mut bytes);
        assert_eq!(bytes, case.bytes("generation"));
        assert_eq!(**key.secret(), case.key("secret"));
        assert_eq!(Generation::take(&bytes), Ok((generation.clone(), &[][..])));
        for (secret, sealed) in case.list("toSecrets").iter().zip(&generation.seals) {
            let with = PrivateKey::from_secret(&secret.hex().try_into().unwrap());
            assert_eq!(account::open(log.text(), number, &generation.public, &with, sealed).unwrap().secret(), key.secret());
        }
        if let (Some(earlier), Some(sealed)) = (earlier, &generation.earlier) {
            let opened = account::open_earlier(log.text(), number, &key, &earlier.public(), sealed).unwrap();
            assert_eq!(opened.secret(), earlier.secret());
        }
    }
}

#[test]
fn recovery_keys_are_those_of_the_vectors() {
    let vectors = Vectors::read();
    let check = |keys: RecoveryKeys, case: &Vectors| {
        assert_eq!(keys.seal_key.public(), case.key("sealKey"));
        assert_eq!(*keys.signing_secret, case.key("signingSecret"));
    };
    for case in vectors.list("codes") {
        let code = RecoveryCode::new(&case.key("random"));
        assert_eq!(code.text().as_str(), case.at("code").text());
        check(code.keys(case.at("account").text()), &case);
        check(RecoveryCode::read(case.at("code").text()).unwrap().keys(case.at("account").text()), &case);
    }
    let case = vectors.at("passkey");
    check(RecoveryKeys::of_passkey(&case.key("output"), case.at("account").text()), &case);
}

#[test]
fn locks_are_those_of_the_vectors() {
    let locks = Vectors::read().list("locks");
    assert_eq!(lock::passphrase_lock(&locks[0].key("salt")), locks[0].bytes("lock"));
    assert_eq!(lock::passkey_lock(&locks[1].bytes("credential")), locks[1].bytes("lock"));
    for case in locks {
        let (key, record) = lock::close(&case.bytes("lock"), &case.bytes("input")).unwrap();
        assert_eq!(record, case.bytes("record"));
        assert_eq!(*key, case.key("key"));
        assert_eq!(lock::open(&record, &case.bytes("input")).unwrap().as_deref(), Some(&case.key("key")));
    }
}

#[test]
fn short_numbers_are_those_of_the_vectors() {
    let case = Vectors::read().at("approval");
    let [log, device, approver] = ["account", "device", "approver"].map(|name| case.at(name));
    let [mine, other] = ["deviceRandom", "approverRandom"].map(|name| case.key(name));
    let commitment = approval::commitment(log.text(), device.text(), &case.key("sealKey"), &mine);
    assert_eq!(commitment, case.key("commitment"));
    assert_eq!(u64::from(approval::number(log.text(), approver.text(), &commitment, &mine, &other)), case.number("number"));
}
