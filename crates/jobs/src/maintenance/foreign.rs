//! Somebody else has the key with which one leads, so that nobody does: said, once for each.

use tokio_postgres::Error;

use super::steps::Steps;

/// Who has it; no process id: a prepared transaction.
type Holder = (Option<i32>, Option<String>);

/// Whoever stands by looks for them.
#[derive(Debug, Default)]
pub(super) struct Foreign {
    seen: Option<Holder>,
    said: bool,
}

impl Foreign {
    /// Looks, after the key was refused.
    pub(super) async fn look(&mut self, steps: &Steps) -> Result<(), Error> {
        let sql = steps.sql("select pid, role from rolegate.leader_key_holders() limit 1");
        let row = steps.session.client.query_opt(&sql, &[]).await?;
        let holder = match row {
            Some(row) => Some((row.try_get(0)?, row.try_get(1)?)),
            None => None,
        };
        if self.note(holder) {
            let (pid, role) = self.seen.clone().unwrap_or_default();
            tracing::warn!(database = steps.database(), pid, role, "leader_key_held");
        }
        Ok(())
    }

    /// Whether it is to be said. Not at first sight: a leader has the key some time before everybody sees
    /// that he leads.
    fn note(&mut self, holder: Option<Holder>) -> bool {
        if self.seen != holder {
            self.seen = holder;
            self.said = false;
            return false;
        }
        let say = self.seen.is_some() && !self.said;
        self.said |= say;
        say
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_holder_is_said_once_when_it_is_seen_again() {
        let mut foreign = Foreign::default();
        let a = Some((Some(1), Some("a".to_owned())));
        let b = Some((None, None));
        let said =
            [&a, &a, &a, &None, &None, &a, &b, &b, &b].map(|seen| foreign.note(seen.clone()));
        assert_eq!(
            said,
            [false, true, false, false, false, false, false, true, false]
        );
    }
}
