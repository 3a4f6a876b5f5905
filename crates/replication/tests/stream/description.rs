//! Messages and commits as text, without what differs from run to run.

use std::fmt::Write as _;

use rolegate_replication::pgoutput::{Message, Old, Tuple, Value};
use rolegate_replication::{Assembler, Bounds, Commit, Key, Keys, Xid};

/// Names OIDs and positions by the order in which they appear.
#[derive(Debug, Default)]
pub(crate) struct Describer {
    oids: Vec<u32>,
    text: String,
}

/// The messages and the commits that are made of them.
pub(crate) fn describe(messages: &[Vec<u8>]) -> String {
    let mut describer = Describer::default();
    let mut assembler = Assembler::new(Xid(700), "rolegate", Bounds::default());
    for bytes in messages {
        let message = Message::decode(bytes).unwrap();
        describer.message(&message);
        if let Some(commit) = assembler.take(&message).unwrap() {
            describer.commit(&commit);
        }
    }
    assert!(!assembler.is_open());
    describer.text
}

impl Describer {
    fn oid(&mut self, oid: u32) -> String {
        // Built-in types have the same ones everywhere; so do the two that a message here names.
        if oid < 16_384 {
            return oid.to_string();
        }
        let place = self.oids.iter().position(|known| *known == oid);
        let place = place.unwrap_or_else(|| {
            self.oids.push(oid);
            self.oids.len() - 1
        });
        format!("#{place}")
    }

    fn message(&mut self, message: &Message<'_>) {
        let line = match message {
            Message::Begin(_) => "begin".to_owned(),
            Message::Commit(_) => "commit".to_owned(),
            Message::Origin { lsn, name } => {
                let name = lossy(name);
                let kind = if name.starts_with("recording_") {
                    "recording"
                } else {
                    "?"
                };
                format!("origin {lsn} {kind}")
            }
            Message::Relation(relation) => {
                let mut line = format!(
                    "relation {} {}.{} {}",
                    self.oid(relation.oid),
                    lossy(relation.schema),
                    lossy(relation.name),
                    char::from(relation.identity)
                );
                for column in relation.columns() {
                    let key = if column.key { "*" } else { "" };
                    let of = self.oid(column.type_oid);
                    let _ = write!(
                        line,
                        " {key}{}:{of}:{}",
                        lossy(column.name),
                        column.modifier
                    );
                }
                line
            }
            Message::Type { oid, schema, name } => {
                format!("type {} {}.{}", self.oid(*oid), lossy(schema), lossy(name))
            }
            Message::Insert { relation, new } => {
                format!("insert {} {}", self.oid(*relation), tuple(new))
            }
            Message::Update {
                relation,
                old: None,
                new,
            } => {
                format!("update {} {}", self.oid(*relation), tuple(new))
            }
            Message::Update {
                relation,
                old: Some(before),
                new,
            } => {
                format!(
                    "update {} {} -> {}",
                    self.oid(*relation),
                    old(before),
                    tuple(new)
                )
            }
            Message::Delete {
                relation,
                old: before,
            } => {
                format!("delete {} {}", self.oid(*relation), old(before))
            }
            Message::Truncate { relations } => {
                let oids: Vec<_> = relations.iter().map(|oid| self.oid(oid)).collect();
                format!("truncate {}", oids.join(" "))
            }
            Message::Logical(logical) => format!(
                "message {} {} {}",
                logical.transactional,
                lossy(logical.prefix),
                lossy(logical.content)
            ),
        };
        self.text.push_str(&line);
        self.text.push('\n');
    }

    pub(crate) fn commit(&mut self, commit: &Commit) {
        assert!(commit.commit_lsn < commit.end_lsn);
        let everything = if commit.everything { " everything" } else { "" };
        let _ = writeln!(self.text, "  =>{everything} {:?}", commit.messages);
        // In the order of their first appearance, as their OIDs may differ.
        let mut relations: Vec<_> = commit.relations.iter().collect();
        relations.sort_by_key(|(oid, _)| self.oids.iter().position(|known| known == *oid));
        for (oid, touched) in relations {
            let name = touched.shape.as_ref().map_or("?", |shape| &shape.name);
            let oid = self.oid(*oid);
            let _ = write!(
                self.text,
                "     {oid} {name} +{} ~{} -{}",
                touched.inserts, touched.updates, touched.deletes
            );
            for (is, word) in [
                (touched.truncated, " truncated"),
                (touched.redefined, " redefined"),
            ] {
                self.text.push_str(if is { word } else { "" });
            }
            match &touched.keys {
                Keys::All => self.text.push_str(" all"),
                Keys::Exactly(keys) => keys.iter().for_each(|key| self.key(key)),
            }
            self.text.push('\n');
        }
    }

    fn key(&mut self, key: &Key) {
        let values: Vec<_> = key
            .0
            .iter()
            .map(|v| v.as_deref().map_or("null".into(), short))
            .collect();
        let _ = write!(self.text, " ({})", values.join(", "));
    }
}

fn old(old: &Old<'_>) -> String {
    match old {
        Old::Key(row) => format!("key{}", tuple(row)),
        Old::Row(row) => format!("row{}", tuple(row)),
    }
}

fn tuple(row: &Tuple<'_>) -> String {
    let values: Vec<_> = row
        .values()
        .map(|value| match value {
            Value::Null => "null".to_owned(),
            Value::Unchanged => "unchanged".to_owned(),
            Value::Text(text) => short(&lossy(text)),
            Value::Binary(_) => "binary".to_owned(),
        })
        .collect();
    assert_eq!(values.len(), row.len());
    format!("({})", values.join(", "))
}

/// A long value by its beginning and length.
fn short(text: &str) -> String {
    match text.get(..20) {
        Some(beginning) if text.len() > 40 => format!("'{beginning}' of {}", text.len()),
        _ => format!("'{text}'"),
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
