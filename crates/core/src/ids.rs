//! Names: wallets, sessions, devices, messages. Strings as they stand on the wire, checked at every border.

use sha2::{Digest, Sha256};

use crate::error::{ErrorCode, SyncError};
use crate::limits::{ID_BYTES_MAX, INTEGER_MAX};

/// A wallet address: 32 bytes in base58, 32 to 44 characters.
pub type WalletAddress = String;
/// A conversation of two wallets. The SDK's are UUIDs; seed clients may use any text.
pub type SessionId = String;
/// One database of one browser profile.
pub type DeviceId = String;
/// `<session>:<device>:<start>:<counter>`, so that a message is found without an index of ids; or any text that the
/// application or a seed client gave. For ever: a message that is queued again keeps it.
pub type MessageId = String;

/// What the id of every account log begins with. A session is never called so.
const ACCOUNT: &str = "account:";
/// What the id of every encrypted session begins with.
const SEALED: &str = "sealed:";

/// Whether a session is an account log: they are written by other rules.
pub fn is_account_id(session_id: &str) -> bool {
    session_id.starts_with(ACCOUNT)
}

/// The id of an account log.
pub(crate) fn account_id(id: &str) -> SessionId {
    [ACCOUNT, id].concat()
}

/// The id of an encrypted session.
pub(crate) fn sealed_id(id: &str) -> SessionId {
    [SEALED, id].concat()
}

/// Whether a session is encrypted: its id says so, and so no option of a client and no relay turns that off for one side.
pub fn is_sealed_id(session_id: &str) -> bool {
    session_id.starts_with(SEALED)
}

/// Whether a text has the form of a session's id that is made of wallets, encrypted or not.
pub fn is_session_id(text: &str) -> bool {
    uuid_bytes(text.strip_prefix(SEALED).unwrap_or(text)).is_some()
}

/// The address of a wallet, given its public key.
pub fn wallet_address(public_key: &[u8; 32]) -> WalletAddress {
    let mut digits = [0; five8::BASE58_ENCODED_32_MAX_LEN];
    let count = usize::from(five8::encode_32(public_key, &mut digits));
    String::from_utf8_lossy(&digits[..count]).into_owned()
}

/// The public key of a wallet, where it is one; no two texts stand for the same key.
pub fn public_key(wallet: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    five8::decode_32(wallet, &mut bytes).ok().map(|()| bytes)
}

/// Checks that `wallet` is 32 bytes of base58.
///
/// # Errors
/// `INVALID_WALLET_ADDRESS`.
pub fn check_wallet(wallet: &str) -> Result<(), SyncError> {
    if public_key(wallet).is_some() {
        return Ok(());
    }
    let shown: String = wallet.chars().take(50).collect();
    Err(SyncError::new(ErrorCode::InvalidWalletAddress, format!("{shown} is not 32 bytes in base58 (32 to 44 characters)")))
}

/// Checks the length of a session, device or message id: 1 to [`ID_BYTES_MAX`] bytes.
///
/// # Errors
/// `INVALID_MESSAGE_FORMAT`, naming the field.
pub fn check_id(field: &str, id: &str) -> Result<(), SyncError> {
    if id.is_empty() || id.len() > ID_BYTES_MAX {
        let message = format!("{field} must have 1 to {ID_BYTES_MAX} bytes, it has {}", id.len());
        return Err(SyncError::new(ErrorCode::InvalidMessageFormat, message));
    }
    Ok(())
}

/// The session of two wallets: the same for both, on every device. A version 8 UUID (RFC 9562) over the
/// SHA-256 of both addresses in sorted order.
pub fn session_of(one: &str, other: &str) -> SessionId {
    let (first, second) = if one <= other { (one, other) } else { (other, one) };
    uuid_from(&Sha256::digest(["solconnect.session.v1\0", first, "\0", second].concat()).into())
}

/// A version 8 UUID of a SHA-256.
pub(crate) fn uuid_from(digest: &[u8; 32]) -> String {
    let mut bytes = [0u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = 0x80 | (bytes[6] & 0x0f);
    bytes[8] = 0x80 | (bytes[8] & 0x3f);
    uuid_text(&bytes)
}

/// Where the hyphens of a UUID stand, after so many bytes.
const HYPHENS_AFTER: [usize; 4] = [4, 6, 8, 10];

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

/// A UUID as it is written: in small letters.
pub fn uuid_text(bytes: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (place, byte) in bytes.iter().enumerate() {
        if HYPHENS_AFTER.contains(&place) {
            text.push('-');
        }
        text.push(char::from(HEX_DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(HEX_DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// The bytes of a text that is a UUID as [`uuid_text`] writes it; no two texts stand for the same bytes.
pub fn uuid_bytes(text: &str) -> Option<[u8; 16]> {
    let text: &[u8; 36] = text.as_bytes().try_into().ok()?;
    let mut bytes = [0; 16];
    let mut characters = text.iter();
    for (place, byte) in bytes.iter_mut().enumerate() {
        if HYPHENS_AFTER.contains(&place) && characters.next() != Some(&b'-') {
            return None;
        }
        *byte = hex_digit(*characters.next()?)? << 4 | hex_digit(*characters.next()?)?;
    }
    Some(bytes)
}

fn hex_digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

/// A new device id: 17 random letters and digits, 101 bits.
pub fn new_device_id(random: &mut fastrand::Rng) -> DeviceId {
    (0..17).map(|_| random.alphanumeric()).collect()
}

/// A new start: what keeps apart the ids that two copies of one profile give, drawn at each start of a client.
pub fn new_start(random: &mut fastrand::Rng) -> String {
    (0..START_LENGTH).map(|_| random.alphanumeric()).collect()
}

/// Characters of a start: two copies of a profile draw the same one once in 56 billion times.
const START_LENGTH: usize = 6;

/// The id of a device's message, `<session>:<device>:<start>:<counter>`. Ids that the relay gives to messages of seed
/// clients have no start: `<session>:<device>:<counter>`.
pub fn message_id(session: &str, device: &str, start: &str, counter: u64) -> MessageId {
    let counter = counter.to_string();
    if start.is_empty() {
        [session, ":", device, ":", &counter].concat()
    } else {
        [session, ":", device, ":", start, ":", &counter].concat()
    }
}

/// The start in an id that [`message_id`] makes of this session, device and counter; `None` where it makes no such id.
pub fn start_of<'a>(id: &'a str, session: &str, device: &str, counter: u64) -> Option<&'a str> {
    let rest = id.strip_prefix(session)?.strip_prefix(':')?.strip_prefix(device)?.strip_prefix(':')?;
    let rest = rest.strip_suffix(&*counter.to_string())?;
    if rest.is_empty() {
        return Some(rest);
    }
    rest.strip_suffix(':').filter(|start| is_start(start))
}

/// Whether a text can be a start.
pub(crate) fn is_start(text: &str) -> bool {
    text.len() == START_LENGTH && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The session, device and counter that an id of our own form names; `None` for ids of another form. An application or
/// a seed client may give an id that only looks like it, so what is found there has to have this id.
pub fn parse_message_id(id: &str) -> Option<(&str, &str, u64)> {
    let (rest, counter) = id.rsplit_once(':')?;
    // Only as it is written: `parse` takes `+7` and `07` too, which are other ids.
    let counter = counter.parse().ok().filter(|number: &u64| (1..=INTEGER_MAX).contains(number) && number.to_string() == counter)?;
    let (before, last) = rest.rsplit_once(':')?;
    // The last name is a start where one more stands before it, and the device otherwise.
    match before.rsplit_once(':').filter(|_| is_start(last)) {
        Some((session, device)) => Some((session, device, counter)),
        None => Some((before, last, counter)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_peers_arrive_at_the_same_session() {
        assert_eq!(session_of("alice", "bob"), session_of("bob", "alice"));
        assert_ne!(session_of("alice", "bob"), session_of("alice", "carol"));
        let id = session_of("alice", "bob");
        assert_eq!((id.len(), &id[14..15]), (36, "8"));
    }

    #[test]
    fn wallet_addresses_are_32_bytes_of_base58() {
        check_wallet("11111111111111111111111111111111").unwrap();
        check_wallet("So11111111111111111111111111111111111111112").unwrap();
        for wallet in ["11111111111111111111111111111111", "So11111111111111111111111111111111111111112"] {
            assert_eq!(wallet_address(&public_key(wallet).unwrap()), wallet);
        }
        // One more zero byte than there is in the key: another text must not stand for it.
        assert_eq!(public_key("1So11111111111111111111111111111111111111112"), None);
        for bad in ["", "peer123", "0OIl1111111111111111111111111111", "1111111111111111111111111111111111111111111111"] {
            assert_eq!(check_wallet(bad).unwrap_err().code, ErrorCode::InvalidWalletAddress, "{bad}");
        }
    }

    #[test]
    fn no_two_texts_stand_for_the_same_uuid() {
        let uuid = "0f8fad5b-d9cb-869f-a165-70867728950e";
        assert_eq!(uuid_text(&uuid_bytes(uuid).unwrap()), uuid);
        for other in [
            "",
            "0f8fad5bd9cb869fa16570867728950e",
            "0F8FAD5B-D9CB-869F-A165-70867728950E",
            "0f8fad5bd-9cb-869f-a165-70867728950e",
            "0f8fad5b-d9cb-869f-a165-70867728950",
            "0f8fad5b-d9cb-869f-a165-70867728950g",
        ] {
            assert_eq!(uuid_bytes(other), None, "{other}");
        }
    }

    #[test]
    fn a_message_id_names_its_place() {
        let id = message_id("room:7", "dev", "aB3xY9", 12);
        assert_eq!(id, "room:7:dev:aB3xY9:12");
        assert_eq!(parse_message_id(&id), Some(("room:7", "dev", 12)));
        assert_eq!(parse_message_id(&message_id("room", "dev", "", 12)), Some(("room", "dev", 12)));
        for other in ["msg-1", "a:b:0", "a:b:x", "a:b:07", "a:b:+7", "a:b:9007199254740992"] {
            assert_eq!(parse_message_id(other), None);
        }
    }

    #[test]
    fn an_id_has_a_start_only_at_its_own_place() {
        let id = message_id("room", "dev", "aB3xY9", 12);
        assert_eq!(start_of(&id, "room", "dev", 12), Some("aB3xY9"));
        assert_eq!(start_of("room:dev:12", "room", "dev", 12), Some(""));
        for (session, device, counter) in [("rooms", "dev", 12), ("room", "de", 12), ("room", "dev", 2), ("room", "dev", 13)] {
            assert_eq!(start_of(&id, session, device, counter), None);
        }
        for other in ["room:dev:short:12", "room:dev:aB3xY9z:12", "room:dev:aB:xY9:12", "room:dev:aB3x\u{e9}:12", "room:dev::12"] {
            assert_eq!(start_of(other, "room", "dev", 12), None, "{other}");
        }
        let mut random = fastrand::Rng::with_seed(7);
        let start = new_start(&mut random);
        assert_eq!(start_of(&message_id("s", "d", &start, 1), "s", "d", 1), Some(&*start));
    }
}
