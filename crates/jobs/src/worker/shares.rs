//! Which queue comes first in a claim.
//!
//! Deficit round robin: of every job that is claimed each queue is owed its share, by weight, and the one
//! that is owed most comes first. Queues that are empty get nothing of it: what they leave others take.

use std::collections::BTreeMap;
use std::sync::Arc;

/// What a queue can be owed, or owe, in jobs: one that was empty for long comes first for a moment, and not
/// for as long as it was empty.
const MOST: i64 = 1024;

/// What the queues of a worker are owed.
#[derive(Debug)]
pub(super) struct Shares {
    weights: Vec<i64>,
    /// In jobs times the sum of the weights.
    owed: Vec<i64>,
}

impl Shares {
    /// Queues without a weight have 1.
    pub(super) fn new(names: &[Arc<str>], weights: &BTreeMap<String, u32>) -> Self {
        let weights: Vec<i64> = names
            .iter()
            .map(|name| i64::from(weights.get(&**name).copied().unwrap_or(1).max(1)))
            .collect();
        Self {
            owed: vec![0; weights.len()],
            weights,
        }
    }

    /// Places of the queues, the one that is owed most first.
    pub(super) fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.owed.len()).collect();
        order.sort_by_key(|place| std::cmp::Reverse(self.owed[*place]));
        order
    }

    /// A job of each of these queues was claimed.
    pub(super) fn took(&mut self, places: impl IntoIterator<Item = usize>) {
        let sum: i64 = self.weights.iter().sum();
        for place in places {
            for (owed, weight) in self.owed.iter_mut().zip(&self.weights) {
                *owed += weight;
            }
            self.owed[place] -= sum;
        }
        for owed in &mut self.owed {
            *owed = (*owed).clamp(-MOST * sum, MOST * sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(weights: &[(&str, u32)]) -> Shares {
        let names: Vec<Arc<str>> = weights.iter().map(|(name, _)| Arc::from(*name)).collect();
        let weights = weights
            .iter()
            .map(|(name, weight)| ((*name).to_owned(), *weight))
            .collect();
        Shares::new(&names, &weights)
    }

    /// Claims of `most` jobs from queues that have so many; how many of each were claimed.
    fn claimed(
        shares: &mut Shares,
        waiting: &mut [usize],
        claims: usize,
        most: usize,
    ) -> Vec<usize> {
        let mut all = vec![0; waiting.len()];
        for _ in 0..claims {
            let mut room = most;
            let mut places = Vec::new();
            for place in shares.order() {
                let taken = room.min(waiting[place]);
                room -= taken;
                waiting[place] -= taken;
                all[place] += taken;
                places.extend(std::iter::repeat_n(place, taken));
            }
            shares.took(places);
        }
        all
    }

    #[test]
    fn queues_get_what_their_weights_say() {
        let mut shares = shares(&[("a", 3), ("b", 1)]);
        let all = claimed(&mut shares, &mut [100_000, 100_000], 100, 512);
        assert_eq!(all[0] + all[1], 51_200);
        assert!((38_400 - 512..=38_400 + 512).contains(&all[0]), "{all:?}");
    }

    #[test]
    fn none_starves_and_none_waits_for_an_empty_one() {
        let mut equal = shares(&[("a", 1), ("b", 1), ("c", 1)]);
        let all = claimed(&mut equal, &mut [9000, 9000, 9000], 30, 100);
        assert_eq!(all, [1000, 1000, 1000]);
        let mut alone = shares(&[("a", 1), ("b", 1000)]);
        assert_eq!(claimed(&mut alone, &mut [9000, 0], 30, 100), [3000, 0]);
    }

    #[test]
    fn what_was_empty_for_long_does_not_take_everything() {
        let mut shares = shares(&[("a", 1), ("b", 1)]);
        claimed(&mut shares, &mut [100_000, 0], 190, 500);
        let all = claimed(&mut shares, &mut [100_000, 100_000], 20, 500);
        assert!(all[0] >= 3500, "{all:?}");
    }
}
