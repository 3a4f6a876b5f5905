//! The statements about a query, and the one that gives its rows.

use rolegate_pg::session::Field;
use rolegate_pg::{Statement, quote};

use crate::cache::Catalog;
use crate::refusal::Refusal;
use crate::text::Text;

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name, as the caller gave it.
    pub name: String,
    /// How its text becomes JSON.
    pub text: ColumnText,
    /// OID of its type; the base type of a domain.
    pub type_oid: u32,
}

/// How the text of a column becomes JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnText {
    /// `t` or `f`.
    Boolean,
    /// A number, unless it is `NaN` or infinite: those are strings, as with `to_json`.
    Number,
    /// A string.
    String,
    /// JSON already.
    Json,
    /// PostgreSQL makes JSON of it: dates, arrays, rows, whatever else there is.
    Made,
}

impl ColumnText {
    fn of(type_oid: u32) -> Self {
        match type_oid {
            16 => Self::Boolean,
            // int8, int2, int4, oid, float4, float8, numeric
            20 | 21 | 23 | 26 | 700 | 701 | 1700 => Self::Number,
            // "char", name, text, bpchar, varchar, uuid
            18 | 19 | 25 | 1042 | 1043 | 2950 => Self::String,
            // json, jsonb
            114 | 3802 => Self::Json,
            _ => Self::Made,
        }
    }
}

impl Column {
    /// Columns of a result. Objects of JSON need names that differ.
    pub(crate) fn of(fields: &[Field]) -> Result<Vec<Self>, Refusal> {
        if fields.is_empty() {
            return Err(Refusal::NoColumns);
        }
        let mut columns: Vec<Self> = Vec::with_capacity(fields.len());
        let mut names = std::collections::HashSet::with_capacity(fields.len());
        for field in fields {
            if !names.insert(&field.name) {
                return Err(Refusal::DuplicateColumn(field.name.clone()));
            }
            columns.push(Self {
                name: field.name.clone(),
                text: ColumnText::of(field.type_oid),
                type_oid: field.type_oid,
            });
        }
        Ok(columns)
    }
}

/// `explain` of the text as it is: if there is more than one statement in it, or less, PostgreSQL says so
/// here, and nothing around it can mean anything else later.
pub fn explain(text: &Text) -> Statement {
    Statement::once(format!("explain (format json) {}", text.sql))
}

/// Names and types of the columns, without running anything.
pub fn probe(text: &Text) -> Statement {
    Statement::once(format!("select * from (\n{}\n) q limit 0", text.sql)).described()
}

/// What the transaction has locked: the relations that parsing, rewriting and planning went through.
/// The function is asked and not the view, which would be locked itself.
pub fn locks() -> Statement {
    Statement::prepared(
        "select distinct l.relation from pg_catalog.pg_lock_status() l \
         where l.locktype = 'relation' and l.pid = pg_catalog.pg_backend_pid()",
    )
}

/// Which transactions this one has seen, and a position in the log behind all of them. On a standby, which has
/// no such position, NULL.
pub const SEEN_SQL: &str = "select pg_catalog.pg_current_snapshot()::pg_catalog.text, \
     case when pg_catalog.pg_is_in_recovery() then null \
     else pg_catalog.pg_current_wal_insert_lsn()::pg_catalog.text end";

/// The same as a statement of the caller's transaction.
pub fn seen() -> Statement {
    Statement::prepared(SEEN_SQL)
}

/// The rows, with JSON made of what has no plain text of its own. The columns are described again, so
/// that a table that has changed since is noticed.
///
/// It stays prepared for one state of the catalog: PostgreSQL does not look for names again because something of the
/// name has come in front of what it found, in a schema that is searched first.
pub fn rows(text: &Text, columns: &[Column], prepared: Option<&Catalog>) -> Statement {
    let values: Vec<String> = columns
        .iter()
        .map(|column| {
            let name = quote::ident(&column.name);
            match column.text {
                ColumnText::Made => format!("pg_catalog.to_json(q.{name}) as {name}"),
                _ => format!("q.{name}"),
            }
        })
        .collect();
    let sql = format!("select {} from (\n{}\n) q", values.join(", "), text.sql);
    let statement = match prepared {
        Some(catalog) => {
            let state = catalog.map(|part| format!("{part:x}")).join(" ");
            Statement::prepared(format!("{sql} /* {state} */"))
        }
        None => Statement::once(sql),
    };
    statement.described()
}

/// Whether the rows have the columns that were expected.
pub fn is_as_expected(columns: &[Column], fields: &[Field]) -> bool {
    columns.len() == fields.len()
        && columns.iter().zip(fields).all(|(column, field)| {
            let text = match column.text {
                ColumnText::Made => ColumnText::Json,
                other => other,
            };
            ColumnText::of(field.type_oid) == text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, type_oid: u32) -> Field {
        Field {
            name: name.into(),
            type_oid,
        }
    }

    #[test]
    fn columns_keep_their_order_and_need_different_names() {
        let columns = Column::of(&[field("b", 20), field("a", 1184)]).expect("columns");
        assert_eq!(columns[0].text, ColumnText::Number);
        assert_eq!(columns[1].text, ColumnText::Made);
        assert_eq!(
            Column::of(&[field("a", 20), field("a", 20)]),
            Err(Refusal::DuplicateColumn("a".into()))
        );
        assert_eq!(Column::of(&[]), Err(Refusal::NoColumns));
    }

    #[test]
    fn the_text_is_between_line_breaks() {
        let text = Text::read("select 1 as a, now() as b").expect("a query");
        let columns = Column::of(&[field("a", 23), field("b", 1184)]).expect("columns");
        assert_eq!(
            &*rows(&text, &columns, None).sql,
            "select q.\"a\", pg_catalog.to_json(q.\"b\") as \"b\" \
             from (\nselect 1 as a, now() as b\n) q"
        );
    }
}
