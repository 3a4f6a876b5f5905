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
        let mut text = String::with_capacity(128 + self.claims.len());
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "{}|{}|{}|v1|{}|{}|{}|{:016x}|{}|{}",
            binding.database_oid,
            binding.backend_pid,
            binding.server_start_us,
            self.key_id,
            self.role_oid,
            self.issued_at_us,
            self.nonce,
            TokenId(self.token_id),
            self.claims
        );
        text
    }

    /// The text for [`SETTING`], given the MAC in lower-case hex.
    pub fn to_setting(self, mac_hex: &str) -> String {
        format!(
            "v1|{}|{}|{}|{:016x}|{mac_hex}|{}|{}",
            self.key_id,
            self.role_oid,
            self.issued_at_us,
            self.nonce,
            TokenId(self.token_id),
            self.claims
        )
    }
}

/// A token id without the field separator: `jti` is the issuer's free text.
struct TokenId<'a>(&'a str);

impl std::fmt::Display for TokenId<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.chars() {
            f.write_char(if c == '|' || c.is_control() { '_' } else { c })?;
        }
        Ok(())
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
    }
}
