//! What is known of a relation while its changes are read.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::{Deserialize, Serialize};

use crate::commit::Key;
use crate::pgoutput::{Relation, Tuple, Value};

/// What rows of a relation are known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// The primary key, if it has one.
    Default,
    /// The columns of an index.
    Index,
    /// All columns.
    Full,
    /// Nothing.
    Nothing,
}

/// A column of the replica identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyColumn {
    /// Its name.
    pub name: Box<str>,
    /// OID of its type.
    pub type_oid: u32,
    /// `atttypmod`.
    pub modifier: i32,
}

/// A relation as it looked when its rows changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Its schema.
    pub schema: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// What its rows are known by.
    pub identity: Identity,
    /// The columns that are, in the relation's order; values in a [`Key`] stand in the same order.
    pub key: Box<[KeyColumn]>,
    /// Where they stand in a row.
    places: Box<[u16]>,
    /// A digest of all that is said of the relation, other columns included.
    layout: u64,
}

impl Shape {
    /// A relation whose rows begin with the columns of its key.
    pub fn new(schema: &str, name: &str, identity: Identity, key: Box<[KeyColumn]>) -> Self {
        Self {
            schema: schema.into(),
            name: name.into(),
            identity,
            places: (0_u16..).take(key.len()).collect(),
            key,
            layout: 0,
        }
    }

    pub(crate) fn of(relation: &Relation<'_>) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned().into_boxed_str();
        let (places, key) = (0_u16..)
            .zip(relation.columns())
            .filter(|(_, column)| column.key)
            .map(|(place, column)| {
                let column = KeyColumn {
                    name: text(column.name),
                    type_oid: column.type_oid,
                    modifier: column.modifier,
                };
                (place, column)
            })
            .unzip::<_, _, Vec<_>, Vec<_>>();
        Self {
            // The protocol's way to say it.
            schema: match relation.schema {
                b"" => "pg_catalog".into(),
                schema => text(schema),
            },
            name: text(relation.name),
            identity: match relation.identity {
                b'f' => Identity::Full,
                b'i' => Identity::Index,
                b'n' => Identity::Nothing,
                _ => Identity::Default,
            },
            key: key.into(),
            places: places.into(),
            layout: layout(relation),
        }
    }

    /// The key of a row; what it says nothing about is taken from the same row before. `None`: it can't be
    /// told, or not within `most` bytes.
    pub(crate) fn key_of(
        &self,
        row: &Tuple<'_>,
        before: Option<&Tuple<'_>>,
        most: usize,
    ) -> Option<Key> {
        if self.key.is_empty() {
            return None;
        }
        let mut values = Vec::with_capacity(self.places.len());
        let mut room = most;
        let mut old = before.map(Tuple::values);
        let mut places = self.places.iter().copied().peekable();
        for (place, value) in (0_u16..).zip(row.values()) {
            let earlier = old.as_mut().and_then(Iterator::next);
            if places.next_if_eq(&place).is_none() {
                continue;
            }
            let value = match value {
                Value::Unchanged => earlier?,
                value => value,
            };
            values.push(match value {
                Value::Null => None,
                Value::Text(text) => {
                    room = room.checked_sub(text.len())?;
                    Some(Box::from(str::from_utf8(text).ok()?))
                }
                Value::Unchanged | Value::Binary(_) => return None,
            });
        }
        // A row with fewer columns than the relation is none of it.
        places.next().is_none().then(|| Key(values.into()))
    }
}

/// Compared within this process only.
fn layout(relation: &Relation<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (relation.schema, relation.name, relation.identity).hash(&mut hasher);
    for column in relation.columns() {
        (column.key, column.name, column.type_oid, column.modifier).hash(&mut hasher);
    }
    hasher.finish()
}
