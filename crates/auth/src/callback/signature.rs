//! What is signed, and by what.

use aws_lc_rs::hmac;

use crate::encoding::{hex, sha256};

use super::{Action, Key};

/// The first line of what is signed: nothing else that is ever signed with a key begins so.
const DOMAIN: &str = "rolegate-callback-v1";

/// The parts of a call that its signature is about.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// `POST`.
    pub method: &'a str,
    /// What it says.
    pub action: Action,
    /// The callback's id, letter by letter as in the path.
    pub id: &'a str,
    /// When it was signed, in seconds since 1970.
    pub timestamp: u64,
    /// The body, byte by byte as it is sent.
    pub body: &'a [u8],
}

impl Call<'_> {
    /// The text under the signature: the name of this scheme, then the method, the action, the id,
    /// the time and the SHA-256 of the body in lower-case hexadecimal, each on a line of its own
    /// with its length in bytes and a colon in front. No two calls have the same.
    pub fn signed_text(&self) -> String {
        let (timestamp, digest) = (self.timestamp.to_string(), hex(&sha256(self.body)));
        let action = self.action.as_str();
        lines(DOMAIN, &[self.method, action, self.id, &timestamp, &digest])
    }
}

/// The name of a scheme, and parts that can't run into each other.
pub(super) fn lines(domain: &str, parts: &[&str]) -> String {
    let mut text = domain.to_owned();
    for part in parts {
        text.push('\n');
        text.push_str(&part.len().to_string());
        text.push(':');
        text.push_str(part);
    }
    text
}

/// It can't be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a method and an id have printable ASCII characters only")]
pub struct SignError;

/// The value of [`super::SIGNATURE_HEADER`] for a call. The call's time goes into
/// [`super::TIMESTAMP_HEADER`].
pub fn sign(key: &Key, call: &Call<'_>) -> Result<String, SignError> {
    sign_text(key, [call.method, call.id], &call.signed_text())
}

/// The header's value for a text, if what was given by others can be sent.
pub(super) fn sign_text(key: &Key, given: [&str; 2], text: &str) -> Result<String, SignError> {
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !given.into_iter().all(plain) {
        return Err(SignError);
    }
    let tag = hmac::sign(&key.hmac(), text.as_bytes());
    Ok(format!("v1,{},{}", key.id, hex(tag.as_ref())))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) const ID: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

    fn call<'a>() -> Call<'a> {
        Call {
            method: "POST",
            action: Action::Complete,
            id: ID,
            timestamp: 1_790_000_000,
            body: br#"{"payload":{"total":1.10}}"#,
        }
    }

    #[test]
    fn the_text_is_as_documented() {
        assert_eq!(
            call().signed_text(),
            "rolegate-callback-v1\n4:POST\n8:complete\n36:0f8fad5b-d9cb-469f-a165-70867728950e\n\
             10:1790000000\n64:5a9584d96b9017d981bd03248d0e0eb9789e277238f9d5f9522b9668f9af7500"
        );
    }

    /// Every vector of the reference, so that what others are told is what we do.
    #[test]
    fn the_vectors_of_the_reference_hold() {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../docs/reference/callbacks.md");
        let page = std::fs::read_to_string(file).expect("docs/reference/callbacks.md");
        let (_, table) = page.split_once("| key id |").expect("the table of vectors");
        let mut vectors = 0;
        for row in table
            .lines()
            .skip(2)
            .take_while(|line| line.starts_with('|'))
        {
            let cells: Vec<&str> = row
                .split('|')
                .map(|cell| cell.trim().trim_matches('`'))
                .collect();
            let [_, key_id, secret, action, id, time, body, header, _] = cells[..] else {
                panic!("{row}");
            };
            let key = Key::from_hex(key_id, secret).expect("a key");
            let call = Call {
                method: "POST",
                action: action.parse().expect("an action"),
                id,
                timestamp: time.parse().expect("a time"),
                body: if body == "(empty)" {
                    b""
                } else {
                    body.as_bytes()
                },
            };
            assert_eq!(sign(&key, &call).expect("signed"), header, "{row}");
            vectors += 1;
        }
        assert!(vectors >= 3, "{vectors}");
    }

    #[test]
    fn parts_cannot_be_moved_from_one_to_the_next() {
        let one = Call {
            method: "POST\n8:complete",
            id: "x",
            ..call()
        };
        let other = Call {
            method: "POST",
            id: "8:complete\nx",
            ..call()
        };
        assert_ne!(one.signed_text(), other.signed_text());
        let key = Key::new("k", [1; 32]).expect("a key");
        assert_eq!(sign(&key, &one), Err(SignError));
        assert_eq!(sign(&key, &Call { id: "", ..call() }), Err(SignError));
    }
}
