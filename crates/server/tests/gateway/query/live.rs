//! Live queries: what watchers are told, who shares it, and how streams end.

mod bounds;
mod changes;
mod definitions;
mod ends;
mod faults;
mod gaps;
mod scopes;
pub(super) mod stage;
mod visible;
