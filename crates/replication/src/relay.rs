//! Passing the stream on to other processes.
//!
//! The process that reads offers what it reads on a listener of its own, and writes into the database where that is,
//! a secret, and a digest of the key that its end has; new with each of its terms. Others find it there, and feed
//! their own [`Feed`](crate::Feed) with what they hear. A connection lasts as long as the one that passes on follows
//! itself: whoever hears nothing any more follows nothing any more. `docs/adr/0012-change-relay.md` says why.

mod follow;
mod frame;
mod hear;
mod keys;
mod listener;
mod message;
mod offer;
mod subscriber;

use std::io;
use std::time::Duration;

pub use follow::{FollowConfig, follow};
pub use listener::{Relay, RelayError};
pub use offer::Offer;

/// What is spoken. Both ends say it, and neither speaks another one.
pub const PROTOCOL: i32 = 1;

/// Between two signs of life, in both directions.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Whoever is silent for longer is gone.
const SILENCE: Duration = Duration::from_secs(6);
/// To connect, to agree on TLS, to say who one is.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// What a subscriber says is short.
const QUESTION_BYTES: usize = 1024;
/// What is said to him: a commit within its bounds, in the longest way to write it.
const ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    /// The connection.
    #[error("the connection was lost")]
    Lost(#[from] io::Error),
    /// Nothing was heard, or nothing could be sent.
    #[error("nothing was heard, or nothing could be sent, for too long")]
    Silent,
    /// A frame beyond the bound.
    #[error("a frame is longer than allowed")]
    TooLong,
    /// Bytes that are no message, or one that has no place there.
    #[error("what came makes no sense: {0}")]
    Senseless(&'static str),
    /// The relay said so.
    #[error("the relay refused: {0}")]
    Refused(message::Refusal),
    /// This process reads by itself.
    #[error(transparent)]
    Leads(#[from] crate::feed::Leads),
    /// What is offered can't be right.
    #[error("the relay that is offered can't be used: {0}")]
    Offered(&'static str),
    /// The one that passed it on does not follow any more.
    #[error("the stream is not followed any more")]
    Withdrawn,
}

#[cfg(test)]
mod tests;
