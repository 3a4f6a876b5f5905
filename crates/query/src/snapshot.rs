//! Which transactions a query has seen.

use std::fmt;
use std::str::FromStr;

/// A snapshot of PostgreSQL, as `pg_current_snapshot()` gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Everything before it has ended.
    xmin: u64,
    /// Nothing from here on has begun.
    xmax: u64,
    /// Between the two: what had not ended; in order.
    running: Box<[u64]>,
}

/// Not of the form `10:20:10,14,15`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a snapshot looks like 10:20:10,14,15")]
pub struct SnapshotError;

impl Snapshot {
    /// Whether the effects of a transaction that has committed are seen.
    pub fn contains(&self, xid: u64) -> bool {
        xid < self.xmin || (xid < self.xmax && self.running.binary_search(&xid).is_err())
    }

    /// Whether the transaction had begun.
    pub fn had_begun(&self, xid: u64) -> bool {
        xid < self.xmax
    }

    /// Whether the transaction had begun and not ended.
    pub fn is_running(&self, xid: u64) -> bool {
        self.running.binary_search(&xid).is_ok()
    }

    /// The transactions it does not show although later ones are, and that had begun.
    pub fn running(&self) -> &[u64] {
        &self.running
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.xmin, self.xmax)?;
        for (index, xid) in self.running.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{xid}")?;
        }
        Ok(())
    }
}

impl FromStr for Snapshot {
    type Err = SnapshotError;

    fn from_str(text: &str) -> Result<Self, SnapshotError> {
        let number = |text: &str| text.parse::<u64>().map_err(|_| SnapshotError);
        let mut parts = text.split(':');
        let (Some(xmin), Some(xmax), Some(running), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(SnapshotError);
        };
        let running = running.split(',').filter(|xid| !xid.is_empty());
        let mut running = running.map(number).collect::<Result<Box<[u64]>, _>>()?;
        running.sort_unstable();
        Ok(Self {
            xmin: number(xmin)?,
            xmax: number(xmax)?,
            running,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_had_not_ended_is_not_seen() {
        let snapshot: Snapshot = "10:20:10,14,15".parse().expect("a snapshot");
        let seen: Vec<u64> = (8..22).filter(|xid| snapshot.contains(*xid)).collect();
        assert_eq!(seen, [8, 9, 11, 12, 13, 16, 17, 18, 19]);
        let quiet: Snapshot = "7:7:".parse().expect("a snapshot");
        assert!(quiet.contains(6) && !quiet.contains(7));
        assert!(snapshot.had_begun(19) && snapshot.had_begun(14) && !snapshot.had_begun(20));
        for text in ["10:20:10,14,15", "7:7:"] {
            let snapshot: Snapshot = text.parse().expect("a snapshot");
            assert_eq!(snapshot.to_string(), text);
        }
        for bad in ["", "1", "1:2", "1:2:3:4", "a:2:", "1:2:x", "1:2:-3"] {
            assert!(bad.parse::<Snapshot>().is_err(), "{bad}");
        }
    }
}
