//! The columns of a row.

use super::reader::{DecodeError, Reader};

/// A column's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// NULL; in a tuple of old keys also every column that is none of them.
    Null,
    /// Stored out of line and as it was: the stream does not carry it.
    Unchanged,
    /// In the type's text form, in the encoding of the connection.
    Text(&'a [u8]),
    /// In the type's binary form.
    Binary(&'a [u8]),
}

/// A row, looked through once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuple<'a> {
    columns: u16,
    bytes: &'a [u8],
}

impl<'a> Tuple<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let columns = reader.u16()?;
        let before = reader.0;
        for _ in 0..columns {
            value(reader)?;
        }
        let length = before.len() - reader.0.len();
        Ok(Self {
            columns,
            bytes: before.get(..length).ok_or(DecodeError::Short)?,
        })
    }

    /// How many columns it has.
    pub fn len(&self) -> usize {
        usize::from(self.columns)
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.columns == 0
    }

    /// Its values, in the order of the relation's columns.
    pub fn values(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let mut reader = Reader(self.bytes);
        // It was read before, so it does not end early.
        (0..self.columns).map_while(move |_| value(&mut reader).ok())
    }
}

fn value<'a>(reader: &mut Reader<'a>) -> Result<Value<'a>, DecodeError> {
    let sized = |reader: &mut Reader<'a>| {
        let length = reader.length()?;
        reader.take(length)
    };
    match reader.byte()? {
        b'n' => Ok(Value::Null),
        b'u' => Ok(Value::Unchanged),
        b't' => Ok(Value::Text(sized(reader)?)),
        b'b' => Ok(Value::Binary(sized(reader)?)),
        found => Err(DecodeError::Unexpected {
            place: "the kind of a value",
            found,
        }),
    }
}
