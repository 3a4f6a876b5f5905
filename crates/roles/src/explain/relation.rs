//! The relation of a question, and statements on it.

use rolegate_pg::quote;

use super::sealed::Asking;
use super::table::Privilege;
use super::{ExplainError, name};

/// A column.
pub(super) struct Column {
    pub(super) name: String,
    /// As SQL text, from the catalog.
    pub(super) kind: String,
    /// The server fills it: a default, an identity or a generated value.
    pub(super) filled: bool,
}

/// A table, view, materialized view or foreign table.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts of the catalog"
)]
pub(super) struct Relation {
    pub(super) oid: u32,
    pub(super) schema_oid: u32,
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) view: bool,
    /// A view with its reader's rights.
    pub(super) invoker: bool,
    pub(super) row_security: bool,
    pub(super) forced: bool,
    pub(super) owner: u32,
    pub(super) owner_name: String,
    pub(super) changed_by_trigger: bool,
    pub(super) columns: Vec<Column>,
}

impl Relation {
    pub(super) async fn find(asking: &Asking<'_>, text: &str) -> Result<Self, ExplainError> {
        let row = asking
            .client
            .query_opt(
                include_str!("sql/find_relation.sql"),
                &[&name::parts(text)?, &asking.schemas],
            )
            .await?
            .ok_or_else(|| ExplainError::ObjectUnknown(text.to_owned()))?;
        let oid: u32 = row.try_get("relation")?;
        let columns = asking
            .client
            .query(include_str!("sql/find_columns.sql"), &[&oid])
            .await?
            .iter()
            .map(|row| {
                Ok(Column {
                    name: row.try_get("name")?,
                    kind: row.try_get("type")?,
                    filled: row.try_get("filled")?,
                })
            })
            .collect::<Result<_, tokio_postgres::Error>>()?;
        Ok(Self {
            oid,
            schema_oid: row.try_get("schema_oid")?,
            schema: row.try_get("schema")?,
            name: row.try_get("name")?,
            view: row.try_get::<_, &str>("kind")? == "v",
            invoker: row.try_get("invoker")?,
            row_security: row.try_get("row_security")?,
            forced: row.try_get("forced")?,
            owner: row.try_get("owner")?,
            owner_name: row.try_get("owner_name")?,
            changed_by_trigger: row.try_get("changed_by_trigger")?,
            columns,
        })
    }

    /// The name for SQL.
    pub(super) fn quoted(&self) -> String {
        quote::qualified(&self.schema, &self.name)
    }

    /// The name for people.
    pub(super) fn shown(&self) -> String {
        [&*self.schema, ".", &*self.name].concat()
    }

    pub(super) fn column(&self, name: &str) -> Result<&Column, ExplainError> {
        self.columns
            .iter()
            .find(|column| column.name == name)
            .ok_or_else(|| ExplainError::ColumnUnknown {
                relation: self.shown(),
                column: name.to_owned(),
            })
    }

    /// The statement the question is about. `$1` is the array of the key's values.
    pub(super) fn statement(
        &self,
        privilege: Privilege,
        columns: &[&str],
        key: &[(String, String)],
    ) -> Result<String, ExplainError> {
        let list = columns
            .iter()
            .map(|c| quote::ident(c))
            .collect::<Vec<_>>()
            .join(", ");
        let table = self.quoted();
        let mut sql = match privilege {
            Privilege::Select => ["select ", &list, " from ", &table].concat(),
            Privilege::Delete => ["delete from ", &table].concat(),
            Privilege::Update => {
                let sets: Vec<_> = columns
                    .iter()
                    .map(|c| [&quote::ident(c), " = default"].concat())
                    .collect();
                ["update ", &table, " set ", &sets.join(", ")].concat()
            }
            Privilege::Insert if columns.is_empty() => {
                ["insert into ", &table, " default values"].concat()
            }
            Privilege::Insert => {
                let defaults = vec!["default"; columns.len()].join(", ");
                [
                    "insert into ",
                    &table,
                    " (",
                    &list,
                    ") values (",
                    &defaults,
                    ")",
                ]
                .concat()
            }
        };
        if privilege != Privilege::Insert && !key.is_empty() {
            sql.push_str(" where ");
            sql.push_str(&self.condition(key)?);
        }
        Ok(sql)
    }

    /// `key` as a condition. `$1` is the array of its values.
    pub(super) fn condition(&self, key: &[(String, String)]) -> Result<String, ExplainError> {
        let mut terms = Vec::with_capacity(key.len());
        for (position, (name, _)) in key.iter().enumerate() {
            terms.push([&quote::ident(name), " = ", &self.argument(name, position)?].concat());
        }
        Ok(terms.join(" and "))
    }

    /// The value of the key's part at `position`, as the column's type.
    pub(super) fn argument(&self, name: &str, position: usize) -> Result<String, ExplainError> {
        let index = (position + 1).to_string();
        Ok(["($1[", &index, "])::", &self.column(name)?.kind].concat())
    }
}
