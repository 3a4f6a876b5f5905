//! The second segment: the session as the next caller may find it.

use std::io;

use bytes::Bytes;

use super::names::{Names, random_name};
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
/// statements: -1 if SQL made one of them (`from_sql`). SQL can do nothing else to the set than
/// that and remove ours, so one number tells whether it is still the one we made.
const RELEASE_AND_COUNT: &str = "select pg_catalog.pg_advisory_unlock_all(), \
     pg_catalog.setseed($1), \
     case when pg_catalog.bool_or(p.from_sql) then -1 else pg_catalog.count(*) end \
     from pg_catalog.pg_prepared_statement() p";

/// The same where callers can't read the names: a definer function counts.
const RELEASE_AND_COUNT_HIDDEN: &str = "select pg_catalog.pg_advisory_unlock_all(), \
     pg_catalog.setseed($1), rolegate.session_statements()";

/// Number of command completions of a whole clean segment.
pub(super) const STEPS: usize = CLEAN.len() + 1;

const FLOAT8: u32 = 701;

/// The statements of the segment, prepared: only where callers can't read their names.
#[derive(Debug)]
pub(super) struct Prepared {
    clean: [String; CLEAN.len()],
    release: String,
}

impl Prepared {
    /// Writes what prepares them.
    pub(super) fn write(batch: &mut Batch, schema: &str) -> io::Result<Self> {
        let prepared = Self {
            clean: std::array::from_fn(|_| random_name()),
            release: random_name(),
        };
        for (name, sql) in prepared.clean.iter().zip(CLEAN) {
            batch.parse(name, sql, &[])?;
        }
        let schema = format!("{}.", quote::ident(schema));
        let release = RELEASE_AND_COUNT_HIDDEN.replace("rolegate.", &schema);
        batch.parse(&prepared.release, &release, &[FLOAT8])?;
        Ok(prepared)
    }
}

/// Adds the segment. Where callers can read names (`None`) its statements are parsed anew each
/// time.
pub(super) fn write(batch: &mut Batch, prepared: Option<&Prepared>) -> io::Result<()> {
    let seed = [Some(Bytes::from(random_seed()))];
    if let Some(prepared) = prepared {
        for name in &prepared.clean {
            batch.execute(name, &[], false)?;
        }
        batch.execute(&prepared.release, &seed, false)?;
    } else {
        for sql in CLEAN {
            batch.once(sql, &[], &[])?;
        }
        batch.once(RELEASE_AND_COUNT, &[FLOAT8], &seed)?;
    }
    batch.sync();
    Ok(())
}

/// Whether the row of the last statement says that nothing was added or replaced.
pub(super) fn undisturbed(
    row: &[Option<Bytes>],
    names: &Names,
    prepared: Option<&Prepared>,
) -> bool {
    let ours = prepared.map_or(0, |_| STEPS);
    row.get(2)
        .and_then(Option::as_ref)
        .and_then(|text| std::str::from_utf8(text).ok())
        .and_then(|text| text.parse::<usize>().ok())
        == Some(names.count() + ours)
}

/// A number in [0, 1), as text.
fn random_seed() -> String {
    let mut bytes = [0_u8; 4];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system has random bytes");
    format!("0.{:010}", u32::from_le_bytes(bytes))
}
