//! The recovery secret: 24 words on paper by which a new device gets in when all others are lost but
//! one, or out of reach.

use std::fmt;

use bip39::{Language, Mnemonic};
use multibee_log::{KeyPair, LogKey};
use zeroize::Zeroizing;

use crate::author::Author;
use crate::devices::AddOptions;
use crate::{Error, Home, Multibee, Options};

/// A secret that may admit and remove devices, as a device may: 24 words to be kept on paper.
///
/// No device keeps it. Whoever has the words and reaches any device of the database can add a device of
/// their own to it, and remove others.
#[derive(Clone)]
pub struct RecoverySecret(KeyPair);

impl RecoverySecret {
    fn generate() -> Self {
        Self(KeyPair::generate())
    }

    /// Reads the 24 words, whatever is between them.
    ///
    /// # Errors
    ///
    /// [`Error::RecoveryWords`] says which word is wrong, if one is.
    pub fn from_words(words: &str) -> Result<Self, Error> {
        let wrong = |why: String| Error::RecoveryWords { why };
        let count = words.split_whitespace().count();
        if count != WORDS {
            return Err(wrong(format!("there are {count} words, not {WORDS}")));
        }
        let mut text = Zeroizing::new(words.to_owned());
        text.make_ascii_lowercase();
        let mnemonic = Mnemonic::parse_in_normalized(Language::English, &text);
        let mnemonic = mnemonic.map_err(|error| match error {
            bip39::Error::UnknownWord(index) => {
                wrong(format!("word {} is none of the list", index.saturating_add(1)))
            }
            _ => wrong("at least one word is another one, or stands elsewhere".into()),
        })?;
        let (entropy, len) = mnemonic.to_entropy_array();
        let entropy = Zeroizing::new(entropy);
        let seed = entropy.get(..len).and_then(|seed| <[u8; 32]>::try_from(seed).ok());
        let seed = seed.map(Zeroizing::new).expect("24 words have 32 bytes and a checksum");
        Ok(Self(KeyPair::from_seed(*seed)))
    }

    /// The words, with a blank between any two. They are overwritten in memory when they are dropped.
    pub fn words(&self) -> Zeroizing<String> {
        let mnemonic = Mnemonic::from_entropy_in(Language::English, self.0.seed())
            .expect("32 bytes are one of the lengths that there are words for");
        let mut words = Zeroizing::new(String::with_capacity(WORDS * WORD_LEN_MAX));
        for word in mnemonic.words() {
            if !words.is_empty() {
                words.push(' ');
            }
            words.push_str(word);
        }
        words
    }

    /// The key by which devices know the secret. It is no secret itself.
    pub fn key(&self) -> LogKey {
        Author::key(&self.0)
    }

    pub(crate) const fn keys(&self) -> &KeyPair {
        &self.0
    }
}

impl fmt::Debug for RecoverySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecoverySecret").field("key", &self.key()).finish_non_exhaustive()
    }
}

const WORDS: usize = 24;
/// No word of the list has more than eight letters; and a blank.
const WORD_LEN_MAX: usize = 9;

impl Multibee {
    /// Makes a recovery secret for the database. Show its words once, to be written down: no device keeps
    /// them. An earlier secret counts no longer.
    ///
    /// # Errors
    ///
    /// [`Error::Removed`] on a device that was removed; or the disk is at fault.
    pub fn create_recovery(&self) -> Result<RecoverySecret, Error> {
        let secret = RecoverySecret::generate();
        self.change_devices(|core| core.set_recovery(secret.keys()))?;
        Ok(secret)
    }

    /// Whether there is a recovery secret, as far as this device knows.
    pub fn has_recovery(&self) -> bool {
        !self.network().session().lock().core.recovery().is_empty()
    }

    /// Whether this secret is the one of the database, as far as this device knows.
    pub fn check_recovery(&self, secret: &RecoverySecret) -> bool {
        self.network().session().lock().core.recovery().contains(&secret.key())
    }

    /// Begins a new device that the recovery secret admits. [Connect](Self::connect) it with any device of
    /// the database: that takes it for a member, if it knows the secret, and has to prove that it belongs
    /// to whoever made it. Then it catches up as any new device does.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create), and [`Error::NameTooLong`].
    pub fn recover(
        home: Home,
        secret: &RecoverySecret,
        options: Options,
        device: AddOptions,
    ) -> Result<Self, Error> {
        let db = Self::create(home, options)?;
        db.change_devices(|core| core.be_admitted_by(secret.keys(), device))?;
        Ok(db)
    }

    /// Removes a device by the recovery secret, as [`remove_replica`](Self::remove_replica) does. A secret
    /// is senior to devices that were admitted after it was made: they can't undo it.
    ///
    /// # Errors
    ///
    /// As `remove_replica`, and [`Error::UnknownRecovery`].
    pub fn remove_with(&self, secret: &RecoverySecret, key: &LogKey) -> Result<(), Error> {
        self.change_devices(|core| core.remove_by(secret.keys(), *key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words give the secret back, however they are written down; and they are the words that
    /// other programs would make of it.
    #[test]
    fn words_give_the_secret_back() {
        let secret = RecoverySecret(KeyPair::from_seed([0; 32]));
        let words = secret.words();
        assert_eq!(*words, format!("{}art", "abandon ".repeat(23)));
        let written = format!("\n {}", words.to_uppercase().replace(' ', " \n\t"));
        assert_eq!(RecoverySecret::from_words(&written).unwrap().key(), secret.key());
        for _ in 0..20 {
            let secret = RecoverySecret::generate();
            let words = secret.words();
            assert!(words.len() <= WORDS * WORD_LEN_MAX, "no room was found elsewhere");
            assert_eq!(RecoverySecret::from_words(&words).unwrap().key(), secret.key());
            assert!(!format!("{secret:?}").contains(words.split(' ').next().unwrap()));
        }
    }

    /// Whoever writes a word wrong is told which, if it is none of the list.
    #[test]
    fn wrong_words_are_named() {
        let words = RecoverySecret(KeyPair::from_seed([0; 32])).words();
        let said = |words: &str| RecoverySecret::from_words(words).unwrap_err().to_string();
        assert!(said(&words.replacen("abandon", "abandoned", 1)).contains("word 1 "));
        assert!(said(&words.replace("art", "zoo")).contains("another one"));
        assert!(said("abandon").contains("1 words"));
    }
}
