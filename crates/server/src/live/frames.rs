//! What goes over the wire. Every frame is made once for a group, and shared by its members.

use bytes::{BufMut as _, Bytes, BytesMut};
use rolegate_query::Column;
use rolegate_query::diff::{Change, Row};
use rolegate_replication::{Lsn, Xid};
use serde_json::{Value, json};

use crate::problem::Problem;

/// For connections on which nothing happens.
pub(super) const HEARTBEAT: Bytes = Bytes::from_static(b":heartbeat\n\n");

/// A place in the history of a group: what clients send as `Last-Event-ID`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Of the group.
    pub(super) group: u64,
    /// What comes next.
    pub(super) place: u64,
}

impl Cursor {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (group, place) = text.split_once('-')?;
        let hexadecimal = group.len() == 16 && group.bytes().all(|byte| byte.is_ascii_hexdigit());
        let decimal = !place.is_empty() && place.bytes().all(|byte| byte.is_ascii_digit());
        (hexadecimal && decimal).then_some(())?;
        Some(Self {
            group: u64::from_str_radix(group, 16).ok()?,
            place: place.parse().ok()?,
        })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}-{}", self.group, self.place)
    }
}

/// A whole result.
#[derive(Debug)]
pub(super) struct Snapshot<'r> {
    pub(super) rows: &'r [Row],
    pub(super) columns: &'r [Column],
    pub(super) key: Option<&'r [usize]>,
    pub(super) ordered: bool,
    pub(super) at: Lsn,
    /// The transactions whose effects it shows.
    pub(super) visible: &'r rolegate_query::Snapshot,
}

impl Snapshot<'_> {
    pub(super) fn frame(&self, cursor: Cursor) -> Bytes {
        let names: Vec<&str> = self.columns.iter().map(|column| &*column.name).collect();
        let key: Option<Vec<&str>> = self
            .key
            .map(|key| key.iter().map(|&column| names[column]).collect());
        let rows = self.rows.iter();
        let rows: usize = rows.map(|row| row.json.len() + row.key.len() + 4).sum();
        let mut out = BytesMut::with_capacity(rows + 256);
        out.put_slice(b"event: snapshot\ndata: {\"type\":\"snapshot\",\"rows\":[");
        for (index, row) in self.rows.iter().enumerate() {
            if index > 0 {
                out.put_u8(b',');
            }
            out.put_slice(&row.json);
        }
        // What changes call them: the JSON of a value is not always its text, and a client can't make digests.
        out.put_slice(b"],\"keys\":[");
        for (index, row) in self.rows.iter().enumerate() {
            if index > 0 {
                out.put_u8(b',');
            }
            put(&mut out, &json!(&*row.key));
        }
        out.put_slice(b"],\"columns\":");
        put(&mut out, &json!(names));
        out.put_slice(b",\"key\":");
        put(&mut out, &json!(key));
        out.put_slice(b",\"ordered\":");
        put(&mut out, &json!(self.ordered));
        out.put_slice(b",\"lsn\":");
        put(&mut out, &json!(self.at));
        out.put_slice(b",\"visible\":");
        put(&mut out, &json!(self.visible.to_string()));
        out.put_slice(b"}\nid: ");
        out.put_slice(cursor.to_string().as_bytes());
        out.put_slice(b"\n\n");
        out.freeze()
    }
}

/// What is different, and which transactions that makes visible.
#[derive(Debug)]
pub(super) struct Commit<'c> {
    pub(super) changes: &'c [Change],
    /// In the order of their commits.
    pub(super) xids: &'c [Xid],
    pub(super) at: Lsn,
}

impl Commit<'_> {
    pub(super) fn frame(&self, cursor: Cursor) -> Bytes {
        let newest = self.xids.last().copied();
        let rows = self
            .changes
            .iter()
            .map(|change| change.row.json.len() + 160);
        let mut out = BytesMut::with_capacity(rows.sum::<usize>() + 256);
        for change in self.changes {
            out.put_slice(b"event: change\ndata: {\"op\":");
            put(&mut out, &json!(change.op.as_str()));
            out.put_slice(b",\"key\":");
            put(&mut out, &json!(&*change.row.key));
            out.put_slice(b",\"row\":");
            out.put_slice(&change.row.json);
            if let Some(position) = change.position {
                out.put_slice(b",\"position\":");
                put(&mut out, &json!(position));
            }
            out.put_slice(b",\"txid\":");
            put(&mut out, &json!(newest.map(low_half)));
            out.put_slice(b"}\n\n");
        }
        let xids: Vec<String> = self.xids.iter().map(|xid| xid.0.to_string()).collect();
        let data = json!({
            "op": "up-to-date",
            "lsn": self.at,
            "txid": newest.map(low_half),
            "xid": newest.map(|xid| xid.0.to_string()),
            "xids": xids,
        });
        out.put_slice(b"event: commit\ndata: ");
        put(&mut out, &data);
        out.put_slice(b"\nid: ");
        out.put_slice(cursor.to_string().as_bytes());
        out.put_slice(b"\n\n");
        out.freeze()
    }
}

/// Continuity is lost; a snapshot follows.
pub(super) fn reset(reason: &str) -> Bytes {
    event("reset", &json!({"op": "reset", "reason": reason}))
}

/// The last one.
pub(super) fn error(problem: &Problem, request_id: &str) -> Bytes {
    let mut body = problem.to_problem_json(request_id);
    body["message"] = json!(problem.message);
    event("error", &body)
}

fn event(name: &str, data: &Value) -> Bytes {
    format!("event: {name}\ndata: {data}\n\n").into()
}

/// What other programs call the id of a transaction: its lower half.
fn low_half(xid: Xid) -> u32 {
    u32::try_from(xid.0 & 0xFFFF_FFFF).unwrap_or_default()
}

fn put(out: &mut BytesMut, value: &Value) {
    out.put_slice(value.to_string().as_bytes());
}

#[cfg(test)]
mod tests {
    use rolegate_query::ColumnText;
    use rolegate_query::diff::Op;

    use super::*;

    const CURSOR: Cursor = Cursor {
        group: 0xAB,
        place: 7,
    };

    fn row(key: &str, json: &'static str) -> Row {
        Row {
            key: key.into(),
            json: Bytes::from_static(json.as_bytes()),
        }
    }

    #[test]
    fn a_snapshot_says_what_its_rows_are_known_by() {
        let column = |name: &str| Column {
            name: name.to_owned(),
            text: ColumnText::Number,
            type_oid: 23,
        };
        let snapshot = Snapshot {
            rows: &[row("1", "{\"a\":2,\"id\":1}")],
            columns: &[column("a"), column("id")],
            key: Some(&[1]),
            ordered: false,
            at: Lsn(0x1A2B),
            visible: &"10:12:10".parse().expect("a snapshot"),
        };
        assert_eq!(
            snapshot.frame(CURSOR),
            "event: snapshot\ndata: {\"type\":\"snapshot\",\"rows\":[{\"a\":2,\"id\":1}],\
             \"keys\":[\"1\"],\"columns\":[\"a\",\"id\"],\"key\":[\"id\"],\"ordered\":false,\
             \"lsn\":\"0/1A2B\",\"visible\":\"10:12:10\"}\n\
             id: 00000000000000ab-7\n\n"
        );
    }

    #[test]
    fn a_commit_comes_behind_its_changes() {
        let commit = Commit {
            changes: &[Change {
                op: Op::Insert,
                row: row("a\"b", "{\"id\":1}"),
                position: Some(3),
            }],
            xids: &[Xid(7), Xid(0x1_0000_0009)],
            at: Lsn(1),
        };
        assert_eq!(
            commit.frame(CURSOR),
            "event: change\ndata: {\"op\":\"insert\",\"key\":\"a\\\"b\",\"row\":{\"id\":1},\
             \"position\":3,\"txid\":9}\n\n\
             event: commit\ndata: {\"lsn\":\"0/1\",\"op\":\"up-to-date\",\"txid\":9,\
             \"xid\":\"4294967305\",\"xids\":[\"7\",\"4294967305\"]}\nid: 00000000000000ab-7\n\n"
        );
    }

    #[test]
    fn cursors_are_read_as_they_are_written() {
        assert_eq!(Cursor::parse(&CURSOR.to_string()), Some(CURSOR));
        for bad in [
            "",
            "-",
            "1-1",
            "00000000000000ab-",
            "00000000000000ab-+1",
            "x",
        ] {
            assert_eq!(Cursor::parse(bad), None, "{bad}");
        }
    }
}
