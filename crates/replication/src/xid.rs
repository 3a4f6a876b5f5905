//! Transaction ids.

use serde::{Deserialize, Serialize};

/// A transaction id as `pg_current_xact_id()` gives it: 64 bits, never used twice.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Xid(pub u64);

impl Xid {
    /// The id whose lower half is `low` and that is nearest to this one.
    ///
    /// The stream carries lower halves only. The server never lets ids that are in use grow more than
    /// 2^31 apart, and a slot keeps those of the log it keeps in use, so any id that the server has
    /// named lately says which upper half is meant.
    #[must_use]
    pub fn nearest(self, low: u32) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the lower half is what is compared"
        )]
        let here = self.0 as u32;
        let distance = low.wrapping_sub(here).cast_signed();
        // Before the first id there is none: the upper half stays.
        let near = self.0.checked_add_signed(i64::from(distance));
        Self(near.unwrap_or(self.0 & !0xFFFF_FFFF | u64::from(low)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upper_half_is_that_of_the_nearest() {
        let near = |known: u64, low| Xid(known).nearest(low).0;
        assert_eq!(near(700, 750), 750);
        assert_eq!(near(750, 700), 700);
        // Around the point where the lower half begins again.
        assert_eq!(near(0x1_0000_0005, 0xFFFF_FFF0), 0xFFFF_FFF0);
        assert_eq!(near(0xFFFF_FFF0, 5), 0x1_0000_0005);
        assert_eq!(near(0x7_0000_0000, 0x7FFF_FFFF), 0x7_7FFF_FFFF);
        assert_eq!(near(3, 0xFFFF_FFFF), 0xFFFF_FFFF);
    }
}
