//! How much memory all groups of a database take together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that are held, about.
#[derive(Debug, Default)]
pub(super) struct Held(AtomicUsize);

/// What one group holds of them; given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    held: Arc<Held>,
    bytes: usize,
}

impl Share {
    pub(super) fn of(held: &Arc<Held>) -> Self {
        Self {
            held: Arc::clone(held),
            bytes: 0,
        }
    }

    /// Holds so many from now on; false if all together would hold more than `most`.
    pub(super) fn set(&mut self, bytes: usize, most: usize) -> bool {
        let counted = self
            .held
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |all| {
                let all = all.saturating_sub(self.bytes) + bytes;
                (all <= most || bytes <= self.bytes).then_some(all)
            });
        if counted.is_ok() {
            self.bytes = bytes;
        }
        counted.is_ok()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.held.0.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_together_are_bounded() {
        let held = Arc::new(Held::default());
        let (mut first, mut second) = (Share::of(&held), Share::of(&held));
        assert!(first.set(60, 100));
        assert!(!second.set(50, 100));
        assert!(second.set(40, 100));
        assert!(first.set(50, 10), "who takes less always may");
        drop(first);
        assert!(second.set(100, 100));
        drop(second);
        assert_eq!(held.0.load(Ordering::Acquire), 0);
    }
}
