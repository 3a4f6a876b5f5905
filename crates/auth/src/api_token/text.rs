//! The text of an API token.

use std::fmt;

use aws_lc_rs::rand;
use secrecy::SecretString;

use crate::encoding::{hex, sha256};

/// What every token starts with, for secret scanners.
const PREFIX: &str = "rg_";
/// Hexadecimal digits of the random part.
const RANDOM_DIGITS: usize = 64;
/// Hexadecimal digits of the checksum: the first four bytes of the SHA-256 of what is before it.
const CHECKSUM_DIGITS: usize = 8;

/// A bearer that can be one of our API tokens. Only its hash is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiToken {
    hash: [u8; 32],
}

impl fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiToken")
    }
}

/// The bearer cannot be ours; it is not worth a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bearer does not have the shape of an API token")]
pub struct NotOurs;

impl ApiToken {
    /// Whether the bearer claims to be an API token.
    pub fn is_meant(bearer: &str) -> bool {
        bearer.starts_with(PREFIX)
    }

    /// Checks shape and checksum.
    pub fn parse(bearer: &str) -> Result<Self, NotOurs> {
        let digits = bearer.strip_prefix(PREFIX).ok_or(NotOurs)?;
        if digits.len() != RANDOM_DIGITS + CHECKSUM_DIGITS || !digits.bytes().all(is_digit) {
            return Err(NotOurs);
        }
        let (body, sum) = bearer.split_at(PREFIX.len() + RANDOM_DIGITS);
        if checksum(body) != sum {
            return Err(NotOurs);
        }
        Ok(Self {
            hash: sha256(bearer.as_bytes()),
        })
    }

    /// A token that was imported from the peer: 64 hexadecimal digits and nothing else, so that
    /// anything of that shape is worth a query.
    pub fn parse_imported(bearer: &str) -> Result<Self, NotOurs> {
        if bearer.len() != RANDOM_DIGITS || !bearer.bytes().all(is_digit) {
            return Err(NotOurs);
        }
        Ok(Self {
            hash: sha256(bearer.as_bytes()),
        })
    }

    /// Makes a new token: its text, which is shown once, and what is stored of it.
    ///
    /// `Err` if the system has no random numbers.
    pub fn generate() -> Result<(SecretString, Self), aws_lc_rs::error::Unspecified> {
        let mut random = [0; RANDOM_DIGITS / 2];
        rand::fill(&mut random)?;
        let body = format!("{PREFIX}{}", hex(&random));
        let text = format!("{body}{}", checksum(&body));
        let token = Self {
            hash: sha256(text.as_bytes()),
        };
        Ok((SecretString::from(text), token))
    }

    /// SHA-256 of the whole text: what the database knows.
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }
}

fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn checksum(body: &str) -> String {
    hex(&sha256(body.as_bytes())[..CHECKSUM_DIGITS / 2])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    use super::*;

    fn token() -> String {
        ApiToken::generate()
            .expect("random numbers")
            .0
            .expose_secret()
            .to_owned()
    }

    #[test]
    fn the_shape_is_the_contract_of_the_database() {
        // The same text that `rolegate.mint_api_token` makes from 32 zero bytes.
        let body = format!("rg_{}", "0".repeat(64));
        let text = format!("{body}{}", &hex(&sha256(body.as_bytes()))[..8]);
        assert_eq!(text.len(), 75);
        let token = ApiToken::parse(&text).expect("ours");
        assert_eq!(token.hash(), &sha256(text.as_bytes()));
    }

    #[test]
    fn what_is_made_parses_and_differs() {
        let (text, made) = ApiToken::generate().expect("random numbers");
        assert_eq!(ApiToken::parse(text.expose_secret()), Ok(made));
        assert_ne!(text.expose_secret(), token());
    }

    #[test]
    fn other_bearers_are_not_ours() {
        let good = token();
        for text in [
            "",
            "rg_",
            "eyJhbGciOiJub25lIn0.e30.",
            &good[..74],
            &format!("{good}0"),
            &good.to_uppercase(),
            &good.replace("rg_", "RG_"),
            &format!(" {good}"),
            &good[3..],
        ] {
            assert_eq!(ApiToken::parse(text), Err(NotOurs), "{text}");
        }
        assert!(ApiToken::parse_imported(&"a".repeat(64)).is_ok());
        for text in [&"a".repeat(63), &"A".repeat(64), &"g".repeat(64), &good] {
            assert_eq!(ApiToken::parse_imported(text), Err(NotOurs), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_single_changed_bit_passes(index in 0usize..75, bit in 0u8..8) {
            let good = token();
            let mut bytes = good.clone().into_bytes();
            bytes[index] ^= 1 << bit;
            if let Ok(changed) = String::from_utf8(bytes) {
                prop_assert_eq!(ApiToken::parse(&changed), Err(NotOurs));
            }
        }

        #[test]
        fn no_text_is_a_token_by_accident(text in "\\PC{0,100}") {
            prop_assert_eq!(ApiToken::parse(&text), Err(NotOurs));
        }
    }
}
