//! Halves of characters in JSON.

use std::borrow::Cow;

/// The same JSON, with U+FFFD for every escape that stands for half a character.
///
/// JavaScript cuts strings between the two halves of an emoji, and `JSON.stringify` writes a half as `\ud83d`. UTF-8 has no
/// halves, and serde_json refuses the whole text for one, wherever it stands. Mended before it is parsed, the text of a
/// message, an id, a name or a key that nobody knows is read alike: as a browser's own `WebSocket.send` and our SDK write it.
/// Two ids that differ in their halves alone become one name; whoever makes ids of broken text has that.
///
/// The mended text is as long as the given one, and nothing is copied where there is no half.
pub(crate) fn without_lone_surrogates(json: &str) -> Cow<'_, str> {
    let bytes = json.as_bytes();
    let mut mended = String::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(found) = bytes.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == b'\\')) {
        let escape = at + found;
        at = match code_unit(bytes, escape) {
            Some(0xd800..=0xdbff) if matches!(code_unit(bytes, escape + 6), Some(0xdc00..=0xdfff)) => escape + 12,
            Some(0xd800..=0xdfff) => {
                mended.push_str(&json[copied..escape]);
                mended.push_str("\\ufffd");
                copied = escape + 6;
                copied
            }
            // Two bytes: an escaped backslash begins no other escape.
            _ => escape + 2,
        };
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    mended.push_str(&json[copied..]);
    Cow::Owned(mended)
}

/// What an escape, `\u` and four hex digits, stands for, where one begins here.
fn code_unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)? as u16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lone_surrogates_become_replacement_characters() {
        let cases = [
            (r#""\ud83d""#, r#""\ufffd""#),
            (r#""\uD83D""#, r#""\ufffd""#),
            (r#""\ude00""#, r#""\ufffd""#),
            (r#""\ude00\ud83d""#, r#""\ufffd\ufffd""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\ud83d\u0041""#, r#""\ufffd\u0041""#),
            (r#""\ud83dA\ude00""#, r#""\ufffdA\ufffd""#),
            (r#""\\\ud83d""#, r#""\\\ufffd""#),
            (r#"{"\ud800":1,"é\udbff":"\udfff"}"#, r#"{"\ufffd":1,"é\ufffd":"\ufffd"}"#),
        ];
        for (json, mended) in cases {
            assert_eq!(without_lone_surrogates(json), mended, "{json}");
            serde_json::from_str::<serde_json::Value>(mended).unwrap();
        }
    }

    #[test]
    fn text_without_lone_surrogates_is_not_copied() {
        let whole =
            ["", "\\", "\\é", "\\u", "\\ud8", "\\ud83", r#""\\ud83d""#, r#""\uD83D\uDE00""#, r#""\ud7ff\ue000\+d83""#, "\\u+d83\\ud8é3"];
        for json in whole {
            assert!(matches!(without_lone_surrogates(json), Cow::Borrowed(_)), "{json}");
        }
    }
}
