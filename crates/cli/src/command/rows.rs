//! Lists that a function of ours returns, as text or as JSON.

use tokio_postgres::types::ToSql;

use super::connect::Target;
use crate::logging::{note, say};

/// What to print of `source`, a call whose rows are named `t`.
pub(super) struct Rows<'a> {
    pub source: &'a str,
    /// Title and expression of each column of the text.
    pub columns: &'a [(&'a str, &'a str)],
    pub json: bool,
}

impl Rows<'_> {
    /// Titles, unless it is JSON.
    pub(super) fn head(&self) {
        if !self.json {
            let titles: Vec<&str> = self.columns.iter().map(|column| column.0).collect();
            say(titles.join("\t"));
        }
    }

    /// A statement with the line to print, and `extra` behind it.
    pub(super) fn sql(&self, target: &Target, extra: &str) -> anyhow::Result<String> {
        let line = if self.json {
            "pg_catalog.to_jsonb(t)::text".to_owned()
        } else {
            let columns: Vec<String> = self
                .columns
                .iter()
                .map(|column| format!("coalesce(({})::text, '-')", column.1))
                .collect();
            // A value with a tab or a line of its own is still one value on one line.
            format!(
                "(select pg_catalog.string_agg(pg_catalog.regexp_replace( \
                 c.value, '[\\t\\r\\n]', ' ', 'g'), e'\\t' order by c.nth) \
                 from pg_catalog.unnest(array[{}]) with ordinality c (value, nth))",
                columns.join(", ")
            )
        };
        let sql = format!("select {line}{extra} from {} t", self.source);
        Ok(target.names()?.render(&sql).into_owned())
    }

    /// Prints pages of at most `max` rows together, and says where they go on. `filters` come before the
    /// place and the number of rows among the call's arguments.
    pub(super) async fn pages(
        &self,
        target: &Target,
        filters: &[&(dyn ToSql + Sync)],
        mut before: Option<i64>,
        max: i32,
    ) -> anyhow::Result<()> {
        let client = target.connect().await?;
        let sql = self.sql(target, ", t.id is not null, t.next_before")?;
        let mut left = max;
        let mut begun = false;
        while left > 0 {
            let most = left.min(1000);
            let mut values = filters.to_vec();
            values.extend([&before as &(dyn ToSql + Sync), &most]);
            let page = client.query(&sql, &values).await?;
            if !begun {
                self.head();
                begun = true;
            }
            let Some(last) = page.last() else {
                return Ok(());
            };
            before = last.try_get(2)?;
            for row in &page {
                if row.try_get(1)? {
                    say(row.try_get::<_, &str>(0)?);
                    left -= 1;
                }
            }
        }
        if let Some(before) = before {
            note(format_args!("there may be more: --before {before}"));
        }
        Ok(())
    }

    /// Prints all of them.
    pub(super) async fn print(
        &self,
        target: &Target,
        values: &[&(dyn ToSql + Sync)],
    ) -> anyhow::Result<()> {
        let client = target.connect().await?;
        let rows = client.query(&self.sql(target, "")?, values).await?;
        self.head();
        for row in rows {
            say(row.try_get::<_, &str>(0)?);
        }
        Ok(())
    }
}

/// The only value of a statement.
pub(super) async fn value<T>(
    target: &Target,
    sql: &str,
    values: &[&(dyn ToSql + Sync)],
) -> anyhow::Result<T>
where
    T: for<'a> tokio_postgres::types::FromSql<'a>,
{
    let client = target.connect().await?;
    let sql = target.names()?.render(sql).into_owned();
    Ok(client.query_one(&sql, values).await?.try_get(0)?)
}

/// The sum of what a statement does in each call, until it does nothing more.
pub(super) async fn until_none(
    target: &Target,
    sql: &str,
    values: &[&(dyn ToSql + Sync)],
) -> anyhow::Result<i64> {
    let client = target.connect().await?;
    let sql = target.names()?.render(sql).into_owned();
    let mut sum = 0;
    loop {
        let done: i32 = client.query_one(&sql, values).await?.try_get(0)?;
        if done == 0 {
            return Ok(sum);
        }
        sum += i64::from(done);
    }
}
