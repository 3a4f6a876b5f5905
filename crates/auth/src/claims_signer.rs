//! Signs the claims that `rolegate.claims()` believes.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use aws_lc_rs::{hmac, rand};
use rolegate_model::Clock;
use rolegate_model::claims::{Binding, Envelope};

use crate::encoding::hex;

/// Signs claims with the key of `rolegate.claim_signing_key()`, which can be exchanged while
/// requests run.
pub struct ClaimsSigner {
    key: ArcSwapOption<Key>,
    clock: Arc<dyn Clock>,
}

struct Key {
    id: i32,
    key: hmac::Key,
}

impl fmt::Debug for ClaimsSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaimsSigner")
            .field("key_id", &self.key_id())
            .finish_non_exhaustive()
    }
}

impl ClaimsSigner {
    /// A signer without a key: it signs nothing yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            key: ArcSwapOption::empty(),
            clock,
        }
    }

    /// Signs with this key from now on.
    pub fn set_key(&self, id: i32, key: &[u8]) {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        self.key.store(Some(Arc::new(Key { id, key })));
    }

    /// The id of the present key.
    pub fn key_id(&self) -> Option<i32> {
        self.key.load().as_ref().map(|key| key.id)
    }

    /// The text for `rolegate_model::claims::SETTING`; `None` if there is no key yet, or no
    /// random number for the nonce.
    pub fn setting(
        &self,
        binding: Binding,
        role_oid: u32,
        token_id: &str,
        claims: &str,
    ) -> Option<String> {
        let key = self.key.load_full()?;
        let mut nonce = [0; 8];
        rand::fill(&mut nonce).ok()?;
        let envelope = Envelope {
            key_id: key.id,
            role_oid,
            issued_at_us: self.clock.now().as_microsecond(),
            nonce: u64::from_be_bytes(nonce),
            token_id,
            claims,
        };
        let tag = hmac::sign(&key.key, envelope.signed_text(binding).as_bytes());
        Some(envelope.to_setting(&hex(tag.as_ref())))
    }
}

impl rolegate_pg::session::ClaimsSigner for ClaimsSigner {
    fn sign(
        &self,
        binding: Binding,
        role_oid: u32,
        token_id: &str,
        claims: &str,
    ) -> Option<String> {
        self.setting(binding, role_oid, token_id, claims)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use rolegate_model::FixedClock;

    use super::*;

    const BINDING: Binding = Binding {
        database_oid: 5,
        backend_pid: 42,
        server_start_us: 1_700_000_000_000_001,
    };

    fn signer() -> ClaimsSigner {
        let now = Timestamp::from_microsecond(1_800_000_000_000_002).expect("in range");
        ClaimsSigner::new(Arc::new(FixedClock::new(now)))
    }

    #[test]
    fn without_a_key_nothing_is_signed() {
        assert_eq!(signer().setting(BINDING, 1, "t", "{}"), None);
    }

    #[test]
    fn the_mac_is_over_the_binding_and_every_field() {
        let signer = signer();
        signer.set_key(3, b"key");
        let setting = signer
            .setting(BINDING, 4711, "token", r#"{"a":"b|c"}"#)
            .expect("a key");
        let fields: Vec<&str> = setting.splitn(8, '|').collect();
        let [version, key_id, role, issued, nonce, mac, token, claims] = fields[..] else {
            panic!("eight fields: {setting}")
        };
        assert_eq!(
            [version, key_id, role, issued, token, claims],
            [
                "v1",
                "3",
                "4711",
                "1800000000000002",
                "token",
                r#"{"a":"b|c"}"#
            ]
        );
        let message = format!(
            "5|42|1700000000000001|v1|3|4711|1800000000000002|{nonce}|token|{}",
            r#"{"a":"b|c"}"#
        );
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"key");
        assert_eq!(mac, hex(hmac::sign(&key, message.as_bytes()).as_ref()));
    }

    #[test]
    fn nonces_differ_and_the_key_can_be_exchanged() {
        let signer = signer();
        signer.set_key(1, b"one");
        let first = signer.setting(BINDING, 1, "t", "{}");
        assert_ne!(first, signer.setting(BINDING, 1, "t", "{}"));
        signer.set_key(2, b"two");
        assert_eq!(signer.key_id(), Some(2));
        assert!(
            signer
                .setting(BINDING, 1, "t", "{}")
                .expect("a key")
                .starts_with("v1|2|")
        );
    }

    #[test]
    fn the_key_is_not_shown() {
        let signer = signer();
        signer.set_key(1, b"hunter2");
        assert!(!format!("{signer:?}").contains("hunter2"));
    }
}
