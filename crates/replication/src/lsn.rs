//! Positions in the server's log.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A position in the log: bytes since its beginning.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(into = "String", try_from = "String")]
pub struct Lsn(pub u64);

/// Not of the form `16/B374D848`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a position in the log is two hexadecimal numbers of up to 8 digits: 16/B374D848")]
pub struct LsnError;

impl Lsn {
    /// Bytes from `earlier` to here; 0 if it is later.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl FromStr for Lsn {
    type Err = LsnError;

    fn from_str(text: &str) -> Result<Self, LsnError> {
        let half = |text: &str| {
            let digits = text.len() <= 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            let number = u32::from_str_radix(text, 16);
            number.ok().filter(|_| digits).ok_or(LsnError)
        };
        let (high, low) = text.split_once('/').ok_or(LsnError)?;
        Ok(Self(u64::from(half(high)?) << 32 | u64::from(half(low)?)))
    }
}

impl From<Lsn> for String {
    fn from(lsn: Lsn) -> Self {
        lsn.to_string()
    }
}

impl TryFrom<String> for Lsn {
    type Error = LsnError;

    fn try_from(text: String) -> Result<Self, LsnError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_own_form_both_ways() {
        for (text, number) in [
            ("0/0", 0),
            ("0/1", 1),
            ("16/B374D848", 0x16_B374_D848),
            ("FFFFFFFF/FFFFFFFF", u64::MAX),
        ] {
            assert_eq!(text.parse(), Ok(Lsn(number)));
            assert_eq!(Lsn(number).to_string(), text);
        }
        for text in [
            "",
            "/",
            "0",
            "0/",
            "/0",
            "+1/0",
            "0/ 1",
            "100000000/0",
            "0/1/2",
            "g/0",
        ] {
            assert_eq!(text.parse::<Lsn>(), Err(LsnError), "{text}");
        }
    }
}
