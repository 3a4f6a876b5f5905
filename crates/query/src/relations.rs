//! Tables and views a statement reads.

/// What is known of relations, by OID: `oid, schema, name, kind, row security, system, published, text
/// of the view`. Parameters: the OIDs, our publication.
pub const RELATIONS_SQL: &str = include_str!("sql/relations.sql");

/// A table, a view, or anything else with rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// OID in `pg_class`.
    pub oid: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// `relkind`.
    pub kind: char,
    /// It has row-level security.
    pub row_security: bool,
    /// A catalog of PostgreSQL.
    pub system: bool,
    /// Its changes are in the publication.
    pub published: bool,
    /// The text of a view.
    pub view: Option<String>,
}

impl Relation {
    /// Schema and name.
    pub fn display(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// Whether its rows are stored elsewhere.
    pub(crate) fn is_view(&self) -> bool {
        self.kind == 'v'
    }
}
