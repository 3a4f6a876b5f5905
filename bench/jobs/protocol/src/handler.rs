//! What a job does: it is counted, and the time since its payload was made is kept.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;

use crate::payload::now_us;

/// Shared by all workers of this process.
pub struct Handler {
    handled: AtomicU64,
    first_us: AtomicI64,
    ages: Mutex<Histogram<u64>>,
    told: Option<UnboundedSender<(i64, std::time::Instant)>>,
}

impl Handler {
    /// `told` gets the sequence number of each job when it starts.
    pub(crate) fn new(told: Option<UnboundedSender<(i64, std::time::Instant)>>) -> Self {
        Self {
            handled: AtomicU64::new(0),
            first_us: AtomicI64::new(0),
            ages: Mutex::new(histogram()),
            told,
        }
    }

    /// The no-op job.
    pub fn handle(&self, payload: &Value) {
        let started = std::time::Instant::now();
        let now = now_us();
        // Before the count: who sees a count finds the time of the first one.
        let _ = self
            .first_us
            .compare_exchange(0, now, Ordering::SeqCst, Ordering::SeqCst);
        if let Some(made) = payload["t_us"].as_i64()
            && let Ok(mut ages) = self.ages.lock()
        {
            ages.saturating_record(u64::try_from(now - made).unwrap_or(0));
        }
        if let Some(told) = &self.told {
            let _ = told.send((payload["seq"].as_i64().unwrap_or(-1), started));
        }
        self.handled.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn handled(&self) -> u64 {
        self.handled.load(Ordering::SeqCst)
    }

    /// Since 1970; 0 if no job was handled.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn first(&self) -> f64 {
        self.first_us.load(Ordering::SeqCst) as f64 / 1e6
    }

    pub(crate) fn ages(&self) -> Value {
        self.ages.lock().map_or(Value::Null, |ages| figures(&ages))
    }
}

/// Microseconds up to an hour, three significant digits.
pub(crate) fn histogram() -> Histogram<u64> {
    #[allow(clippy::expect_used)]
    Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("these bounds are valid")
}

pub(crate) fn figures(histogram: &Histogram<u64>) -> Value {
    json!({
        "count": histogram.len(),
        "p50_us": histogram.value_at_quantile(0.5),
        "p99_us": histogram.value_at_quantile(0.99),
        "max_us": histogram.max(),
    })
}
