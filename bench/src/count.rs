//! What was counted: answers, failures, latencies.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Counts of one thread or of all of them.
#[derive(Debug, Clone)]
pub struct Count {
    /// Microseconds from the first byte written to the last byte read, of good answers.
    latency: Histogram<u64>,
    statuses: BTreeMap<u16, u64>,
    /// Good answers.
    good: u64,
    /// Answers with the status and the wrong body.
    unmarked: u64,
    /// Connections that broke, by what happened.
    broken: BTreeMap<String, u64>,
    /// The body of the first answer that was not good.
    sample: Option<String>,
}

impl Default for Count {
    fn default() -> Self {
        let latency = Histogram::new_with_bounds(1, 600_000_000, 3)
            .expect("the bounds are valid: low >= 1, high >= 2 * low, 3 digits");
        Self {
            latency,
            statuses: BTreeMap::new(),
            good: 0,
            unmarked: 0,
            broken: BTreeMap::new(),
            sample: None,
        }
    }
}

impl Count {
    /// An answer came, and a good one has this status and is accepted.
    pub fn answer(&mut self, status: u16, good: u16, accepted: bool, micros: u64, body: &[u8]) {
        *self.statuses.entry(status).or_default() += 1;
        if status == good && accepted {
            self.good += 1;
            self.latency.saturating_record(micros.max(1));
            return;
        }
        if status == good {
            self.unmarked += 1;
        }
        self.sample.get_or_insert_with(|| {
            String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned()
        });
    }

    /// A connection broke.
    pub fn broke(&mut self, how: String) {
        *self.broken.entry(how).or_default() += 1;
    }

    /// Answers and failures so far.
    pub fn total(&self) -> u64 {
        self.statuses.values().sum::<u64>() + self.broken.values().sum::<u64>()
    }

    /// Takes another count in.
    pub fn add(&mut self, other: &Self) {
        self.latency
            .add(&other.latency)
            .expect("all histograms have the same bounds");
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        for (how, count) in &other.broken {
            *self.broken.entry(how.clone()).or_default() += count;
        }
        self.good += other.good;
        self.unmarked += other.unmarked;
        if self.sample.is_none() {
            self.sample.clone_from(&other.sample);
        }
    }

    /// The figures, over the time they were counted in.
    pub fn summary(&self, seconds: f64) -> Summary {
        let quantile = |q: f64| self.latency.value_at_quantile(q);
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let per_second = self.good as f64 / seconds;
        Summary {
            seconds,
            good: self.good,
            errors: self.total() - self.good,
            per_second,
            p50_us: quantile(0.5),
            p99_us: quantile(0.99),
            max_us: self.latency.max(),
            statuses: self.statuses.clone(),
            unmarked: self.unmarked,
            broken: self.broken.clone(),
            sample: self.sample.clone(),
        }
    }
}

/// The result that is printed.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// Time that was measured, without the warm-up.
    pub seconds: f64,
    /// Answers with the status and the marker.
    pub good: u64,
    /// Everything else.
    pub errors: u64,
    /// Good answers per second.
    pub per_second: f64,
    /// Median latency in microseconds.
    pub p50_us: u64,
    /// 99th percentile in microseconds.
    pub p99_us: u64,
    /// The slowest good answer in microseconds.
    pub max_us: u64,
    /// Answers by status code.
    pub statuses: BTreeMap<u16, u64>,
    /// Answers with the status and the wrong body.
    pub unmarked: u64,
    /// Connections that broke, by what happened.
    pub broken: BTreeMap<String, u64>,
    /// Start of the body of the first answer that was not good.
    pub sample: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_accepted_answers_with_the_status_are_good() {
        let mut count = Count::default();
        count.answer(200, 200, true, 1000, b"good");
        count.answer(200, 200, false, 9000, b"wrong body");
        count.answer(503, 200, true, 9000, b"busy");
        count.broke("connection reset".to_owned());
        let mut all = Count::default();
        all.add(&count);
        all.add(&count);
        let summary = all.summary(2.0);
        assert_eq!((summary.good, summary.errors, summary.unmarked), (2, 6, 2));
        assert!((summary.per_second - 1.0).abs() < 1e-9);
        assert!(
            summary.max_us < 1010,
            "failures have no latency: {}",
            summary.max_us
        );
        assert_eq!(summary.sample.as_deref(), Some("wrong body"));
    }
}
