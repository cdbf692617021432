//! Arithmetic with 32 elements, and their characters, without tables: an index would tell which it is.

use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _, ConstantTimeGreater as _};

/// Twice an element, in GF(32) by x^5 + x^2 + 1.
pub fn double(element: u8) -> u8 {
    ((element << 1) & 0x1f) ^ (0b101 * (element >> 4 & 1))
}

/// The product of two elements.
pub fn times(element: u8, other: u8) -> u8 {
    let (mut product, mut power) = (0, element);
    for bit in 0..5 {
        product ^= power * (other >> bit & 1);
        power = double(power);
    }
    product
}

/// The character of an element: digits, then letters without I, L, O and U.
pub fn character(element: u8) -> u8 {
    let mut letter = b'A' - 10 + element;
    for (first, skip) in [(18, 1), (20, 1), (22, 1), (27, 1)] {
        letter += skip * (!first.ct_gt(&element)).unwrap_u8();
    }
    u8::conditional_select(&letter, &(b'0' + element), 10_u8.ct_gt(&element))
}

/// The element of a character, and whether there is one.
pub fn element(character: u8) -> (u8, Choice) {
    let is_lower = !b'a'.ct_gt(&character) & !character.ct_gt(&b'z');
    let upper = character - 32 * is_lower.unwrap_u8();
    let is_one = upper.ct_eq(&b'I') | upper.ct_eq(&b'L');
    let meant = u8::conditional_select(&upper, &b'1', is_one);
    let meant = u8::conditional_select(&meant, &b'0', meant.ct_eq(&b'O'));
    let (mut found, mut is_there) = (0, Choice::from(0));
    for element in 0..32 {
        let is_it = self::character(element).ct_eq(&meant);
        found |= element * is_it.unwrap_u8();
        is_there |= is_it;
    }
    (found, is_there)
}
