//! Whether a host is taken to be up.

use std::time::Duration;

use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct Breaker {
    /// Failures in a row that open it.
    failures: u32,
    open: Duration,
    longest: Duration,
    state: State,
    /// Changes with each state, so that an answer counts only in the one it was asked in.
    era: u64,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Up, with so many failures since the last success.
    Closed { failures: u32 },
    /// Left alone, for the `times`-th time in a row.
    Open { until: Instant, times: u32 },
    /// One request tries.
    Trying { since: Instant, times: u32 },
}

/// What one that may go counts for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Admitted {
    era: u64,
}

impl Breaker {
    pub(super) fn new(failures: u32, open: Duration, longest: Duration) -> Self {
        Self {
            failures: failures.max(1),
            open,
            longest: longest.max(open),
            state: State::Closed { failures: 0 },
            era: 0,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed { .. })
    }

    /// Until when nobody may go.
    pub(super) fn closed_until(&self, now: Instant) -> Option<Instant> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { until, .. } => (now < until).then_some(until),
            // The one that tries says soon how it went.
            State::Trying { since, .. } => Some(now.max(since)),
        }
    }

    /// One may go; or until when it may not.
    pub(super) fn admit(&mut self, now: Instant) -> Result<Admitted, Instant> {
        if let Some(until) = self.closed_until(now) {
            return Err(until);
        }
        if let State::Open { times, .. } = self.state {
            self.turn(State::Trying { since: now, times });
        }
        Ok(Admitted { era: self.era })
    }

    /// How one of them went. Whether the host went down or came up with it.
    pub(super) fn ended(&mut self, one: Admitted, well: bool, now: Instant) -> bool {
        if one.era != self.era {
            return false;
        }
        match (self.state, well) {
            (State::Closed { .. }, true) => self.state = State::Closed { failures: 0 },
            (State::Closed { failures }, false) if failures + 1 < self.failures => {
                self.state = State::Closed {
                    failures: failures + 1,
                };
            }
            (State::Closed { .. }, false) => {
                self.leave_alone(1, now);
                return true;
            }
            (State::Trying { .. }, true) => {
                self.turn(State::Closed { failures: 0 });
                return true;
            }
            (State::Trying { times, .. }, false) => {
                self.leave_alone(times.saturating_add(1), now);
                return true;
            }
            // Nobody goes in this state.
            (State::Open { .. }, _) => {}
        }
        false
    }

    /// It is not known how it went. If it was the one that tried, the next one may.
    pub(super) fn unknown(&mut self, one: Admitted) {
        if let State::Trying { since, times } = self.state
            && one.era == self.era
        {
            self.turn(State::Open {
                until: since,
                times,
            });
        }
    }

    fn leave_alone(&mut self, times: u32, now: Instant) {
        let doubled = 2_u32.saturating_pow(times.saturating_sub(1).min(30));
        let time = self.open.saturating_mul(doubled).min(self.longest);
        self.turn(State::Open {
            until: now + time,
            times,
        });
    }

    fn turn(&mut self, state: State) {
        self.state = state;
        self.era += 1;
    }
}
