//! The signature that functions in the field send: the BLAKE3 keyed hash of the callback's id.
//!
//! It says nothing about the action, the body or the time: who has it can say anything about the
//! job, at any time. [`super::Verifier`] takes it only if it is told to.

use crate::encoding::hex;

use super::{Key, from_hex};

/// The header that carries it.
pub const SIGNATURE_HEADER: &str = "X-Awa-Signature";

/// The signature of an id, in lower-case hexadecimal.
pub fn sign(key: &Key, id: &str) -> String {
    hex(blake3::keyed_hash(&key.secret, id.as_bytes()).as_bytes())
}

/// Whether this is the signature of the id; takes the same time whatever is wrong with it.
pub fn verify(key: &Key, id: &str, signature: &str) -> bool {
    // As the peer writes it, and in no other way.
    if signature.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return false;
    }
    let expected = blake3::keyed_hash(&key.secret, id.as_bytes());
    // Comparing hashes is constant in time.
    from_hex(signature).is_some_and(|given| expected == blake3::Hash::from_bytes(given))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PINNED: &str = "b1495225f01fa8cd09e410d288d09b68c1cc9fb2414686c0d3ac13fc905497d9";

    fn key(byte: u8) -> Key {
        Key::new("k", [byte; 32]).expect("a key")
    }

    #[test]
    fn the_pinned_vector_holds() {
        assert_eq!(sign(&key(7), "abc"), PINNED);
        assert!(verify(&key(7), "abc", PINNED));
    }

    #[test]
    fn anything_else_is_refused() {
        for (key, id, signature) in [
            (key(8), "abc", PINNED),
            (key(7), "abcd", PINNED),
            (key(7), "", PINNED),
            (key(7), "abc", ""),
            (key(7), "abc", &PINNED[..63]),
            (key(7), "abc", &PINNED.to_uppercase()),
            (key(7), "abc", &format!("{PINNED} ")),
            (key(7), "abc", &PINNED.replace('b', "c")),
        ] {
            assert!(!verify(&key, id, signature), "{id} {signature}");
        }
    }
}
