//! Names and identities of PostgreSQL roles.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest identifier PostgreSQL keeps (`NAMEDATALEN - 1`), in bytes.
pub const MAX_IDENTIFIER_BYTES: usize = 63;

/// A role name that a request may ask for.
///
/// PostgreSQL treats `none` and `public` specially even when quoted, and reserves `pg_`; a value
/// of this type is none of these. That the role exists and may be used is a question for the
/// catalog, not for the name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoleName(Arc<str>);

/// Why a text is not a usable role name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RoleNameError {
    /// The empty string.
    #[error("the role name is empty")]
    Empty,
    /// Longer than PostgreSQL keeps: it would be cut and could name another role.
    #[error("the role name is longer than {MAX_IDENTIFIER_BYTES} bytes")]
    TooLong,
    /// A NUL byte ends a string on the wire.
    #[error("the role name contains a NUL byte")]
    Nul,
    /// `none`, `public`, `null`, `current_user` and the like, or a name that starts with `pg_`.
    #[error("the role name has a special meaning for PostgreSQL")]
    Reserved,
}

/// Words that stand for something else than a role of that name, in at least one place where
/// PostgreSQL reads a role.
const SPECIAL: [&str; 8] = [
    "none",
    "public",
    "null",
    "default",
    "current_user",
    "session_user",
    "current_role",
    "all",
];

impl RoleName {
    /// Checks `name` and wraps it.
    pub fn new(name: &str) -> Result<Self, RoleNameError> {
        if name.is_empty() {
            return Err(RoleNameError::Empty);
        }
        if name.len() > MAX_IDENTIFIER_BYTES {
            return Err(RoleNameError::TooLong);
        }
        if name.contains('\0') {
            return Err(RoleNameError::Nul);
        }
        // Compared without the quotes somebody may have put around the word, and without case:
        // refusing a role really called "None" costs nobody anything.
        let bare = name.trim().trim_matches('"').to_lowercase();
        if SPECIAL.contains(&bare.as_str()) || bare.starts_with("pg_") {
            return Err(RoleNameError::Reserved);
        }
        Ok(Self(name.into()))
    }

    /// The name as PostgreSQL stores it, unquoted.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for RoleName {
    type Error = RoleNameError;
    fn try_from(name: String) -> Result<Self, RoleNameError> {
        Self::new(&name)
    }
}

impl From<RoleName> for String {
    fn from(name: RoleName) -> Self {
        name.0.as_ref().to_owned()
    }
}

/// A role as it was when it was looked up. A role that was dropped and made again under the same
/// name has another `oid`; the same name on another cluster has another `system_identifier`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RoleIdentity {
    /// Its name.
    pub name: RoleName,
    /// Its OID in `pg_authid`.
    pub oid: u32,
    /// `system_identifier` of the cluster, from `pg_control_system()`.
    pub system_identifier: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_names_are_refused_however_they_are_written() {
        for name in [
            "none",
            "NONE",
            "None",
            "\"none\"",
            " none ",
            "public",
            "PUBLIC",
            "pg_monitor",
            "PG_monitor",
            "\"pg_x\"",
            "null",
            "current_user",
            "session_user",
            "default",
        ] {
            assert_eq!(RoleName::new(name), Err(RoleNameError::Reserved), "{name}");
        }
    }

    #[test]
    fn names_that_would_change_on_the_wire_are_refused() {
        assert_eq!(RoleName::new(""), Err(RoleNameError::Empty));
        assert_eq!(RoleName::new("a\0b"), Err(RoleNameError::Nul));
        assert_eq!(RoleName::new(&"a".repeat(64)), Err(RoleNameError::TooLong));
        assert!(RoleName::new(&"a".repeat(63)).is_ok());
    }

    #[test]
    fn ordinary_names_pass_unchanged() {
        for name in [
            "alice", "Alice B", "o'brien", "a\"b", "nonesuch", "pgadmin", "größe",
        ] {
            assert_eq!(
                RoleName::new(name).map(|n| n.to_string()),
                Ok(name.to_owned())
            );
        }
    }
}
