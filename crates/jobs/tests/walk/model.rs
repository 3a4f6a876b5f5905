//! What every job must be.

use std::collections::BTreeMap;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Deferred,
    Available,
    Running,
    Completed,
    Failed,
    Cancelled,
}

#[derive(Debug, Clone)]
pub(crate) struct Modelled {
    pub(crate) state: State,
    pub(crate) attempt: i16,
    pub(crate) max_attempts: i16,
    /// Queue and priority.
    pub(crate) lane: (usize, i32),
    /// When it was enqueued, and when that was committed, in steps.
    pub(crate) enqueued: usize,
    pub(crate) committed: usize,
    /// The how-manieth first attempt of all.
    pub(crate) started: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Attempt {
    pub(crate) claim: i64,
    pub(crate) ordinal: i16,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Running {
    pub(crate) root: i64,
    pub(crate) worker: i64,
    pub(crate) flags: i16,
    pub(crate) claimed_at: std::time::SystemTime,
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) jobs: BTreeMap<i64, Modelled>,
    pub(crate) running: BTreeMap<Attempt, Running>,
    starts: usize,
}

impl Model {
    pub(crate) fn count(&self, state: State) -> i64 {
        let count = self.jobs.values().filter(|job| job.state == state).count();
        i64::try_from(count).unwrap()
    }

    /// Those of a queue.
    pub(crate) fn count_in(&self, queue: usize, state: State) -> i64 {
        let jobs = self.jobs.values();
        let count = jobs.filter(|job| job.state == state && job.lane.0 == queue);
        i64::try_from(count.count()).unwrap()
    }

    pub(crate) fn of_worker(&self, worker: i64) -> Vec<Attempt> {
        self.running
            .iter()
            .filter(|(_, running)| running.worker == worker)
            .map(|(attempt, _)| *attempt)
            .collect()
    }

    /// A claim gave this attempt.
    pub(crate) fn claimed(&mut self, attempt: Attempt, running: Running, number: i16) {
        let job = self.jobs.get_mut(&running.root).expect("it was committed");
        assert_eq!(job.state, State::Available, "{running:?} {job:?}");
        assert_eq!(job.attempt, number, "{running:?} {job:?}");
        job.state = State::Running;
        // Those that were deferred have another place in the order.
        if number == 0 && job.started.is_none() {
            self.starts += 1;
            job.started = Some(self.starts);
        }
        assert!(self.running.insert(attempt, running).is_none());
    }

    /// Whether that is possible: what has ended is not cancelled. An attempt that runs is over.
    pub(crate) fn cancelled(&mut self, root: i64) -> bool {
        let job = self.jobs.get_mut(&root).expect("it was committed");
        let ended = [State::Completed, State::Failed, State::Cancelled];
        if ended.contains(&job.state) {
            return false;
        }
        job.state = State::Cancelled;
        self.running.retain(|_, running| running.root != root);
        true
    }

    /// The attempt ended with this letter.
    pub(crate) fn ended(&mut self, attempt: Attempt, letter: u8, deferred: bool) {
        let running = self.running.remove(&attempt).expect("it ran");
        let job = self.jobs.get_mut(&running.root).expect("it is there");
        let again = if deferred {
            State::Deferred
        } else {
            State::Available
        };
        job.state = match letter {
            b'c' => State::Completed,
            b'x' => State::Cancelled,
            b's' | b'b' => again,
            b'f' => {
                job.attempt += 1;
                State::Failed
            }
            _ => {
                job.attempt += 1;
                if job.attempt >= job.max_attempts {
                    State::Failed
                } else {
                    again
                }
            }
        };
    }
}
