//! The messages.

use super::reader::{DecodeError, Reader};
use super::tuple::Tuple;
use crate::lsn::Lsn;

/// One message. Names are bytes: their encoding is that of the connection, unless the database has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message<'a> {
    /// A transaction that was committed begins.
    Begin(Begin),
    /// It ends.
    Commit(Committed),
    /// It came here from elsewhere.
    Origin {
        /// Where it was committed there.
        lsn: Lsn,
        /// What that place is called here.
        name: &'a [u8],
    },
    /// What the following changes of a relation look like.
    Relation(Relation<'a>),
    /// What a type that is not built in is called.
    Type {
        /// Its OID.
        oid: u32,
        /// Its schema.
        schema: &'a [u8],
        /// Its name.
        name: &'a [u8],
    },
    /// A new row.
    Insert {
        /// OID of the relation.
        relation: u32,
        /// The row.
        new: Tuple<'a>,
    },
    /// A changed row.
    Update {
        /// OID of the relation.
        relation: u32,
        /// What is said about the row as it was.
        old: Option<Old<'a>>,
        /// The row as it is.
        new: Tuple<'a>,
    },
    /// A row that is gone.
    Delete {
        /// OID of the relation.
        relation: u32,
        /// What is said about it.
        old: Old<'a>,
    },
    /// Relations that were emptied.
    Truncate {
        /// Their OIDs.
        relations: Relations<'a>,
    },
    /// What somebody wrote into the log.
    Logical(Logical<'a>),
}

/// How a transaction begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begin {
    /// Where its commit is in the log.
    pub commit_lsn: Lsn,
    /// When it was committed, in microseconds since 2000.
    pub at: i64,
    /// Lower half of its id.
    pub xid: u32,
}

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Where its commit is in the log.
    pub commit_lsn: Lsn,
    /// Where its commit ends.
    pub end_lsn: Lsn,
    /// When it was committed, in microseconds since 2000.
    pub at: i64,
}

/// What is said about a row as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Old<'a> {
    /// The columns of its replica identity; all others are NULL.
    Key(Tuple<'a>),
    /// All of it.
    Row(Tuple<'a>),
}

/// A relation's columns and identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation<'a> {
    /// Its OID.
    pub oid: u32,
    /// Its schema; empty for `pg_catalog`.
    pub schema: &'a [u8],
    /// Its name.
    pub name: &'a [u8],
    /// `relreplident` of `pg_class`: `d`, `n`, `f` or `i`.
    pub identity: u8,
    columns: Columns<'a>,
}

impl<'a> Relation<'a> {
    /// The published columns, in order.
    pub fn columns(&self) -> Columns<'a> {
        self.columns.clone()
    }
}

/// The columns of a relation, looked through once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns<'a> {
    left: u16,
    bytes: &'a [u8],
}

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelationColumn<'a> {
    /// Whether it is part of the replica identity.
    pub key: bool,
    /// Its name.
    pub name: &'a [u8],
    /// OID of its type.
    pub type_oid: u32,
    /// `atttypmod`.
    pub modifier: i32,
}

impl<'a> Iterator for Columns<'a> {
    type Item = RelationColumn<'a>;

    fn next(&mut self) -> Option<RelationColumn<'a>> {
        self.left = self.left.checked_sub(1)?;
        let mut reader = Reader(self.bytes);
        // It was read before, so it does not end early.
        let column = column(&mut reader).ok()?;
        self.bytes = reader.0;
        Some(column)
    }
}

/// OIDs of relations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relations<'a>(&'a [u8]);

impl<'a> Relations<'a> {
    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = u32> + use<'a> {
        let (oids, _) = self.0.as_chunks();
        oids.iter().map(|oid| u32::from_be_bytes(*oid))
    }
}

/// What `pg_logical_emit_message` wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logical<'a> {
    /// Whether it belongs to a transaction.
    pub transactional: bool,
    /// Where it is in the log.
    pub lsn: Lsn,
    /// Whose it is.
    pub prefix: &'a [u8],
    /// What it says.
    pub content: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads a whole message.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader(bytes);
        let message = message(&mut reader)?;
        reader.end()?;
        Ok(message)
    }
}

fn message<'a>(reader: &mut Reader<'a>) -> Result<Message<'a>, DecodeError> {
    Ok(match reader.byte()? {
        b'B' => Message::Begin(Begin {
            commit_lsn: Lsn(reader.u64()?),
            at: reader.i64()?,
            xid: reader.u32()?,
        }),
        b'C' => {
            // Flags of which the protocol has none yet.
            expect(reader.byte()?, b"\0", "the flags of a commit")?;
            Message::Commit(Committed {
                commit_lsn: Lsn(reader.u64()?),
                end_lsn: Lsn(reader.u64()?),
                at: reader.i64()?,
            })
        }
        b'O' => Message::Origin {
            lsn: Lsn(reader.u64()?),
            name: reader.string()?,
        },
        b'R' => Message::Relation(relation(reader)?),
        b'Y' => Message::Type {
            oid: reader.u32()?,
            schema: reader.string()?,
            name: reader.string()?,
        },
        b'I' => {
            let relation = reader.u32()?;
            expect(reader.byte()?, b"N", "a new row")?;
            Message::Insert {
                relation,
                new: Tuple::read(reader)?,
            }
        }
        b'U' => update(reader)?,
        b'D' => Message::Delete {
            relation: reader.u32()?,
            old: {
                let kind = expect(reader.byte()?, b"KO", "an old row or key")?;
                old(reader, kind)?
            },
        },
        b'T' => truncate(reader)?,
        b'M' => Message::Logical(logical(reader)?),
        found => {
            return Err(DecodeError::Unexpected {
                place: "the kind of a message",
                found,
            });
        }
    })
}

fn expect(found: u8, one_of: &[u8], place: &'static str) -> Result<u8, DecodeError> {
    if one_of.contains(&found) {
        Ok(found)
    } else {
        Err(DecodeError::Unexpected { place, found })
    }
}

fn relation<'a>(reader: &mut Reader<'a>) -> Result<Relation<'a>, DecodeError> {
    let oid = reader.u32()?;
    let schema = reader.string()?;
    let name = reader.string()?;
    let identity = expect(reader.byte()?, b"dnfi", "a replica identity")?;
    let number = reader.u16()?;
    let columns = Columns {
        left: number,
        bytes: reader.0,
    };
    for _ in 0..number {
        column(reader)?;
    }
    Ok(Relation {
        oid,
        schema,
        name,
        identity,
        columns,
    })
}

fn column<'a>(reader: &mut Reader<'a>) -> Result<RelationColumn<'a>, DecodeError> {
    Ok(RelationColumn {
        key: expect(reader.byte()?, b"\0\x01", "the flags of a column")? == 1,
        name: reader.string()?,
        type_oid: reader.u32()?,
        modifier: reader.i32()?,
    })
}

fn update<'a>(reader: &mut Reader<'a>) -> Result<Message<'a>, DecodeError> {
    let relation = reader.u32()?;
    let kind = expect(
        reader.byte()?,
        b"KON",
        "an old row, an old key or a new row",
    )?;
    let old = if kind == b'N' {
        None
    } else {
        let old = old(reader, kind)?;
        expect(reader.byte()?, b"N", "a new row")?;
        Some(old)
    };
    Ok(Message::Update {
        relation,
        old,
        new: Tuple::read(reader)?,
    })
}

fn old<'a>(reader: &mut Reader<'a>, kind: u8) -> Result<Old<'a>, DecodeError> {
    let tuple = Tuple::read(reader)?;
    Ok(if kind == b'K' {
        Old::Key(tuple)
    } else {
        Old::Row(tuple)
    })
}

fn truncate<'a>(reader: &mut Reader<'a>) -> Result<Message<'a>, DecodeError> {
    let number = reader.length()?;
    // Whether it cascaded and restarted sequences: the relations it came to are all named.
    let flags = reader.byte()?;
    if flags > 3 {
        return Err(DecodeError::Unexpected {
            place: "the options of a truncate",
            found: flags,
        });
    }
    let bytes = number.checked_mul(4).ok_or(DecodeError::Short)?;
    Ok(Message::Truncate {
        relations: Relations(reader.take(bytes)?),
    })
}

fn logical<'a>(reader: &mut Reader<'a>) -> Result<Logical<'a>, DecodeError> {
    let transactional = expect(reader.byte()?, b"\0\x01", "the flags of a message")? == 1;
    let lsn = Lsn(reader.u64()?);
    let prefix = reader.string()?;
    let length = reader.length()?;
    Ok(Logical {
        transactional,
        lsn,
        prefix,
        content: reader.take(length)?,
    })
}
