//! One thing the audit found.

use std::fmt;

use serde::Serialize;

/// Every kind of finding. `docs/reference/audit.md` has the same.
pub const IDS: [&str; 33] = [
    "anonymous_reads",
    "anonymous_writes",
    "audience_any",
    "builtin_for_public",
    "create_in_database",
    "create_in_schema",
    "default_execute",
    "definer_search_path",
    "engine_role_admitted",
    "foreign_server_for_public",
    "foreign_table_without_rls",
    "function_needs_login_mode",
    "grantor_gets_in",
    "large_objects",
    "login_without_scram",
    "matview_without_rls",
    "owner_without_force",
    "parameter_for_role",
    "password_check_without_scram",
    "policies_without_rls",
    "policy_trusts_setting",
    "public_connect",
    "public_execute",
    "public_sequence",
    "public_table",
    "rls_without_policies",
    "role_not_admitted",
    "role_reaches_forbidden",
    "server_version",
    "slot_limits",
    "temp_for_public",
    "unused_allow_entry",
    "view_owner_rights",
];

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// A hole if it was not meant.
    Warning,
    /// A hole.
    Error,
}

impl Severity {
    /// The word for it, which is also SARIF's level.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    /// What the checks' SQL says. An unknown word counts as the worst.
    pub(super) fn parse(word: &str) -> Self {
        match word {
            "note" => Self::Note,
            "warning" => Self::Warning,
            _ => Self::Error,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing the audit found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind: stable, the same word in every version (`public_execute`).
    pub id: String,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about, as SQL names it (`api.orders`, `api.pay(integer)`, a role, a setting).
    pub object: String,
    /// One sentence.
    pub message: String,
    /// Why it is so: who, through which membership, by which grant. Empty where no grant is
    /// involved.
    pub chain: Vec<String>,
    /// SQL that ends it, or a comment where SQL alone cannot.
    pub fix: String,
}
