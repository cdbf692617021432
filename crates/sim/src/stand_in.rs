//! A stand-in for the cryptography of encrypted sessions: as the real one it refuses another key, place, tag or byte, and the same
//! arguments give the same bytes. It hides nothing from who looks at its code, and takes a hundredth of the time, so that thousands of
//! seeds can be run.

use fastrand::Rng;
use solconnect_sync_core::client::vault::{
    Beginning, EncryptedText, EpochEntry, Fault, Generation, KeyPlace, KnownEpoch, Place, PublicKey, Recipient, ResealTo, Resealed,
    SealedEpoch, SealedKey, Secret, TextKeys,
};
use solconnect_sync_core::client::{Native, Vault};
use solconnect_sync_vault::Malformed;
use solconnect_sync_vault::epoch::after_epoch;
use solconnect_sync_vault::layout::EpochMember;
use solconnect_sync_vault::seal::check_public;
use solconnect_sync_vault::text::padded_bytes;

/// The tag behind what is sealed or encrypted.
const TAG_BYTES: usize = 16;

/// Bytes without an end that follow from these parts, and from nothing else.
fn stream(label: &str, parts: &[&[u8]]) -> Rng {
    const FACTOR: u64 = 0x9fb2_1c65_1e98_df25;
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    for part in [label.as_bytes()].iter().chain(parts) {
        for chunk in part.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            state = (state ^ u64::from_le_bytes(word)).wrapping_mul(FACTOR);
            state ^= state >> 29;
        }
        state = (state ^ part.len() as u64).wrapping_mul(FACTOR).rotate_left(31);
    }
    Rng::with_seed(state)
}

fn drawn<const BYTES: usize>(label: &str, parts: &[&[u8]]) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    stream(label, parts).fill(&mut bytes);
    bytes
}

/// Hides bytes, or shows them again.
fn mask(bytes: &mut [u8], mut with: Rng) {
    bytes.iter_mut().for_each(|byte| *byte ^= with.u8(..));
}

fn public_of(secret: &[u8; 32]) -> PublicKey {
    let mut public: PublicKey = drawn("public", &[secret]);
    // In the one form that a public key has.
    public[31] &= 0x3f;
    public
}

/// What a seal is for.
fn info(label: &str, account_id: &str, number: u64, public: &PublicKey) -> Vec<u8> {
    [label.as_bytes(), account_id.as_bytes(), &number.to_le_bytes(), public].concat()
}

fn epoch_info(at: Beginning<'_>, wallet: &[u8; 32], generation: u64) -> Vec<u8> {
    [b"epoch", &at.after[..], &at.number.to_le_bytes(), at.author.as_bytes(), wallet, &generation.to_le_bytes()].concat()
}

fn reseal_info(author: &str, wallet: &[u8; 32], generation: u64, epochs: impl Iterator<Item = KnownEpoch>) -> Vec<u8> {
    let transcripts = epochs.flat_map(|epoch| epoch.transcript);
    [b"reseal", author.as_bytes(), wallet, &generation.to_le_bytes()].concat().into_iter().chain(transcripts).collect()
}

/// As many bytes more as a real seal has.
fn seal_all(to: &PublicKey, info: &[u8], secrets: &[u8], random: &[u8]) -> Result<Vec<u8>, Fault> {
    check_public(to)?;
    let begin: [u8; 32] = drawn("ephemeral", &[random, secrets, to, info]);
    let mut hidden = secrets.to_vec();
    mask(&mut hidden, stream("seal", &[to, info, &begin]));
    let tag: [u8; TAG_BYTES] = drawn("seal's tag", &[to, info, &begin, &hidden]);
    Ok([&begin[..], &hidden, &tag].concat())
}

fn open_all(with: &Secret, info: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Fault> {
    let to = public_of(with);
    let (begin, rest) = sealed.split_at_checked(32).ok_or(Fault::NotOpened)?;
    let (hidden, tag) = rest.split_at_checked(rest.len().saturating_sub(TAG_BYTES)).ok_or(Fault::NotOpened)?;
    if drawn::<TAG_BYTES>("seal's tag", &[&to, info, begin, hidden]) != tag {
        return Err(Fault::NotOpened);
    }
    let mut secrets = hidden.to_vec();
    mask(&mut secrets, stream("seal", &[&to, info, begin]));
    Ok(secrets)
}

fn seal(to: &PublicKey, info: &[u8], secret: &[u8; 32], random: &[u8]) -> Result<SealedKey, Fault> {
    seal_all(to, info, secret, random)?.try_into().map_err(|_| Fault::Failed)
}

fn open(with: &Secret, info: &[u8], sealed: &SealedKey) -> Result<Secret, Fault> {
    open_all(with, info, sealed)?.try_into().map(Secret::new).map_err(|_| Fault::NotOpened)
}

fn tag_of(secret: &[u8; 32], transcript: &[u8; 32]) -> [u8; 32] {
    drawn("confirm", &[secret, transcript])
}

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct StandIn;

impl StandIn {
    fn opened_key(self, place: KeyPlace<'_>, label: &str, with: &Secret, sealed: &SealedKey) -> Result<Secret, Fault> {
        let secret = open(with, &info(label, place.account_id, place.number, place.public), sealed)?;
        if public_of(&secret) == *place.public { Ok(secret) } else { Err(Fault::Another) }
    }
}

impl Vault for StandIn {
    fn public_of(&self, secret: &Secret) -> Result<PublicKey, Fault> {
        Ok(public_of(secret))
    }

    fn begin_generation(
        &self,
        account_id: &str,
        number: u64,
        to: &[PublicKey],
        earlier: Option<&Secret>,
        random: &[u8; 64],
    ) -> Result<Generation, Fault> {
        let (first, rest) = random.split_at(32);
        let mut secret = Secret::default();
        secret.copy_from_slice(first);
        let public = public_of(&secret);
        let key = info("key", account_id, number, &public);
        let seals = to.iter().map(|to| seal(to, &key, &secret, rest)).collect::<Result<_, Fault>>()?;
        let seal_earlier = |earlier: &Secret| seal(&public, &info("earlier", account_id, number, &public_of(earlier)), earlier, rest);
        Ok(Generation { number, public, earlier: earlier.map(seal_earlier).transpose()?, seals })
    }

    fn hand_over(&self, account_id: &str, number: u64, secret: &Secret, to: &PublicKey, random: &[u8; 32]) -> Result<SealedKey, Fault> {
        seal(to, &info("key", account_id, number, &public_of(secret)), secret, random)
    }

    fn open_key(&self, place: KeyPlace<'_>, with: &Secret, sealed: &SealedKey) -> Result<Secret, Fault> {
        self.opened_key(place, "key", with, sealed)
    }

    fn open_earlier(&self, place: KeyPlace<'_>, next: u64, with: &Secret, sealed: &SealedKey) -> Result<Secret, Fault> {
        self.opened_key(KeyPlace { number: next, ..place }, "earlier", with, sealed)
    }

    fn begin_epoch(&self, at: Beginning<'_>, recipients: &[Recipient], random: &[u8; 64]) -> Result<EpochEntry, Fault> {
        let (first, rest) = random.split_at(32);
        let mut secret = [0; 32];
        secret.copy_from_slice(first);
        let mut members = Vec::with_capacity(recipients.len());
        for Recipient { wallet, head, account_key } in recipients {
            let seal_to = |(generation, key): (u64, PublicKey)| {
                seal(&key, &epoch_info(at, wallet, generation), &secret, rest).map(|sealed| (generation, sealed))
            };
            members.push(EpochMember { wallet: *wallet, head: *head, sealed: account_key.map(seal_to).transpose()? });
        }
        let mut epoch = EpochEntry { after: *at.after, number: at.number, members, tag: [0; 32] };
        epoch.tag = tag_of(&secret, &after_epoch(&epoch, at.author));
        Ok(epoch)
    }

    fn open_epoch(&self, epoch: SealedEpoch<'_>, with: &Secret) -> Result<Secret, Fault> {
        let secret = open(with, &epoch_info(epoch.at, epoch.wallet, epoch.generation), epoch.sealed)?;
        if tag_of(&secret, epoch.transcript) == *epoch.tag { Ok(secret) } else { Err(Fault::Another) }
    }

    // Hashes alone, which cost nothing.
    fn commitment(&self, account_id: &str, device: &str, seal_key: &PublicKey, random: &[u8; 32]) -> Result<[u8; 32], Fault> {
        Native.commitment(account_id, device, seal_key, random)
    }

    fn short_number(
        &self,
        account_id: &str,
        approver: &str,
        commitment: &[u8; 32],
        device_random: &[u8; 32],
        approver_random: &[u8; 32],
    ) -> Result<u32, Fault> {
        Native.short_number(account_id, approver, commitment, device_random, approver_random)
    }

    fn recovery_code(&self, random: &[u8; 17]) -> Result<String, Fault> {
        Native.recovery_code(random)
    }

    fn recovery_keys(&self, code: &str, account_id: &str) -> Result<(Secret, Secret), Fault> {
        Native.recovery_keys(code, account_id)
    }

    fn passkey_keys(&self, output: &Secret, account_id: &str) -> Result<(Secret, Secret), Fault> {
        Native.passkey_keys(output, account_id)
    }

    fn reseal(&self, author: &str, to: &ResealTo, secrets: &[(KnownEpoch, Secret)], random: &[u8; 32]) -> Result<Resealed, Fault> {
        if secrets.iter().any(|(epoch, secret)| tag_of(secret, &epoch.transcript) != epoch.tag) {
            return Err(Fault::Another);
        }
        let ResealTo { wallet, generation, account_key } = *to;
        let info = reseal_info(author, &wallet, generation, secrets.iter().map(|(epoch, _)| *epoch));
        let all: Vec<u8> = secrets.iter().flat_map(|(_, secret)| **secret).collect();
        let epochs = secrets.iter().map(|(epoch, _)| epoch.number).collect();
        Ok(Resealed { wallet, generation, epochs, sealed: seal_all(&account_key, &info, &all, random)? })
    }

    fn open_reseal(&self, resealed: &Resealed, author: &str, with: &Secret, epochs: &[KnownEpoch]) -> Result<Vec<Option<Secret>>, Fault> {
        let info = reseal_info(author, &resealed.wallet, resealed.generation, epochs.iter().copied());
        let secrets = open_all(with, &info, &resealed.sealed)?;
        let is_its =
            |(secret, epoch): (&[u8; 32], &KnownEpoch)| (tag_of(secret, &epoch.transcript) == epoch.tag).then(|| Secret::new(*secret));
        Ok(secrets.as_chunks().0.iter().zip(epochs).map(is_its).collect())
    }

    fn text_keys(&self, secret: &Secret, transcript: &[u8; 32], tag: &[u8; 32], device: &str) -> Result<Box<dyn TextKeys>, Fault> {
        if tag_of(secret, transcript) != *tag {
            return Err(Fault::Another);
        }
        Ok(Box::new(StandInKeys(drawn("text", &[&secret[..], transcript, device.as_bytes()]))))
    }
}

/// The keys of what one device writes in one epoch.
struct StandInKeys([u8; 32]);

impl StandInKeys {
    fn nonce(&self, aad: &[u8], padded: &[u8]) -> [u8; 12] {
        drawn("nonce", &[&self.0, aad, padded])
    }

    fn tag(&self, aad: &[u8], nonce: &[u8; 12], hidden: &[u8]) -> [u8; TAG_BYTES] {
        drawn("text's tag", &[&self.0, aad, nonce, hidden])
    }
}

fn aad_of(place: Place<'_>) -> Vec<u8> {
    let numbers = [place.counter, place.knows, place.kind].map(u64::to_le_bytes).concat();
    [&place.previous[..], &numbers, place.id.as_bytes()].concat()
}

impl TextKeys for StandInKeys {
    fn encrypt(&self, epoch: u64, place: Place<'_>, content: &[u8]) -> Result<EncryptedText, Fault> {
        let aad = aad_of(place);
        let mut ciphertext = [content, &[0x80]].concat();
        ciphertext.resize(padded_bytes(content.len()), 0);
        let nonce = self.nonce(&aad, &ciphertext);
        mask(&mut ciphertext, stream("hidden text", &[&self.0, &nonce]));
        let tag = self.tag(&aad, &nonce, &ciphertext);
        ciphertext.extend_from_slice(&tag);
        Ok(EncryptedText { epoch, nonce, ciphertext })
    }

    fn decrypt(&self, place: Place<'_>, text: &EncryptedText) -> Result<Vec<u8>, Fault> {
        let aad = aad_of(place);
        let (hidden, tag) = text.ciphertext.split_last_chunk::<TAG_BYTES>().ok_or(Fault::NotOpened)?;
        if self.tag(&aad, &text.nonce, hidden) != *tag {
            return Err(Fault::NotOpened);
        }
        let mut content = hidden.to_vec();
        mask(&mut content, stream("hidden text", &[&self.0, &text.nonce]));
        if self.nonce(&aad, &content) != text.nonce {
            return Err(Fault::NotOpened);
        }
        let end = content.iter().rposition(|byte| *byte != 0).filter(|end| content[*end] == 0x80 && padded_bytes(*end) == content.len());
        content.truncate(end.ok_or(Fault::Malformed(Malformed("a text is not padded")))?);
        Ok(content)
    }
}

#[cfg(test)]
mod tests {
    use solconnect_sync_core::client::Native;
    use solconnect_sync_core::client::vault::AccountHead;

    use super::*;

    /// What both answer of the same things, those that are as they should be and those that are not.
    fn answers(vault: &dyn Vault) -> Vec<Option<Fault>> {
        let secret = |byte: u8| Secret::new([byte; 32]);
        let (own, other, mut answers) = (secret(1), secret(2), Vec::new());
        let mut note = |result: Option<Fault>| answers.push(result);
        let to = vault.public_of(&own).unwrap();
        let earlier = secret(3);
        let generation = vault.begin_generation("a", 2, &[to], Some(&earlier), &[4; 64]).unwrap();
        let (key, place) = (secret(4), KeyPlace { account_id: "a", number: 2, public: &generation.public });
        let earlier_public = vault.public_of(&earlier).unwrap();
        let before = KeyPlace { account_id: "a", number: 1, public: &earlier_public };
        assert!(*vault.open_key(place, &own, &generation.seals[0]).unwrap() == *key);
        assert!(*vault.open_earlier(before, 2, &key, &generation.earlier.unwrap()).unwrap() == *earlier);
        note(vault.open_key(place, &other, &generation.seals[0]).err());
        note(vault.open_key(KeyPlace { number: 3, ..place }, &own, &generation.seals[0]).err());
        note(vault.open_key(KeyPlace { account_id: "b", ..place }, &own, &generation.seals[0]).err());
        note(vault.open_earlier(before, 3, &key, &generation.earlier.unwrap()).err());
        let again = vault.hand_over("a", 2, &key, &to, &[9; 32]).unwrap();
        assert!(*vault.open_key(place, &own, &again).unwrap() == *key);
        note(vault.hand_over("a", 2, &key, &[0; 32], &[9; 32]).err());
        let wallet = [8; 32];
        let recipient = Recipient { wallet, head: AccountHead { sequence: 1, hash: [1; 32] }, account_key: Some((2, generation.public)) };
        let at = Beginning { after: &[5; 32], number: 1, author: "d" };
        let epoch = vault.begin_epoch(at, &[recipient], &[6; 64]).unwrap();
        let (transcript, sealed) = (after_epoch(&epoch, "d"), epoch.members[0].sealed.unwrap().1);
        let seal = SealedEpoch { at, wallet: &wallet, generation: 2, sealed: &sealed, transcript: &transcript, tag: &epoch.tag };
        let opened = vault.open_epoch(seal, &key).unwrap();
        note(vault.open_epoch(seal, &own).err());
        note(vault.open_epoch(SealedEpoch { generation: 3, ..seal }, &key).err());
        note(vault.open_epoch(SealedEpoch { wallet: &[7; 32], ..seal }, &key).err());
        note(vault.open_epoch(SealedEpoch { tag: &[7; 32], ..seal }, &key).err());
        note(vault.open_epoch(SealedEpoch { at: Beginning { author: "e", ..at }, ..seal }, &key).err());
        note(vault.text_keys(&opened, &[7; 32], &epoch.tag, "d").err());
        let keys = vault.text_keys(&opened, &transcript, &epoch.tag, "d").unwrap();
        let place = Place { previous: &[1; 32], counter: 1, knows: 2, kind: 0, id: "id" };
        let text = keys.encrypt(1, place, b"content").unwrap();
        assert_eq!(keys.decrypt(place, &text).unwrap(), b"content");
        assert_eq!(text, keys.encrypt(1, place, b"content").unwrap());
        for other in [
            Place { previous: &[2; 32], ..place },
            Place { counter: 2, ..place },
            Place { knows: 3, ..place },
            Place { kind: 1, ..place },
            Place { id: "other", ..place },
        ] {
            note(keys.decrypt(other, &text).err());
            assert_ne!(keys.encrypt(1, other, b"content").unwrap().nonce, text.nonce);
        }
        for byte in 0..text.ciphertext.len() {
            let mut bent = text.clone();
            bent.ciphertext[byte] ^= 1;
            note(keys.decrypt(place, &bent).err());
        }
        note(keys.decrypt(place, &EncryptedText { nonce: [0; 12], ..text.clone() }).err());
        note(vault.text_keys(&opened, &transcript, &epoch.tag, "e").unwrap().decrypt(place, &text).err());
        answers
    }

    #[test]
    fn it_refuses_what_the_real_one_refuses() {
        assert_eq!(answers(&StandIn), answers(&Native));
        assert!(answers(&StandIn).iter().all(Option::is_some));
    }
}
