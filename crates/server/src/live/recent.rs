//! Commits of a moment ago.
//!
//! What the stream tells may not be visible to others yet. So whoever begins to watch has to be told not only of
//! the commits from then on, but also of those that were told shortly before.

use std::collections::VecDeque;
use std::sync::Arc;

use rolegate_replication::Commit;

/// Commits that are kept.
const MOST: usize = 2048;
/// Bytes of them, about.
const MOST_BYTES: usize = 4 * 1024 * 1024;

#[derive(Debug, Default)]
pub(super) struct Recent {
    commits: VecDeque<(Arc<Commit>, usize)>,
    bytes: usize,
}

impl Recent {
    pub(super) fn push(&mut self, commit: &Arc<Commit>) {
        let weight = commit.weight();
        self.commits.push_back((Arc::clone(commit), weight));
        self.bytes += weight;
        while self.commits.len() > MOST || self.bytes > MOST_BYTES {
            let Some((_, weight)) = self.commits.pop_front() else {
                break;
            };
            self.bytes -= weight;
        }
    }

    pub(super) fn clear(&mut self) {
        self.commits.clear();
        self.bytes = 0;
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Commit>> {
        self.commits.iter().map(|(commit, _)| commit)
    }
}
