//! What became different, for those who have not taken it yet and for those who come back.

use std::collections::VecDeque;

use bytes::Bytes;

/// Why somebody's place is gone who did not keep up.
pub(super) const SLOW: &str = "slow";
/// Why somebody can't go on where he was before.
pub(super) const UNKNOWN: &str = "history";

/// Frames in their order, within bounds. A place is the number of the frame that comes next.
#[derive(Debug, Default)]
pub(super) struct History {
    frames: VecDeque<Bytes>,
    /// Number of the first frame that is still there.
    first: u64,
    bytes: usize,
    /// Places before this one were given up at once, and why.
    voided: (u64, &'static str),
}

/// What somebody finds at his place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Frame(Bytes),
    /// It is not there yet.
    NotYet,
    /// It is not there any more, for this reason.
    Gone(&'static str),
}

impl History {
    /// The place after the last frame.
    pub(super) fn end(&self) -> u64 {
        self.first + self.frames.len() as u64
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, frame: Bytes, most: usize, most_bytes: usize) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
        // The newest one stays, however large: else nobody could keep up.
        while self.frames.len() > 1 && (self.frames.len() > most || self.bytes > most_bytes) {
            if let Some(frame) = self.frames.pop_front() {
                self.bytes -= frame.len();
                self.first += 1;
            }
        }
    }

    /// Nothing that was told before holds.
    pub(super) fn void(&mut self, why: &'static str) {
        self.first = self.end() + 1;
        self.frames.clear();
        self.bytes = 0;
        self.voided = (self.first, why);
    }

    pub(super) fn at(&self, place: u64) -> Found {
        let Some(index) = place.checked_sub(self.first) else {
            let (before, why) = self.voided;
            return Found::Gone(if place < before { why } else { SLOW });
        };
        let index = usize::try_from(index).ok();
        match index.and_then(|index| self.frames.get(index)) {
            Some(frame) => Found::Frame(frame.clone()),
            None => Found::NotYet,
        }
    }

    /// Whether somebody who has everything before this place can go on.
    pub(super) fn has(&self, place: u64) -> bool {
        (self.first..=self.end()).contains(&place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn it_is_bounded_in_number_and_bytes() {
        let mut history = History::default();
        for text in ["aaaa", "bbbb", "cc"] {
            history.push(frame(text), 2, 100);
        }
        assert_eq!(history.at(0), Found::Gone(SLOW));
        assert_eq!(history.at(1), Found::Frame(frame("bbbb")));
        assert_eq!(history.at(3), Found::NotYet);
        assert!(!history.has(0) && history.has(1) && history.has(3) && !history.has(4));
        history.push(frame("dddddd"), 2, 7);
        assert_eq!(history.at(2), Found::Gone(SLOW));
        assert_eq!(history.at(3), Found::Frame(frame("dddddd")));
        // One that is larger than the bound is there for those who are quick.
        history.push(frame("eeeeeeeeee"), 2, 7);
        assert_eq!(history.at(4), Found::Frame(frame("eeeeeeeeee")));
        assert_eq!(history.bytes(), 10);
    }

    #[test]
    fn what_was_voided_can_not_be_gone_on_with() {
        let mut history = History::default();
        history.push(frame("a"), 10, 100);
        let place = history.end();
        history.void("schema");
        assert_eq!(history.at(place), Found::Gone("schema"));
        assert!(!history.has(place) && history.has(history.end()));
        history.push(frame("b"), 10, 100);
        assert_eq!(history.at(place), Found::Gone("schema"));
        assert_eq!(history.at(history.end() - 1), Found::Frame(frame("b")));
    }
}
