//! The parts give what their standards print.

use argon2::{Algorithm, Argon2, AssociatedData, ParamsBuilder, Version};
use chacha20poly1305::ChaCha20Poly1305;
use chacha20poly1305::aead::AeadInOut as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::seal::{PrivateKey, seal_with};
use crate::{expand, extract};

fn bytes(hex: &str) -> alloc::vec::Vec<u8> {
    hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn key(hex: &str) -> [u8; 32] {
    bytes(hex).try_into().unwrap()
}

#[test]
fn hpke_is_that_of_rfc_9180() {
    // Appendix A.2.1, the first encryption.
    let (info, aad) = (bytes("4f6465206f6e2061204772656369616e2055726e"), bytes("436f756e742d30"));
    let plain = bytes("4265617574792069732074727574682c20747275746820626561757479");
    let secret = PrivateKey::from_secret(&key("8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb"));
    assert_eq!(secret.public(), key("4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a"));
    let ephemeral = Zeroizing::new(key("909a9b35d3dc4713a5e72a4da274b55d3d3821a37e5d099e74a647db583a904b"));
    let sealed = seal_with(&secret.public(), &info, &aad, &plain, ephemeral).unwrap();
    let expected = "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a\
                    1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28";
    assert_eq!(sealed, bytes(expected));
    assert_eq!(secret.open_with(&info, &aad, &sealed).unwrap().as_slice(), plain);
}

#[test]
fn x25519_is_that_of_rfc_7748() {
    // Section 6.1.
    let pairs = [
        (
            "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
            "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
        ),
        (
            "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
            "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
        ),
    ];
    for (secret, public) in pairs {
        assert_eq!(PrivateKey::from_secret(&key(secret)).public(), key(public));
    }
}

#[test]
fn hkdf_is_that_of_rfc_5869() {
    // Appendix A.1.
    let prk = extract(&bytes("000102030405060708090a0b0c"), &[0x0b; 22]);
    assert_eq!(*prk, key("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"));
    let expanded: Zeroizing<[u8; 42]> = expand(&prk, &[&bytes("f0f1f2f3f4"), &bytes("f5f6f7f8f9")]);
    assert_eq!(expanded[..], bytes("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"));
}

#[test]
fn hmac_is_that_of_rfc_4231() {
    // Section 4.3.
    let mut mac = Hmac::<Sha256>::new_from_slice(b"Jefe").unwrap();
    mac.update(b"what do ya want for nothing?");
    let code: [u8; 32] = mac.finalize().into_bytes().into();
    assert_eq!(code, key("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"));
}

#[test]
fn argon2id_is_that_of_rfc_9106() {
    // Section 5.3.
    let mut params = ParamsBuilder::new();
    params.m_cost(32).t_cost(3).p_cost(4).output_len(32).data(AssociatedData::new(&[4; 12]).unwrap());
    let argon = Argon2::new_with_secret(&[3; 8], Algorithm::Argon2id, Version::V0x13, params.build().unwrap()).unwrap();
    let mut tag = [0; 32];
    argon.hash_password_into(&[1; 32], &[2; 16], &mut tag).unwrap();
    assert_eq!(tag, key("0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"));
}

#[test]
fn the_cipher_is_that_of_rfc_8439() {
    // Section 2.8.2.
    let cipher = ChaCha20Poly1305::new((&key("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f")).into());
    let nonce: [u8; 12] = bytes("070000004041424344454647").try_into().unwrap();
    let mut text =
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.".to_vec();
    let tag = cipher.encrypt_inout_detached((&nonce).into(), &bytes("50515253c0c1c2c3c4c5c6c7"), text[..].as_mut().into()).unwrap();
    assert_eq!(text[..16], bytes("d31a8d34648e60db7b86afbc53ef7ec2"));
    assert_eq!(tag[..], bytes("1ae10b594f09e26a7e902ecbd0600691"));
}
