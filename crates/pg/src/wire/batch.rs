//! Messages for one network write.

use std::io;

use bytes::{Bytes, BytesMut};
use postgres_protocol::IsNull;
use postgres_protocol::message::frontend;

/// A buffer of frontend messages. Every statement is Parse (unless it is prepared already), Bind
/// and Execute of the unnamed portal, all in text format; where `Sync` stands is the caller's
/// decision.
#[derive(Debug, Default)]
pub struct Batch {
    buffer: BytesMut,
}

impl Batch {
    /// The messages so far; the batch is empty afterwards.
    pub fn take(&mut self) -> Bytes {
        self.buffer.split().freeze()
    }

    /// Parses `sql` under `name` (empty: unnamed).
    pub fn parse(&mut self, name: &str, sql: &str, types: &[u32]) -> io::Result<()> {
        frontend::parse(name, sql, types.iter().copied(), &mut self.buffer)
    }

    /// Binds and executes the statement `name`, all rows, text format; `describe` asks for the
    /// columns before the rows.
    pub fn execute(
        &mut self,
        name: &str,
        params: &[Option<Bytes>],
        describe: bool,
    ) -> io::Result<()> {
        frontend::bind(
            "",
            name,
            [],
            params,
            |param, buffer| match param {
                Some(text) => {
                    buffer.extend_from_slice(text);
                    Ok(IsNull::No)
                }
                None => Ok(IsNull::Yes),
            },
            [],
            &mut self.buffer,
        )
        .map_err(|error| match error {
            frontend::BindError::Conversion(error) => io::Error::other(error),
            frontend::BindError::Serialization(error) => error,
        })?;
        if describe {
            frontend::describe(b'P', "", &mut self.buffer)?;
        }
        frontend::execute("", 0, &mut self.buffer)
    }

    /// Parses and executes an unnamed statement.
    pub fn once(&mut self, sql: &str, types: &[u32], params: &[Option<Bytes>]) -> io::Result<()> {
        self.parse("", sql, types)?;
        self.execute("", params, false)
    }

    /// Forgets a prepared statement.
    pub fn close_statement(&mut self, name: &str) -> io::Result<()> {
        frontend::close(b'S', name, &mut self.buffer)
    }

    /// Asks for the answers so far without ending the segment.
    pub fn flush(&mut self) {
        frontend::flush(&mut self.buffer);
    }

    /// Ends a segment: on an error the server skips everything up to here.
    pub fn sync(&mut self) {
        frontend::sync(&mut self.buffer);
    }

    /// Says good-bye.
    pub fn terminate(&mut self) {
        frontend::terminate(&mut self.buffer);
    }
}
