use std::io::Cursor;

use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, RecordBatch};
use arrow_ipc::reader::StreamReader;
use bytes::Bytes;
use rolegate_pg::session::{Field as Described, Rows};

use super::*;
use crate::encode::Format;

fn columns(types: &[(&str, u32)]) -> Vec<Column> {
    let fields: Vec<Described> = types
        .iter()
        .map(|(name, type_oid)| Described {
            name: (*name).to_owned(),
            type_oid: *type_oid,
        })
        .collect();
    Column::of(&fields).expect("columns")
}

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

fn read(stream: Bytes) -> (Arc<Schema>, Vec<RecordBatch>) {
    let reader = StreamReader::try_new(Cursor::new(stream), None).expect("a stream");
    let schema = reader.schema();
    let batches = reader.collect::<Result<_, _>>().expect("batches");
    (schema, batches)
}

fn written(type_oid: u32, value: &'static str) -> Result<ArrayRef, Unwritten> {
    let columns = columns(&[("v", type_oid)]);
    let stream = Format::Arrow.encode(&columns, &rows(1, &[Some(value), None]))?;
    let (_, batches) = read(stream);
    let array = Arc::clone(batches[0].column(0));
    assert_eq!((array.len(), array.null_count()), (2, 1), "{type_oid}");
    Ok(array)
}

#[test]
fn columns_say_what_they_were() {
    let columns = columns(&[
        ("n", 1700),
        ("j", 3802),
        ("u", 2950),
        ("at", 1184),
        ("mood", 70_000),
    ]);
    let stream = Format::Arrow.encode(&columns, &Rows::default());
    let (schema, batches) = read(stream.expect("a stream"));
    assert!(batches.is_empty());
    let told = |name: &str, key: &str| {
        let field = schema.field_with_name(name).expect("a field");
        assert!(field.is_nullable());
        field.metadata().get(key).map(ToString::to_string)
    };
    assert_eq!(told("n", "postgresql.type").as_deref(), Some("numeric"));
    assert_eq!(told("j", "postgresql.type").as_deref(), Some("jsonb"));
    assert_eq!(told("j", EXTENSION).as_deref(), Some("arrow.json"));
    assert_eq!(told("u", EXTENSION).as_deref(), Some("arrow.uuid"));
    assert_eq!(told("mood", "postgresql.type"), None);
    assert_eq!(
        *schema.field(3).data_type(),
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
    );
}

#[test]
fn values_are_numbers_where_there_are_any() {
    let value = |oid, text| written(oid, text).expect("a value");
    assert!(value(16, "t").as_boolean().value(0));
    assert_eq!(
        value(20, "-9223372036854775808")
            .as_primitive::<Int64Type>()
            .value(0),
        i64::MIN
    );
    assert_eq!(value(21, "-7").as_primitive::<Int16Type>().value(0), -7);
    assert_eq!(
        value(26, "4294967295")
            .as_primitive::<UInt32Type>()
            .value(0),
        u32::MAX
    );
    assert!(
        value(701, "NaN")
            .as_primitive::<Float64Type>()
            .value(0)
            .is_nan()
    );
    assert!(
        value(700, "-Infinity")
            .as_primitive::<Float32Type>()
            .value(0)
            .is_infinite()
    );
    assert_eq!(
        value(1082, "\"1970-01-03\"")
            .as_primitive::<Date32Type>()
            .value(0),
        2
    );
    let at = value(1184, "\"1970-01-01T01:00:00.000001+01:00\"");
    assert_eq!(at.as_primitive::<TimestampMicrosecondType>().value(0), 1);
    for (oid, text, expected) in [
        (1700, "1.10", "1.10"),
        (1700, "NaN", "NaN"),
        (25, "\"quoted\"", "\"quoted\""),
        (3802, "{\"a\": 1}", "{\"a\": 1}"),
        (1186, "\"1 day\"", "1 day"),
        (1007, "[1,2]", "[1,2]"),
    ] {
        assert_eq!(value(oid, text).as_string::<i32>().value(0), expected);
    }
    let uuid = value(2950, "00000000-0000-0000-0000-0000000000ff");
    assert_eq!(uuid.as_fixed_size_binary().value(0)[14..], [0, 0xff]);
}

#[test]
fn bytes_are_read_in_both_of_their_forms() {
    for (text, expected) in [
        (r#""\\x00ff5c""#, &[0, 0xff, b'\\'][..]),
        (r#""\\000\\377\\\\""#, &[0, 0xff, b'\\']),
        (r#""\\x""#, &[]),
        (r#""""#, &[]),
    ] {
        let array = written(17, text).expect("bytes");
        assert_eq!(array.as_binary::<i32>().value(0), expected, "{text}");
    }
}

#[test]
fn what_has_no_number_is_no_null() {
    for (oid, text) in [
        (1082, "\"infinity\""),
        (1114, "\"-infinity\""),
        (1184, "\"294276-12-31T23:59:59+00:00\""),
    ] {
        assert_eq!(
            written(oid, text).err(),
            Some(Unwritten::Beyond("v".into())),
            "{text}"
        );
    }
    for (oid, text) in [
        (16, "true"),
        (17, "\"\\\\xf\""),
        (17, "\"\\\\9\""),
        (21, "40000"),
        (1082, "\"tomorrow\""),
        (2950, "00"),
    ] {
        assert_eq!(written(oid, text).err(), Some(Unwritten::Changed), "{text}");
    }
}

#[test]
fn the_same_rows_are_the_same_bytes_in_batches_with_a_bound() {
    let columns = columns(&[("a", 23), ("u", 2950), ("j", 114)]);
    let row = [
        Some("7"),
        Some("00000000-0000-0000-0000-000000000000"),
        None,
    ];
    let many = row.repeat(BATCH_ROWS + 1);
    let once = Format::Arrow
        .encode(&columns, &rows(3, &many))
        .expect("a stream");
    assert_eq!(
        Format::Arrow
            .encode(&columns, &rows(3, &many))
            .expect("a stream"),
        once
    );
    let (_, batches) = read(once);
    let counts: Vec<usize> = batches.iter().map(RecordBatch::num_rows).collect();
    assert_eq!(counts, [BATCH_ROWS, 1]);
}
