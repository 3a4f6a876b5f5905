//! Budgets of roles: requests per second and statements at the same time.
//!
//! Admission is per process: with several processes a role has its budget in each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use rolegate_pg::catalog::RoleBudget;
use std::num::NonZeroU32;

/// The budget of every role. One of its own makes it narrower, never wider.
#[derive(Debug, Clone, Copy)]
pub struct DefaultBudget {
    /// Requests per second; `None` is unlimited.
    pub requests_per_second: Option<u32>,
    /// Statements at the same time.
    pub concurrency: u32,
    /// How long a statement may run.
    pub statement_timeout: Duration,
    /// Rows of one result.
    pub max_rows: u64,
    /// Bytes of one result.
    pub max_bytes: u64,
}

impl Default for DefaultBudget {
    fn default() -> Self {
        Self {
            requests_per_second: None,
            concurrency: 256,
            statement_timeout: Duration::from_secs(30),
            max_rows: 1_000_000,
            max_bytes: 64 * 1024 * 1024,
        }
    }
}

/// The budget in force for one role.
#[derive(Debug)]
pub struct Budget {
    limiter: Option<DefaultDirectRateLimiter>,
    running: AtomicU32,
    concurrency: u32,
    /// How long a statement may run.
    pub statement_timeout: Duration,
    /// Rows of one result.
    pub max_rows: u64,
    /// Bytes of one result.
    pub max_bytes: u64,
}

/// Permission to run one statement; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    budget: Arc<Budget>,
    counted: bool,
}

/// The budget is used up; try again after this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// When there will be some budget again.
    pub retry_after: Duration,
}

impl Budget {
    /// The smaller of the role's own budget and the defaults, for each bound: who may set budgets
    /// in a database is not who answers for the process. `settings` are those of the role itself:
    /// its `statement_timeout` counts if it is shorter.
    pub fn new(own: RoleBudget, settings: &[(String, String)], defaults: &DefaultBudget) -> Self {
        let own_timeout = settings
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("statement_timeout"))
            .filter_map(|(_, value)| duration(value))
            .chain(
                own.statement_timeout_ms
                    .map(|ms| Duration::from_millis(ms.into())),
            )
            .filter(|timeout| !timeout.is_zero());
        let rate = [own.requests_per_second, defaults.requests_per_second]
            .into_iter()
            .flatten()
            .min();
        Self {
            limiter: rate
                .and_then(NonZeroU32::new)
                .map(|rate| RateLimiter::direct(Quota::per_second(rate))),
            running: AtomicU32::new(0),
            concurrency: narrower(own.concurrency, defaults.concurrency),
            statement_timeout: own_timeout.fold(defaults.statement_timeout, Duration::min),
            max_rows: narrower(own.max_rows, defaults.max_rows),
            max_bytes: narrower(own.max_bytes, defaults.max_bytes),
        }
    }

    /// Asks for permission to run one transaction.
    pub fn admit(self: &Arc<Self>) -> Result<Permit, Exceeded> {
        if let Some(limiter) = &self.limiter
            && let Err(not_until) = limiter.check()
        {
            let retry_after = not_until.wait_time_from(DefaultClock::default().now());
            return Err(Exceeded { retry_after });
        }
        let admitted = self
            .running
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |running| {
                (running < self.concurrency).then_some(running + 1)
            });
        match admitted {
            Ok(_) => Ok(Permit {
                budget: Arc::clone(self),
                counted: true,
            }),
            Err(_) => Err(Exceeded {
                retry_after: Duration::from_secs(1),
            }),
        }
    }

    /// For what is nobody's request: it is bounded otherwise, and takes nobody's place.
    pub(crate) fn admit_unasked(self: &Arc<Self>) -> Permit {
        Permit {
            budget: Arc::clone(self),
            counted: false,
        }
    }
}

impl Permit {
    /// The budget it was taken from.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.counted {
            self.budget.running.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

fn narrower<T: Ord>(own: Option<T>, default: T) -> T {
    match own {
        Some(own) => own.min(default),
        None => default,
    }
}

/// A duration as PostgreSQL writes it: a number of milliseconds, or with a unit.
fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let milliseconds = match text[digits..].trim() {
        "" | "ms" => number,
        "us" => number / 1000,
        "s" => number.checked_mul(1000)?,
        "min" => number.checked_mul(60_000)?,
        "h" => number.checked_mul(3_600_000)?,
        "d" => number.checked_mul(86_400_000)?,
        _ => return None,
    };
    Some(Duration::from_millis(milliseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(own: RoleBudget) -> Arc<Budget> {
        Arc::new(Budget::new(own, &[], &DefaultBudget::default()))
    }

    #[test]
    fn concurrency_is_bounded_and_given_back() {
        let budget = budget(RoleBudget {
            concurrency: Some(2),
            ..RoleBudget::default()
        });
        let first = budget.admit().expect("room");
        let _second = budget.admit().expect("room");
        assert!(budget.admit().is_err());
        drop(first);
        assert!(budget.admit().is_ok());
    }

    #[test]
    fn the_rate_is_bounded_and_says_when_to_come_back() {
        let own = RoleBudget {
            requests_per_second: Some(2),
            ..RoleBudget::default()
        };
        let budget = budget(own);
        assert!(budget.admit().is_ok());
        assert!(budget.admit().is_ok());
        let exceeded = budget.admit().expect_err("over the rate");
        assert!(exceeded.retry_after > Duration::ZERO, "{exceeded:?}");
    }

    #[test]
    fn a_role_can_have_less_than_the_default_but_not_more() {
        let defaults = DefaultBudget {
            requests_per_second: Some(3),
            concurrency: 2,
            max_rows: 10,
            max_bytes: 100,
            ..DefaultBudget::default()
        };
        let of = |own: RoleBudget| Arc::new(Budget::new(own, &[], &defaults));
        let bounds = |budget: &Arc<Budget>| {
            // A rate that is used up refuses, so what was admitted is counted first.
            let held: Vec<_> = std::iter::from_fn(|| budget.admit().ok()).collect();
            let concurrency = held.len();
            drop(held);
            (concurrency, budget.max_rows, budget.max_bytes)
        };
        let more = RoleBudget {
            requests_per_second: Some(1_000_000),
            concurrency: Some(1000),
            max_rows: Some(1_000_000),
            max_bytes: Some(i64::MAX.unsigned_abs()),
            ..RoleBudget::default()
        };
        assert_eq!(bounds(&of(more)), (2, 10, 100));
        let less = RoleBudget {
            concurrency: Some(1),
            max_rows: Some(9),
            max_bytes: Some(99),
            ..RoleBudget::default()
        };
        assert_eq!(bounds(&of(less)), (1, 9, 99));
        for (own, expected) in [(Some(1_000_000), 3), (Some(2), 2), (None, 3)] {
            let budget = of(RoleBudget {
                requests_per_second: own,
                ..RoleBudget::default()
            });
            let admitted = (0..10).filter(|_| budget.admit().is_ok()).count();
            assert_eq!(admitted, expected, "{own:?}");
        }
    }

    #[test]
    fn a_role_can_shorten_the_statement_timeout_but_not_extend_it() {
        let short = RoleBudget {
            statement_timeout_ms: Some(100),
            ..RoleBudget::default()
        };
        assert_eq!(budget(short).statement_timeout, Duration::from_millis(100));
        for (text, expected) in [
            ("5s", 5_000),
            ("250", 250),
            ("2min", 30_000),
            ("0", 30_000),
            ("x", 30_000),
        ] {
            let settings = [("statement_timeout".to_owned(), text.to_owned())];
            let budget = Budget::new(RoleBudget::default(), &settings, &DefaultBudget::default());
            assert_eq!(
                budget.statement_timeout,
                Duration::from_millis(expected),
                "{text}"
            );
        }
        let long = RoleBudget {
            statement_timeout_ms: Some(900_000),
            ..RoleBudget::default()
        };
        assert_eq!(
            budget(long).statement_timeout,
            DefaultBudget::default().statement_timeout
        );
    }
}
