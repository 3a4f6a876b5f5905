//! Who a request is: the result of authentication, and all that anything after it may know.

use std::sync::Arc;

use jiff::Timestamp;

use crate::role::RoleIdentity;

/// A verified caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The role everything runs as.
    pub role: RoleIdentity,
    /// The claims as JSON text, an object, with `role` set to the role's name. This is what
    /// `request.jwt.claims` and `rolegate.claims()` show.
    pub claims: Arc<str>,
    /// `iss` of the token; `rolegate` for our own; `anonymous` without a token.
    pub issuer: Arc<str>,
    /// `sub` of the token, if it has one.
    pub subject: Option<Arc<str>>,
    /// `jti` of a JWT, the id of an API token, or a digest of the bearer: one text for each
    /// token, never the token itself.
    pub token_id: Arc<str>,
    /// What kind of credential this was.
    pub kind: CredentialKind,
    /// When the credential was issued.
    pub issued_at: Option<Timestamp>,
    /// When it ends; `None` for anonymous and for tokens that never expire.
    pub expires_at: Option<Timestamp>,
    /// Narrows what the role could do; `None` narrows nothing.
    pub scopes: Option<Arc<Scopes>>,
}

/// The kind of credential behind a [`Principal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CredentialKind {
    /// No token; the deployment's anonymous role.
    Anonymous,
    /// A JWT of a configured issuer, or of our own key.
    Jwt,
    /// An API token (`rg_...`).
    ApiToken,
}

impl CredentialKind {
    /// The word used in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Jwt => "jwt",
            Self::ApiToken => "api_token",
        }
    }
}

/// What an API token is narrowed to. An empty list allows nothing; an absent one does not narrow.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scopes {
    /// Functions as `schema.function`, `*` at the end allowed (`api.read_*`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub functions: Option<Vec<String>>,
    /// Surfaces: `calls`, `events`, `query`, `admin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surfaces: Option<Vec<String>>,
}

impl Scopes {
    /// Whether the function `schema.name` is inside these scopes.
    pub fn allows_function(&self, qualified: &str) -> bool {
        self.functions.as_ref().is_none_or(|patterns| {
            patterns
                .iter()
                .any(|pattern| match pattern.strip_suffix('*') {
                    Some(prefix) => qualified.starts_with(prefix),
                    None => pattern == qualified,
                })
        })
    }

    /// Whether the surface is inside these scopes.
    pub fn allows_surface(&self, surface: &str) -> bool {
        self.surfaces
            .as_ref()
            .is_none_or(|names| names.iter().any(|name| name == surface))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_narrow_by_exact_name_or_prefix() {
        let scopes = Scopes {
            functions: Some(vec!["api.read_*".into(), "api.ping".into()]),
            surfaces: Some(vec!["calls".into()]),
        };
        assert!(scopes.allows_function("api.read_orders"));
        assert!(scopes.allows_function("api.ping"));
        assert!(!scopes.allows_function("api.pingpong"));
        assert!(!scopes.allows_function("other.read_orders"));
        assert!(scopes.allows_surface("calls"));
        assert!(!scopes.allows_surface("admin"));
        assert!(Scopes::default().allows_function("x.y"));
        assert!(
            !Scopes {
                functions: Some(vec![]),
                surfaces: None
            }
            .allows_function("x.y")
        );
    }
}
