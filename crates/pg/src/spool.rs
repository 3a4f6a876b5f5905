//! A bounded buffer between a fast producer and a slow consumer.
//!
//! The session reads from the server at full speed: a client that reads slowly would otherwise
//! hold a backend, its locks and its snapshot, and would defeat every timeout. What the client
//! has not taken yet waits here, first in memory, then in an unlinked temporary file, up to a
//! bound. If the file takes no more, the stream is broken off after what it has taken.

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
    /// Something is missing at the end, so nothing may follow it.
    failed: bool,
    reader_gone: bool,
}

impl State {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other("the temporary file failed before"));
        }
        if self.file.is_none() && self.memory.len() + bytes.len() > MEMORY_BYTES {
            self.file = Some(tempfile::tempfile()?);
        }
        if let Some(file) = &mut self.file {
            file.seek(SeekFrom::Start(self.written))?;
            file.write_all(bytes)?;
            self.written += bytes.len() as u64;
        } else {
            self.memory.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// Gives back what was written of a piece that is not complete, which nobody will read.
    fn fail(&mut self) {
        self.failed = true;
        match &self.file {
            // On an error the bytes stay until the file goes, and are not read either.
            Some(file) if self.written > self.read_at => drop(file.set_len(self.written)),
            _ => self.file = None,
        }
    }
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
    /// Appends. Never waits; the bound is the caller's (`Limits::max_bytes`). An error, which is the
    /// disk's, breaks the stream off: the reader gets what was appended before.
    pub fn push(&self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.0.0.lock();
        let appended = state.append(bytes);
        if appended.is_err() {
            state.fail();
        }
        drop(state);
        self.0.0.changed.notify_one();
        appended
    }

    /// Whether anybody still reads.
    pub fn is_abandoned(&self) -> bool {
        self.0.0.lock().reader_gone
    }

    /// Everything was pushed. The reader is told at once, whatever clones there are.
    pub fn finish(self) {
        let mut state = self.0.0.lock();
        state.end = Some(if state.failed { Err(()) } else { Ok(()) });
        drop(state);
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

    /// Set in a process whose files may have [`FILE_BYTES`].
    const LIMITED: &str = "ROLEGATE_TEST_LIMITED_FILES";
    const FILE_BYTES: usize = 2 * 1024 * 1024;

    /// Runs the test of this name again, in a process whose disk is full early.
    fn again_with_a_full_disk(name: &str) {
        // Without the signal the write fails, as on a full disk. The unit is 512 bytes in some shells
        // and 1024 in others.
        let script = "trap '' XFSZ; ulimit -f $(($1 / $(if [ \"$BASH_VERSION\" ]; then echo 1024; \
            else echo 512; fi))); shift; exec \"$@\"";
        let output = std::process::Command::new("sh")
            .args(["-c", script, "sh", &FILE_BYTES.to_string()])
            .arg(std::env::current_exe().expect("this program"))
            .args(["--exact", name, "--nocapture"])
            .env(LIMITED, "1")
            .output()
            .expect("a shell");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains("1 passed"),
            "{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the test starts itself with a variable"
    )]
    fn is_limited() -> bool {
        std::env::var_os(LIMITED).is_some()
    }

    /// Files of this process that have no name any more.
    fn unlinked_files() -> usize {
        let descriptors = std::fs::read_dir("/proc/self/fd").expect("our descriptors");
        let links = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        links
            .filter(|link| {
                let link = link.to_string_lossy();
                link.starts_with('/') && link.ends_with("(deleted)")
            })
            .count()
    }

    /// Rows of this length, one of which does not end where the file does.
    const ROW: usize = 300_000;

    /// Pushes rows of one letter each until one fails; how many went in.
    fn fill(writer: &Writer) -> (usize, io::Error) {
        for (rows, letter) in (b'a'..=b'z').enumerate() {
            if let Err(error) = writer.push(&vec![letter; ROW]) {
                return (rows, error);
            }
        }
        panic!("the disk has no end");
    }

    #[tokio::test]
    async fn a_full_disk_breaks_the_stream_off_and_the_file_goes() {
        if !is_limited() {
            let test = "spool::tests::a_full_disk_breaks_the_stream_off_and_the_file_goes";
            return again_with_a_full_disk(test);
        }
        for finish in [true, false] {
            let (writer, mut reader) = spool();
            let (rows, error) = fill(&writer);
            assert_eq!(error.kind(), io::ErrorKind::FileTooLarge, "{error}");
            // The memory is full, and then the file but for a part of a row.
            assert_eq!(rows, MEMORY_BYTES / ROW + FILE_BYTES / ROW);
            let size = writer.0.0.lock().file.as_ref().map(File::metadata);
            let size = size.expect("a file").expect("its size").len();
            assert_eq!(size, (FILE_BYTES / ROW * ROW) as u64, "half a row is kept");
            // A small piece would have room, behind the gap.
            writer.push(b"tail").expect_err("behind a gap");
            if finish {
                writer.finish();
            } else {
                drop(writer);
            }
            assert_eq!(unlinked_files(), 1);
            let mut got = Vec::new();
            let end = loop {
                match reader.next().await {
                    Ok(Some(chunk)) => got.extend_from_slice(&chunk),
                    end => break end,
                }
            };
            assert!(matches!(end, Err(ReadError::BrokenOff)), "{end:?}");
            let letters = (b'a'..=b'z').take(rows);
            let expected: Vec<u8> = letters.flat_map(|letter| vec![letter; ROW]).collect();
            assert!(got == expected, "{} of {}", got.len(), expected.len());
            assert_eq!(unlinked_files(), 0, "the file is still there");
        }

        // Nobody reads.
        let (writer, reader) = spool();
        fill(&writer);
        assert_eq!(unlinked_files(), 1);
        drop((writer, reader));
        assert_eq!(unlinked_files(), 0);
    }

    #[tokio::test]
    async fn no_place_for_a_file_breaks_the_stream_off() {
        if !is_limited() {
            let output = std::process::Command::new(std::env::current_exe().expect("this program"))
                .arg("--exact")
                .arg("spool::tests::no_place_for_a_file_breaks_the_stream_off")
                .env(LIMITED, "1")
                .env("TMPDIR", "/proc/self/nowhere")
                .output()
                .expect("this program");
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(
                output.status.success() && text.contains("1 passed"),
                "{text}"
            );
            return;
        }
        let (writer, mut reader) = spool();
        writer.push(&vec![b'a'; ROW]).expect("memory");
        writer.push(&vec![b'b'; MEMORY_BYTES]).expect_err("no file");
        writer.push(b"tail").expect_err("behind a gap");
        writer.finish();
        let mut bytes = 0;
        let end = loop {
            match reader.next().await {
                Ok(Some(chunk)) => bytes += chunk.len(),
                end => break end,
            }
        };
        assert!(matches!(end, Err(ReadError::BrokenOff)), "{end:?}");
        assert_eq!(bytes, ROW);
    }
}
