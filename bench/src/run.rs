//! A run: threads, connections, warm-up, measured time.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::LocalSet;

use crate::connection::drive;
use crate::count::{Count, Summary};
use crate::request::Request;

/// How much load, for how long.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Connections, each with one request in flight.
    pub connections: usize,
    /// Threads they are spread over.
    pub threads: usize,
    /// Time before anything counts: connections open, caches and plans fill.
    pub warm_up: Duration,
    /// Time that counts.
    pub duration: Duration,
    /// Ends earlier, after this many measured requests.
    pub requests: Option<u64>,
}

/// What the connections share: when to count and when to stop.
#[derive(Debug, Clone)]
pub struct Phases {
    measure_from: Instant,
    end: Instant,
    /// Requests that may still be begun; `None`: any number.
    left: Option<Arc<AtomicI64>>,
}

impl Phases {
    fn new(plan: &Plan) -> Self {
        let measure_from = Instant::now() + plan.warm_up;
        let left = plan
            .requests
            .map(|requests| Arc::new(AtomicI64::new(i64::try_from(requests).unwrap_or(i64::MAX))));
        Self {
            measure_from,
            end: measure_from + plan.duration,
            left,
        }
    }

    /// Whether another request may be begun.
    pub fn go_on(&self) -> bool {
        Instant::now() < self.end
            && self
                .left
                .as_ref()
                .is_none_or(|left| left.load(Ordering::Relaxed) > 0)
    }

    /// Whether what is begun now counts.
    pub fn measuring(&self) -> bool {
        Instant::now() >= self.measure_from
    }

    /// Takes one of the measured requests; false if none is left.
    pub fn take(&self) -> bool {
        self.left
            .as_ref()
            .is_none_or(|left| left.fetch_sub(1, Ordering::Relaxed) > 0)
    }
}

/// Runs the load on threads of its own and gives the figures.
///
/// # Panics
///
/// If a thread of the load itself panicked.
pub fn run(request: Request, plan: &Plan) -> std::io::Result<Summary> {
    let request = Arc::new(request);
    let phases = Phases::new(plan);
    let threads = plan.threads.clamp(1, plan.connections.max(1));
    let mut running = Vec::new();
    for thread in 0..threads {
        // 7 connections on 3 threads: 3, 2, 2.
        let connections = (plan.connections + threads - 1 - thread) / threads;
        let (request, phases) = (Arc::clone(&request), phases.clone());
        // One-threaded runtimes: no work stealing between the generator's own threads.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        running.push(std::thread::spawn(move || {
            runtime.block_on(on_this_thread(&request, &phases, connections))
        }));
    }
    let mut total = Count::default();
    for thread in running {
        total.add(&thread.join().expect("a thread of the load does not panic"));
    }
    // The last answers belong to requests that were begun in time; they end the measured time.
    Ok(total.summary(phases.measure_from.elapsed().as_secs_f64()))
}

/// All connections of a thread count into one place.
async fn on_this_thread(request: &Arc<Request>, phases: &Phases, connections: usize) -> Count {
    let total = Rc::new(RefCell::new(Count::default()));
    let local = LocalSet::new();
    for _ in 0..connections {
        local.spawn_local(drive(
            Arc::clone(request),
            phases.clone(),
            Rc::clone(&total),
        ));
    }
    local.await;
    total.take()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bounded_number_of_requests_is_handed_out_exactly() {
        let plan = Plan {
            connections: 1,
            threads: 1,
            warm_up: Duration::ZERO,
            duration: Duration::from_hours(1),
            requests: Some(2),
        };
        let phases = Phases::new(&plan);
        assert!(phases.measuring() && phases.go_on());
        assert_eq!(
            [phases.take(), phases.take(), phases.take()],
            [true, true, false]
        );
        assert!(!phases.go_on());
    }
}
