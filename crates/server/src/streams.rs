//! How many event streams are open, of all kinds: one bound for a process and database.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::metrics::STREAMS;

/// Streams that are open.
#[derive(Debug, Default)]
pub(crate) struct Streams(AtomicUsize);

/// One of them; free again when dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<Streams>);

impl Streams {
    /// A place, unless `most` are taken.
    pub(crate) fn take(self: &Arc<Self>, most: usize) -> Option<Place> {
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| {
                (n < most).then_some(n + 1)
            })
            .ok()?;
        metrics::gauge!(STREAMS).increment(1.0);
        Some(Place(Arc::clone(self)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
        metrics::gauge!(STREAMS).decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_it_is_dropped() {
        let streams = Arc::new(Streams::default());
        let first = streams.take(2).expect("free");
        let _second = streams.take(2).expect("free");
        assert!(streams.take(2).is_none());
        drop(first);
        assert!(streams.take(2).is_some());
    }
}
