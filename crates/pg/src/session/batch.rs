//! The first segment: settings, role, the caller's statements, the check.

use std::borrow::Cow;
use std::io;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use rolegate_model::claims::{Binding, SETTING};

use super::names::{Lookup, Names};
use super::request::{Access, ClaimsSigner, End, Request, Transaction};
use crate::statement::Statement;
use crate::wire::Batch;

const TEXT: u32 = 25;

/// The statement at the end of a segment, with what it asks beside who the caller is. It raises
/// unless role, user and claims are what they were. The failing branches cast a text that is only
/// known at run time, so that the planner can't evaluate them beforehand. Also reads what the
/// function wants as HTTP status and headers, and the id of the transaction if it has written. Every operator is qualified: the caller may have
/// put a schema with a more agreeable `=` before `pg_catalog`.
macro_rules! check {
    ($also:literal) => {
        concat!(
            "select case when (",
            "pg_catalog.current_setting('role') operator(pg_catalog.=) $1 ",
            "and session_user operator(pg_catalog.=) $2 ",
            "and current_user operator(pg_catalog.=) $3 ",
            "and pg_catalog.current_setting('request.jwt.claims') operator(pg_catalog.=) $4 ",
            "and pg_catalog.current_setting('rolegate.signed_claims') operator(pg_catalog.=) $5",
            ") is not true then ",
            "pg_catalog.concat('identity changed ', current_user)",
            "::pg_catalog.int4::pg_catalog.text ",
            $also,
            "else pg_catalog.current_setting('response.status', true) end, ",
            "pg_catalog.current_setting('response.headers', true), ",
            "pg_catalog.pg_current_xact_id_if_assigned()"
        )
    };
}

const CHECK: &str = check!("");

/// Raises too if a read-only request has written. A write has a transaction id, whatever the mode
/// says by now: before 16, `reset transaction_read_only` switches it off, and on again nobody
/// sees it. Another cast than the one above, so that the code of the error tells them apart.
const CHECK_UNWRITTEN: &str = check!(
    "when pg_catalog.pg_current_xact_id_if_assigned() is not null then \
     pg_catalog.concat('written by ', current_user)::pg_catalog.date::pg_catalog.text "
);

/// The code with which the check says that somebody else is there.
pub(super) const CHANGED: &str = "22P02";

/// The code with which [`CHECK_UNWRITTEN`] says that the request has written.
pub(super) const WRITTEN: &str = "22007";

/// What each command completion of the segment stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Begin,
    Settings,
    /// The caller's statement with this index.
    Call(usize),
    /// Our statement that makes another result of this one of the caller's.
    Reread(usize),
    /// Our statement after the caller's.
    Finish,
    Constraints,
    Cursors,
    Check,
    End,
}

/// A named statement this batch parses.
#[derive(Debug)]
pub(super) struct Parsing {
    pub(super) role_oid: u32,
    pub(super) sql: Arc<str>,
    pub(super) name: String,
}

/// The first segment as it was written.
#[derive(Debug, Default)]
pub(super) struct Segment {
    /// Command completions to expect, in order.
    pub(super) steps: Vec<Step>,
    /// For each `ParseComplete` to expect, in order: the named statement it is for, if any.
    pub(super) parses: Vec<Option<Parsing>>,
    /// Parameters of the check, kept for a segment written in two parts.
    check: Vec<Option<Bytes>>,
}

impl Segment {
    /// The name under which an earlier part of the segment parses the statement.
    fn parsing(&self, role_oid: u32, sql: &str) -> Option<&str> {
        self.parses
            .iter()
            .flatten()
            .find(|parsing| parsing.role_oid == role_oid && &*parsing.sql == sql)
            .map(|parsing| parsing.name.as_str())
    }
}

/// Who the connection is and what it may rely on.
#[derive(Debug)]
pub(super) struct Session<'a> {
    /// The login.
    pub(super) user: &'a str,
    /// For signing claims.
    pub(super) binding: Binding,
    pub(super) signer: &'a dyn ClaimsSigner,
    /// Callers can read names of prepared statements.
    pub(super) names_visible: bool,
    /// The mode of a transaction alone does not keep callers from writing.
    pub(super) read_only_resets: bool,
}

/// Writes a segment message by message.
#[derive(Debug)]
pub(super) struct SegmentWriter<'a> {
    pub(super) batch: &'a mut Batch,
    pub(super) names: &'a mut Names,
    pub(super) segment: &'a mut Segment,
}

impl SegmentWriter<'_> {
    /// Everything up to the end of the caller's statements.
    pub(super) fn open(&mut self, session: &Session<'_>, request: &Request) -> io::Result<()> {
        for name in self.names.take_surplus() {
            self.batch.close_statement(&name)?;
        }
        let begin = match (request.transaction, request.access) {
            (Transaction::Implicit, _) => None,
            (Transaction::Explicit(_), Access::ReadOnly) => Some("begin read only"),
            (Transaction::Explicit(_), Access::ReadWrite) => Some("begin read write"),
            (Transaction::Snapshot, Access::ReadOnly) => {
                Some("begin isolation level repeatable read read only")
            }
            (Transaction::Snapshot, Access::ReadWrite) => {
                Some("begin isolation level repeatable read read write")
            }
        };
        if let Some(begin) = begin {
            self.ours(session, begin, Vec::new(), Step::Begin)?;
        }
        self.settings(session, request)?;
        for (index, statement) in request.statements.iter().enumerate() {
            self.statement(request.role.oid, statement, Step::Call(index))?;
        }
        Ok(())
    }

    /// A statement that reads a row of the caller's again.
    pub(super) fn reread(
        &mut self,
        role_oid: u32,
        index: usize,
        statement: &Statement,
    ) -> io::Result<()> {
        self.statement(role_oid, statement, Step::Reread(index))
    }

    /// Everything after the caller's statements, up to and including `Sync`.
    pub(super) fn close(
        &mut self,
        session: &Session<'_>,
        request: &Request,
        finish: Option<&Statement>,
    ) -> io::Result<()> {
        if let Some(statement) = finish {
            self.statement(request.role.oid, statement, Step::Finish)?;
        }
        if request.transaction != Transaction::Implicit {
            let sql = "set constraints all immediate";
            self.ours(session, sql, Vec::new(), Step::Constraints)?;
        }
        let params = std::mem::take(&mut self.segment.check);
        if session.read_only_resets && request.access == Access::ReadOnly {
            // One that outlives the transaction would run its query, and write, at commit.
            self.ours(session, "close all", Vec::new(), Step::Cursors)?;
            self.ours(session, CHECK_UNWRITTEN, params, Step::Check)?;
        } else {
            self.ours(session, CHECK, params, Step::Check)?;
        }
        let end = match request.transaction {
            Transaction::Implicit => None,
            Transaction::Explicit(End::Commit) | Transaction::Snapshot => Some("commit"),
            Transaction::Explicit(End::Rollback) => Some("rollback"),
        };
        if let Some(sql) = end {
            self.ours(session, sql, Vec::new(), Step::End)?;
        }
        self.batch.sync();
        Ok(())
    }

    /// In place of [`Self::close`]: nothing of the request is to stay. Outside of `begin` the
    /// statement ends the segment's own transaction, which `Sync` would commit.
    pub(super) fn withdraw(&mut self) -> io::Result<()> {
        self.unnamed("rollback", &[], &[], Step::End)?;
        self.batch.sync();
        Ok(())
    }

    /// All settings in one statement, the role last: what comes before it runs as the login.
    fn settings(&mut self, session: &Session<'_>, request: &Request) -> io::Result<()> {
        let role = if session.user == request.role.name.as_str() {
            "none"
        } else {
            request.role.name.as_str()
        };
        let signed = session
            .signer
            .sign(
                session.binding,
                request.role.oid,
                &request.token_id,
                &request.claims,
            )
            .unwrap_or_default();
        let claims = Bytes::copy_from_slice(request.claims.as_bytes());
        let signed = Bytes::from(signed);
        let role = text(role);
        let fixed = [
            ("search_path", text(&request.search_path)),
            ("request.jwt.claims", claims.clone()),
            (SETTING, signed.clone()),
        ];
        let read_only = (request.access == Access::ReadOnly)
            .then(|| ("transaction_read_only", Bytes::from_static(b"on")));
        let mut params = Vec::with_capacity(2 * (request.settings.len() + 5));
        let mut push = |name: Bytes, value: Bytes| {
            params.push(Some(name));
            params.push(Some(value));
        };
        for (name, value) in &request.settings {
            let name = match name {
                Cow::Borrowed(name) => Bytes::from_static(name.as_bytes()),
                Cow::Owned(name) => text(name),
            };
            push(name, value.clone());
        }
        for (name, value) in fixed.into_iter().chain(read_only) {
            push(Bytes::from_static(name.as_bytes()), value);
        }
        push(Bytes::from_static(b"role"), role.clone());
        let statement = Statement {
            sql: settings_sql(params.len() / 2),
            types: vec![TEXT; params.len()],
            params,
            prepared: true,
            describe: false,
        };
        self.statement(0, &statement, Step::Settings)?;
        self.segment.check = [
            role,
            text(session.user),
            text(request.role.name.as_str()),
            claims,
            signed,
        ]
        .map(Some)
        .to_vec();
        Ok(())
    }

    fn statement(&mut self, role_oid: u32, statement: &Statement, step: Step) -> io::Result<()> {
        if !statement.prepared {
            self.segment.parses.push(None);
            self.segment.steps.push(step);
            self.batch.parse("", &statement.sql, &statement.types)?;
            return self
                .batch
                .execute("", &statement.params, statement.describe);
        }
        let name = match self.segment.parsing(role_oid, &statement.sql).map_or_else(
            || self.names.lookup(role_oid, &statement.sql),
            |name| Lookup::Known(name.to_owned()),
        ) {
            Lookup::Known(name) => name,
            Lookup::New(name) => {
                self.batch.parse(&name, &statement.sql, &statement.types)?;
                self.segment.parses.push(Some(Parsing {
                    role_oid,
                    sql: Arc::clone(&statement.sql),
                    name: name.clone(),
                }));
                name
            }
        };
        self.segment.steps.push(step);
        self.batch
            .execute(&name, &statement.params, statement.describe)
    }

    /// A statement of ours: prepared only where no caller can have put another one in its place.
    fn ours(
        &mut self,
        session: &Session<'_>,
        sql: &'static str,
        params: Vec<Option<Bytes>>,
        step: Step,
    ) -> io::Result<()> {
        let types = vec![TEXT; params.len()];
        let prepared = !session.names_visible;
        // Of no role: nothing in it depends on who runs it.
        self.statement(
            0,
            &Statement {
                sql: sql.into(),
                types,
                params,
                prepared,
                describe: false,
            },
            step,
        )
    }

    fn unnamed(
        &mut self,
        sql: &str,
        types: &[u32],
        params: &[Option<Bytes>],
        step: Step,
    ) -> io::Result<()> {
        self.segment.parses.push(None);
        self.segment.steps.push(step);
        self.batch.once(sql, types, params)
    }
}

fn text(value: &str) -> Bytes {
    Bytes::copy_from_slice(value.as_bytes())
}

/// `select set_config($1, $2, true), ...` for `count` settings. The target list of a `select`
/// without a table is evaluated from left to right.
fn settings_sql(count: usize) -> Arc<str> {
    // Every call has one of a few numbers of settings.
    static KNOWN: [OnceLock<Arc<str>>; 32] = [const { OnceLock::new() }; 32];
    match KNOWN.get(count) {
        Some(known) => Arc::clone(known.get_or_init(|| make_settings_sql(count))),
        None => make_settings_sql(count),
    }
}

fn make_settings_sql(count: usize) -> Arc<str> {
    let mut sql = String::from("select ");
    for i in 0..count {
        if i > 0 {
            sql.push_str(", ");
        }
        sql.push_str("pg_catalog.set_config($");
        sql.push_str(&(2 * i + 1).to_string());
        sql.push_str(", $");
        sql.push_str(&(2 * i + 2).to_string());
        sql.push_str(", true)");
    }
    sql.into()
}
