//! Which commits a result can depend on.

use bytes::Bytes;
use rolegate_replication::{Commit, Keys, Touched};

use crate::analysis::Analysis;
use crate::pinned::PinnedValue;
use crate::relations::Relation;
use crate::text::Text;

/// What a query reads, as narrow as it can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touch {
    /// OIDs of the relations, in order.
    relations: Box<[u32]>,
    /// Only rows with these values in these columns can matter, in their text form.
    pinned: Box<[(Box<str>, Box<str>)]>,
}

impl Touch {
    /// Of a query with its parameters.
    pub fn of(analysis: &Analysis, text: &Text, params: &[Option<Bytes>]) -> Self {
        let mut relations: Box<[u32]> = analysis
            .read_set
            .iter()
            .map(|relation| relation.oid)
            .collect();
        relations.sort_unstable();
        let pinned = match &*analysis.read_set {
            // Names and operators of users could mean something else.
            [relation] if relation.kind == 'r' && analysis.only_builtins => {
                pinned(relation, text, params)
            }
            _ => Box::default(),
        };
        Self { relations, pinned }
    }

    /// The relations, by OID, in order.
    pub fn relations(&self) -> &[u32] {
        &self.relations
    }

    /// Bytes that it takes, and that an index by it takes, about: a relation is in a table of its own there.
    pub fn weight(&self) -> usize {
        let pinned: usize = self
            .pinned
            .iter()
            .map(|(column, value)| 2 * (column.len() + value.len() + 64))
            .sum();
        self.relations.len() * 128 + pinned
    }

    /// Whether single rows are told apart.
    pub fn is_narrow(&self) -> bool {
        !self.pinned.is_empty()
    }

    /// The columns and values that all rows have which can matter.
    pub fn pinned(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pinned
            .iter()
            .map(|(column, value)| (&**column, &**value))
    }

    /// Whether the result can be another one after the commit.
    pub fn is_touched_by(&self, commit: &Commit) -> bool {
        commit.everything
            || self.relations.iter().any(|oid| {
                let touched = commit.relations.get(oid);
                touched.is_some_and(|touched| self.is_touched(touched))
            })
    }

    fn is_touched(&self, touched: &Touched) -> bool {
        if touched.truncated || touched.redefined {
            return true;
        }
        let Keys::Exactly(keys) = &touched.keys else {
            return true;
        };
        let Some(shape) = &touched.shape else {
            return !keys.is_empty() || touched.inserts + touched.updates + touched.deletes > 0;
        };
        // Values of columns that are in no key are not told.
        let wanted: Vec<(usize, &str)> = self
            .pinned()
            .filter_map(|(column, value)| {
                let place = shape.key.iter().position(|key| &*key.name == column)?;
                Some((place, value))
            })
            .collect();
        wanted.is_empty()
            || keys.iter().any(|key| {
                wanted.iter().all(|(place, value)| {
                    key.0
                        .get(*place)
                        .is_none_or(|found| found.as_deref() == Some(*value))
                })
            })
    }
}

fn pinned(
    relation: &Relation,
    text: &Text,
    params: &[Option<Bytes>],
) -> Box<[(Box<str>, Box<str>)]> {
    let Some(one) = &text.one_table else {
        return Box::default();
    };
    if one.table != relation.name {
        return Box::default();
    }
    let normal = one.pinned.iter().filter_map(|pin| {
        let (_, type_oid) = relation
            .comparable
            .iter()
            .find(|(name, _)| *name == pin.column)?;
        let value = match &pin.value {
            PinnedValue::Number(digits) => {
                whole(digits).filter(|_| matches!(type_oid, 20 | 21 | 23))?
            }
            PinnedValue::Text(text) => normal(*type_oid, text)?,
            PinnedValue::Parameter(number) => {
                let param = params.get(number.checked_sub(1)?)?.as_deref()?;
                normal(*type_oid, std::str::from_utf8(param).ok()?)?
            }
        };
        Some((pin.column.as_str().into(), value.into()))
    });
    normal.collect()
}

/// A value as PostgreSQL would write it; `None` if that is not certain.
fn normal(type_oid: u32, text: &str) -> Option<&str> {
    match type_oid {
        16 => match text {
            "true" | "t" => Some("t"),
            "false" | "f" => Some("f"),
            _ => None,
        },
        20 | 21 | 23 => whole(text),
        25 | 1043 => Some(text),
        1082 => is_date(text).then_some(text),
        2950 => is_uuid(text).then_some(text),
        _ => None,
    }
}

fn whole(text: &str) -> Option<&str> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let canonical = !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits.as_bytes()[0] != b'0' || text == "0");
    canonical.then_some(text)
}

fn is_date(text: &str) -> bool {
    let form = |place: usize, byte: u8| match place {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    text.len() == 10
        && text
            .bytes()
            .enumerate()
            .all(|(place, byte)| form(place, byte))
}

fn is_uuid(text: &str) -> bool {
    let form = |place: usize, byte: u8| match place {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
    };
    text.len() == 36
        && text
            .bytes()
            .enumerate()
            .all(|(place, byte)| form(place, byte))
}

#[cfg(test)]
mod tests;
