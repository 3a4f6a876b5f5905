//! Live queries: what watchers are told, who shares it, and how streams end.

mod bounds;
mod changes;
mod ends;
mod faults;
mod scopes;
pub(super) mod stage;
