//! The signed claims envelope: what the gateway sends so that SQL can trust the claims.
//!
//! The text form, which `rolegate.claims()` takes apart and verifies, is
//! `v1|key id|role oid|issued at|nonce|mac|token id|claims`: seven fields without `|`, then the
//! claims as JSON. The MAC is HMAC-SHA-256 over the envelope without its MAC, prefixed by the
//! database OID, backend pid and server start that the verifier takes from its own session:
//! an envelope seen elsewhere is worth nothing there.

use std::fmt::Write as _;

/// The setting that carries the envelope.
pub const SETTING: &str = "rolegate.signed_claims";

/// What an envelope is bound to besides its own content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// `oid` of the database in `pg_database`.
    pub database_oid: u32,
    /// `pg_backend_pid()`.
    pub backend_pid: i32,
    /// When the server started, microseconds since 1970. With the pid and the time window it
    /// stands for the backend's own start, which costs far more to read.
    pub server_start_us: i64,
}

/// The content of an envelope.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    /// Which key signed.
    pub key_id: i32,
    /// OID of the role the claims speak for.
    pub role_oid: u32,
    /// Microseconds since 1970.
    pub issued_at_us: i64,
    /// Random, so that no two envelopes are equal.
    pub nonce: u64,
    /// The token's id.
    pub token_id: &'a str,
    /// JSON text.
    pub claims: &'a str,
}

impl Envelope<'_> {
    /// The bytes the MAC is taken over.
    pub fn signed_text(&self, binding: Binding) -> String {
        let mut text = self.room();
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "{}|{}|{}|",
            binding.database_oid, binding.backend_pid, binding.server_start_us
        );
        self.head(&mut text);
        self.tail(&mut text);
        text
    }

    /// The text for [`SETTING`], given the MAC in lower-case hex.
    pub fn to_setting(self, mac_hex: &str) -> String {
        let mut text = self.room();
        self.head(&mut text);
        text.push('|');
        text.push_str(mac_hex);
        self.tail(&mut text);
        text
    }

    /// A text with room for the whole envelope.
    fn room(&self) -> String {
        String::with_capacity(192 + self.token_id.len() + self.claims.len())
    }

    /// The fields before the MAC.
    fn head(&self, text: &mut String) {
        let _ = write!(
            text,
            "v1|{}|{}|{}|{:016x}",
            self.key_id, self.role_oid, self.issued_at_us, self.nonce
        );
    }

    /// The fields after the MAC.
    fn tail(&self, text: &mut String) {
        text.push('|');
        push_token_id(text, self.token_id);
        text.push('|');
        text.push_str(self.claims);
    }
}

/// A token id without the field separator: `jti` is the issuer's free text.
fn push_token_id(text: &mut String, token_id: &str) {
    let refused = |c: char| c == '|' || c.is_control();
    if token_id.contains(refused) {
        text.extend(token_id.chars().map(|c| if refused(c) { '_' } else { c }));
    } else {
        text.push_str(token_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_separator_in_the_token_id_cannot_shift_fields() {
        let envelope = Envelope {
            key_id: 1,
            role_oid: 2,
            issued_at_us: 3,
            nonce: 4,
            token_id: "a|b\n",
            claims: "{}",
        };
        assert_eq!(
            envelope.to_setting("ff"),
            "v1|1|2|3|0000000000000004|ff|a_b_|{}"
        );
        let binding = Binding {
            database_oid: 5,
            backend_pid: 6,
            server_start_us: 7,
        };
        assert_eq!(
            envelope.signed_text(binding),
            "5|6|7|v1|1|2|3|0000000000000004|a_b_|{}"
        );
    }
}
