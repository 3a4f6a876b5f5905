//! Which rows need not move.

/// Of rows with their places in the old list, and whether they are what they were: the most that can stay
/// while the others are taken out and put in again.
pub(super) fn stay(before: &[Option<(usize, bool)>]) -> Vec<bool> {
    // The longest ascending run of old places: for each length the row that ends it with the lowest place, and
    // for each row the one before it.
    let mut ends: Vec<(usize, usize)> = Vec::new();
    let mut previous: Vec<Option<usize>> = vec![None; before.len()];
    for (index, before) in before.iter().enumerate() {
        let Some((place, true)) = *before else {
            continue;
        };
        let length = ends.partition_point(|(end, _)| *end < place);
        previous[index] = length.checked_sub(1).map(|shorter| ends[shorter].1);
        match ends.get_mut(length) {
            Some(end) => *end = (place, index),
            None => ends.push((place, index)),
        }
    }
    let mut stays = vec![false; before.len()];
    let mut at = ends.last().map(|(_, index)| *index);
    while let Some(index) = at {
        stays[index] = true;
        at = previous[index];
    }
    stays
}
