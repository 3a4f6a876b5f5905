//! What rows of a result are known by.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use rolegate_pg::session::Rows;

use super::Row;
use crate::encode;
use crate::select::Column;

/// Bytes of a digest of a row's content. Rows with equal digests are told apart by their number, so that nothing
/// depends on digests being different.
const DIGEST: usize = 16;

/// By the values in these columns. `None` if that tells them not apart: a value is missing, or two rows have the
/// same.
pub fn by_columns(columns: &[Column], rows: &Rows, key: &[usize]) -> Option<Vec<Row>> {
    let mut seen = HashSet::with_capacity(rows.rows);
    let mut named = Vec::with_capacity(rows.rows);
    let values = rows.iter().take(rows.rows);
    for (row, json) in values.zip(encode::objects(columns, rows)) {
        let key = key_of(row, key)?;
        if !seen.insert(Arc::clone(&key)) {
            return None;
        }
        named.push(Row { key, json });
    }
    Some(named)
}

/// By all they have, and a number for equal ones.
pub fn by_content(columns: &[Column], rows: &Rows) -> Vec<Row> {
    let mut seen: HashMap<[u8; DIGEST], usize> = HashMap::with_capacity(rows.rows);
    let objects = encode::objects(columns, rows).into_iter();
    let named = objects.map(|json| {
        let mut digest = [0; DIGEST];
        digest.copy_from_slice(&blake3::hash(&json).as_bytes()[..DIGEST]);
        let number = seen.entry(digest).or_default();
        *number += 1;
        let key = format!("{:032x}#{number}", u128::from_be_bytes(digest));
        Row {
            key: key.into(),
            json,
        }
    });
    named.collect()
}

/// The value itself if it is one, else a JSON array of texts.
fn key_of(row: &[Option<Bytes>], key: &[usize]) -> Option<Arc<str>> {
    let mut values = key.iter().map(|column| {
        let value = row.get(*column)?.as_deref()?;
        std::str::from_utf8(value).ok()
    });
    if key.len() == 1 {
        return values.next()?.map(Arc::from);
    }
    let values: Option<Vec<&str>> = values.collect();
    let text = serde_json::to_string(&values?).ok()?;
    Some(text.into())
}
