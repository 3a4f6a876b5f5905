//! What the catalog says about a role.

use std::sync::Arc;

use jiff::Timestamp;
use rolegate_model::RoleIdentity;

/// Facts about one role, true for the snapshot they were read in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleFacts {
    /// Name, OID, cluster.
    pub identity: RoleIdentity,
    /// May log in (`rolcanlogin`), and `rolvaliduntil` has not passed.
    pub can_login: bool,
    /// Why the role must never be a target: the membership chain that reaches something too
    /// powerful, for the log and for operators (`alice -> postgres (superuser)`).
    pub forbidden: Option<Arc<str>>,
    /// Everything the role is a member of, as one number: it changes with any membership.
    pub memberships: i64,
    /// A member of `rolegate_admitted`.
    pub admitted: bool,
    /// `rolegate_authenticator` may `set role` to it.
    pub assumable: bool,
    /// User-settable settings of the role for this database (`alter role ... set`), without those
    /// that a role must not choose: `role`, `search_path`, `request.*`, ...
    pub settings: Vec<(String, String)>,
    /// When the role's present OID was first seen by this installation.
    pub first_seen: Option<Timestamp>,
    /// The role's own budget, where it differs from the default.
    pub budget: RoleBudget,
}

/// Limits stored next to a role; `None` means the configured default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RoleBudget {
    /// Requests per second.
    pub requests_per_second: Option<u32>,
    /// Statements at the same time.
    pub concurrency: Option<u32>,
    /// Milliseconds a statement may run.
    pub statement_timeout_ms: Option<u32>,
    /// Rows of one result.
    pub max_rows: Option<u64>,
    /// Bytes of one result.
    pub max_bytes: Option<u64>,
}
