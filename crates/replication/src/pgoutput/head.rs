//! What can be known of a message that is too long to be held.

use super::reader::Reader;

/// Of what a long message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject<'a> {
    /// A row of this relation.
    Row(u32),
    /// More relations than anybody would name one by one.
    Relations,
    /// A message with this prefix; whether it belongs to a transaction comes first.
    Logical(bool, &'a [u8]),
}

/// The beginning of a message that is too long to be held.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a>(pub &'a [u8]);

impl<'a> Head<'a> {
    /// What it is about, if that can be said and a message of this kind may be long.
    pub fn subject(self) -> Option<Subject<'a>> {
        let mut reader = Reader(self.0);
        match reader.byte().ok()? {
            b'I' | b'U' | b'D' => Some(Subject::Row(reader.u32().ok()?)),
            b'T' => Some(Subject::Relations),
            b'M' => {
                let transactional = reader.byte().ok()? == 1;
                reader.u64().ok()?;
                Some(Subject::Logical(transactional, reader.string().ok()?))
            }
            _ => None,
        }
    }
}
