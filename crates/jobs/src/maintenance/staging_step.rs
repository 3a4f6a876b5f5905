//! Staging: rows that producers copied or inserted are moved to where jobs are.

use tokio_postgres::Error;

use super::metrics;
use super::steps::Steps;

/// Rows of one transaction.
const PART: i32 = 2000;

/// What became of the rows of one transaction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Staged {
    /// Jobs now.
    pub(super) moved: u64,
    /// Another job has the unique key, and the producer said that this is no error.
    pub(super) existing: u64,
    /// Dead letters.
    pub(super) refused: u64,
    /// Somebody decides about the unique key just now.
    pub(super) put_off: u64,
}

impl Staged {
    /// Rows that were looked at.
    pub(super) fn rows(self) -> u64 {
        self.moved + self.existing + self.refused + self.put_off
    }
}

impl Steps {
    /// Moves a part, so that the other steps are on time. No rows: there are none, or another one moves.
    pub(super) async fn move_staged(&self) -> Result<Staged, Error> {
        let sql = self.sql(
            "select moved, existing, refused, put_off, more from rolegate.move_staged_jobs($1)",
        );
        let row = self.session.client.query_one(&sql, &[&PART]).await?;
        let mut numbers = [0; 4];
        for (column, number) in numbers.iter_mut().enumerate() {
            *number = u64::from(row.try_get::<_, i32>(column)?.unsigned_abs());
        }
        let [moved, existing, refused, put_off] = numbers;
        for (outcome, number) in [
            ("moved", moved),
            ("existing", existing),
            ("refused", refused),
        ] {
            metrics::staged(self.database(), outcome, number);
        }
        if refused > 0 {
            tracing::warn!(database = self.database(), refused, "staged_jobs_refused");
        }
        let staged = Staged {
            moved,
            existing,
            refused,
            put_off,
        };
        if staged.rows() > 0 && !row.try_get::<_, bool>(4)? {
            // Rows that were moved take room; a table without others is emptied whole.
            let sql = self.sql("select rolegate.truncate_staging()");
            self.session.client.query_one(&sql, &[]).await?;
        }
        Ok(staged)
    }
}
