//! Columns to Avro values, the way back: one record per row, framed with its schema's id.
//!
//! An encoder serves one schema. It writes only what the plan's form holds exactly; a row that does
//! not fit is named by its index and leaves nothing behind.

use arrow_array::{
    cast::AsArray, types, Array, ArrayRef, BinaryViewArray, BooleanArray, Float32Array,
    RecordBatch, StringViewArray,
};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, TimeUnit};
use serde::Deserialize;

use crate::Refusal;

/// How a column is written.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    Boolean,
    Int,
    Long,
    Double,
    String,
    Bytes,
    /// Big-endian two's complement, of this scale.
    Decimal(i8),
    /// An array of float.
    Floats,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Node {
    /// The same string in each row.
    Constant(String),
    Cell {
        column: String,
        /// A union of null and the form, in this order.
        nullable: bool,
        form: Form,
    },
    /// A record out of a struct column.
    Record { column: String, nullable: bool, fields: Vec<Node> },
}

#[derive(Debug, Deserialize)]
pub struct EncodePlan {
    pub schema_id: u32,
    pub fields: Vec<Node>,
}

/// Values one after the other, each ending where `ends` says; a refused row is empty.
#[derive(Default)]
pub struct Encoded {
    pub bytes: Vec<u8>,
    pub ends: Vec<usize>,
    pub refused: Vec<(usize, Refusal)>,
}

const MAGIC: u8 = 0;

/// Writes all rows of the batch behind those that are there.
pub fn encode(plan: &EncodePlan, batch: &RecordBatch, out: &mut Encoded) -> Result<(), String> {
    let find = |name: &str| batch.column_by_name(name);
    let writers = bound(&plan.fields, &find)?;
    for row in 0..batch.num_rows() {
        let start = out.bytes.len();
        out.bytes.push(MAGIC);
        out.bytes.extend_from_slice(&plan.schema_id.to_be_bytes());
        if let Err(why) = write_all(&writers, row, &mut out.bytes) {
            out.bytes.truncate(start);
            out.refused.push((out.ends.len(), why));
        }
        out.ends.push(out.bytes.len());
    }
    Ok(())
}

enum Writer<'a> {
    Constant(&'a [u8]),
    Cell { nulls: Option<&'a NullBuffer>, nullable: bool, values: Values<'a> },
    Record { nulls: Option<&'a NullBuffer>, nullable: bool, fields: Vec<Writer<'a>> },
}

enum Values<'a> {
    Boolean(&'a BooleanArray),
    /// Into an Avro int, if it fits.
    Narrow(&'a [i64]),
    Int32(&'a [i32]),
    Int64(&'a [i64]),
    Float32(&'a [f32]),
    Float64(&'a [f64]),
    Text(&'a StringViewArray),
    Binary(&'a BinaryViewArray),
    Decimal(&'a [i128]),
    Unsigned(&'a [u64]),
    Floats {
        ends: &'a [i64],
        items: &'a Float32Array,
    },
}

fn bound<'a>(
    nodes: &'a [Node],
    find: &dyn Fn(&str) -> Option<&'a ArrayRef>,
) -> Result<Vec<Writer<'a>>, String> {
    nodes.iter().map(|node| writer(node, find)).collect()
}

fn writer<'a>(
    node: &'a Node,
    find: &dyn Fn(&str) -> Option<&'a ArrayRef>,
) -> Result<Writer<'a>, String> {
    let found = |name: &str| find(name).ok_or_else(|| format!("there is no column {name}"));
    match node {
        Node::Constant(text) => Ok(Writer::Constant(text.as_bytes())),
        Node::Cell { column, nullable, form } => {
            let array = found(column)?;
            let values = values(array, *form).ok_or_else(|| {
                format!("column {column}: {} cannot be written as {form:?}", array.data_type())
            })?;
            Ok(Writer::Cell { nulls: array.nulls(), nullable: *nullable, values })
        }
        Node::Record { column, nullable, fields } => {
            let array = found(column)?;
            let rows =
                array.as_struct_opt().ok_or_else(|| format!("column {column} is no struct"))?;
            let fields = bound(fields, &|name| rows.column_by_name(name))?;
            Ok(Writer::Record { nulls: array.nulls(), nullable: *nullable, fields })
        }
    }
}

fn values(array: &ArrayRef, form: Form) -> Option<Values<'_>> {
    let values = match (form, array.data_type()) {
        (Form::Boolean, DataType::Boolean) => Values::Boolean(array.as_boolean()),
        (Form::Int | Form::Long, DataType::Int32) => {
            Values::Int32(array.as_primitive::<types::Int32Type>().values())
        }
        (Form::Int, DataType::Date32) => {
            Values::Int32(array.as_primitive::<types::Date32Type>().values())
        }
        (Form::Int, DataType::Int64) => {
            Values::Narrow(array.as_primitive::<types::Int64Type>().values())
        }
        (Form::Long, DataType::Int64) => {
            Values::Int64(array.as_primitive::<types::Int64Type>().values())
        }
        (Form::Long, DataType::Timestamp(TimeUnit::Microsecond, None)) => {
            Values::Int64(array.as_primitive::<types::TimestampMicrosecondType>().values())
        }
        (Form::Double, DataType::Float32) => {
            Values::Float32(array.as_primitive::<types::Float32Type>().values())
        }
        (Form::Double, DataType::Float64) => {
            Values::Float64(array.as_primitive::<types::Float64Type>().values())
        }
        (Form::String, DataType::Utf8View) => Values::Text(array.as_string_view()),
        (Form::Bytes, DataType::BinaryView) => Values::Binary(array.as_binary_view()),
        (Form::Decimal(scale), DataType::Decimal128(_, found)) if *found == scale => {
            Values::Decimal(array.as_primitive::<types::Decimal128Type>().values())
        }
        (Form::Decimal(0), DataType::UInt64) => {
            Values::Unsigned(array.as_primitive::<types::UInt64Type>().values())
        }
        (Form::Floats, DataType::LargeList(_)) => {
            let list = array.as_list::<i64>();
            let items = list.values().as_primitive_opt::<types::Float32Type>()?;
            Values::Floats { ends: list.value_offsets(), items }
        }
        _ => return None,
    };
    Some(values)
}

fn write_all(writers: &[Writer<'_>], row: usize, out: &mut Vec<u8>) -> Result<(), Refusal> {
    writers.iter().try_for_each(|writer| writer.write(row, out))
}

impl Writer<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), Refusal> {
        match self {
            Self::Constant(text) => write_bytes(text, out),
            Self::Cell { nulls, nullable, values } => {
                if branch(*nulls, *nullable, row, out)? {
                    values.write(row, out)?;
                }
            }
            Self::Record { nulls, nullable, fields } => {
                if branch(*nulls, *nullable, row, out)? {
                    write_all(fields, row, out)?;
                }
            }
        }
        Ok(())
    }
}

/// Writes the union's branch, where there is one; whether a value follows.
fn branch(
    nulls: Option<&NullBuffer>,
    nullable: bool,
    row: usize,
    out: &mut Vec<u8>,
) -> Result<bool, Refusal> {
    let is_valid = nulls.is_none_or(|nulls| nulls.is_valid(row));
    if nullable {
        write_long(i64::from(is_valid), out);
    } else if !is_valid {
        return Err("null in a column that cannot be null");
    }
    Ok(is_valid)
}

impl Values<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), Refusal> {
        match self {
            Self::Boolean(values) => out.push(u8::from(values.value(row))),
            Self::Narrow(values) => {
                let value = i32::try_from(values[row]).map_err(|_| "beyond 32 bits")?;
                write_long(i64::from(value), out);
            }
            Self::Int32(values) => write_long(i64::from(values[row]), out),
            Self::Int64(values) => write_long(values[row], out),
            Self::Float32(values) => out.extend_from_slice(&f64::from(values[row]).to_le_bytes()),
            Self::Float64(values) => out.extend_from_slice(&values[row].to_le_bytes()),
            Self::Text(values) => write_bytes(values.value(row).as_bytes(), out),
            Self::Binary(values) => write_bytes(values.value(row), out),
            Self::Decimal(values) => write_decimal(values[row], out)?,
            Self::Unsigned(values) => write_decimal(i128::from(values[row]), out)?,
            Self::Floats { ends, items } => {
                let (from, to) = (ends[row] as usize, ends[row + 1] as usize);
                write_floats(items, from, to, out)?;
            }
        }
        Ok(())
    }
}

fn write_long(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn write_bytes(value: &[u8], out: &mut Vec<u8>) {
    write_long(value.len() as i64, out);
    out.extend_from_slice(value);
}

/// As long as the magnitude's bits and a sign need: what the row path writes.
fn write_decimal(value: i128, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let bits = 128 - value.unsigned_abs().leading_zeros() as usize;
    let bytes = value.to_be_bytes();
    let start = bytes.len().checked_sub(bits / 8 + 1).ok_or("a decimal beyond 128 bits")?;
    write_bytes(&bytes[start..], out);
    Ok(())
}

fn write_floats(
    items: &Float32Array,
    from: usize,
    to: usize,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    if items.nulls().is_some_and(|nulls| (from..to).any(|item| nulls.is_null(item))) {
        return Err("null in a vector");
    }
    if to > from {
        write_long((to - from) as i64, out);
        for item in &items.values()[from..to] {
            out.extend_from_slice(&item.to_le_bytes());
        }
    }
    write_long(0, out);
    Ok(())
}
