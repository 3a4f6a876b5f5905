//! Which claims still have jobs that are not finished.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Claims by number, with how many of their jobs are not finished.
#[derive(Debug, Default)]
pub(super) struct OpenClaims {
    open: Mutex<BTreeMap<i64, usize>>,
    /// Something was claimed since it was last said that nothing is open.
    touched: AtomicBool,
}

impl OpenClaims {
    /// One more job of this claim.
    pub(super) fn add(&self, claim: i64) {
        let mut open = self.lock();
        self.touched.store(true, Ordering::Release);
        *open.entry(claim).or_default() += 1;
    }

    /// The ends of jobs of these claims are written.
    pub(super) fn close(&self, claims: &[i64]) {
        let mut open = self.lock();
        for claim in claims {
            if let Some(count) = open.get_mut(claim) {
                *count -= 1;
                if *count == 0 {
                    open.remove(claim);
                }
            }
        }
    }

    /// The lowest of them.
    pub(super) fn first(&self) -> Option<i64> {
        self.lock().keys().next().copied()
    }

    /// Nothing is ours any more.
    pub(super) fn forget(&self) {
        self.lock().clear();
    }

    /// It has been said that nothing is open.
    pub(super) fn said_none(&self) {
        self.touched.store(false, Ordering::Release);
    }

    /// Whether that is still so.
    pub(super) fn is_said_none(&self) -> bool {
        !self.touched.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<i64, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
