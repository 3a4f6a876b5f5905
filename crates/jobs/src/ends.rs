//! Ends of attempts on their way to the database.

use std::time::SystemTime;

use serde_json::value::RawValue;
use tokio_postgres::types::Json;

use crate::job::Attempt;
use crate::outcome::{Outcome, Written};

/// Ends of attempts that are written together.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    known: Vec<Known>,
    pub(crate) claims: Vec<i64>,
    pub(crate) ordinals: Vec<i16>,
    pub(crate) claimed_at: Vec<SystemTime>,
    pub(crate) states: Vec<i8>,
    pub(crate) details: Vec<Option<Json<Box<RawValue>>>>,
    pub(crate) flags: Vec<i16>,
    pub(crate) follow_ups: Vec<Option<Json<Box<RawValue>>>>,
}

/// What is known about an attempt whose end is to be written. It is written all the same, because the
/// database decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// It has not ended, as far as is known here.
    Open,
    /// It ended elsewhere.
    Over,
    /// Its handler has committed its end.
    Committed,
}

impl Ends {
    pub(crate) fn push(&mut self, attempt: Attempt, written: Written, over: bool) {
        self.known.push(match (written.committed, over) {
            (true, _) => Known::Committed,
            (false, true) => Known::Over,
            (false, false) => Known::Open,
        });
        self.claims.push(attempt.claim);
        self.ordinals.push(attempt.ordinal);
        self.claimed_at.push(attempt.claimed_at);
        self.states.push(written.state.cast_signed());
        self.details.push(written.detail.map(Json));
        self.flags.push(attempt.flags);
        self.follow_ups.push(written.follow_ups.map(Json));
    }

    pub(crate) fn len(&self) -> usize {
        self.claims.len()
    }

    /// Each by itself.
    pub(crate) fn each(&self) -> Vec<Self> {
        (0..self.len()).filter_map(|nth| self.only(nth)).collect()
    }

    fn only(&self, nth: usize) -> Option<Self> {
        Some(Self {
            known: vec![*self.known.get(nth)?],
            claims: vec![*self.claims.get(nth)?],
            ordinals: vec![*self.ordinals.get(nth)?],
            claimed_at: vec![*self.claimed_at.get(nth)?],
            states: vec![*self.states.get(nth)?],
            details: vec![self.details.get(nth)?.clone()],
            flags: vec![*self.flags.get(nth)?],
            follow_ups: vec![self.follow_ups.get(nth)?.clone()],
        })
    }

    /// What they say can't be stored, and this is said instead. Nothing follows from it. What was completed has failed: its
    /// output is part of it.
    pub(crate) fn say_instead(&mut self, error: &str) {
        self.follow_ups.fill(None);
        for (state, detail) in self.states.iter_mut().zip(&mut self.details) {
            let said = Outcome::Failed {
                error: error.into(),
                reason: Some("not_storable"),
            }
            .into_written();
            *state = said.state.cast_signed();
            *detail = said.detail.map(Json);
        }
    }

    /// The claims that they are of, for each end, and when they were made.
    pub(crate) fn claims(&self) -> impl Iterator<Item = (i64, SystemTime)> + '_ {
        self.claims
            .iter()
            .copied()
            .zip(self.claimed_at.iter().copied())
    }

    /// Whether the nth was ended by its handler.
    pub(crate) fn was_committed(&self, nth: usize) -> bool {
        self.known.get(nth) == Some(&Known::Committed)
    }

    /// Where the nth of them ran, if it is not known why it should have ended elsewhere.
    pub(crate) fn surprising(&self, nth: usize) -> Option<(i64, i16)> {
        match self.known.get(nth) {
            Some(Known::Open) => Some((*self.claims.get(nth)?, *self.ordinals.get(nth)?)),
            _ => None,
        }
    }
}
