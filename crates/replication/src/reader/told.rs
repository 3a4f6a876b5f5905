//! What the stream tells, on its way to the feed.

use crate::commit::Commit;
use crate::config::StreamConfig;
use crate::epoch::Epoch;
use crate::feed::{Feed, Why};
use crate::lsn::Lsn;
use crate::metrics;
use crate::status::Status;

use super::stand;

/// Something that was read.
#[derive(Debug)]
pub(super) enum Told {
    /// A commit that says something.
    Commit(Commit),
    /// Everything that was committed up to here has been read.
    Passed(Lsn),
    /// An epoch that was asked for begins here.
    Epoch(Epoch, Lsn),
    /// What was written when reading began has come: from here on it is followed.
    Caught,
}

impl Told {
    /// Tells everybody.
    pub(super) fn tell(self, config: &StreamConfig, feed: &Feed) {
        match self {
            Self::Commit(commit) => {
                metrics::commit(&config.database);
                feed.tell(commit);
            }
            Self::Passed(lsn) => feed.pass(lsn),
            Self::Epoch(epoch, at) => {
                metrics::epoch(&config.database, "asked for");
                tracing::warn!(database = &*config.database, %epoch, "change_stream_new_epoch");
                feed.begins(&epoch, at, Why::NewEpoch);
            }
            Self::Caught => follows(config, feed),
        }
    }
}

/// From now on what is known is current.
pub(super) fn follows(config: &StreamConfig, feed: &Feed) {
    feed.follows();
    stand(config, feed, Status::Following);
    if let Some((epoch, from)) = feed.last() {
        tracing::info!(database = &*config.database, %epoch, %from, "change_stream_follows");
    }
}
