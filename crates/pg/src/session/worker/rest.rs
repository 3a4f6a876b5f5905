//! What of the first segment can be written only when the caller's statements are answered.

use std::io;

use super::super::batch::{SegmentWriter, Session};
use super::super::request::{Finish, Request, Reread};
use super::answer::Answer;

/// Statements of ours that need results: first those that read rows again, then the last one.
pub(super) struct Rest {
    rereads: Vec<Reread>,
    finish: Option<Finish>,
}

impl Rest {
    /// Takes it out of the request.
    pub(super) fn of(request: &mut Request) -> Self {
        Self {
            rereads: std::mem::take(&mut request.rereads),
            finish: request.finish.take(),
        }
    }

    /// The segment is whole.
    pub(super) fn is_empty(&self) -> bool {
        self.rereads.is_empty() && self.finish.is_none()
    }

    /// Writes the next part, with the end of the segment if it is the last one.
    pub(super) fn write(
        &mut self,
        writer: &mut SegmentWriter<'_>,
        session: &Session<'_>,
        request: &Request,
        answer: &mut Answer,
    ) -> io::Result<()> {
        let mut last = None;
        let whole = if self.rereads.is_empty() {
            last = self.finish.take().and_then(|make| answer.make_finish(make));
            last.is_some()
        } else {
            let rereads = answer.make_rereads(std::mem::take(&mut self.rereads));
            for (index, statement) in rereads.iter().flatten() {
                writer.reread(request.role.oid, *index, statement)?;
            }
            rereads.is_some()
        };
        if !whole {
            // The calls must not stay without the statements that belong to them.
            self.finish = None;
            answer.withdraw();
            return writer.withdraw();
        }
        if self.is_empty() {
            writer.close(session, request, last.as_ref())
        } else {
            writer.batch.flush();
            Ok(())
        }
    }
}
