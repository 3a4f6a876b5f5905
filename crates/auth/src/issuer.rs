//! What a configured issuer of JWTs may say.

mod audiences;
mod claim_path;
mod role_rule;
mod secret;

use std::collections::{BTreeMap, BTreeSet};

use rolegate_model::RoleName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use audiences::Audiences;
pub use claim_path::{ClaimPath, ClaimPathError};
pub(crate) use role_rule::RoleRule;
pub use role_rule::RoleRuleError;
pub use secret::Secret;

/// The largest leeway that can be configured, in seconds.
pub const MAX_LEEWAY_SECONDS: u32 = 300;

/// One issuer of JWTs. Nothing of an issuer that is not configured is ever accepted.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// A name for logs and metrics.
    pub name: String,
    /// The `iss` claim of its tokens. Without this setting the issuer is the one for tokens that
    /// have no `iss` at all; there can be one such issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Where its keys come from.
    pub keys: KeySource,
    /// Accepted values of `aud`: a list, or the word `any`.
    pub audiences: Audiences,
    /// Accepted values of `azp`. With this setting a token must have that claim; without it the
    /// claim is not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorized_parties: Option<Vec<String>>,
    /// Where the role is, in order; the first path that leads to a usable role wins.
    #[serde(default = "default_role_claims")]
    pub role_claims: Vec<ClaimPath>,
    /// From what the claims say to a role. With a map, values that are not in it mean nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub role_map: Option<BTreeMap<String, RoleName>>,
    /// The role of tokens in which no path leads to anything. A role that was named and refused
    /// does not fall back to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub default_role: Option<RoleName>,
    /// The roles this issuer may name; absent: any role that is otherwise usable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<BTreeSet<String>>")]
    pub allowed_roles: Option<BTreeSet<RoleName>>,
    /// Whether a token must have `db_name`. Where it has one, it must be the request's database.
    #[serde(default)]
    pub db_name: Presence,
    /// Whether a token must have `iat`. A token without it can't be told apart from one that is
    /// older than its role.
    #[serde(default)]
    pub issued_at: Presence,
    /// How far clocks may differ, in seconds; at most 300.
    #[serde(default = "default_leeway")]
    pub leeway_seconds: u32,
}

/// Where an issuer's keys come from. The key's own type says which algorithms it may be used
/// with; the token's header has no part in that.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum KeySource {
    /// A secret shared with the issuer: HS256 from 32 bytes on, HS384 from 48, HS512 from 64.
    /// Whoever can verify with it can also sign.
    SharedSecret(Secret),
    /// A public key in PEM (`PUBLIC KEY` or `RSA PUBLIC KEY`): RSA of at least 2048 bits for RS*
    /// and PS*, P-256 for ES256, P-384 for ES384, Ed25519 for `EdDSA`.
    PublicKey(String),
    /// The URL of a JSON Web Key Set; https, or http on the loopback interface.
    JwksUrl(String),
}

/// Whether a claim must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// Tokens without it are refused.
    #[default]
    Required,
    /// It is checked where it is.
    Optional,
}

fn default_role_claims() -> Vec<ClaimPath> {
    [
        "role",
        "db_role",
        "realm_access.roles[*]",
        "resource_access.*.roles[*]",
    ]
    .into_iter()
    .map(|path| {
        path.parse()
            .expect("the default paths are well-formed, a test parses them")
    })
    .collect()
}

fn default_leeway() -> u32 {
    30
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<IssuerConfig, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn a_minimal_issuer_has_strict_defaults() {
        let config = parse(
            r#"{"name": "idp", "issuer": "https://idp.example", "audiences": ["api"],
                "keys": {"jwks_url": "https://idp.example/jwks"}}"#,
        )
        .expect("valid");
        assert_eq!(config.leeway_seconds, 30);
        assert_eq!(config.db_name, Presence::Required);
        assert_eq!(config.issued_at, Presence::Required);
        assert_eq!(config.role_claims.len(), 4);
    }

    #[test]
    fn unknown_settings_are_refused() {
        let with = |extra: &str| {
            parse(&format!(
                r#"{{"name": "a", "audiences": ["api"], "keys": {{"shared_secret": "x"}}{extra}}}"#
            ))
        };
        assert!(with("").is_ok());
        assert!(with(r#", "audience": "api""#).is_err());
        assert!(with(r#", "allowed_roles": ["none"]"#).is_err());
        assert!(with(r#", "default_role": "pg_monitor""#).is_err());
        assert!(with(r#", "role_map": {"a": "public"}"#).is_err());
    }

    #[test]
    fn exactly_one_key_source() {
        let with = |keys: &str| {
            parse(&format!(
                r#"{{"name": "a", "audiences": ["api"], "keys": {keys}}}"#
            ))
        };
        assert!(with(r"{}").is_err());
        assert!(with(r#"{"shared_secret": "x", "jwks_url": "https://a"}"#).is_err());
        assert!(with(r#"{"none": "x"}"#).is_err());
    }

    #[test]
    fn the_secret_is_neither_printed_nor_serialized() {
        let config = parse(
            r#"{"name": "a", "audiences": "any", "keys": {"shared_secret": "hunter2hunter2"}}"#,
        )
        .expect("valid");
        let shown = format!(
            "{config:?} {}",
            serde_json::to_string(&config).expect("serializes")
        );
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
