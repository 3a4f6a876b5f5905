//! Tables and views a statement reads.

/// What is known of relations, by OID: `oid, schema, name, kind, row security, system, published, text
/// of the view, columns whose values are the same if their texts are, and their types, whether the role
/// may read it by its name`. Parameters: the OIDs, our publication, the role.
pub const RELATIONS_SQL: &str = include_str!("sql/relations.sql");

/// By what right a role reads relations: `oid, JSON, what another role lacks`. Parameters: their OIDs, the role, the
/// other one or NULL.
pub const ACCESS_SQL: &str = include_str!("sql/access.sql");

/// A table, a view, or anything else with rows.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of the catalog by itself"
)]
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
    /// Columns of which two values are equal if and only if their texts are, with the OIDs of their types.
    pub comparable: Vec<(String, u32)>,
    /// The role may read it, or a column of it, by its name; not only through a view.
    pub open: bool,
}

impl Relation {
    /// Schema and name.
    pub fn display(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// Whether its rows are stored elsewhere: a view, or a table of partitions.
    pub(crate) fn has_no_rows(&self) -> bool {
        matches!(self.kind, 'v' | 'p')
    }
}
