//! A passive adversary: it has all frames and the whole journal, and looks there for what stands in every text that people write.

use fastrand::Rng;

/// Bytes of a marker.
const MARKER_BYTES: usize = 16;

/// What every text of a seed has in it, and nothing else, in the forms in which it could be seen.
pub struct Marker {
    text: String,
    /// By the name of the form.
    forms: Vec<(&'static str, Vec<u8>)>,
    /// The bytes that a form begins with.
    begins: [bool; 256],
}

impl Marker {
    /// That of a seed, drawn apart from all that happens in it.
    pub fn new(seed: u64) -> Marker {
        let mut random = Rng::with_seed(seed ^ 0x006d_6172_6b65_7221);
        let text: String = (0..MARKER_BYTES).map(|_| random.alphanumeric()).collect();
        let bytes = text.as_bytes();
        let wide: Vec<u8> = bytes.iter().flat_map(|byte| [*byte, 0]).collect();
        let mut forms = vec![
            ("as it is", bytes.to_vec()),
            ("in UTF-16", wide[..wide.len() - 1].to_vec()),
            ("in hex", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes()),
            ("in hex", bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>().into_bytes()),
        ];
        for before in 0..3 {
            // The characters at the ends say something of what stands beside it too.
            let encoded = base64(&[&[0; 2][..before], bytes].concat());
            let inner = &encoded[(before * 8).div_ceil(6)..(before + MARKER_BYTES) * 8 / 6];
            forms.push(("in base64", inner.as_bytes().to_vec()));
            forms.push(("in base64", inner.replace('+', "-").replace('/', "_").into_bytes()));
        }
        let mut begins = [false; 256];
        forms.iter().for_each(|(_, form)| begins[usize::from(form[0])] = true);
        Marker { text, forms, begins }
    }

    /// As it stands in a text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// In which form it stands in these bytes; `None` where it does not.
    pub fn found_in(&self, bytes: &[u8]) -> Option<&'static str> {
        for (place, byte) in bytes.iter().enumerate() {
            if self.begins[usize::from(*byte)]
                && let Some((name, _)) = self.forms.iter().find(|(_, form)| bytes[place..].starts_with(form))
            {
                return Some(name);
            }
        }
        None
    }
}

/// Bytes in base64.
pub fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, place| bits << 8 | u32::from(chunk.get(place).copied().unwrap_or(0)));
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn a_marker_is_found_in_every_form() {
        let marker = Marker::new(7);
        let text = format!("before {} behind", marker.text());
        let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        for (form, bytes) in [
            ("as it is", text.clone().into_bytes()),
            ("in UTF-16", wide),
            ("in UTF-16", big),
            ("in hex", hex.clone().into_bytes()),
            ("in hex", hex.to_uppercase().into_bytes()),
            ("in base64", base64(text.as_bytes()).into_bytes()),
            ("in base64", base64(&text.as_bytes()[1..]).into_bytes()),
            ("in base64", base64(&text.as_bytes()[2..]).into_bytes()),
        ] {
            assert_eq!(marker.found_in(&bytes), Some(form));
        }
        assert_eq!(marker.found_in(Marker::new(8).text().as_bytes()), None);
    }
}
