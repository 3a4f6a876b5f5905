//! Reading the answer of the first segment.

use std::io;

use bytes::Bytes;
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::{DataRowBody, Message, RowDescriptionBody};

use super::super::batch::{CHANGED, Segment, Step, WRITTEN};
use super::super::names::Names;
use super::super::reply::{Field, Reply, Rows, SessionError};
use super::super::request::{Finish, Limits, Reread};
use crate::spool;
use crate::statement::Statement;
use crate::wire::{DbError, Incoming};

/// Bytes of a message that may always be held, whatever the request's bound: errors, headers.
const MESSAGE_BYTES: usize = 1024 * 1024;
/// What a value takes beside its text where rows are collected: a NULL has nothing else.
const VALUE_BYTES: u64 = size_of::<Option<Bytes>>() as u64;

/// The answer as far as it has arrived.
#[derive(Debug)]
pub(super) struct Answer {
    limits: Limits,
    streaming: bool,
    segment: Segment,
    calls: usize,
    completed: usize,
    parsed: usize,
    bound: usize,
    rows: u64,
    bytes: u64,
    reply: Reply,
    error: Option<(Option<Step>, DbError)>,
    interrupt: Option<SessionError>,
    withdrawn: bool,
    anything_ran: bool,
}

impl Answer {
    pub(super) fn new(limits: Limits, streaming: bool) -> Self {
        Self {
            limits,
            streaming,
            segment: Segment::default(),
            calls: 0,
            completed: 0,
            parsed: 0,
            bound: 0,
            rows: 0,
            bytes: 0,
            reply: Reply::default(),
            error: None,
            interrupt: None,
            withdrawn: false,
            anything_ran: false,
        }
    }

    pub(super) fn expect(&mut self, segment: Segment, calls: usize) {
        self.segment = segment;
        self.calls = calls;
        self.reply.results = vec![Rows::default(); calls];
    }

    pub(super) fn take_segment(&mut self) -> Segment {
        std::mem::take(&mut self.segment)
    }

    pub(super) fn put_segment(&mut self, segment: Segment) {
        self.segment = segment;
    }

    /// Bytes the next message may have. A longer one is not even read into memory.
    pub(super) fn most_bytes(&self) -> usize {
        let left = self.limits.max_bytes.saturating_sub(self.bytes);
        usize::try_from(left)
            .unwrap_or(usize::MAX)
            .max(MESSAGE_BYTES)
    }

    /// Takes one message; the transaction status if it ends the segment.
    pub(super) fn first_segment(
        &mut self,
        incoming: Incoming,
        names: &mut Names,
        stream: Option<&spool::Writer>,
    ) -> io::Result<Option<u8>> {
        let message = match incoming {
            Incoming::Message(message) => message,
            Incoming::TooLong(tag) => {
                self.too_long(tag);
                return Ok(None);
            }
        };
        match message {
            Message::ParseComplete => {
                self.anything_ran = true;
                if let Some(slot) = self.segment.parses.get_mut(self.parsed)
                    && let Some(parsing) = slot.take()
                {
                    names.parsed(parsing.role_oid, &parsing.sql, parsing.name);
                }
                self.parsed += 1;
            }
            Message::BindComplete => {
                self.anything_ran = true;
                self.bound += 1;
            }
            Message::RowDescription(description) => self.fields(&description)?,
            Message::DataRow(row) => self.row(&row, stream)?,
            Message::CommandComplete(_) | Message::EmptyQueryResponse => {
                if let Some(Step::Call(index) | Step::Reread(index)) = self.step()
                    && let Some(rows) = self.reply.results.get_mut(index)
                {
                    rows.values.shrink_to_fit();
                }
                self.completed += 1;
            }
            Message::ErrorResponse(body) => {
                let error = DbError::from_body(&body);
                if error.is_fatal() {
                    return Err(io::Error::other(error));
                }
                self.error.get_or_insert((self.step(), error));
            }
            Message::ReadyForQuery(body) => return Ok(Some(body.status())),
            _ => {}
        }
        Ok(None)
    }

    fn too_long(&mut self, tag: u8) {
        match tag {
            b'D' => self.interrupt(SessionError::TooLarge),
            b'E' => {
                let error = DbError {
                    code: "54000".into(),
                    severity: "ERROR".into(),
                    message: "the text of the error is longer than allowed".into(),
                    ..DbError::default()
                };
                self.error.get_or_insert((self.step(), error));
            }
            // A notice, a setting: nobody asked for it.
            _ => {}
        }
    }

    fn step(&self) -> Option<Step> {
        self.segment.steps.get(self.completed).copied()
    }

    fn fields(&mut self, description: &RowDescriptionBody) -> io::Result<()> {
        if let Some(Step::Call(index)) = self.step()
            && let Some(rows) = self.reply.results.get_mut(index)
        {
            let fields = description.fields().map(|field| {
                Ok(Field {
                    name: field.name().to_owned(),
                    type_oid: field.type_oid(),
                })
            });
            rows.fields = fields.collect()?;
        }
        Ok(())
    }

    fn row(&mut self, row: &DataRowBody, stream: Option<&spool::Writer>) -> io::Result<()> {
        match self.step() {
            Some(Step::Call(index) | Step::Reread(index)) => {
                self.rows += u64::from(matches!(self.step(), Some(Step::Call(_))));
                self.bytes += row.buffer().len() as u64;
                self.bytes += match stream {
                    // The end of the line.
                    Some(_) => 1,
                    None => VALUE_BYTES * row.ranges().size_hint().0 as u64,
                };
                if self.rows > self.limits.max_rows || self.bytes > self.limits.max_bytes {
                    self.interrupt.get_or_insert(SessionError::TooLarge);
                }
                if self.interrupt.is_some() {
                    return Ok(());
                }
                let values = columns(row)?;
                if let Some(stream) = stream {
                    if stream.is_abandoned() {
                        self.interrupt = Some(SessionError::Abandoned);
                        return Ok(());
                    }
                    let text = values.first().and_then(Option::as_ref);
                    stream.push(text.map_or(&b"null"[..], |text| &text[..]))?;
                    stream.push(b"\n")?;
                } else if let Some(rows) = self.reply.results.get_mut(index) {
                    rows.columns = values.len();
                    rows.rows += 1;
                    let left = self.limits.max_bytes.saturating_sub(self.bytes);
                    make_room(&mut rows.values, values.len(), left);
                    rows.values.extend(values);
                }
            }
            Some(Step::Check) => {
                let mut values = columns(row)?.into_iter().map(|value| {
                    value
                        .filter(|text| !text.is_empty())
                        .map(|text| String::from_utf8_lossy(&text).into_owned())
                });
                self.reply.response_status = values.next().flatten();
                self.reply.response_headers = values.next().flatten();
                self.reply.transaction = values.next().flatten();
            }
            _ => {}
        }
        Ok(())
    }

    /// All of the caller's statements ended, or one failed.
    pub(super) fn calls_are_over(&self) -> bool {
        self.error.is_some() || self.completed == self.segment.steps.len()
    }

    /// The statements that read rows again, with the index of the result they replace; none after
    /// an error or an interrupt.
    pub(super) fn make_rereads(&mut self, rereads: Vec<Reread>) -> Option<Vec<(usize, Statement)>> {
        if self.error.is_some() || self.interrupt.is_some() {
            return None;
        }
        let statements = rereads.into_iter().map(|reread| {
            let rows = self.reply.results.get_mut(reread.statement);
            let mut params = rows.map(std::mem::take).unwrap_or_default().values;
            params.resize(reread.types.len(), None);
            let statement = Statement {
                sql: reread.sql,
                types: reread.types,
                params,
                prepared: true,
                describe: false,
            };
            (reread.statement, statement)
        });
        Some(statements.collect())
    }

    /// The statement of ours that follows the caller's; none after an error or an interrupt.
    pub(super) fn make_finish(&mut self, make: Finish) -> Option<Statement> {
        (self.error.is_none() && self.interrupt.is_none()).then(|| make(&self.reply.results))
    }

    pub(super) fn is_interrupted(&self) -> bool {
        self.interrupt.is_some()
    }

    pub(super) fn interrupt(&mut self, why: SessionError) {
        self.interrupt.get_or_insert(why);
    }

    /// The transaction was told to end with a rollback.
    pub(super) fn withdraw(&mut self) {
        self.withdrawn = true;
    }

    pub(super) fn succeeded(&self) -> bool {
        self.error.is_none() && self.interrupt.is_none()
    }

    /// The result at the end of the first segment.
    pub(super) fn outcome(self) -> Result<Reply, SessionError> {
        let Some((step, error)) = self.error else {
            // The statement was faster than the cancel: it is committed, and that is the answer,
            // except that a result over the bound is not there any more.
            return match self.interrupt {
                Some(why) if self.withdrawn => Err(why),
                Some(SessionError::TooLarge) => Err(SessionError::TooLarge),
                Some(SessionError::Abandoned) if self.streaming => Err(SessionError::Abandoned),
                _ => Ok(self.reply),
            };
        };
        let at_bind = self.bound == self.completed;
        Err(failed(self.interrupt, step, error, at_bind))
    }

    /// The result if the connection broke. Unless what the server said before proves that nothing
    /// was committed, nobody knows then, also after an interrupt, and no other error may say so.
    pub(super) fn broken(mut self, source: io::Error) -> SessionError {
        match self.error.take() {
            // After an error it takes nothing but `Sync`, which commits nothing of it.
            Some((step, error)) if error.severity == "ERROR" => {
                let at_bind = self.bound == self.completed;
                return failed(self.interrupt, step, error, at_bind);
            }
            _ => {}
        }
        if self.said_no_first(&source) {
            return SessionError::Lost {
                nothing_ran: true,
                source,
            };
        }
        let source = match source.downcast::<DbError>() {
            Ok(error) if self.is_before_the_end() && ends_a_session(&error) => {
                return self.interrupt.unwrap_or_else(|| SessionError::Ended {
                    error: Box::new(error),
                });
            }
            Ok(error) => io::Error::other(error),
            Err(source) => source,
        };
        SessionError::Lost {
            nothing_ran: false,
            source,
        }
    }

    /// The check has not been answered. Only what follows it commits: `commit`, or `Sync`.
    fn is_before_the_end(&self) -> bool {
        let mut answered = self.segment.steps.iter().take(self.completed);
        answered.all(|step| *step != Step::Check)
    }

    /// A server that shuts down an idle session says so before anything else: then nothing of
    /// the request ran. Silence proves nothing, what was answered may be lost in a buffer.
    fn said_no_first(&self, source: &io::Error) -> bool {
        !self.anything_ran
            && source
                .get_ref()
                .is_some_and(<dyn std::error::Error + Send + Sync>::is::<DbError>)
    }
}

/// An error that ends a request, by the step that failed with it.
fn failed(
    interrupt: Option<SessionError>,
    step: Option<Step>,
    error: DbError,
    at_bind: bool,
) -> SessionError {
    if let (Some(why), "57014") = (interrupt, error.code.as_str()) {
        return why;
    }
    match step {
        Some(Step::Check) if error.code == CHANGED => SessionError::IdentityChanged,
        Some(Step::Check) if error.code == WRITTEN => SessionError::Database {
            statement: None,
            reading_arguments: false,
            error: Box::new(DbError {
                code: "25006".into(),
                message: "the request is read-only and has written".into(),
                ..error
            }),
        },
        Some(Step::Begin | Step::Settings) => SessionError::Setup {
            error: Box::new(error),
        },
        Some(Step::Reread(index)) => SessionError::Database {
            statement: Some(index),
            reading_arguments: false,
            error: Box::new(error),
        },
        Some(Step::Call(index)) => SessionError::Database {
            statement: Some(index),
            reading_arguments: at_bind && is_about_a_parameter(&error),
            error: Box::new(error),
        },
        // The check too can be cancelled, by a timeout that the caller's SQL has set, for one.
        Some(Step::Check | Step::Finish | Step::Constraints | Step::Cursors | Step::End) | None => {
            SessionError::Database {
                statement: None,
                reading_arguments: false,
                error: Box::new(error),
            }
        }
    }
}

/// Whether a session that ends with this error takes its transaction back. PostgreSQL says so at a
/// point where it could have been interrupted: a shutdown, an operator, a timeout of a session or
/// transaction. A crash (PANIC) can come after the commit was written, and a pooler in between
/// speaks of the connection that it lost, in words of its own.
fn ends_a_session(error: &DbError) -> bool {
    error.severity == "FATAL"
        && matches!(
            error.code.as_str(),
            "57P01" | "57P04" | "57P05" | "25P03" | "25P04"
        )
}

/// Room for `more` values, and no more of it than `left` bytes, so that what is empty does not
/// exceed the bound either.
fn make_room(values: &mut Vec<Option<Bytes>>, more: usize, left: u64) {
    let most = usize::try_from(left / VALUE_BYTES).unwrap_or(usize::MAX);
    let free = values.capacity() - values.len();
    if free < more {
        values.reserve_exact(more + values.len().min(most));
    } else if free - more > most {
        values.shrink_to(values.len() + more);
    }
}

/// Planning happens at `Bind` too and can run functions, whose errors have a context of theirs.
/// In another language of the server the text is not known, and the error is taken for the
/// function's, which only says less to the caller.
fn is_about_a_parameter(error: &DbError) -> bool {
    error
        .context
        .as_deref()
        .is_none_or(|context| context.starts_with("unnamed portal parameter"))
}

/// The columns of a row, sharing its buffer.
pub(super) fn columns(row: &DataRowBody) -> io::Result<Vec<Option<Bytes>>> {
    let buffer = row.buffer_bytes();
    row.ranges()
        .map(|range| Ok(range.map(|range| buffer.slice(range))))
        .collect()
}

#[cfg(test)]
mod tests;
