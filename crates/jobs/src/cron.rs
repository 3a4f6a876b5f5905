//! What a cron expression means: which times it names in a time zone.
//!
//! Five fields, six with seconds in front, seven with a year at the end, or a nickname (`@daily`). At
//! a change of the clocks, times of day that are named exactly (`30 2 * * *`) fire once: right after
//! the gap if the clocks leave them out, the first time if they come twice. Expressions with `*` or
//! a step in seconds, minutes or hours go on by the clock: nothing for what is left out, and again
//! for what comes again.

mod declared;

use std::str::FromStr as _;

use croner::Cron;
use croner::errors::CronError;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

pub(crate) use declared::apply;
pub use declared::{CronEntry, DeclareError, Declared, declare};

/// Most times that passed that are fired; the older ones are left out.
pub const MOST_MISSED: usize = 1000;

/// Why an expression can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// The expression can't be read.
    #[error("the expression {expression:?} can't be read: {reason}")]
    Expression {
        /// The expression.
        expression: String,
        /// What is wrong with it.
        reason: CronError,
    },
    /// No such time zone.
    #[error("there is no time zone {0:?}; use a name of the IANA database, such as Europe/Berlin")]
    TimeZone(String),
    /// It names no time that comes.
    #[error("the expression {0:?} names no time that ever comes")]
    Never(String),
    /// Times beyond what can be computed.
    #[error("no time of the expression {0:?} can be computed")]
    Time(String, #[source] jiff::Error),
}

/// An expression in a time zone.
#[derive(Debug, Clone)]
pub struct Schedule {
    cron: Cron,
    zone: TimeZone,
    expression: String,
}

/// Times that passed.
#[derive(Debug, PartialEq, Eq)]
pub struct Missed {
    /// The newest of them, oldest first, at most [`MOST_MISSED`].
    pub times: Vec<Timestamp>,
    /// There were older ones.
    pub older_left_out: bool,
}

impl Schedule {
    /// Reads an expression.
    pub fn parse(expression: &str, time_zone: &str) -> Result<Self, ScheduleError> {
        let cron = Cron::from_str(expression).map_err(|reason| ScheduleError::Expression {
            expression: expression.to_owned(),
            reason,
        })?;
        let zone =
            TimeZone::get(time_zone).map_err(|_| ScheduleError::TimeZone(time_zone.to_owned()))?;
        Ok(Self {
            cron,
            zone,
            expression: expression.to_owned(),
        })
    }

    /// The first time after `after`.
    pub fn next(&self, after: Timestamp) -> Result<Timestamp, ScheduleError> {
        let found = self
            .cron
            .find_next_occurrence(&after.to_zoned(self.zone.clone()), false)
            .map_err(|_| ScheduleError::Never(self.expression.clone()))?;
        // Whoever asks on from what was answered has to get on.
        if found.timestamp() > after {
            Ok(found.timestamp())
        } else {
            Err(ScheduleError::Never(self.expression.clone()))
        }
    }

    /// Times after `after` up to `now`. Looks at the newest hours first, so that a long absence
    /// costs no more than a short one.
    pub fn missed(&self, after: Timestamp, now: Timestamp) -> Result<Missed, ScheduleError> {
        const HOUR: i64 = 3600;
        for hours in [1, 24, 24 * 40, 24 * 400, i64::MAX] {
            let window = hours.checked_mul(HOUR).map(SignedDuration::from_secs);
            let from = match window {
                Some(window) => now
                    .checked_sub(window)
                    .map_err(|error| ScheduleError::Time(self.expression.clone(), error))?
                    .max(after),
                None => after,
            };
            let mut times = self.between(from, now)?;
            if from == after || times.len() >= MOST_MISSED {
                let too_many = times.len().saturating_sub(MOST_MISSED);
                times.drain(..too_many);
                return Ok(Missed {
                    times,
                    older_left_out: too_many > 0 || from > after,
                });
            }
        }
        unreachable!("the last window begins at `after`")
    }

    fn between(&self, after: Timestamp, until: Timestamp) -> Result<Vec<Timestamp>, ScheduleError> {
        let mut times = Vec::new();
        let mut at = after;
        loop {
            at = match self.next(at) {
                Ok(next) => next,
                Err(ScheduleError::Never(_)) => return Ok(times),
                Err(error) => return Err(error),
            };
            if at > until {
                return Ok(times);
            }
            times.push(at);
        }
    }
}

#[cfg(test)]
mod tests;
