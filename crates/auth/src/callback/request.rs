//! The signature of a request to a function, made by the worker that sends it.

use crate::encoding::{hex, sha256};

use super::Key;
use super::signature::{SignError, lines, sign_text};

/// The first line of what is signed: a request is no call of a callback, whatever is in it.
const DOMAIN: &str = "rolegate-request-v1";

/// The parts of a request that its signature is about.
#[derive(Debug, Clone, Copy)]
pub struct FunctionRequest<'a> {
    /// `POST`.
    pub method: &'a str,
    /// The value of `Idempotency-Key`.
    pub idempotency_key: &'a str,
    /// When it was signed, in seconds since 1970.
    pub timestamp: u64,
    /// The body, byte by byte as it is sent.
    pub body: &'a [u8],
}

impl FunctionRequest<'_> {
    /// The text under the signature: as [`super::Call::signed_text`], with a name of its own and
    /// the idempotency key in the place of action and id.
    pub fn signed_text(&self) -> String {
        let (timestamp, digest) = (self.timestamp.to_string(), hex(&sha256(self.body)));
        lines(
            DOMAIN,
            &[self.method, self.idempotency_key, &timestamp, &digest],
        )
    }
}

/// The value of [`super::SIGNATURE_HEADER`] for a request. Its time goes into
/// [`super::TIMESTAMP_HEADER`].
pub fn sign_request(key: &Key, request: &FunctionRequest<'_>) -> Result<String, SignError> {
    let given = [request.method, request.idempotency_key];
    sign_text(key, given, &request.signed_text())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::callback::{Action, Presented, Refused, Verifier};

    const BODY: &[u8] =
        br#"{"job_id":17,"kind":"send_email","args":{},"attempt":1,"max_attempts":25}"#;

    fn request<'a>() -> FunctionRequest<'a> {
        FunctionRequest {
            method: "POST",
            idempotency_key: "app-17",
            timestamp: 1_790_000_000,
            body: BODY,
        }
    }

    fn key() -> Key {
        Key::new("functions", [7; 32]).expect("a key")
    }

    #[test]
    fn the_text_is_as_documented() {
        let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../docs/reference/function-requests.md");
        let page = std::fs::read_to_string(page).expect("docs/reference/function-requests.md");
        let text = request().signed_text();
        assert!(page.contains(&text), "{text}");
        let header = sign_request(&key(), &request()).expect("signed");
        assert!(page.contains(&header), "{header}");
        assert!(page.contains(std::str::from_utf8(BODY).expect("text")));
        assert!(page.contains(&"07".repeat(32)));
    }

    #[test]
    fn a_signature_is_good_for_one_request_only() {
        let verifier = Verifier::new(vec![key()]).expect("a key");
        let header = sign_request(&key(), &request()).expect("signed");
        let says = |signature: &str, timestamp: &str, name: &str, body: &[u8]| {
            let presented = Presented {
                signatures: &[signature.as_bytes()],
                timestamps: &[timestamp.as_bytes()],
                legacy: &[],
            };
            verifier.verify_request(presented, "POST", name, body, 1_790_000_100)
        };
        let accepted = says(&header, "1790000000", "app-17", BODY).expect("accepted");
        assert_eq!(accepted.key_id, "functions");
        for (timestamp, name, body) in [
            ("1790000001", "app-17", BODY),
            ("1790000000", "app-18", BODY),
            ("1790000000", "app-17", b"{}"),
        ] {
            assert_eq!(says(&header, timestamp, name, body), Err(Refused::Wrong));
        }
        assert_eq!(
            says("", "1790000000", "app-17", BODY),
            Err(Refused::Malformed)
        );
        let old = FunctionRequest {
            timestamp: 1_789_999_000,
            ..request()
        };
        let old = sign_request(&key(), &old).expect("signed");
        assert_eq!(says(&old, "1789999000", "app-17", BODY), Err(Refused::Skew));
        let missing = verifier.verify_request(Presented::default(), "POST", "app-17", BODY, 0);
        assert_eq!(missing, Err(Refused::Missing));
        let spaced = FunctionRequest {
            idempotency_key: "a b",
            ..request()
        };
        assert_eq!(sign_request(&key(), &spaced), Err(SignError));
    }

    /// Who gets a request can't answer a callback with its signature.
    #[test]
    fn the_signature_of_a_request_is_none_of_a_call() {
        let header = sign_request(&key(), &request()).expect("signed");
        let verifier = Verifier::new(vec![key()]).expect("a key");
        let presented = Presented {
            signatures: &[header.as_bytes()],
            timestamps: &[b"1790000000"],
            legacy: &[],
        };
        for action in Action::ALL {
            let said = verifier.verify(presented, "POST", action, "app-17", BODY, 1_790_000_000);
            assert_eq!(said, Err(Refused::Wrong), "{action}");
        }
    }
}
