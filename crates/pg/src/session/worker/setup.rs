//! A new connection: what it has to know about its session.

use postgres_protocol::message::backend::Message;
use rolegate_model::claims::Binding;

use super::super::hygiene;
use super::super::names::Names;
use super::answer::columns;
use super::{Worker, WorkerSettings};
use crate::wire::{Batch, ConnectError, Connection, DbError};

/// Defaults of the session, to which `reset all` returns. Nothing of a caller is in them, and
/// they stand above what a role sets for itself (`alter role ... set`): a `search_path` of its own
/// would decide what the operators of our statements mean. The server looks every two seconds
/// whether a busy session still has its client, so that what was given up ends there too.
const DEFAULTS: [(&str, &str); 7] = [
    ("search_path", "pg_catalog, pg_temp"),
    ("client_connection_check_interval", "2s"),
    ("application_name", "rolegate"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("extra_float_digits", "1"),
    ("client_min_messages", "error"),
];

pub(super) async fn open(settings: &WorkerSettings) -> Result<Worker, ConnectError> {
    let (mut connection, _) = Connection::open(
        &settings.endpoint,
        &settings.login,
        &DEFAULTS,
        settings.connect_timeout,
    )
    .await?;
    let mut batch = Batch::default();
    let schema = bytes::Bytes::copy_from_slice(settings.schema.as_bytes());
    batch.once(include_str!("setup.sql"), &[25], &[Some(schema)])?;
    batch.sync();
    connection.send(batch.take()).await?;
    let row = read_row(&mut connection)
        .await?
        .ok_or(ConnectError::Protocol)?;
    let number = |i: usize| -> Result<i64, ConnectError> {
        row.get(i)
            .and_then(Option::as_ref)
            .and_then(|text| std::str::from_utf8(text).ok())
            .and_then(|text| text.parse().ok())
            .ok_or(ConnectError::Protocol)
    };
    let binding = Binding {
        backend_pid: i32::try_from(number(0)?).map_err(|_| ConnectError::Protocol)?,
        server_start_us: number(1)?,
        database_oid: u32::try_from(number(2)?).map_err(|_| ConnectError::Protocol)?,
    };
    let yes = |i: usize| {
        row.get(i)
            .and_then(Option::as_ref)
            .is_some_and(|text| &text[..] == b"t")
    };
    let (names_hidden, read_only_resets) = (yes(3), yes(4));
    let mut prepared = None;
    if names_hidden {
        prepared = Some(hygiene::Prepared::write(&mut batch, &settings.schema)?);
        batch.sync();
        connection.send(batch.take()).await?;
        read_row(&mut connection).await?;
    }
    Ok(Worker {
        connection,
        batch,
        names: Names::default(),
        binding,
        read_only_resets,
        hygiene: prepared,
        spent: false,
    })
}

async fn read_row(
    connection: &mut Connection,
) -> Result<Option<Vec<Option<bytes::Bytes>>>, ConnectError> {
    let mut row = None;
    let mut refused = None;
    loop {
        match connection.receive().await? {
            Message::DataRow(body) => row = Some(columns(&body)?),
            Message::ErrorResponse(body) => refused = Some(DbError::from_body(&body)),
            Message::ReadyForQuery(_) => {
                return refused.map_or(Ok(row), |error| Err(ConnectError::Refused(error)));
            }
            _ => {}
        }
    }
}
