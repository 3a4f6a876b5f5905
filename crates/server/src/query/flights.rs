//! One run for all who want the same at the same time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rolegate_model::ErrorCode;
use tokio::sync::OnceCell;

use crate::problem::Problem;

type Made<V> = Arc<OnceCell<Result<V, Problem>>>;

/// What is being made, by what it is found by.
#[derive(Debug)]
pub(crate) struct Flights<K, V> {
    open: Mutex<HashMap<K, Made<V>>>,
}

impl<K, V> Default for Flights<K, V> {
    fn default() -> Self {
        Self {
            open: Mutex::new(HashMap::new()),
        }
    }
}

impl<K: Clone + Eq + Hash, V: Clone> Flights<K, V> {
    /// What somebody else makes already, or what `work` makes. If whoever makes it goes away, or may not make it, the
    /// next one of those who wait makes it.
    pub(crate) async fn join<F>(&self, key: &K, work: impl Fn() -> F) -> Result<V, Problem>
    where
        F: Future<Output = Result<V, Problem>>,
    {
        loop {
            let cell = Arc::clone(self.open().entry(key.clone()).or_default());
            let leaving = Leaving {
                flights: self,
                key,
                cell: &cell,
            };
            let mut is_ours = false;
            let begin = || {
                is_ours = true;
                work()
            };
            let made = cell.get_or_init(begin).await.clone();
            drop(leaving);
            match made {
                // It was his budget.
                Err(problem) if problem.code == ErrorCode::BudgetExceeded && !is_ours => {}
                made => return made,
            }
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<K, Made<V>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the flight off the list when it has ended, or nobody is left who waits for it.
struct Leaving<'f, K: Clone + Eq + Hash, V: Clone> {
    flights: &'f Flights<K, V>,
    key: &'f K,
    cell: &'f Made<V>,
}

impl<K: Clone + Eq + Hash, V: Clone> Drop for Leaving<'_, K, V> {
    fn drop(&mut self) {
        let mut open = self.flights.open();
        let is_ours = open
            .get(self.key)
            .is_some_and(|cell| Arc::ptr_eq(cell, self.cell));
        // The list has one, and we have one.
        if is_ours && (self.cell.initialized() || Arc::strong_count(self.cell) <= 2) {
            open.remove(self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_many_want_is_made_once() {
        let flights = Flights::default();
        let made = AtomicUsize::new(0);
        let slowly = || async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(made.fetch_add(1, Ordering::Relaxed))
        };
        let all = (0..100).map(|_| flights.join(&7, slowly));
        let all = futures_util::future::join_all(all).await;
        assert!(all.iter().all(|number| matches!(number, Ok(0))));
        assert!(
            matches!(flights.join(&7, slowly).await, Ok(1)),
            "and then anew"
        );
        assert!(flights.open().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_away_leaves_it_to_the_next() {
        let flights = Flights::default();
        let never = flights.join(&7, std::future::pending::<Result<u8, Problem>>);
        let gone = tokio::time::timeout(Duration::from_secs(1), never);
        let next = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            flights.join(&7, || std::future::ready(Ok(5))).await
        };
        let (gone, next) = tokio::join!(gone, next);
        assert!(gone.is_err());
        assert!(matches!(next, Ok(5)));
        assert!(flights.open().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_budget_that_is_used_up_is_only_its_owners() {
        let flights = Flights::default();
        let fails = |code| {
            move || async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Err(Problem::new(code))
            }
        };
        for (code, shared) in [
            (ErrorCode::BudgetExceeded, false),
            (ErrorCode::DatabaseError, true),
        ] {
            let first = flights.join(&7, fails(code));
            let others = (0..3).map(|_| flights.join(&7, || std::future::ready(Ok(5))));
            let others = futures_util::future::join_all(others);
            let (first, others) = tokio::join!(first, others);
            assert!(first.is_err());
            assert!(
                others.iter().all(|other| other.is_err() == shared),
                "{code:?}"
            );
        }
        assert!(flights.open().is_empty());
    }
}
