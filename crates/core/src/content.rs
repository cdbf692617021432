//! What is encrypted of a message: all that its own fields would say to others than the relay needs.

use base64ct::{Base64, Encoding as _};
use solconnect_sync_vault::layout::EncryptedText;

use crate::batch::from_base64;
use crate::limits::{ID_BYTES_MAX, NAME_BYTES_MAX, TEXT_BYTES_MAX};
use crate::message::{Extra, Message, Stamp};
use crate::wire::{Malformed, Reader, put_bytes, put_varint};

/// Which parts a content has. The bits are those of an entry's digest.
mod part {
    pub const CONTENT_TYPE: u64 = 1 << 2;
    pub const REPLACES: u64 = 1 << 3;
    pub const EXTRA: u64 = 1 << 4;
    pub const MILLIS: u64 = 1 << 6;
    pub const STAMP: u64 = 1 << 7;
    /// The text is the base64 of what stands here.
    pub const BYTES: u64 = 1 << 8;
    pub const ALL: u64 = CONTENT_TYPE | REPLACES | EXTRA | MILLIS | STAMP | BYTES;
}

/// What is encrypted of a message.
pub fn content_of(message: &Message) -> Vec<u8> {
    let bytes = from_base64(&message.ciphertext);
    let mut parts = 0;
    let mut set = |part: u64, is_there: bool| parts |= if is_there { part } else { 0 };
    set(part::CONTENT_TYPE, message.content_type.is_some());
    set(part::REPLACES, message.replaces.is_some());
    set(part::EXTRA, !message.extra.is_empty());
    set(part::MILLIS, matches!(message.timestamp, Stamp::Millis(_) | Stamp::Number(_)));
    set(part::STAMP, matches!(message.timestamp, Stamp::Text(_) | Stamp::Number(_)));
    set(part::BYTES, bytes.is_some());
    let mut out = Vec::with_capacity(message.ciphertext.len() + 32);
    put_varint(&mut out, parts);
    match &message.timestamp {
        Stamp::Iso(ms) | Stamp::Millis(ms) => put_varint(&mut out, *ms),
        Stamp::Text(text) => put_bytes(&mut out, text.as_bytes()),
        Stamp::Number(number) => out.extend_from_slice(&number.to_be_bytes()),
    }
    for text in [&message.content_type, &message.replaces].into_iter().flatten() {
        put_bytes(&mut out, text.as_bytes());
    }
    if !message.extra.is_empty() {
        put_bytes(&mut out, message.extra.as_str().as_bytes());
    }
    out.extend_from_slice(bytes.as_deref().unwrap_or(message.ciphertext.as_bytes()));
    out
}

/// The message that stands in the log instead of this one, with this text.
pub fn sealed(message: &Message, text: &EncryptedText) -> Message {
    Message {
        id: message.id.clone(),
        sender_wallet: message.sender_wallet.clone(),
        session_id: message.session_id.clone(),
        kind: message.kind,
        ciphertext: Base64::encode_string(&text.to_bytes()),
        ..Message::default()
    }
}

/// The message that was encrypted, given what stands in the log and the content that was in it.
///
/// # Errors
/// [`Malformed`]: no program of ours wrote it so.
pub fn opened(sealed: &Message, content: &[u8]) -> Result<Message, Malformed> {
    let mut reader = Reader(content);
    let parts = reader.varint()?;
    if parts & !part::ALL != 0 {
        return Err(Malformed(&"a content of another layout"));
    }
    let has = |part: u64| parts & part != 0;
    let timestamp = match (has(part::STAMP), has(part::MILLIS)) {
        (false, false) => Stamp::Iso(reader.varint()?),
        (false, true) => Stamp::Millis(reader.varint()?),
        (true, false) => Stamp::Text(reader.text()?.to_owned()),
        (true, true) => f64::from_be_bytes(*reader.array()?).into(),
    };
    let content_type = if has(part::CONTENT_TYPE) { Some(short(&mut reader, NAME_BYTES_MAX)?) } else { None };
    let replaces = if has(part::REPLACES) { Some(short(&mut reader, ID_BYTES_MAX)?) } else { None };
    let extra = if has(part::EXTRA) { Extra::from(reader.text()?) } else { Extra::default() };
    let ciphertext = if has(part::BYTES) {
        Base64::encode_string(reader.0)
    } else {
        std::str::from_utf8(reader.0).map_err(|_| Malformed(&"a text that is not UTF-8"))?.to_owned()
    };
    if ciphertext.len() > TEXT_BYTES_MAX {
        return Err(Malformed(&"a text is longer than one may be"));
    }
    Ok(Message { timestamp, content_type, replaces, extra, ciphertext, ..sealed.clone() })
}

fn short(reader: &mut Reader<'_>, bytes_max: usize) -> Result<String, Malformed> {
    let text = reader.text()?;
    if text.len() <= bytes_max { Ok(text.to_owned()) } else { Err(Malformed(&"a name is longer than one may be")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Kind;

    #[test]
    fn what_was_encrypted_is_the_message_again() {
        let base = Message { id: "m".into(), sender_wallet: "w".into(), session_id: "s".into(), kind: Kind::EDIT, ..Message::default() };
        let text = EncryptedText { epoch: 1, nonce: [0; 12], ciphertext: vec![0; 48] };
        let stamps = [Stamp::Iso(1_700_000_000_000), Stamp::Millis(7), Stamp::Number(-1.5), Stamp::Text("yesterday".into())];
        for timestamp in stamps {
            for ciphertext in ["", "hello", "AAECAwQFBgcICQ==", "half an emoji \u{fffd}"] {
                for (content_type, replaces, extra) in [(None, None, ""), (Some("image/png"), Some("other"), r#"{"a":1}"#)] {
                    let message = Message {
                        timestamp: timestamp.clone(),
                        ciphertext: ciphertext.into(),
                        content_type: content_type.map(str::to_owned),
                        replaces: replaces.map(str::to_owned),
                        extra: extra.into(),
                        ..base.clone()
                    };
                    let content = content_of(&message);
                    assert_eq!(opened(&sealed(&message, &text), &content), Ok(message));
                }
            }
        }
    }

    #[test]
    fn base64_is_encrypted_as_bytes() {
        let message = Message { ciphertext: Base64::encode_string(&[7; 150]), ..Message::default() };
        assert!(content_of(&message).len() < 160, "a text of 200 bytes");
    }

    #[test]
    fn nothing_but_the_place_is_in_clear() {
        let message =
            Message { ciphertext: "text".into(), content_type: Some("t".into()), replaces: Some("r".into()), ..Message::default() };
        let text = EncryptedText { epoch: 1, nonce: [0; 12], ciphertext: vec![0; 48] };
        let sealed = sealed(&message, &text);
        assert_eq!((sealed.content_type, sealed.replaces, sealed.timestamp), (None, None, Stamp::Millis(0)));
    }

    #[test]
    fn whatever_is_opened_is_the_same_when_it_is_encrypted_again() {
        let message = Message { content_type: Some("t".into()), replaces: Some("r".into()), extra: "{}".into(), ..Message::default() };
        for timestamp in [Stamp::Iso(1_700_000_000_000), Stamp::Millis(7), Stamp::Number(-1.5), Stamp::Text("now".into())] {
            for ciphertext in ["hello", "AAECAwQFBgcICQ=="] {
                let content = content_of(&Message { timestamp: timestamp.clone(), ciphertext: ciphertext.into(), ..message.clone() });
                for bit in 0..8 * content.len() {
                    let mut bent = content.clone();
                    bent[bit / 8] ^= 1 << (bit % 8);
                    if let Ok(opened_message) = opened(&message, &bent) {
                        assert_eq!(opened(&message, &content_of(&opened_message)), Ok(opened_message));
                    }
                }
            }
        }
        // No number that is none.
        let nan = [&[0xc0, 0x01][..], &f64::NAN.to_be_bytes()].concat();
        assert_eq!(opened(&message, &nan).map(|message| message.timestamp), Ok(Stamp::default()));
    }

    #[test]
    fn bent_contents_are_refused() {
        let message = Message::default();
        let bent: [&[u8]; 7] = [&[], &[1, 0], &[0], &[0x84, 1], &[0, 0, 0xff], &[8, 0, 5, 1], &[0x80, 0x01, 0xff]];
        for content in bent {
            opened(&message, content).unwrap_err();
        }
        let long = [&[0, 0][..], &vec![b'a'; TEXT_BYTES_MAX + 1]].concat();
        opened(&message, &long).unwrap_err();
    }
}
