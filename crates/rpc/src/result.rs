//! Rows of a call as one JSON text.

use bytes::{BufMut, Bytes, BytesMut};

use crate::envelope::put_string;
use crate::statement::{Column, ColumnText, Shape};

/// Appends the result of a call. `rows` are the rows of its statement, each a list of columns in
/// text format; numbers and JSON are copied as they are.
pub fn write<'r>(
    out: &mut BytesMut,
    shape: &Shape,
    rows: impl IntoIterator<Item = &'r [Option<Bytes>]>,
) {
    let mut rows = rows.into_iter();
    match shape {
        Shape::Void => out.put_slice(b"null"),
        Shape::Scalar => value(out, rows.next().and_then(<[_]>::first)),
        Shape::Rows => {
            out.put_u8(b'[');
            for (index, row) in rows.enumerate() {
                if index > 0 {
                    out.put_u8(b',');
                }
                value(out, row.first());
            }
            out.put_u8(b']');
        }
        Shape::Columns(columns) => match rows.next() {
            Some(row) => object(out, columns, row),
            None => out.put_slice(b"null"),
        },
    }
}

/// Appends one row of [`Shape::Rows`] as a line of `application/x-ndjson`. Line breaks, which in
/// JSON are only white space, become spaces: PostgreSQL returns the text of `json` as it was
/// stored.
pub fn write_line(out: &mut BytesMut, row: &[Option<Bytes>]) {
    let start = out.len();
    value(out, row.first());
    for byte in &mut out[start..] {
        if matches!(*byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    out.put_u8(b'\n');
}

fn value(out: &mut BytesMut, value: Option<&Option<Bytes>>) {
    out.put_slice(
        value
            .and_then(Option::as_ref)
            .map_or(b"null", |text| text.as_ref()),
    );
}

fn object(out: &mut BytesMut, columns: &[Column], row: &[Option<Bytes>]) {
    out.put_u8(b'{');
    for (index, (column, text)) in columns.iter().zip(row).enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        put_string(out, &column.name);
        out.put_u8(b':');
        let Some(text) = text else {
            out.put_slice(b"null");
            continue;
        };
        match column.text {
            ColumnText::Json => out.put_slice(text),
            ColumnText::Boolean => {
                out.put_slice(if text.as_ref() == b"t" {
                    b"true"
                } else {
                    b"false"
                });
            }
            ColumnText::Number if is_finite(text) => out.put_slice(text),
            ColumnText::Number | ColumnText::String => {
                put_string(out, &String::from_utf8_lossy(text));
            }
        }
    }
    out.put_u8(b'}');
}

/// Whether the text of a number is one in JSON too: `NaN` and `Infinity` are not.
fn is_finite(text: &[u8]) -> bool {
    text.last().is_some_and(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "a column is an option")]
    fn text(text: &'static str) -> Option<Bytes> {
        Some(Bytes::from_static(text.as_bytes()))
    }

    fn written(shape: &Shape, rows: &[&[Option<Bytes>]]) -> String {
        let mut out = BytesMut::new();
        write(&mut out, shape, rows.iter().copied());
        String::from_utf8(out.to_vec()).expect("UTF-8")
    }

    #[test]
    fn results_are_copied_and_null_is_null() {
        assert_eq!(
            written(&Shape::Scalar, &[&[text("9007199254740993")]]),
            "9007199254740993"
        );
        assert_eq!(written(&Shape::Scalar, &[&[None]]), "null");
        assert_eq!(written(&Shape::Scalar, &[]), "null");
        assert_eq!(written(&Shape::Void, &[&[text("")]]), "null");
        assert_eq!(written(&Shape::Rows, &[]), "[]");
        assert_eq!(
            written(&Shape::Rows, &[&[text("1.10")], &[None]]),
            "[1.10,null]"
        );
    }

    #[test]
    fn a_procedures_row_is_an_object() {
        let column = |name: &str, text| Column {
            name: name.into(),
            text,
        };
        let shape = Shape::Columns(
            [
                column("n\"", ColumnText::Number),
                column("nan", ColumnText::Number),
                column("inf", ColumnText::Number),
                column("b", ColumnText::Boolean),
                column("f", ColumnText::Boolean),
                column("j", ColumnText::Json),
                column("s", ColumnText::String),
                column("null", ColumnText::String),
            ]
            .into(),
        );
        let row = [
            text("-1.50"),
            text("NaN"),
            text("-Infinity"),
            text("t"),
            text("f"),
            text("{\"a\": 1}"),
            text("x\ny"),
            None,
        ];
        assert_eq!(
            written(&shape, &[&row]),
            r#"{"n\"":-1.50,"nan":"NaN","inf":"-Infinity","b":true,"f":false,"j":{"a": 1},"s":"x\ny","null":null}"#
        );
        assert_eq!(written(&shape, &[]), "null");
    }

    #[test]
    fn a_line_holds_no_line_break_of_stored_json() {
        let mut out = BytesMut::new();
        write_line(&mut out, &[text("{\r\n\"a\": \"\\n\"}")]);
        write_line(&mut out, &[None]);
        assert_eq!(out, "{  \"a\": \"\\n\"}\nnull\n");
    }
}
