#![doc = include_str!("../README.md")]

mod assembly;
mod commit;
mod config;
mod epoch;
mod feed;
mod lsn;
pub mod metrics;
pub mod pgoutput;
pub mod publication;
mod reader;
pub mod relay;
mod shape;
pub mod slot;
mod status;
mod xid;

pub use assembly::{Assembler, AssemblyError, Bounds};
pub use commit::{Commit, Key, Keys, Touched};
pub use config::{Connect, StreamConfig};
pub use epoch::Epoch;
pub use feed::{Event, Feed, FeedBounds, Lost, NotFollowing, Subscription, Why};
pub use lsn::{Lsn, LsnError};
pub use reader::{StreamError, run};
pub use shape::{Identity, KeyColumn, Shape};
pub use status::{Status, Unready};
pub use xid::Xid;

/// The guide's example compiles.
#[cfg(doctest)]
mod guide {
    #[doc = include_str!("../../../docs/guide/change-stream.md")]
    struct ChangeStream;
}
