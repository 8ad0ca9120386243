//! Ed25519 key pairs and signatures (docs/spec/log.md section 1.1).

use std::fmt;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

/// What signs a log. The secret half is wiped from memory on drop and never printed.
///
/// With the feature `aws-lc` signatures are made by AWS-LC, which takes less than half the time for the
/// same bytes; it needs a C compiler to build. They are verified by the same code either way.
#[derive(Clone)]
pub struct KeyPair {
    signing: SigningKey,
    #[cfg(feature = "aws-lc")]
    fast: Option<std::sync::Arc<aws_lc_rs::signature::Ed25519KeyPair>>,
}

impl KeyPair {
    /// Makes a new key pair from the operating system's random source.
    ///
    /// # Panics
    ///
    /// If the operating system has no randomness to give. There is no safe way on from there.
    #[must_use]
    pub fn generate() -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).expect("the operating system has a random source");
        Self::from_seed(*seed)
    }

    /// The key pair of this seed, always the same.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        let signing = SigningKey::from_bytes(&seed);
        #[cfg(feature = "aws-lc")]
        let fast = {
            use aws_lc_rs::signature::Ed25519KeyPair;
            let public = signing.verifying_key().to_bytes();
            Ed25519KeyPair::from_seed_and_public_key(&seed[..], &public).ok().map(Into::into)
        };
        Self {
            signing,
            #[cfg(feature = "aws-lc")]
            fast,
        }
    }

    /// What others verify signatures with.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        self.signing.verifying_key().to_bytes()
    }

    /// The secret from which everything else follows. Keep it private.
    #[must_use]
    pub fn seed(&self) -> &[u8; 32] {
        self.signing.as_bytes()
    }

    /// Signs a message. The same message gives the same signature.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        #[cfg(feature = "aws-lc")]
        if let Some(signature) = self.fast.as_ref().and_then(|fast| fast.try_sign(message).ok())
            && let Ok(signature) = signature.as_ref().try_into()
        {
            return signature;
        }
        self.signing.sign(message).to_bytes()
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPair(")?;
        self.public_key().iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// Whether `signature` is one over `message` by the owner of `public_key`.
///
/// Accepts exactly what libsodium accepts, so that all replicas agree on what is signed: no public
/// key that is of small order or not canonical, no small order point in the signature, its number
/// reduced, and the equation checked without cofactor. `verify_strict` does all this but for the
/// canonical public key.
#[must_use]
pub fn verify(public_key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    is_canonical(public_key)
        && VerifyingKey::from_bytes(public_key)
            .is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(signature)).is_ok())
}

/// Whether the y coordinate, all bits but the highest, is below the field's prime 2^255 - 19.
fn is_canonical(public_key: &[u8; 32]) -> bool {
    let [low, middle @ .., high] = public_key;
    *low < 0xed || middle.iter().any(|&byte| byte != 0xff) || high & 0x7f != 0x7f
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A signature holds for its message and key, and for nothing else.
    #[test]
    fn signatures_bind() {
        let keys = KeyPair::from_seed([7; 32]);
        let other = KeyPair::from_seed([8; 32]);
        let signature = keys.sign(b"message");
        assert!(verify(&keys.public_key(), b"message", &signature));
        assert!(!verify(&keys.public_key(), b"massage", &signature));
        assert!(!verify(&other.public_key(), b"message", &signature));
        for at in 0..64 {
            let mut bent = signature;
            bent[at] ^= 1;
            assert!(!verify(&keys.public_key(), b"message", &bent));
        }
    }

    proptest::proptest! {
        /// Whatever makes signatures, they are those of the reference, byte for byte.
        #[test]
        fn signatures_are_the_same_whoever_makes_them(
            seed: [u8; 32], message in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
        ) {
            let keys = KeyPair::from_seed(seed);
            let reference = SigningKey::from_bytes(&seed).sign(&message).to_bytes();
            proptest::prop_assert_eq!(keys.sign(&message), reference);
        }
    }

    /// Public keys that libsodium refuses are refused: the neutral point, for which anything could
    /// be "signed", and coordinates at or above the prime.
    #[test]
    fn weak_and_odd_keys_are_refused() {
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&neutral);
        assert!(!verify(&neutral, b"", &signature));

        let mut prime = [0xff; 32];
        prime[0] = 0xed;
        prime[31] = 0x7f;
        assert!(!is_canonical(&prime));
        prime[0] = 0xec;
        assert!(is_canonical(&prime));
    }

    /// Printing a key pair does not print its secret.
    #[test]
    fn debug_hides_the_seed() {
        let keys = KeyPair::from_seed([0xab; 32]);
        assert!(!format!("{keys:?}").contains("abab"));
    }
}
