//! Rows as a stream of Arrow's IPC format: each column with its type, a column at a time.
//!
//! What PostgreSQL has and Arrow has not stays a text: `numeric`, which needs no precision and may be `NaN`, times of a
//! day up to 24:00, intervals, network addresses, ranges. Arrays and rows are JSON, as in the other forms.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::builder::{
    ArrayBuilder, BinaryBuilder, BooleanBuilder, FixedSizeBinaryBuilder, PrimitiveBuilder,
    StringBuilder,
};
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, UInt32Type,
};
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema, TimeUnit};
use bytes::Bytes;
use rolegate_pg::session::Rows;

use super::moments::{self, Not};
use super::{Unwritten, plain};
use crate::select::Column;

/// Rows of one batch.
const BATCH_ROWS: usize = 64 * 1024;
/// Bytes of values after which a batch ends. Offsets are 32 bits wide, and one value has at most 1 GiB.
const BATCH_BYTES: usize = 64 * 1024 * 1024;

/// What a reader needs to know of a text that was something else: the name PostgreSQL has for its type.
const TYPE: &str = "postgresql.type";
/// The names of types that readers may know by.
const EXTENSION: &str = "ARROW:extension:name";
/// What belongs to such a name.
const EXTENSION_DATA: &str = "ARROW:extension:metadata";

/// The whole stream.
pub(super) fn stream(columns: &[Column], rows: &Rows) -> Result<Bytes, Unwritten> {
    let fields: Vec<Field> = columns.iter().map(field).collect();
    let schema = Arc::new(Schema::new(fields));
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).map_err(failed)?;
    let mut rows = rows.iter().take(rows.rows).peekable();
    while rows.peek().is_some() {
        let mut building: Vec<Building> = columns.iter().map(Building::of).collect();
        let (mut count, mut bytes) = (0, 0);
        while count < BATCH_ROWS
            && bytes < BATCH_BYTES
            && let Some(row) = rows.next()
        {
            for (building, value) in building.iter_mut().zip(row) {
                bytes += value.as_ref().map_or(0, Bytes::len);
                building.push(value.as_deref())?;
            }
            count += 1;
        }
        let arrays = building.iter_mut().map(Building::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), arrays, &options);
        writer.write(&batch.map_err(failed)?).map_err(failed)?;
    }
    let bytes = writer.into_inner().map_err(failed)?;
    Ok(bytes.into())
}

/// None of it depends on what the rows are, but for a type that was not expected.
fn failed(_: ArrowError) -> Unwritten {
    Unwritten::Changed
}

fn field(column: &Column) -> Field {
    let field = Field::new(&column.name, data_type(column.type_oid), true);
    let mut known = HashMap::new();
    if let Some(name) = rolegate_pg::type_name(column.type_oid) {
        known.insert(TYPE.to_owned(), name);
    }
    let extension = match column.type_oid {
        2950 => Some("arrow.uuid"),
        114 | 3802 => Some("arrow.json"),
        _ => None,
    };
    if let Some(name) = extension {
        known.insert(EXTENSION.to_owned(), name.to_owned());
        known.insert(EXTENSION_DATA.to_owned(), String::new());
    }
    field.with_metadata(known)
}

fn data_type(type_oid: u32) -> DataType {
    match type_oid {
        16 => DataType::Boolean,
        17 => DataType::Binary,
        20 => DataType::Int64,
        21 => DataType::Int16,
        23 => DataType::Int32,
        26 => DataType::UInt32,
        700 => DataType::Float32,
        701 => DataType::Float64,
        1082 => DataType::Date32,
        1114 => DataType::Timestamp(TimeUnit::Microsecond, None),
        1184 => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        2950 => DataType::FixedSizeBinary(16),
        _ => DataType::Utf8,
    }
}

/// A column of one batch.
struct Building<'c> {
    column: &'c Column,
    values: Values,
}

enum Values {
    Boolean(BooleanBuilder),
    Int2(PrimitiveBuilder<Int16Type>),
    Int4(PrimitiveBuilder<Int32Type>),
    Int8(PrimitiveBuilder<Int64Type>),
    Oid(PrimitiveBuilder<UInt32Type>),
    Float4(PrimitiveBuilder<Float32Type>),
    Float8(PrimitiveBuilder<Float64Type>),
    Date(PrimitiveBuilder<Date32Type>),
    Moment(PrimitiveBuilder<TimestampMicrosecondType>),
    Bytes(BinaryBuilder),
    Uuid(FixedSizeBinaryBuilder),
    Text(StringBuilder),
}

impl<'c> Building<'c> {
    fn of(column: &'c Column) -> Self {
        let data_type = data_type(column.type_oid);
        let values = match data_type {
            DataType::Boolean => Values::Boolean(BooleanBuilder::new()),
            DataType::Int16 => Values::Int2(PrimitiveBuilder::new()),
            DataType::Int32 => Values::Int4(PrimitiveBuilder::new()),
            DataType::Int64 => Values::Int8(PrimitiveBuilder::new()),
            DataType::UInt32 => Values::Oid(PrimitiveBuilder::new()),
            DataType::Float32 => Values::Float4(PrimitiveBuilder::new()),
            DataType::Float64 => Values::Float8(PrimitiveBuilder::new()),
            DataType::Date32 => Values::Date(PrimitiveBuilder::new()),
            DataType::Timestamp(..) => {
                Values::Moment(PrimitiveBuilder::new().with_data_type(data_type))
            }
            DataType::Binary => Values::Bytes(BinaryBuilder::new()),
            DataType::FixedSizeBinary(size) => Values::Uuid(FixedSizeBinaryBuilder::new(size)),
            _ => Values::Text(StringBuilder::new()),
        };
        Self { column, values }
    }

    fn push(&mut self, value: Option<&[u8]>) -> Result<(), Unwritten> {
        let Some(value) = value else {
            self.push_null();
            return Ok(());
        };
        let text = plain(self.column, value);
        match &mut self.values {
            Values::Boolean(values) => match &*text {
                "t" => values.append_value(true),
                "f" => values.append_value(false),
                _ => return Err(Unwritten::Changed),
            },
            Values::Int2(values) => number(values, &text)?,
            Values::Int4(values) => number(values, &text)?,
            Values::Int8(values) => number(values, &text)?,
            Values::Oid(values) => number(values, &text)?,
            Values::Float4(values) => number(values, &text)?,
            Values::Float8(values) => number(values, &text)?,
            Values::Date(values) => {
                let days = moments::days(&text).map_err(|not| self.column.unwritten(not))?;
                values.append_value(days);
            }
            Values::Moment(values) => {
                let micros = moments::micros(&text).map_err(|not| self.column.unwritten(not))?;
                values.append_value(micros);
            }
            Values::Bytes(values) => {
                values.append_value(bytea(&text).ok_or(Unwritten::Changed)?);
            }
            Values::Uuid(values) => {
                let digits: String = text.split('-').collect();
                let uuid = hexadecimal(&digits).ok_or(Unwritten::Changed)?;
                values.append_value(uuid).map_err(failed)?;
            }
            Values::Text(values) => values.append_value(&text),
        }
        Ok(())
    }

    fn push_null(&mut self) {
        match &mut self.values {
            Values::Boolean(values) => values.append_null(),
            Values::Int2(values) => values.append_null(),
            Values::Int4(values) => values.append_null(),
            Values::Int8(values) => values.append_null(),
            Values::Oid(values) => values.append_null(),
            Values::Float4(values) => values.append_null(),
            Values::Float8(values) => values.append_null(),
            Values::Date(values) => values.append_null(),
            Values::Moment(values) => values.append_null(),
            Values::Bytes(values) => values.append_null(),
            Values::Uuid(values) => values.append_null(),
            Values::Text(values) => values.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        let values: &mut dyn ArrayBuilder = match &mut self.values {
            Values::Boolean(values) => values,
            Values::Int2(values) => values,
            Values::Int4(values) => values,
            Values::Int8(values) => values,
            Values::Oid(values) => values,
            Values::Float4(values) => values,
            Values::Float8(values) => values,
            Values::Date(values) => values,
            Values::Moment(values) => values,
            Values::Bytes(values) => values,
            Values::Uuid(values) => values,
            Values::Text(values) => values,
        };
        values.finish()
    }
}

impl Column {
    fn unwritten(&self, not: Not) -> Unwritten {
        match not {
            Not::Date => Unwritten::Changed,
            Not::Number => Unwritten::Beyond(self.name.clone()),
        }
    }
}

/// `NaN` and `Infinity` are numbers here.
fn number<T>(values: &mut PrimitiveBuilder<T>, text: &str) -> Result<(), Unwritten>
where
    T: ArrowPrimitiveType<Native: std::str::FromStr>,
{
    let number = text.parse().map_err(|_| Unwritten::Changed)?;
    values.append_value(number);
    Ok(())
}

/// The bytes of `\x00ff`, or of what `bytea_output = 'escape'` makes of them.
fn bytea(text: &str) -> Option<Vec<u8>> {
    if let Some(digits) = text.strip_prefix("\\x") {
        return hexadecimal(digits);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'\\' => match rest.next()? {
                b'\\' => b'\\',
                first => {
                    let digits = [first, rest.next()?, rest.next()?];
                    u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 8).ok()?
                }
            },
            byte => byte,
        };
        bytes.push(byte);
    }
    Some(bytes)
}

fn hexadecimal(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = digits.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests;
