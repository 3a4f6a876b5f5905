//! The header with the keys that copies of an answer are purged by at a CDN.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use rolegate_query::{Analysis, PurgeKeys};

/// The header, and what it says.
#[derive(Debug, Clone)]
pub struct PurgeHeader {
    name: HeaderName,
    separator: char,
    keys: PurgeKeys,
}

/// A name that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "it must be a header's name that ends in key, as Surrogate-Key (keys with spaces between them), or in tag, as \
     Cache-Tag (with commas), and not ETag"
)]
pub struct PurgeHeaderError;

impl PurgeHeader {
    /// CDNs that call them keys want spaces between them, those that call them tags want commas. No header that answers
    /// have otherwise ends so, but one.
    pub fn new(name: &str, keys: PurgeKeys) -> Result<Self, PurgeHeaderError> {
        let name: HeaderName = name.parse().map_err(|_| PurgeHeaderError)?;
        let word = name.as_str().trim_end_matches('s');
        let separator = match word {
            "etag" => return Err(PurgeHeaderError),
            _ if word.ends_with("key") => ' ',
            _ if word.ends_with("tag") => ',',
            _ => return Err(PurgeHeaderError),
        };
        Ok(Self {
            name,
            separator,
            keys,
        })
    }

    /// The keys of what a query gives.
    pub(crate) fn keys(&self, analysis: &Analysis) -> Bytes {
        self.keys.of(&analysis.read_set, self.separator)
    }

    /// Says them.
    pub(crate) fn put(&self, headers: &mut HeaderMap, keys: &Bytes) {
        if let Ok(keys) = HeaderValue::from_maybe_shared(keys.clone()) {
            headers.insert(self.name.clone(), keys);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_spaces_between_them_and_tags_commas() {
        let keys = || PurgeKeys::new(&[7; 32], "app");
        for (name, separator) in [
            ("Surrogate-Key", ' '),
            ("xkey", ' '),
            ("Cache-Tag", ','),
            ("edge-cache-tag", ','),
            ("X-Cache-Tags", ','),
        ] {
            let header = PurgeHeader::new(name, keys()).expect(name);
            assert_eq!(header.separator, separator, "{name}");
        }
        for name in [
            "",
            "ETag",
            "Vary",
            "Cache-Control",
            "Cache Tag",
            "Cache-Tag:",
            "tag\n",
        ] {
            assert!(PurgeHeader::new(name, keys()).is_err(), "{name}");
        }
    }
}
