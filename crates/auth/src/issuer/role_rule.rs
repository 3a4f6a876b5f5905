//! From claims to a role.

use std::collections::{BTreeMap, BTreeSet};

use rolegate_model::{ErrorCode, RoleName, RoleNameError};

use super::claim_path::{ClaimPath, Found};
use crate::jwt::json::Json;

/// An issuer's rule for finding the role in its claims.
#[derive(Debug, Clone)]
pub(crate) struct RoleRule {
    pub(crate) paths: Vec<ClaimPath>,
    pub(crate) map: Option<BTreeMap<String, RoleName>>,
    pub(crate) default: Option<RoleName>,
    pub(crate) allowed: Option<BTreeSet<RoleName>>,
}

/// Why the claims lead to no usable role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoleRuleError {
    /// No path leads to anything, and there is no default.
    #[error("no claim names a role")]
    Missing,
    /// A path that names one place leads to `null`, a number, a list...
    #[error("the claim `{0}` is there and not a text")]
    NotText(String),
    /// `none`, `public`, `pg_*`, too long, ...
    #[error("the claim `{path}` does not name a usable role")]
    Unusable {
        /// Where it was.
        path: String,
        /// What is wrong with the name.
        #[source]
        error: RoleNameError,
    },
    /// Not on the issuer's list.
    #[error("the issuer may not name the role in `{0}`")]
    NotAllowed(String),
}

impl RoleRuleError {
    /// The code for the client.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Missing | Self::NotText(_) => ErrorCode::TokenRoleMissing,
            Self::Unusable { .. } => ErrorCode::RoleReserved,
            Self::NotAllowed(_) => ErrorCode::RoleNotAllowed,
        }
    }
}

impl RoleRule {
    /// The role that `claims` name: the first usable one along the paths.
    ///
    /// A claim that names one role and names a refused one ends the search: falling through to
    /// another claim, or to the default, would give the token a role that nobody meant. In a list
    /// of roles the refused ones are passed over, because such lists carry roles for others.
    pub(crate) fn choose(&self, claims: &Json) -> Result<RoleName, RoleRuleError> {
        let mut refused = None;
        for path in &self.paths {
            for found in path.find(claims) {
                match self.usable(path, &found) {
                    Ok(Some(role)) => return Ok(role),
                    Ok(None) => {}
                    Err(error) if path.is_plain() => return Err(error),
                    Err(error) => {
                        refused.get_or_insert(error);
                    }
                }
            }
        }
        match (refused, &self.default) {
            (Some(error), _) => Err(error),
            (None, Some(role)) => Ok(role.clone()),
            (None, None) => Err(RoleRuleError::Missing),
        }
    }

    /// `None`: means nothing to this issuer's map.
    fn usable(
        &self,
        path: &ClaimPath,
        found: &Found<'_>,
    ) -> Result<Option<RoleName>, RoleRuleError> {
        let Found::Text(text) = found else {
            return Err(RoleRuleError::NotText(path.to_string()));
        };
        let role = match &self.map {
            Some(map) => match map.get(*text) {
                Some(role) => role.clone(),
                None => return Ok(None),
            },
            None => RoleName::new(text).map_err(|error| RoleRuleError::Unusable {
                path: path.to_string(),
                error,
            })?,
        };
        if self
            .allowed
            .as_ref()
            .is_some_and(|allowed| !allowed.contains(&role))
        {
            return Err(RoleRuleError::NotAllowed(path.to_string()));
        }
        Ok(Some(role))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> RoleRule {
        RoleRule {
            paths: ["role", "db_role", "groups[*]"]
                .iter()
                .map(|path| path.parse().expect("a path"))
                .collect(),
            map: None,
            default: None,
            allowed: None,
        }
    }

    fn role(name: &str) -> RoleName {
        RoleName::new(name).expect("usable")
    }

    fn choose(rule: &RoleRule, claims: &str) -> Result<String, ErrorCode> {
        rule.choose(&Json::parse(claims.as_bytes()).expect("JSON"))
            .map(|role| role.to_string())
            .map_err(|error| error.code())
    }

    #[test]
    fn the_first_path_wins() {
        assert_eq!(
            choose(&rule(), r#"{"db_role":"b","role":"a"}"#),
            Ok("a".into())
        );
        assert_eq!(choose(&rule(), r#"{"groups":["c","d"]}"#), Ok("c".into()));
        assert_eq!(choose(&rule(), "{}"), Err(ErrorCode::TokenRoleMissing));
    }

    #[test]
    fn special_names_are_refused_and_nothing_takes_their_place() {
        let mut rule = rule();
        rule.default = Some(role("fallback"));
        for name in [
            "none",
            "NONE",
            "\\\"none\\\"",
            "public",
            "pg_monitor",
            "null",
            "",
        ] {
            let claims = format!(r#"{{"role":"{name}","db_role":"alice"}}"#);
            assert_eq!(
                choose(&rule, &claims),
                Err(ErrorCode::RoleReserved),
                "{name}"
            );
        }
        for value in ["null", "1", "true", "[\"alice\"]", "{}"] {
            let claims = format!(r#"{{"role":{value},"db_role":"alice"}}"#);
            assert_eq!(
                choose(&rule, &claims),
                Err(ErrorCode::TokenRoleMissing),
                "{value}"
            );
        }
        assert_eq!(choose(&rule, "{}"), Ok("fallback".into()));
    }

    #[test]
    fn the_allow_list_binds_every_path() {
        let mut rule = rule();
        rule.allowed = Some([role("alice")].into());
        rule.default = Some(role("alice"));
        assert_eq!(choose(&rule, r#"{"role":"alice"}"#), Ok("alice".into()));
        assert_eq!(
            choose(&rule, r#"{"role":"bob"}"#),
            Err(ErrorCode::RoleNotAllowed)
        );
        assert_eq!(
            choose(&rule, r#"{"role":"bob","db_role":"alice"}"#),
            Err(ErrorCode::RoleNotAllowed)
        );
        assert_eq!(
            choose(&rule, r#"{"groups":["none","bob","alice"]}"#),
            Ok("alice".into())
        );
        assert_eq!(
            choose(&rule, r#"{"groups":["bob"]}"#),
            Err(ErrorCode::RoleNotAllowed)
        );
    }

    #[test]
    fn with_a_map_only_its_words_count() {
        let mut rule = rule();
        rule.map = Some([("Admins".to_owned(), role("operator"))].into());
        assert_eq!(
            choose(&rule, r#"{"groups":["offline_access","Admins"]}"#),
            Ok("operator".into())
        );
        assert_eq!(
            choose(&rule, r#"{"role":"operator"}"#),
            Err(ErrorCode::TokenRoleMissing)
        );
        rule.allowed = Some([role("alice")].into());
        assert_eq!(
            choose(&rule, r#"{"role":"Admins"}"#),
            Err(ErrorCode::RoleNotAllowed)
        );
    }
}
