//! Keys of answers, by which an operator has copies of them removed from a CDN.
//!
//! Whoever gets an answer may see its keys, also those of tables behind views. So they tell nothing without the secret
//! that they are made with, not even to those who guess a name; and they are the same in every process that has it.

use std::fmt;

use bytes::Bytes;

use crate::relations::Relation;

/// Relations of an answer that have keys of their own there.
const MOST: usize = 64;

/// Makes the keys of one database.
#[derive(Clone)]
pub struct PurgeKeys {
    secret: [u8; 32],
    database: String,
}

impl PurgeKeys {
    /// Relations of an answer that have keys of their own there.
    pub const MOST: usize = MOST;

    /// `database`: the name that all gateways know it by.
    pub fn new(secret: &[u8], database: &str) -> Self {
        Self {
            secret: blake3::derive_key("rolegate 2026 purge key", secret),
            database: database.to_owned(),
        }
    }

    /// Of every answer.
    pub fn of_database(&self) -> String {
        self.key(&["database"])
    }

    /// Of the answers that read a table or a view, unless they read too many.
    pub fn of_relation(&self, schema: &str, name: &str) -> String {
        self.key(&["relation", schema, name])
    }

    /// Of the answers that read too many.
    pub fn of_many(&self) -> String {
        self.key(&["many"])
    }

    /// Of an answer that reads these.
    pub fn of(&self, read_set: &[Relation], separator: char) -> Bytes {
        let mut keys = self.of_database();
        let mut push = |key: String| {
            keys.push(separator);
            keys.push_str(&key);
        };
        if read_set.len() > MOST {
            push(self.of_many());
        } else {
            for relation in read_set {
                push(self.of_relation(&relation.schema, &relation.name));
            }
        }
        keys.into()
    }

    fn key(&self, parts: &[&str]) -> String {
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        // With their lengths, so that no two lists of parts are one.
        for part in [&*self.database].iter().chain(parts) {
            hasher.update(&part.len().to_le_bytes());
            hasher.update(part.as_bytes());
        }
        let mut key = hasher.finalize().to_hex().to_string();
        key.truncate(16);
        key
    }
}

impl fmt::Debug for PurgeKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PurgeKeys")
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn relation(schema: &str, name: &str) -> Relation {
        Relation {
            oid: 1,
            schema: schema.into(),
            name: name.into(),
            kind: 'r',
            row_security: false,
            system: false,
            published: true,
            view: None,
            comparable: Vec::new(),
            open: true,
        }
    }

    /// A copy at a CDN outlives this program: the key of a table must be the same in the next version.
    #[test]
    fn keys_stay_what_they_are() {
        let keys = PurgeKeys::new(&[7; 32], "app");
        assert_eq!(keys.of_database(), "c7e705b0ae81d919");
        assert_eq!(keys.of_relation("api", "rate"), "e5fae9d221dd32de");
        assert_eq!(keys.of_many(), "c93e9cedf782f4c6");
    }

    #[test]
    fn no_two_things_have_one_key() {
        let keys = PurgeKeys::new(&[7; 32], "app");
        let all = BTreeSet::from([
            keys.of_database(),
            keys.of_many(),
            keys.of_relation("api", "rate"),
            keys.of_relation("apir", "ate"),
            keys.of_relation("", "many"),
            PurgeKeys::new(&[7; 32], "other").of_relation("api", "rate"),
            PurgeKeys::new(&[8; 32], "app").of_relation("api", "rate"),
        ]);
        assert_eq!(all.len(), 7);
    }

    #[test]
    fn an_answer_has_a_bounded_number_of_them() {
        let keys = PurgeKeys::new(&[7; 32], "app");
        let of = |tables: usize| {
            let tables = (0..tables).map(|n| relation("api", &format!("t{n}")));
            keys.of(&tables.collect::<Vec<_>>(), ',')
        };
        assert_eq!(of(0), keys.of_database());
        let one = format!("{},{}", keys.of_database(), keys.of_relation("api", "t0"));
        assert_eq!(of(1), one);
        assert_eq!(of(MOST).len(), 16 + MOST * 17);
        assert_eq!(
            of(MOST + 1),
            format!("{},{}", keys.of_database(), keys.of_many())
        );
        assert!(!format!("{keys:?}").contains('7'), "{keys:?}");
    }
}
