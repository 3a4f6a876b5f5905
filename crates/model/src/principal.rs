//! Who a request is: the result of authentication, and all that anything after it may know.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

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
///
/// Read from an object, and from nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Scopes {
    /// Functions as `schema.function`, `*` at the end allowed (`api.read_*`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub functions: Option<Vec<String>>,
    /// Surfaces: `calls`, `events`, `query`, `admin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub surfaces: Option<Vec<String>>,
}

impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AnObject)
    }
}

/// What is derived would take a list for the members in their order, and an empty one would narrow
/// nothing.
struct AnObject;

impl<'de> Visitor<'de> for AnObject {
    type Value = Scopes;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object with `functions`, `surfaces`, or both")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Scopes, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Members {
            functions: Option<Vec<String>>,
            surfaces: Option<Vec<String>>,
        }
        let members = Members::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Scopes {
            functions: members.functions,
            surfaces: members.surfaces,
        })
    }
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
    fn scopes_are_an_object_and_nothing_else() {
        let read = serde_json::from_str::<Scopes>;
        for list in ["[]", "[[]]", "[null, null]", r#"[["api.ping"], ["calls"]]"#] {
            assert!(read(list).is_err(), "{list}");
            let value: serde_json::Value = serde_json::from_str(list).expect("JSON");
            assert!(serde_json::from_value::<Scopes>(value).is_err(), "{list}");
        }
        for other in [
            "null",
            "true",
            r#""calls""#,
            r#"{"surface": ["calls"]}"#,
            r#"{"surfaces": "calls"}"#,
            r#"{"surfaces": ["calls"], "surfaces": ["admin"]}"#,
        ] {
            assert!(read(other).is_err(), "{other}");
        }
        assert_eq!(read("{}").expect("an object"), Scopes::default());
        let both = Scopes {
            functions: Some(vec!["api.ping".into()]),
            surfaces: Some(vec![]),
        };
        let text = serde_json::to_string(&both).expect("data");
        assert_eq!(read(&text).expect("what was written"), both);
        assert_eq!(
            read(r#"{"surfaces": null}"#).expect("absent"),
            Scopes::default()
        );
    }

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
