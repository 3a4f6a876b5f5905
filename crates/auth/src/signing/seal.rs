//! Keys at rest: AES-256-GCM with a key that is not in the database.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

/// The form of a sealed text: this byte, the nonce, the ciphertext, the tag.
const VERSION: u8 = 1;

/// Why something cannot be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The file does not hold 32 bytes.
    #[error("the sealing key has {0} bytes; 32 are needed")]
    KeyLength(usize),
    /// Another key, or not what was sealed.
    #[error("it was sealed with another key, or was changed")]
    Refused,
    /// The library failed.
    #[error("the cryptographic library failed")]
    Library,
}

/// The key that seals signing keys: 32 random bytes of a file.
pub struct SealingKey(RandomizedNonceKey);

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey")
    }
}

impl SealingKey {
    /// A key from the 32 bytes of its file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SealError> {
        if bytes.len() != AES_256_GCM.key_len() {
            return Err(SealError::KeyLength(bytes.len()));
        }
        RandomizedNonceKey::new(&AES_256_GCM, bytes)
            .map(Self)
            .map_err(|_| SealError::Library)
    }

    /// Seals `plain` so that it opens only together with `context`.
    pub fn seal(&self, plain: &[u8], context: &str) -> Result<Vec<u8>, SealError> {
        let mut text = Zeroizing::new(plain.to_vec());
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(context.as_bytes()), &mut *text)
            .map_err(|_| SealError::Library)?;
        let mut sealed = vec![VERSION];
        sealed.extend_from_slice(nonce.as_ref());
        sealed.extend_from_slice(&text);
        Ok(sealed)
    }

    /// Opens what [`Self::seal`] made.
    pub fn open(&self, sealed: &[u8], context: &str) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let body = sealed.strip_prefix(&[VERSION]).ok_or(SealError::Refused)?;
        let (nonce, text) = body.split_at_checked(NONCE_LEN).ok_or(SealError::Refused)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Refused)?;
        let mut text = Zeroizing::new(text.to_vec());
        let length = self
            .0
            .open_in_place(nonce, Aad::from(context.as_bytes()), &mut text)
            .map_err(|_| SealError::Refused)?
            .len();
        text.truncate(length);
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_only_with_the_same_key_context_and_bytes() {
        let key = SealingKey::from_bytes(&[1; 32]).expect("32 bytes");
        let other = SealingKey::from_bytes(&[2; 32]).expect("32 bytes");
        let sealed = key.seal(b"secret", "a").expect("seals");
        assert_eq!(key.open(&sealed, "a").expect("opens").as_slice(), b"secret");
        assert_eq!(other.open(&sealed, "a"), Err(SealError::Refused));
        assert_eq!(key.open(&sealed, "b"), Err(SealError::Refused));
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert_eq!(
                key.open(&changed, "a"),
                Err(SealError::Refused),
                "byte {index}"
            );
            assert_eq!(
                key.open(&sealed[..index], "a"),
                Err(SealError::Refused),
                "cut {index}"
            );
        }
        assert_ne!(
            sealed,
            key.seal(b"secret", "a").expect("seals"),
            "the nonce is random"
        );
    }

    #[test]
    fn the_key_has_exactly_32_bytes() {
        assert_eq!(
            SealingKey::from_bytes(&[0; 33]).err(),
            Some(SealError::KeyLength(33))
        );
        assert_eq!(
            SealingKey::from_bytes(b"").err(),
            Some(SealError::KeyLength(0))
        );
    }
}
