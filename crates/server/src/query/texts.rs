//! Texts that were read lately: most queries are asked again and again, with other parameters.

use std::sync::Arc;

use moka::sync::Cache;
use rolegate_query::Text;

use super::{Asked, Wanted};
use crate::problem::Problem;

/// Bytes of texts that are kept, with what was read in them.
const MOST_BYTES: u64 = 8 * 1024 * 1024;

/// Texts that were read. Refusals are not among them: they tell what is in the text.
#[derive(Debug)]
pub(crate) struct Texts(Cache<String, Arc<Text>>);

impl Default for Texts {
    fn default() -> Self {
        let cache = Cache::builder()
            .max_capacity(MOST_BYTES)
            .weigher(|sql: &String, text: &Arc<Text>| {
                u32::try_from(sql.len() + text.weight()).unwrap_or(u32::MAX)
            })
            .build();
        Self(cache)
    }
}

impl Texts {
    /// What is asked for, with its text read now or before.
    pub(crate) fn read(&self, wanted: &Wanted) -> Result<Asked, Problem> {
        if let Some(text) = self.0.get(&wanted.sql) {
            return wanted.asked(text);
        }
        let asked = wanted.read()?;
        self.0.insert(wanted.sql.clone(), Arc::clone(&asked.text));
        Ok(asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_once_for_all_parameters_and_refused_each_time() {
        let texts = Texts::default();
        let read = |body: &str| texts.read(&Wanted::from_json(body.as_bytes()).expect("wanted"));
        let one = read(r#"{"sql": " select $1 ;", "params": [1]}"#).expect("a query");
        let two = read(r#"{"sql": " select $1 ;", "params": [2]}"#).expect("a query");
        assert!(Arc::ptr_eq(&one.text, &two.text));
        assert_eq!(&*two.text.sql, "select $1");
        assert_eq!(two.params[0].as_deref(), Some(&b"2"[..]));
        for _ in 0..2 {
            // As many parameters as the text has, also if it is known.
            read(r#"{"sql": " select $1 ;", "params": [1, 2]}"#).expect_err("one too many");
            read(r#"{"sql": "delete from t"}"#).expect_err("no query");
        }
    }
}
