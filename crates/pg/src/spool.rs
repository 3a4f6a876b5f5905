//! A bounded buffer between a fast producer and a slow consumer.
//!
//! The session reads from the server at full speed: a client that reads slowly would otherwise
//! hold a backend, its locks and its snapshot, and would defeat every timeout. What the client
//! has not taken yet waits here, first in memory, then in an unlinked temporary file, up to a
//! bound.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

/// Bytes kept in memory before the rest goes to a file.
const MEMORY_BYTES: usize = 1024 * 1024;
/// Bytes handed out at a time.
const CHUNK_BYTES: usize = 64 * 1024;

#[derive(Debug, Default)]
struct State {
    memory: BytesMut,
    file: Option<File>,
    read_at: u64,
    written: u64,
    end: Option<Result<(), ()>>,
    reader_gone: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is consistent at every point where a panic could happen.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The producer's side. Dropping the last of its clones without [`Writer::finish`] marks the stream
/// as broken off.
#[derive(Debug, Clone)]
pub struct Writer(Arc<End>);

#[derive(Debug)]
struct End(Arc<Shared>);

/// The consumer's side.
#[derive(Debug)]
pub struct Reader(Arc<Shared>);

/// A new, empty buffer.
pub fn spool() -> (Writer, Reader) {
    let shared = Arc::new(Shared::default());
    (Writer(Arc::new(End(Arc::clone(&shared)))), Reader(shared))
}

impl Writer {
    /// Appends. Never waits; the bound is the caller's (`Limits::max_bytes`).
    pub fn push(&self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.0.0.lock();
        if state.file.is_none() && state.memory.len() + bytes.len() > MEMORY_BYTES {
            state.file = Some(tempfile::tempfile()?);
        }
        let at = state.written;
        if let Some(file) = &mut state.file {
            file.seek(SeekFrom::Start(at))?;
            file.write_all(bytes)?;
            state.written += bytes.len() as u64;
        } else {
            state.memory.extend_from_slice(bytes);
        }
        drop(state);
        self.0.0.changed.notify_one();
        Ok(())
    }

    /// Whether anybody still reads.
    pub fn is_abandoned(&self) -> bool {
        self.0.0.lock().reader_gone
    }

    /// Everything was written. The reader is told at once, whatever clones there are.
    pub fn finish(self) {
        self.0.0.lock().end = Some(Ok(()));
        self.0.0.changed.notify_one();
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.0.lock().end.get_or_insert(Err(()));
        self.0.changed.notify_one();
    }
}

/// The producer broke off.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It ended without finishing.
    #[error("the stream was broken off")]
    BrokenOff,
    /// The temporary file failed.
    #[error("the temporary file failed")]
    File(#[from] io::Error),
}

impl Reader {
    /// The next bytes; `None` at the end. Cancel safe.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        loop {
            {
                let mut state = self.0.lock();
                if !state.memory.is_empty() {
                    let n = state.memory.len().min(CHUNK_BYTES);
                    return Ok(Some(state.memory.split_to(n).freeze()));
                }
                if state.read_at < state.written {
                    return read_file(&mut state).map(Some);
                }
                match state.end {
                    Some(Ok(())) => return Ok(None),
                    Some(Err(())) => return Err(ReadError::BrokenOff),
                    None => {}
                }
            }
            self.0.changed.notified().await;
        }
    }
}

fn read_file(state: &mut State) -> Result<Bytes, ReadError> {
    let left = usize::try_from(state.written - state.read_at).unwrap_or(CHUNK_BYTES);
    let at = state.read_at;
    let Some(file) = &mut state.file else {
        return Err(ReadError::BrokenOff);
    };
    let mut chunk = BytesMut::zeroed(left.min(CHUNK_BYTES));
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut chunk)?;
    state.read_at += chunk.len() as u64;
    if state.read_at == state.written {
        // The reader caught up: from here on memory is enough again.
        state.file = None;
        state.read_at = 0;
        state.written = 0;
    }
    Ok(chunk.freeze())
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.lock().reader_gone = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_goes_in_comes_out_in_order_through_memory_and_file() {
        let (writer, mut reader) = spool();
        let mut expected = Vec::new();
        for i in 0..40_u8 {
            let piece = vec![i; 100_000];
            expected.extend_from_slice(&piece);
            writer.push(&piece).expect("space");
        }
        let mut got = Vec::new();
        got.extend_from_slice(&reader.next().await.expect("ok").expect("some"));
        writer.push(b"tail").expect("space");
        expected.extend_from_slice(b"tail");
        writer.finish();
        while let Some(chunk) = reader.next().await.expect("ok") {
            got.extend_from_slice(&chunk);
        }
        assert!(got == expected, "{} bytes of {}", got.len(), expected.len());
    }

    #[tokio::test]
    async fn a_dropped_writer_is_not_an_end() {
        let (writer, mut reader) = spool();
        writer.push(b"half").expect("space");
        drop(writer);
        assert_eq!(
            reader.next().await.expect("ok"),
            Some(Bytes::from_static(b"half"))
        );
        assert!(matches!(reader.next().await, Err(ReadError::BrokenOff)));
    }

    #[tokio::test]
    async fn the_last_writer_decides() {
        let (writer, mut reader) = spool();
        drop(writer.clone());
        writer.push(b"x").expect("space");
        assert!(matches!(reader.next().await, Ok(Some(_))));
        let kept = writer.clone();
        writer.finish();
        assert_eq!(reader.next().await.expect("ok"), None);
        drop(kept);
        assert_eq!(reader.next().await.expect("ok"), None);
    }

    #[tokio::test]
    async fn a_waiting_reader_is_woken() {
        let (writer, mut reader) = spool();
        let task = tokio::spawn(async move { reader.next().await });
        tokio::task::yield_now().await;
        writer.push(b"x").expect("space");
        assert_eq!(
            task.await.expect("joined").expect("ok"),
            Some(Bytes::from_static(b"x"))
        );
    }

    #[test]
    fn the_writer_learns_that_nobody_reads() {
        let (writer, reader) = spool();
        assert!(!writer.is_abandoned());
        drop(reader);
        assert!(writer.is_abandoned());
    }
}
