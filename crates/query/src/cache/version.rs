//! What an answer is called.

use std::fmt;
use std::str::FromStr;

use rolegate_replication::{Epoch, Lsn};

/// A query with its parameters, in a database and a form: what an answer is found by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash([u8; 32]);

/// One state of an answer. Two bodies never have one version, since their digest is part of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Version {
    /// The history that the position is one of.
    pub epoch: Epoch,
    /// The last commit that touched it.
    pub lsn: Lsn,
    /// Of the body.
    pub digest: Digest,
}

/// The beginning of a body's hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 16]);

/// Not what was minted here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a cursor is /q/HASH/EPOCH-LSN-DIGEST, as it was given")]
pub struct CursorError;

impl Hash {
    /// Of parts. Each one is counted, so that no two lists of parts are one.
    pub fn of<'p>(parts: impl IntoIterator<Item = Option<&'p [u8]>>) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("rolegate 2026 query");
        for part in parts {
            match part {
                Some(bytes) => {
                    hasher.update(&bytes.len().to_le_bytes());
                    hasher.update(bytes);
                }
                None => {
                    hasher.update(&u64::MAX.to_le_bytes());
                }
            }
        }
        Self(*hasher.finalize().as_bytes())
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Digest {
    /// Of a body.
    pub fn of(body: &[u8]) -> Self {
        let mut digest = [0; 16];
        digest.copy_from_slice(&blake3::hash(body).as_bytes()[..16]);
        Self(digest)
    }
}

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let digits: String = digits
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect();
    f.write_str(&digits)
}

fn unhex<const N: usize>(text: &str) -> Result<[u8; N], CursorError> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        _ => Err(CursorError),
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return Err(CursorError);
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Ok(bytes)
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:x}-{}", self.epoch, self.lsn.0, self.digest)
    }
}

impl FromStr for Hash {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        unhex(text).map(Self)
    }
}

impl FromStr for Version {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let mut parts = text.split('-');
        let (Some(epoch), Some(lsn), Some(digest), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(CursorError);
        };
        let plain = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let canonical = !epoch.is_empty()
            && epoch.len() <= 32
            && epoch.bytes().all(plain)
            && lsn.bytes().all(plain)
            && (lsn == "0" || !lsn.starts_with('0'));
        let lsn = u64::from_str_radix(lsn, 16).map_err(|_| CursorError)?;
        canonical.then_some(()).ok_or(CursorError)?;
        Ok(Self {
            epoch: Epoch::new(epoch),
            lsn: Lsn(lsn),
            digest: Digest(unhex(digest)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_as_it_is_written_and_no_other_way() {
        let version = Version {
            epoch: Epoch::new("00ab34cd56ef7890"),
            lsn: Lsn(0x16_B374_D848),
            digest: Digest::of(b"[]"),
        };
        let text = version.to_string();
        assert_eq!(text.parse(), Ok(version));
        for bad in [
            text.to_uppercase(),
            format!("{text}-"),
            format!("{text}0"),
            text.replacen('-', "-0", 1),
            text.replacen('-', "-+", 1),
            text.replace('-', ""),
            String::new(),
            "a-b-c".into(),
            "\r\n-0-00000000000000000000000000000000".into(),
        ] {
            assert_eq!(bad.parse::<Version>(), Err(CursorError), "{bad}");
        }
    }

    #[test]
    fn parts_are_counted() {
        let of =
            |parts: &[Option<&str>]| Hash::of(parts.iter().map(|part| part.map(str::as_bytes)));
        let all = [
            of(&[Some("ab"), Some("c")]),
            of(&[Some("a"), Some("bc")]),
            of(&[Some("abc")]),
            of(&[Some("ab"), Some("c"), None]),
            of(&[Some("ab"), Some("c"), Some("")]),
        ];
        for (index, hash) in all.iter().enumerate() {
            assert!(!all[..index].contains(hash));
            assert_eq!(hash.to_string().parse(), Ok(*hash));
        }
        assert!("ABC".parse::<Hash>().is_err());
    }
}
