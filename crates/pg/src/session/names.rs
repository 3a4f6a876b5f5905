//! Names of prepared statements.
//!
//! A caller who runs dynamic SQL can `deallocate` a statement of ours and `prepare` another one
//! under its name, which the next caller would run. So names are random, and where callers can
//! still read them (`pg_prepared_statement()` not revoked from PUBLIC) the session compares what
//! is prepared with what it prepared after every request.

use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;

/// How many statements a connection keeps prepared. Counting them after each request takes half a
/// microsecond for each.
const MOST: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// The statements prepared on one connection.
#[derive(Debug)]
pub(super) struct Names {
    by_text: LruCache<(u32, Arc<str>), String>,
    /// Still prepared, to be closed at the start of the next segment.
    surplus: Vec<String>,
}

/// What to do for a statement.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    /// Prepared already under this name.
    Known(String),
    /// To be parsed under this new name.
    New(String),
}

impl Default for Names {
    fn default() -> Self {
        Self {
            by_text: LruCache::new(MOST),
            surplus: Vec::new(),
        }
    }
}

impl Names {
    /// The name for `sql` run by the role: no plan is shared between roles.
    pub(super) fn lookup(&mut self, role_oid: u32, sql: &Arc<str>) -> Lookup {
        let key = (role_oid, Arc::clone(sql));
        if let Some(name) = self.by_text.get(&key) {
            return Lookup::Known(name.clone());
        }
        Lookup::New(random_name())
    }

    /// Statements to close at the very start of a segment. Anywhere later an error could make the
    /// server skip it, and the count would be wrong.
    pub(super) fn take_surplus(&mut self) -> Vec<String> {
        std::mem::take(&mut self.surplus)
    }

    /// The server said that it parsed the statement.
    pub(super) fn parsed(&mut self, role_oid: u32, sql: &Arc<str>, name: String) {
        let key = (role_oid, Arc::clone(sql));
        if let Some((_, replaced)) = self.by_text.push(key, name) {
            self.surplus.push(replaced);
        }
    }

    /// How many statements there should be.
    pub(super) fn count(&self) -> usize {
        self.by_text.len() + self.surplus.len()
    }
}

/// 128 random bits; nobody guesses one.
pub(super) fn random_name() -> String {
    let mut bytes = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system has random bytes");
    let mut name = String::with_capacity(34);
    name.push_str("rg");
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            name.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_prepared_once_for_each_role_and_the_least_used_goes_first() {
        let mut names = Names::default();
        let sql: Arc<str> = "select 1".into();
        let Lookup::New(name) = names.lookup(1, &sql) else {
            panic!("new")
        };
        names.parsed(1, &sql, name.clone());
        assert_eq!(names.lookup(1, &sql), Lookup::Known(name.clone()));
        assert!(matches!(names.lookup(2, &sql), Lookup::New(_)));
        for i in 1..MOST.get() {
            names.parsed(1, &format!("select {i} + 1").into(), random_name());
        }
        assert_eq!(names.take_surplus(), Vec::<String>::new());
        names.parsed(1, &"select 'new'".into(), random_name());
        assert!(matches!(names.lookup(1, &sql), Lookup::New(_)));
        // It is there until it was closed.
        assert_eq!(names.count(), MOST.get() + 1);
        assert_eq!(names.take_surplus(), [name]);
        assert_eq!(names.count(), MOST.get());
    }

    #[test]
    fn names_do_not_repeat() {
        assert_ne!(random_name(), random_name());
        assert_eq!(random_name().len(), 34);
    }
}
