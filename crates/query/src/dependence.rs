//! What the rows of a query depend on besides the tables: claims, and code that nobody looks into.

use std::collections::BTreeSet;

use rolegate_sql::is_dangerous;

use crate::analysis::Analysis;
use crate::claims::ClaimsRead;
use crate::text::Text;

/// What decides which rows of relations are seen, as expressions. Parameter: their OIDs.
pub const POLICIES_SQL: &str = include_str!("sql/policies.sql");

/// Whether code of users could run whose result depends on more than its arguments. Parameters: names that are
/// called, names that could be an attribute, operators, our schema.
pub const OPAQUE_SQL: &str = include_str!("sql/opaque.sql");

/// Tables and their primary keys: `name, columns`. Parameter: their OIDs.
pub const ROW_KEYS_SQL: &str = include_str!("sql/row_keys.sql");

/// The tables that hold the rows of partitioned ones: `oid, name, published`. Parameters: OIDs of those, our
/// publication.
pub const PARTITIONS_SQL: &str = include_str!("sql/partitions.sql");

/// Everything that runs for a query, as far as it is written down: its own text, those of the views it goes
/// through, and the policies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Names in front of a parenthesis.
    pub called: BTreeSet<String>,
    /// Names behind a point.
    pub attributes: BTreeSet<String>,
    /// Operators.
    pub operators: BTreeSet<String>,
    /// Names in the text itself and in views.
    pub names: BTreeSet<String>,
    /// Which claims are read by name.
    pub claims: ClaimsRead,
    /// Something in it can't be read, or runs text that is not written down.
    pub opaque: bool,
}

impl Written {
    /// Of a query and the expressions of the policies.
    pub fn of(text: &Text, analysis: &Analysis, policies: &[String]) -> Self {
        let mut written = Self::default();
        written.add(text);
        written.names.extend(text.names.iter().cloned());
        for view in analysis.read_set.iter().filter_map(|r| r.view.as_deref()) {
            if let Some(text) = written.read(view) {
                written.names.extend(text.names);
            }
        }
        for policy in policies {
            written.read(&format!("select {policy}"));
        }
        written
    }

    fn read(&mut self, sql: &str) -> Option<Text> {
        let Ok(text) = Text::read(sql) else {
            self.opaque = true;
            return None;
        };
        self.add(&text);
        Some(text)
    }

    fn add(&mut self, text: &Text) {
        self.called.extend(text.called.iter().cloned());
        self.attributes.extend(text.attributes.iter().cloned());
        self.operators.extend(text.operators.iter().cloned());
        let claims = std::mem::take(&mut self.claims);
        self.claims = claims.and(ClaimsRead::of(&text.sql));
        let mut called = text.called.union(&text.attributes);
        self.opaque |= called.clone().any(|name| is_dangerous(name));
        if called.any(|name| name.contains("setting")) {
            // They hold the claims too.
            self.claims = ClaimsRead::All;
        }
    }
}

/// Where the primary key of the one table that is named stands in the result, if it is whole there.
pub fn key_columns(
    tables: &[(String, Vec<String>)],
    written: &Written,
    analysis: &Analysis,
) -> Option<Vec<usize>> {
    let mut named = tables
        .iter()
        .filter(|(name, _)| written.names.contains(name));
    let (Some((_, key)), None) = (named.next(), named.next()) else {
        return None;
    };
    if key.is_empty() {
        return None;
    }
    let place = |name: &String| {
        let mut columns = analysis.columns.iter();
        columns.position(|column| column.name == *name)
    };
    key.iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;
    use crate::select::{Column, ColumnText};

    fn analysis(columns: &[&str]) -> Analysis {
        let column = |name: &&str| Column {
            name: (*name).to_owned(),
            text: ColumnText::String,
            type_oid: 25,
        };
        Analysis {
            columns: columns.iter().map(column).collect(),
            read_set: Vec::new(),
            unkept: Vec::new(),
            only_builtins: true,
            plan: Plan::default(),
        }
    }

    fn written(sql: &str, policies: &[&str]) -> Written {
        let policies: Vec<String> = policies.iter().map(|&policy| policy.to_owned()).collect();
        Written::of(
            &Text::read(sql).expect("a query"),
            &analysis(&[]),
            &policies,
        )
    }

    #[test]
    fn policies_are_read_with_the_text() {
        let both = written(
            "select upper(a) from t where b = rolegate.claim('team')",
            &["(org = ((SELECT (rolegate.claims() ->> 'org'::text)))::integer)"],
        );
        let names = ["org", "team"].map(str::to_owned).into();
        assert_eq!(both.claims, ClaimsRead::Only(names));
        assert!(both.called.contains("upper") && both.called.contains("claims"));
        assert!(!both.opaque);
        assert!(!both.names.contains("org"), "{both:?}");
    }

    #[test]
    fn what_is_not_written_down_is_opaque() {
        assert_eq!(
            written("select 1", &["a = current_setting('request.jwt.claims')"]).claims,
            ClaimsRead::All
        );
        assert!(written("select 1", &["a = U&'x'"]).opaque);
        assert!(written("select 1", &["query_to_xml('select 1') is null"]).opaque);
    }

    #[test]
    fn the_key_is_that_of_the_one_table_that_is_named() {
        let table = |name: &str, key: &[&str]| {
            let key = key.iter().map(|&column| column.to_owned()).collect();
            (name.to_owned(), key)
        };
        let tables = [
            table("item", &["part", "id"]),
            table("member", &["id"]),
            table("log", &[]),
        ];
        let key = |sql: &str, columns: &[&str]| {
            key_columns(&tables, &written(sql, &[]), &analysis(columns))
        };
        let columns = ["id", "name", "part"];
        assert_eq!(key("select * from item", &columns), Some(vec![2, 0]));
        assert_eq!(key("select * from item", &["id"]), None);
        assert_eq!(
            key("select * from item join member using (id)", &columns),
            None
        );
        assert_eq!(key("select * from log", &columns), None);
        assert_eq!(key("select 1 as id", &columns), None);
    }
}
