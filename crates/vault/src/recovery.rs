//! Recovery keys: made of a code that a person keeps, or of what a passkey gives.

use alloc::string::String;

use subtle::{Choice, ConstantTimeEq as _};
use zeroize::Zeroizing;

use crate::gf32::{character, double, element, times};
use crate::seal::PrivateKey;
use crate::wire::{Malformed, put_text};
use crate::{Secret, expand, extract};

/// Characters that are random: 130 bits.
const RANDOM_CHARACTERS: usize = 26;

/// With the two that check them.
const CHARACTERS: usize = RANDOM_CHARACTERS + 2;

/// How long the code is as it is shown: seven groups of four.
pub const CODE_BYTES: usize = CHARACTERS + CHARACTERS / 4 - 1;

/// The two keys that a code or passkey is for one account.
pub struct RecoveryKeys {
    /// Account keys are sealed to it.
    pub seal_key: PrivateKey,
    /// The secret of the Ed25519 key that proves that a device may be approved.
    pub signing_secret: Secret,
}

impl core::fmt::Debug for RecoveryKeys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("RecoveryKeys(..)")
    }
}

impl RecoveryKeys {
    fn new(label: &[u8], secret: &[u8], account: &str) -> RecoveryKeys {
        let mut info = alloc::vec::Vec::new();
        put_text(&mut info, account);
        let both: Zeroizing<[u8; 64]> = expand(&extract(label, secret), &[&info]);
        let (mut sealing, mut signing_secret) = (Secret::default(), Secret::default());
        sealing.copy_from_slice(&both[..32]);
        signing_secret.copy_from_slice(&both[32..]);
        RecoveryKeys { seal_key: PrivateKey::from_secret(&sealing), signing_secret }
    }

    /// Of what a passkey's PRF gives.
    pub fn of_passkey(output: &[u8; 32], account: &str) -> RecoveryKeys {
        RecoveryKeys::new(b"solconnect.passkey.v1\0", output, account)
    }
}

/// What a code says.
#[derive(Clone)]
pub struct RecoveryCode(Zeroizing<[u8; RANDOM_CHARACTERS]>);

impl core::fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("RecoveryCode(..)")
    }
}

impl RecoveryCode {
    /// A new one, of the first 130 bits.
    pub fn new(random: &[u8; 17]) -> RecoveryCode {
        let mut code = RecoveryCode(Zeroizing::new([0; RANDOM_CHARACTERS]));
        for (place, element) in code.0.iter_mut().enumerate() {
            for bit in 5 * place..5 * place + 5 {
                *element = *element << 1 | random[bit / 8] >> (7 - bit % 8) & 1;
            }
        }
        code
    }

    /// As it is shown.
    pub fn text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(CODE_BYTES));
        let elements = self.0.iter().copied().chain(self.checks());
        for (place, element) in elements.enumerate() {
            if place > 0 && place % 4 == 0 {
                text.push('-');
            }
            text.push(char::from(character(element)));
        }
        text
    }

    /// Reads what a person has typed.
    ///
    /// # Errors
    /// [`Malformed`]: it has another number of characters, one that is in no code, or one is wrong. It does not say which.
    pub fn read(text: &str) -> Result<RecoveryCode, Malformed> {
        let wrong = Malformed("it is no recovery code: a character is wrong or missing");
        let mut all = Zeroizing::new([0; CHARACTERS]);
        let mut is_good = Choice::from(1);
        let mut count = 0;
        // How a person groups them is no secret.
        for typed in text.bytes().filter(|byte| !matches!(byte, b'-' | b' ')) {
            let (element, is_one) = element(typed);
            *all.get_mut(count).ok_or(wrong)? = element;
            is_good &= is_one;
            count += 1;
        }
        let mut code = RecoveryCode(Zeroizing::new([0; RANDOM_CHARACTERS]));
        code.0.copy_from_slice(&all[..RANDOM_CHARACTERS]);
        is_good &= code.checks().ct_eq(&all[RANDOM_CHARACTERS..]);
        if count == CHARACTERS && bool::from(is_good) { Ok(code) } else { Err(wrong) }
    }

    /// Its keys for an account.
    pub fn keys(&self, account: &str) -> RecoveryKeys {
        let mut packed = Zeroizing::new([0_u8; 17]);
        for (place, element) in self.0.iter().enumerate() {
            for bit in 0..5 {
                let at = 5 * place + bit;
                packed[at / 8] |= (element >> (4 - bit) & 1) << (7 - at % 8);
            }
        }
        RecoveryKeys::new(b"solconnect.recovery.v1\0", &packed[..], account)
    }

    /// The two last elements: with them the sums of all, and of all times the powers of 2 of their places, are zero.
    fn checks(&self) -> [u8; 2] {
        let (mut sum, mut weighted, mut power) = (0, 0, 1);
        for element in self.0.iter() {
            sum ^= element;
            weighted ^= times(power, *element);
            power = double(power);
        }
        // a + b = sum, a p + b 2p = weighted: so b (p + 2p) = weighted + p sum.
        let next = double(power);
        let last = times(weighted ^ times(power, sum), inverse(power ^ next));
        [sum ^ last, last]
    }
}

/// Of a number that is no secret: the 30th power.
fn inverse(element: u8) -> u8 {
    (0..30).fold(1, |power, _| times(power, element))
}
