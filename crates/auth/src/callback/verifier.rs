//! Whether a call is from somebody who has a key, and is meant for now.

use std::time::Duration;

use aws_lc_rs::hmac;

use super::{Action, Call, DEFAULT_SKEW, FunctionRequest, Key, from_hex, is_key_id, legacy};

/// The keys that are accepted. While keys are rotated there are two.
#[derive(Debug, Clone)]
pub struct Verifier {
    keys: Vec<Key>,
    skew: Duration,
    legacy: bool,
}

/// The keys can't be used together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifierError {
    /// Nobody could call.
    #[error("there is no callback key")]
    NoKey,
    /// Two have the same name.
    #[error("there are two callback keys {0}")]
    SameId(String),
    /// Two names for one secret: it would not be known which was used.
    #[error("the callback keys {0} and {1} have the same secret")]
    SameSecret(String, String),
}

/// What a call came with. Each header as often as it was there.
#[derive(Debug, Clone, Copy, Default)]
pub struct Presented<'a> {
    /// Values of [`super::SIGNATURE_HEADER`].
    pub signatures: &'a [&'a [u8]],
    /// Values of [`super::TIMESTAMP_HEADER`].
    pub timestamps: &'a [&'a [u8]],
    /// Values of [`legacy::SIGNATURE_HEADER`].
    pub legacy: &'a [&'a [u8]],
}

/// A call that is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The key it was signed with.
    pub key_id: String,
    /// When it was signed; `None` if only its id was.
    pub timestamp: Option<u64>,
}

/// Why a call is not accepted. The caller is told no more than that it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It has no signature.
    #[error("there is no signature")]
    Missing,
    /// A header is there twice: which of them counts would depend on who looks.
    #[error("a header is there more than once")]
    Repeated,
    /// A header is not what it has to be.
    #[error("the signature or its time is malformed")]
    Malformed,
    /// No key has that id.
    #[error("the key is not known")]
    UnknownKey,
    /// Signed too long ago, or by a clock that is ahead.
    #[error("the time of signing is too far from now")]
    Skew,
    /// Somebody else signed it, or something else was signed.
    #[error("the signature is wrong")]
    Wrong,
    /// Only the id is signed, and nobody said that this is enough.
    #[error("signatures of the id alone are not accepted")]
    LegacyOff,
}

impl Refused {
    /// A word for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Repeated => "repeated",
            Self::Malformed => "malformed",
            Self::UnknownKey => "unknown_key",
            Self::Skew => "skew",
            Self::Wrong => "wrong",
            Self::LegacyOff => "legacy_off",
        }
    }
}

impl Verifier {
    /// Accepts what one of these keys signed.
    pub fn new(keys: Vec<Key>) -> Result<Self, VerifierError> {
        if keys.is_empty() {
            return Err(VerifierError::NoKey);
        }
        for (nth, key) in keys.iter().enumerate() {
            for other in &keys[..nth] {
                if other.id == key.id {
                    return Err(VerifierError::SameId(key.id.clone()));
                }
                if *other.secret == *key.secret {
                    let (one, two) = (other.id.clone(), key.id.clone());
                    return Err(VerifierError::SameSecret(one, two));
                }
            }
        }
        Ok(Self {
            keys,
            skew: DEFAULT_SKEW,
            legacy: false,
        })
    }

    /// With another bound on the distance of clocks.
    #[must_use]
    pub fn skew(mut self, skew: Duration) -> Self {
        self.skew = skew;
        self
    }

    /// Accepts signatures of the id alone, too.
    #[must_use]
    pub fn accept_legacy(mut self, accept: bool) -> Self {
        self.legacy = accept;
        self
    }

    /// Whether the call, received at `now` (seconds since 1970), is from somebody who has a key. A
    /// call with the new header counts by it alone, whatever else it brings.
    pub fn verify(
        &self,
        presented: Presented<'_>,
        method: &str,
        action: Action,
        id: &str,
        body: &[u8],
        now: u64,
    ) -> Result<Accepted, Refused> {
        if presented.signatures.is_empty() && presented.timestamps.is_empty() {
            return self.verify_legacy(presented.legacy, id);
        }
        self.verify_text(presented, now, |timestamp| {
            let call = Call {
                method,
                action,
                id,
                timestamp,
                body,
            };
            call.signed_text()
        })
    }

    /// Whether a request to a function, received at `now`, is from a worker that has a key.
    pub fn verify_request(
        &self,
        presented: Presented<'_>,
        method: &str,
        idempotency_key: &str,
        body: &[u8],
        now: u64,
    ) -> Result<Accepted, Refused> {
        self.verify_text(presented, now, |timestamp| {
            let request = FunctionRequest {
                method,
                idempotency_key,
                timestamp,
                body,
            };
            request.signed_text()
        })
    }

    fn verify_text(
        &self,
        presented: Presented<'_>,
        now: u64,
        text: impl FnOnce(u64) -> String,
    ) -> Result<Accepted, Refused> {
        let signature = only(presented.signatures)?;
        let timestamp = seconds(only(presented.timestamps)?)?;
        let mut parts = signature.splitn(3, ',');
        let (Some("v1"), Some(key_id), Some(tag)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(Refused::Malformed);
        };
        if !is_key_id(key_id) || tag.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(Refused::Malformed);
        }
        let tag = from_hex(tag).ok_or(Refused::Malformed)?;
        let key = self.keys.iter().find(|key| key.id == key_id);
        let key = key.ok_or(Refused::UnknownKey)?;
        // Constant in time.
        if hmac::verify(&key.hmac(), text(timestamp).as_bytes(), &tag).is_err() {
            return Err(Refused::Wrong);
        }
        if timestamp.abs_diff(now) > self.skew.as_secs() {
            return Err(Refused::Skew);
        }
        Ok(Accepted {
            key_id: key.id.clone(),
            timestamp: Some(timestamp),
        })
    }

    fn verify_legacy(&self, signatures: &[&[u8]], id: &str) -> Result<Accepted, Refused> {
        if signatures.is_empty() {
            return Err(Refused::Missing);
        }
        if !self.legacy {
            return Err(Refused::LegacyOff);
        }
        let signature = only(signatures)?;
        // All of them, so that the time does not say which one it was.
        let signed = self.keys.iter().fold(None, |found, key| {
            if legacy::verify(key, id, signature) {
                Some(key)
            } else {
                found
            }
        });
        signed.ok_or(Refused::Wrong).map(|key| Accepted {
            key_id: key.id.clone(),
            timestamp: None,
        })
    }
}

fn only<'a>(values: &[&'a [u8]]) -> Result<&'a str, Refused> {
    match values {
        [] => Err(Refused::Missing),
        [value] => std::str::from_utf8(value).map_err(|_| Refused::Malformed),
        _ => Err(Refused::Repeated),
    }
}

/// A plain number: one way to write it, so that the text is what was signed.
fn seconds(text: &str) -> Result<u64, Refused> {
    let plain = (1..=12).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && !text.starts_with('0');
    if !plain {
        return Err(Refused::Malformed);
    }
    text.parse().map_err(|_| Refused::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::callback::sign;

    const ID: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";
    const NOW: u64 = 1_790_000_000;

    fn key(id: &str, byte: u8) -> Key {
        Key::new(id, [byte; 32]).expect("a key")
    }

    fn verifier() -> Verifier {
        Verifier::new(vec![key("old", 1), key("new", 2)]).expect("keys")
    }

    fn call<'a>() -> Call<'a> {
        Call {
            method: "POST",
            action: Action::Complete,
            id: ID,
            timestamp: NOW,
            body: b"{}",
        }
    }

    /// What `verifier` says to a call like [`call`] with these headers.
    fn says(verifier: &Verifier, signature: &str, timestamp: &str) -> Result<Accepted, Refused> {
        let presented = Presented {
            signatures: &[signature.as_bytes()],
            timestamps: &[timestamp.as_bytes()],
            legacy: &[],
        };
        verifier.verify(presented, "POST", Action::Complete, ID, b"{}", NOW)
    }

    #[test]
    fn each_of_the_keys_is_good() {
        for signer in [key("old", 1), key("new", 2)] {
            let signature = sign(&signer, &call()).expect("signed");
            let accepted = says(&verifier(), &signature, "1790000000").expect("accepted");
            assert_eq!(accepted.key_id, signer.id());
            assert_eq!(accepted.timestamp, Some(NOW));
        }
    }

    #[test]
    fn a_signature_is_good_for_one_call_only() {
        let signature = sign(&key("new", 2), &call()).expect("signed");
        let presented = Presented {
            signatures: &[signature.as_bytes()],
            timestamps: &[b"1790000000"],
            legacy: &[],
        };
        let v = verifier();
        let other_id = "0f8fad5b-d9cb-469f-a165-70867728950f";
        for (method, action, id, body) in [
            ("PUT", Action::Complete, ID, &b"{}"[..]),
            ("POST", Action::Fail, ID, b"{}"),
            ("POST", Action::Complete, other_id, b"{}"),
            ("POST", Action::Complete, &ID.to_uppercase(), b"{}"),
            ("POST", Action::Complete, ID, b"{ }"),
            ("POST", Action::Complete, ID, b""),
        ] {
            let refused = v.verify(presented, method, action, id, body, NOW);
            assert_eq!(refused, Err(Refused::Wrong), "{method} {action} {id}");
        }
        // The time is part of it, too.
        assert_eq!(says(&v, &signature, "1790000001"), Err(Refused::Wrong));
    }

    #[test]
    fn a_key_signs_under_its_own_name_only() {
        let tag = sign(&key("new", 2), &call()).expect("signed");
        let tag = tag.rsplit(',').next().expect("a tag");
        for (header, refused) in [
            (format!("v1,old,{tag}"), Refused::Wrong),
            (format!("v1,none,{tag}"), Refused::UnknownKey),
            (format!("v1,,{tag}"), Refused::Malformed),
            (format!("v1,new,old,{tag}"), Refused::Malformed),
            (format!("v1,{tag}"), Refused::Malformed),
            (format!("v2,new,{tag}"), Refused::Malformed),
            (format!("v1,new,{}", tag.to_uppercase()), Refused::Malformed),
            (format!("v1,new,{tag}00"), Refused::Malformed),
            (format!("v1,new,{} ", &tag[..63]), Refused::Malformed),
            (format!(" v1,new,{tag}"), Refused::Malformed),
            (format!("v1,new,{tag} v1,old,{tag}"), Refused::Malformed),
            (String::new(), Refused::Malformed),
        ] {
            assert_eq!(
                says(&verifier(), &header, "1790000000"),
                Err(refused),
                "{header}"
            );
        }
    }

    #[test]
    fn the_time_is_bounded_both_ways_and_written_in_one_way() {
        for (timestamp, expected) in [
            (NOW - 300, None),
            (NOW + 300, None),
            (NOW - 301, Some(Refused::Skew)),
            (NOW + 301, Some(Refused::Skew)),
        ] {
            let signature = sign(
                &key("new", 2),
                &Call {
                    timestamp,
                    ..call()
                },
            )
            .expect("signed");
            let said = says(&verifier(), &signature, &timestamp.to_string());
            assert_eq!(said.err(), expected, "{timestamp}");
        }
        let signature = sign(&key("new", 2), &call()).expect("signed");
        for text in [
            "",
            "+1790000000",
            "01790000000",
            "1790000000.0",
            " 1790000000",
            "-1",
            "１７",
            "9999999999999",
        ] {
            assert_eq!(
                says(&verifier(), &signature, text),
                Err(Refused::Malformed),
                "{text}"
            );
        }
    }

    #[test]
    fn a_header_that_is_missing_or_there_twice_is_refused() {
        let signature = sign(&key("new", 2), &call()).expect("signed");
        let s = signature.as_bytes();
        let t: &[u8] = b"1790000000";
        for (signatures, timestamps, refused) in [
            (&[s, s][..], &[t][..], Refused::Repeated),
            (&[s], &[t, t], Refused::Repeated),
            (&[s], &[], Refused::Missing),
            (&[], &[t], Refused::Missing),
            (&[], &[], Refused::Missing),
            (&[b"\xff"], &[t], Refused::Malformed),
        ] {
            let presented = Presented {
                signatures,
                timestamps,
                legacy: &[],
            };
            let said = verifier().verify(presented, "POST", Action::Complete, ID, b"{}", NOW);
            assert_eq!(said, Err(refused));
        }
    }

    #[test]
    fn the_id_alone_is_enough_only_if_somebody_said_so() {
        let signature = legacy::sign(&key("new", 2), ID);
        let legacy: &[&[u8]] = &[signature.as_bytes()];
        let says = |verifier: Verifier, presented: Presented<'_>| {
            verifier.verify(presented, "POST", Action::Fail, ID, b"x", NOW)
        };
        let presented = Presented {
            legacy,
            ..Presented::default()
        };
        assert_eq!(says(verifier(), presented), Err(Refused::LegacyOff));
        let accepting = verifier().accept_legacy(true);
        let accepted = says(accepting.clone(), presented).expect("accepted");
        assert_eq!((&*accepted.key_id, accepted.timestamp), ("new", None));
        let twice = [legacy[0], legacy[0]];
        let twice = Presented {
            legacy: &twice,
            ..Presented::default()
        };
        assert_eq!(says(accepting.clone(), twice), Err(Refused::Repeated));
        // Beside the new header it does not count.
        let both = Presented {
            signatures: &[b"v1,new,00"],
            timestamps: &[b"1790000000"],
            legacy,
        };
        assert_eq!(says(accepting, both), Err(Refused::Malformed));
    }

    #[test]
    fn keys_that_can_be_mixed_up_are_refused() {
        let of = |keys| Verifier::new(keys).err();
        assert_eq!(of(vec![]), Some(VerifierError::NoKey));
        let same_id = of(vec![key("a", 1), key("a", 2)]);
        assert_eq!(same_id, Some(VerifierError::SameId("a".into())));
        let same = of(vec![key("a", 1), key("b", 1)]);
        assert_eq!(
            same,
            Some(VerifierError::SameSecret("a".into(), "b".into()))
        );
    }
}
