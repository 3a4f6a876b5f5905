//! Compressed forms of a body: made once for all who ask, not once for each.

use std::sync::OnceLock;

use bytes::Bytes;

/// Smallest body that is compressed: a smaller one fits into a packet as it is.
pub(super) const SMALLEST: usize = 1024;

/// A form that HTTP calls a content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// `zstd`
    Zstd,
    /// `br`
    Brotli,
    /// `gzip`
    Gzip,
}

impl Coding {
    /// All of them, the one we would choose first.
    pub const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    /// What HTTP calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// The one to choose for the values of `Accept-Encoding`; `None`: the body as it is. RFC 9110, 12.5.3.
    pub fn accepted<'v>(values: impl Iterator<Item = &'v str>) -> Option<Self> {
        let mut weights = [None; Self::ALL.len()];
        let mut others = None;
        for range in values.flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let weight = parts
                .find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
                .map_or(1.0, |q| q.parse::<f32>().unwrap_or(0.0));
            if name == "*" {
                others = Some(weight);
            }
            for (place, coding) in Self::ALL.iter().enumerate() {
                if name.eq_ignore_ascii_case(coding.as_str()) {
                    weights[place] = Some(weight);
                }
            }
        }
        let mut best: Option<(Self, f32)> = None;
        for (coding, weight) in Self::ALL.into_iter().zip(weights) {
            let weight = weight.or(others).unwrap_or(0.0);
            if weight > best.map_or(0.0, |(_, most)| most) {
                best = Some((coding, weight));
            }
        }
        best.map(|(coding, _)| coding)
    }
}

/// What became of a form.
#[derive(Debug)]
pub enum Form {
    /// It is kept.
    Kept(Bytes),
    /// It takes more than there is room for: the body is given as it is.
    TooLarge,
}

/// The forms that were made so far.
#[derive(Debug, Default)]
pub(super) struct Packed([OnceLock<Form>; Coding::ALL.len()]);

impl Packed {
    pub(super) fn get(&self, coding: Coding) -> Option<&Form> {
        self.0[coding as usize].get()
    }

    /// Keeps a form while all of them together take at most `most` bytes.
    pub(super) fn put(&self, coding: Coding, bytes: Bytes, most: usize) -> &Form {
        let kept = self.0.iter().filter_map(|form| match form.get() {
            Some(Form::Kept(bytes)) => Some(bytes.len()),
            _ => None,
        });
        let fits = kept.sum::<usize>() + bytes.len() <= most;
        // Somebody else may have been faster, with the same.
        self.0[coding as usize].get_or_init(|| {
            if fits {
                Form::Kept(bytes)
            } else {
                Form::TooLarge
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(values: &[&str]) -> Option<&'static str> {
        Coding::accepted(values.iter().copied()).map(Coding::as_str)
    }

    #[test]
    fn the_coding_is_the_one_the_client_likes_most() {
        assert_eq!(accepted(&[]), None);
        assert_eq!(accepted(&[""]), None);
        assert_eq!(accepted(&["identity"]), None);
        assert_eq!(accepted(&["deflate"]), None);
        assert_eq!(accepted(&["gzip"]), Some("gzip"));
        assert_eq!(accepted(&["GZIP"]), Some("gzip"));
        assert_eq!(accepted(&["gzip, deflate, br"]), Some("br"));
        assert_eq!(accepted(&["gzip, deflate, br, zstd"]), Some("zstd"));
        assert_eq!(accepted(&["gzip", "br"]), Some("br"));
        assert_eq!(accepted(&["br;q=0.5, gzip;q=0.8"]), Some("gzip"));
        assert_eq!(accepted(&["br ; q=0 , gzip"]), Some("gzip"));
        assert_eq!(accepted(&["gzip;q=0"]), None);
        assert_eq!(accepted(&["gzip;q=nonsense"]), None);
        assert_eq!(accepted(&["*"]), Some("zstd"));
        assert_eq!(accepted(&["*;q=0"]), None);
        assert_eq!(accepted(&["zstd;q=0, *;q=0.1"]), Some("br"));
    }

    #[test]
    fn forms_take_no_more_than_their_bound() {
        let packed = Packed::default();
        let put = |coding, bytes: &'static [u8]| match packed.put(coding, bytes.into(), 8) {
            Form::Kept(bytes) => Some(bytes.len()),
            Form::TooLarge => None,
        };
        assert_eq!(put(Coding::Gzip, b"12345"), Some(5));
        assert_eq!(put(Coding::Brotli, b"1234"), None);
        assert_eq!(put(Coding::Zstd, b"123"), Some(3));
        assert!(matches!(packed.get(Coding::Brotli), Some(Form::TooLarge)));
    }
}
