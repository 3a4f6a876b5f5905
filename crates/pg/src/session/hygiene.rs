//! The second segment: the session as the next caller may find it.

use std::io;

use bytes::Bytes;

use super::names::Names;
use crate::quote;
use crate::wire::Batch;

/// Statements without a result. `set session authorization default` also resets the role. The
/// plan cache stays (no `discard all`): plans belong to a role and name no other's rows.
const CLEAN: [&str; 6] = [
    "set session authorization default",
    "reset all",
    "close all",
    "unlisten *",
    "discard temp",
    "discard sequences",
];

/// Releases session locks, gives `random()` a seed that no caller knows, and counts prepared
/// statements by origin. SQL can only add statements that say so (`from_sql`) or remove ours, so
/// two numbers tell whether the set is still the one we made.
const RELEASE_AND_COUNT: &str = "select pg_catalog.pg_advisory_unlock_all(), \
     pg_catalog.setseed($1), \
     pg_catalog.count(*) filter (where not p.from_sql), \
     pg_catalog.count(*) filter (where p.from_sql) \
     from pg_catalog.pg_prepared_statement() p";

/// The same where callers can't read the names: a definer function counts.
const RELEASE_AND_COUNT_HIDDEN: &str = "select pg_catalog.pg_advisory_unlock_all(), \
     pg_catalog.setseed($1), s.ours, s.from_sql from rolegate.session_statements() s";

/// Number of command completions of a whole clean segment.
pub(super) const STEPS: usize = CLEAN.len() + 1;

const FLOAT8: u32 = 701;

/// Adds the segment. `release` is the name under which [`prepare`] left the last statement; where
/// callers can read names (`None`) that statement is parsed anew each time.
pub(super) fn write(batch: &mut Batch, release: Option<&str>) -> io::Result<()> {
    for sql in CLEAN {
        batch.once(sql, &[], &[])?;
    }
    let seed = [Some(Bytes::from(random_seed()))];
    match release {
        Some(name) => batch.execute(name, &seed)?,
        None => batch.once(RELEASE_AND_COUNT, &[FLOAT8], &seed)?,
    }
    batch.sync();
    Ok(())
}

/// Prepares the last statement of [`write`] under a name that callers can't read.
pub(super) fn prepare(batch: &mut Batch, schema: &str, name: &str) -> io::Result<()> {
    let sql = RELEASE_AND_COUNT_HIDDEN.replace("rolegate.", &format!("{}.", quote::ident(schema)));
    batch.parse(name, &sql, &[FLOAT8])
}

/// Whether the row of the last statement says that nothing was added or replaced.
pub(super) fn undisturbed(row: &[Option<Bytes>], names: &Names, ours: usize) -> bool {
    let number = |i: usize| {
        row.get(i)
            .and_then(Option::as_ref)
            .and_then(|text| std::str::from_utf8(text).ok())
            .and_then(|text| text.parse::<usize>().ok())
    };
    number(2) == Some(names.count() + ours) && number(3) == Some(0)
}

/// A number in [0, 1), as text.
fn random_seed() -> String {
    let mut bytes = [0_u8; 4];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system has random bytes");
    format!("0.{:010}", u32::from_le_bytes(bytes))
}
