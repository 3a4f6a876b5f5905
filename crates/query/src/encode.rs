//! Rows as the bytes of an answer.

mod arrow;
mod moments;

use std::borrow::Cow;

use bytes::{BufMut as _, Bytes, BytesMut};
use rolegate_pg::session::Rows;

use crate::select::{Column, ColumnText};

/// A form an answer can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// A JSON array of objects.
    Json,
    /// A JSON object on each line.
    Ndjson,
    /// RFC 4180, with a line of names. NULL is an empty field, an empty string is `""`.
    Csv,
    /// A stream of Arrow's IPC format: columns with their types.
    Arrow,
}

/// Why rows can't be written in a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unwritten {
    /// The columns are not any more of the types they were found to have.
    Changed,
    /// The column of this name has a date or a time that the form has no number for.
    Beyond(String),
}

impl Format {
    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        }
    }

    /// The form of this media type.
    pub fn of_media_type(text: &str) -> Option<Self> {
        [Self::Json, Self::Ndjson, Self::Csv, Self::Arrow]
            .into_iter()
            .find(|format| format.media_type() == text)
    }

    /// Writes the rows.
    pub fn encode(self, columns: &[Column], rows: &Rows) -> Result<Bytes, Unwritten> {
        let mut out = BytesMut::with_capacity(64 + rows.values.len() * 16);
        let keys: Vec<Vec<u8>> = columns.iter().map(|column| quoted(&column.name)).collect();
        match self {
            Self::Json => {
                out.put_u8(b'[');
                for (index, row) in rows.iter().take(rows.rows).enumerate() {
                    if index > 0 {
                        out.put_slice(b",\n");
                    }
                    object(&mut out, columns, &keys, row);
                }
                out.put_u8(b']');
            }
            Self::Ndjson => {
                for row in rows.iter().take(rows.rows) {
                    object_on_a_line(&mut out, columns, &keys, row);
                    out.put_u8(b'\n');
                }
            }
            Self::Csv => {
                csv_line(
                    &mut out,
                    columns.iter().map(|column| Some(column.name.as_bytes())),
                );
                for row in rows.iter().take(rows.rows) {
                    csv_row(&mut out, columns, row);
                }
            }
            Self::Arrow => return arrow::stream(columns, rows),
        }
        Ok(out.freeze())
    }
}

/// Each row as a JSON object on one line.
pub fn objects(columns: &[Column], rows: &Rows) -> Vec<Bytes> {
    let keys: Vec<Vec<u8>> = columns.iter().map(|column| quoted(&column.name)).collect();
    let mut out = BytesMut::with_capacity(64 + rows.values.len() * 16);
    let mut ends = Vec::with_capacity(rows.rows);
    for row in rows.iter().take(rows.rows) {
        object_on_a_line(&mut out, columns, &keys, row);
        ends.push(out.len());
    }
    let all = out.freeze();
    let mut start = 0;
    let pieces = ends
        .into_iter()
        .map(|end| all.slice(std::mem::replace(&mut start, end)..end));
    pieces.collect()
}

fn object_on_a_line(
    out: &mut BytesMut,
    columns: &[Column],
    keys: &[Vec<u8>],
    row: &[Option<Bytes>],
) {
    let start = out.len();
    object(out, columns, keys, row);
    // White space inside of stored JSON; strings have none of them.
    for byte in &mut out[start..] {
        if matches!(*byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}

fn object(out: &mut BytesMut, columns: &[Column], keys: &[Vec<u8>], row: &[Option<Bytes>]) {
    out.put_u8(b'{');
    for (index, ((column, key), text)) in columns.iter().zip(keys).zip(row).enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        out.put_slice(key);
        out.put_u8(b':');
        let Some(text) = text else {
            out.put_slice(b"null");
            continue;
        };
        match column.text {
            ColumnText::Json | ColumnText::Made => out.put_slice(text),
            ColumnText::Boolean if text.as_ref() == b"t" => out.put_slice(b"true"),
            ColumnText::Boolean => out.put_slice(b"false"),
            // Not so `NaN` and `Infinity`.
            ColumnText::Number if text.last().is_some_and(u8::is_ascii_digit) => {
                out.put_slice(text);
            }
            ColumnText::Number | ColumnText::String => {
                out.put_slice(&quoted(&String::from_utf8_lossy(text)));
            }
        }
    }
    out.put_u8(b'}');
}

fn quoted(text: &str) -> Vec<u8> {
    // A string can always be written.
    serde_json::to_vec(text).unwrap_or_default()
}

fn csv_row(out: &mut BytesMut, columns: &[Column], row: &[Option<Bytes>]) {
    let fields: Vec<Option<Cow<'_, str>>> = columns
        .iter()
        .zip(row)
        .map(|(column, text)| text.as_deref().map(|text| plain(column, text)))
        .collect();
    let fields = fields.iter().map(|field| field.as_deref());
    csv_line(out, fields.map(|field| field.map(str::as_bytes)));
}

/// The text of a value, without the quotes that JSON has around it.
fn plain<'v>(column: &Column, value: &'v [u8]) -> Cow<'v, str> {
    if column.text == ColumnText::Made
        && value.first() == Some(&b'"')
        && let Ok(text) = serde_json::from_slice(value)
    {
        return Cow::Owned(text);
    }
    String::from_utf8_lossy(value)
}

fn csv_line<'f>(out: &mut BytesMut, fields: impl Iterator<Item = Option<&'f [u8]>>) {
    for (index, field) in fields.enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        let Some(field) = field else { continue };
        let plain = !field.is_empty()
            && !field
                .iter()
                .any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r'));
        if plain {
            out.put_slice(field);
        } else {
            out.put_u8(b'"');
            for byte in field {
                if *byte == b'"' {
                    out.put_u8(b'"');
                }
                out.put_u8(*byte);
            }
            out.put_u8(b'"');
        }
    }
    out.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(columns: usize, values: &[Option<&'static str>]) -> Rows {
        Rows {
            columns,
            rows: values.len() / columns,
            values: values
                .iter()
                .map(|value| value.map(|text| Bytes::from_static(text.as_bytes())))
                .collect(),
            ..Rows::default()
        }
    }

    fn column(name: &str, text: ColumnText) -> Column {
        Column {
            name: name.into(),
            text,
            type_oid: 25,
        }
    }

    fn text(format: Format, columns: &[Column], rows: &Rows) -> String {
        let bytes = format.encode(columns, rows).expect("rows");
        String::from_utf8(bytes.to_vec()).expect("UTF-8")
    }

    #[test]
    fn json_keeps_every_digit_and_the_order() {
        let columns = [
            column("z", ColumnText::Number),
            column("a\"b", ColumnText::String),
            column("t", ColumnText::Boolean),
            column("j", ColumnText::Json),
        ];
        let rows = rows(
            4,
            &[
                Some("9007199254740993.10"),
                Some("x\ny"),
                Some("t"),
                Some("{\"a\":\n1}"),
                Some("NaN"),
                None,
                Some("f"),
                None,
            ],
        );
        assert_eq!(
            text(Format::Json, &columns, &rows),
            "[{\"z\":9007199254740993.10,\"a\\\"b\":\"x\\ny\",\"t\":true,\"j\":{\"a\":\n1}},\n\
             {\"z\":\"NaN\",\"a\\\"b\":null,\"t\":false,\"j\":null}]"
        );
        assert_eq!(
            text(
                Format::Ndjson,
                &columns[3..],
                &self::rows(1, &[Some("{\"a\":\n1}"), None])
            ),
            "{\"j\":{\"a\": 1}}\n{\"j\":null}\n"
        );
        assert_eq!(text(Format::Json, &columns, &Rows::default()), "[]");
    }

    #[test]
    fn csv_tells_null_from_nothing() {
        let columns = [
            column("a", ColumnText::String),
            column("b,c", ColumnText::String),
        ];
        let rows = rows(2, &[Some(""), None, Some("say \"x\""), Some("1")]);
        assert_eq!(
            text(Format::Csv, &columns, &rows),
            "a,\"b,c\"\r\n\"\",\r\n\"say \"\"x\"\"\",1\r\n"
        );
    }

    #[test]
    fn csv_has_no_quotes_of_json() {
        let columns = [column("a", ColumnText::Made), column("b", ColumnText::Json)];
        let rows = rows(
            2,
            &[Some("\"2026-01-02\""), Some("\"x\""), Some("[1]"), None],
        );
        assert_eq!(
            text(Format::Csv, &columns, &rows),
            "a,b\r\n2026-01-02,\"\"\"x\"\"\"\r\n[1],\r\n"
        );
    }
}
