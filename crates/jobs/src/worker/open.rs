//! Which claims still have jobs that are not finished.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// The worker's number then, the claim's, and when it was made: after a crash of the server a number may
/// be given out again.
pub(super) type Claim = (i64, i64, SystemTime);

/// Claims, with how many of their jobs are not finished.
#[derive(Debug, Default)]
pub(super) struct OpenClaims {
    open: Mutex<BTreeMap<Claim, usize>>,
    /// Something was claimed since it was last said that nothing is open.
    touched: AtomicBool,
    /// An answer was lost: there may be a claim that is not among these.
    doubtful: AtomicBool,
}

impl OpenClaims {
    /// One more job of this claim.
    pub(super) fn add(&self, claim: Claim) {
        let mut open = self.lock();
        self.touched.store(true, Ordering::Release);
        *open.entry(claim).or_default() += 1;
    }

    /// The ends of jobs of these claims are written.
    pub(super) fn close(&self, claims: impl Iterator<Item = Claim>) {
        let mut open = self.lock();
        for claim in claims {
            if let Some(count) = open.get_mut(&claim) {
                *count -= 1;
                if *count == 0 {
                    open.remove(&claim);
                }
            }
        }
    }

    /// The lowest of this number's.
    pub(super) fn first(&self, worker: i64) -> Option<i64> {
        let open = self.lock();
        let mut of_worker = open.range((worker, i64::MIN, SystemTime::UNIX_EPOCH)..);
        let (first, _) = of_worker.next()?;
        (first.0 == worker).then_some(first.1)
    }

    /// All of this number's: their numbers, and when they were made.
    pub(super) fn known(&self, worker: i64) -> (Vec<i64>, Vec<SystemTime>) {
        let open = self.lock();
        let of_worker = open.keys().filter(|claim| claim.0 == worker);
        of_worker.map(|claim| (claim.1, claim.2)).unzip()
    }

    /// Nothing of this number's is ours any more.
    pub(super) fn forget(&self, worker: i64) {
        self.lock().retain(|claim, _| claim.0 != worker);
    }

    /// It has been said that nothing is open.
    pub(super) fn said_none(&self) {
        self.touched.store(false, Ordering::Release);
    }

    /// Whether that is still so.
    pub(super) fn is_said_none(&self) -> bool {
        !self.touched.load(Ordering::Acquire)
    }

    /// There may be a claim that is not known, or not any more.
    pub(super) fn doubt(&self, doubtful: bool) {
        self.doubtful.store(doubtful, Ordering::Release);
    }

    /// Whether that is so.
    pub(super) fn is_doubtful(&self) -> bool {
        self.doubtful.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Claim, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_number_has_its_own_claims() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let open = OpenClaims::default();
        for claim in [(1, 7, at(1)), (1, 9, at(2)), (2, 8, at(3)), (2, 8, at(9))] {
            open.add(claim);
        }
        assert_eq!(
            [1, 2, 3].map(|worker| open.first(worker)),
            [Some(7), Some(8), None]
        );
        // Number 8 was given out again after a crash; the end of a job of the first one closes that one.
        open.close([(2, 8, at(3)), (1, 7, at(1))].into_iter());
        assert_eq!(open.known(2), (vec![8], vec![at(9)]));
        assert_eq!(open.first(1), Some(9));
        open.forget(1);
        assert_eq!((open.first(1), open.first(2)), (None, Some(8)));
    }
}
