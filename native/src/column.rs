//! Columns that grow row by row and can forget the last, unfinished row.

use std::sync::Arc;

use arrow_array::{
    builder::BooleanBufferBuilder, types, Array, ArrayRef, BinaryViewArray, BooleanArray,
    Date32Array, Decimal128Array, Float32Array, Float64Array, Int32Array, Int64Array,
    LargeListArray, PrimitiveArray, StringViewArray, StructArray, TimestampMicrosecondArray,
    UInt64Array,
};
use arrow_buffer::{Buffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, FieldRef, Fields};

use crate::Refusal;

/// Variable-length values as Arrow's views: up to 12 bytes inside the view, longer ones in `data`.
#[derive(Default)]
pub struct Views {
    views: Vec<u128>,
    data: Vec<u8>,
}

const INLINE: usize = 12;

impl Views {
    pub fn push(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let view = if value.len() <= INLINE {
            inline(value)
        } else {
            let at = self.data.len();
            if at + value.len() > i32::MAX as usize {
                return Err("more than 2 GiB in one column of a batch");
            }
            self.data.extend_from_slice(value);
            u128::from(value.len() as u32)
                | u128::from(u32::from_le_bytes([value[0], value[1], value[2], value[3]])) << 32
                | (at as u128) << 96
        };
        self.views.push(view);
        Ok(())
    }

    /// As `push`, but shares the bytes of the row before where they are the same.
    pub fn push_repeated(&mut self, value: &[u8]) -> Result<(), Refusal> {
        match self.views.last().copied() {
            Some(view) if value.len() > INLINE && self.get(self.views.len() - 1) == value => {
                self.views.push(view);
                Ok(())
            }
            _ => self.push(value),
        }
    }

    pub fn get(&self, row: usize) -> &[u8] {
        let view = &self.views[row];
        let len = (*view as u32) as usize;
        if len <= INLINE {
            // SAFETY: a view has 16 bytes, of which the first four are the length.
            let bytes =
                unsafe { std::slice::from_raw_parts(std::ptr::from_ref(view).cast::<u8>(), 16) };
            &bytes[4..4 + len]
        } else {
            let at = (*view >> 96) as usize;
            &self.data[at..at + len]
        }
    }

    fn truncate(&mut self, rows: usize) {
        // The bytes of a forgotten row stay behind, unseen; they leave with the batch.
        self.views.truncate(rows);
        if rows == 0 {
            self.data.clear();
        }
    }

    fn take(&mut self) -> (ScalarBuffer<u128>, Arc<[Buffer]>) {
        let views = ScalarBuffer::from(std::mem::take(&mut self.views));
        let data = std::mem::take(&mut self.data);
        let buffers = (!data.is_empty()).then(|| Buffer::from_vec(data));
        (views, buffers.into_iter().collect())
    }
}

fn inline(value: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&(value.len() as u32).to_le_bytes());
    bytes[4..4 + value.len()].copy_from_slice(value);
    u128::from_le_bytes(bytes)
}

pub enum Values {
    Boolean(BooleanBufferBuilder),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    UInt64(Vec<u64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal {
        values: Vec<i128>,
        precision: u8,
        scale: u8,
    },
    Date(Vec<i32>),
    Datetime(Vec<i64>),
    /// Only ever given valid UTF-8.
    Text(Views),
    Binary(Views),
    Vector {
        ends: Vec<i64>,
        items: Vec<f32>,
    },
    Struct(Vec<usize>),
    /// Keeps nothing: for values that are only checked.
    Nothing,
}

pub struct Column {
    pub name: String,
    pub values: Values,
    pub valid: NullBufferBuilder,
}

impl Column {
    pub fn new(name: &str, values: Values) -> Self {
        let valid = NullBufferBuilder::new(0);
        Self { name: name.to_owned(), values, valid }
    }

    pub fn len(&self) -> usize {
        self.valid.len()
    }

    pub fn is_valid(&self, row: usize) -> bool {
        self.valid.is_valid(row)
    }

    /// A null row: of this column only, not of a struct's children.
    pub fn push_null(&mut self) {
        match &mut self.values {
            Values::Boolean(values) => values.append(false),
            Values::Int32(values) | Values::Date(values) => values.push(0),
            Values::Int64(values) | Values::Datetime(values) => values.push(0),
            Values::UInt64(values) => values.push(0),
            Values::Float32(values) => values.push(0.0),
            Values::Float64(values) => values.push(0.0),
            Values::Decimal { values, .. } => values.push(0),
            Values::Text(views) | Values::Binary(views) => views.views.push(0),
            Values::Vector { ends, items } => ends.push(items.len() as i64),
            Values::Struct(_) | Values::Nothing => {}
        }
        self.valid.append_null();
    }

    /// Forgets all rows from this one on.
    pub fn truncate(&mut self, rows: usize) {
        if let Values::Vector { ends, items } = &mut self.values {
            // Items may stand without their end, where the row broke off among them.
            ends.truncate(rows);
            items.truncate(ends.last().map_or(0, |end| *end as usize));
        }
        if self.len() <= rows {
            return;
        }
        match &mut self.values {
            Values::Boolean(values) => values.truncate(rows),
            Values::Int32(values) | Values::Date(values) => values.truncate(rows),
            Values::Int64(values) | Values::Datetime(values) => values.truncate(rows),
            Values::UInt64(values) => values.truncate(rows),
            Values::Float32(values) => values.truncate(rows),
            Values::Float64(values) => values.truncate(rows),
            Values::Decimal { values, .. } => values.truncate(rows),
            Values::Text(views) | Values::Binary(views) => views.truncate(rows),
            Values::Vector { .. } | Values::Struct(_) | Values::Nothing => {}
        }
        self.valid.truncate(rows);
    }
}

/// Hands the column out as an Arrow array and leaves it empty.
pub fn take(columns: &mut [Column], index: usize) -> ArrayRef {
    let rows = columns[index].len();
    let nulls = columns[index].valid.finish();
    columns[index].valid = NullBufferBuilder::new(rows);
    if let Values::Struct(children) = &columns[index].values {
        let children = children.clone();
        let fields: Fields = children.iter().map(|child| field(columns, *child)).collect();
        let arrays = children.iter().map(|child| take(columns, *child)).collect();
        // SAFETY: the arrays were made of the columns that the fields describe, of equal length.
        return Arc::new(unsafe { StructArray::new_unchecked(fields, arrays, nulls) });
    }
    match &mut columns[index].values {
        Values::Boolean(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
        Values::Int32(values) => Arc::new(Int32Array::new(taken(values), nulls)),
        Values::Int64(values) => Arc::new(Int64Array::new(taken(values), nulls)),
        Values::UInt64(values) => Arc::new(UInt64Array::new(taken(values), nulls)),
        Values::Float32(values) => Arc::new(Float32Array::new(taken(values), nulls)),
        Values::Float64(values) => Arc::new(Float64Array::new(taken(values), nulls)),
        Values::Date(values) => Arc::new(Date32Array::new(taken(values), nulls)),
        Values::Datetime(values) => Arc::new(TimestampMicrosecondArray::new(taken(values), nulls)),
        Values::Decimal { values, precision, scale } => {
            let array: Decimal128Array = PrimitiveArray::new(taken(values), nulls);
            let kind = DataType::Decimal128(*precision, *scale as i8);
            Arc::new(array.with_data_type(kind))
        }
        Values::Text(views) => {
            let (views, data) = views.take();
            // SAFETY: `push` made every view, of bytes that were checked to be UTF-8.
            Arc::new(unsafe { StringViewArray::new_unchecked(views, data, nulls) })
        }
        Values::Binary(views) => {
            let (views, data) = views.take();
            // SAFETY: `push` made every view.
            Arc::new(unsafe { BinaryViewArray::new_unchecked(views, data, nulls) })
        }
        Values::Vector { ends, items } => {
            vector(std::mem::take(ends), std::mem::take(items), nulls)
        }
        Values::Struct(_) | Values::Nothing => unreachable!("a struct is handled above"),
    }
}

fn taken<T: arrow_buffer::ArrowNativeType>(values: &mut Vec<T>) -> ScalarBuffer<T> {
    let next = Vec::with_capacity(values.len());
    ScalarBuffer::from(std::mem::replace(values, next))
}

fn vector(ends: Vec<i64>, items: Vec<f32>, nulls: Option<arrow_buffer::NullBuffer>) -> ArrayRef {
    let mut offsets = Vec::with_capacity(ends.len() + 1);
    offsets.push(0);
    offsets.extend(ends);
    let values = PrimitiveArray::<types::Float32Type>::new(ScalarBuffer::from(items), None);
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    Arc::new(LargeListArray::new(item(), offsets, Arc::new(values), nulls))
}

fn item() -> FieldRef {
    Arc::new(Field::new("item", DataType::Float32, true))
}

pub fn field(columns: &[Column], index: usize) -> FieldRef {
    let column = &columns[index];
    Arc::new(Field::new(&column.name, data_type(columns, index), true))
}

fn data_type(columns: &[Column], index: usize) -> DataType {
    match &columns[index].values {
        Values::Boolean(_) => DataType::Boolean,
        Values::Int32(_) => DataType::Int32,
        Values::Int64(_) => DataType::Int64,
        Values::UInt64(_) => DataType::UInt64,
        Values::Float32(_) => DataType::Float32,
        Values::Float64(_) => DataType::Float64,
        Values::Decimal { precision, scale, .. } => DataType::Decimal128(*precision, *scale as i8),
        Values::Date(_) => DataType::Date32,
        Values::Datetime(_) => DataType::Timestamp(arrow_schema::TimeUnit::Microsecond, None),
        Values::Text(_) => DataType::Utf8View,
        Values::Binary(_) => DataType::BinaryView,
        Values::Vector { .. } => DataType::LargeList(item()),
        Values::Struct(children) => {
            DataType::Struct(children.iter().map(|child| field(columns, *child)).collect())
        }
        Values::Nothing => DataType::Null,
    }
}

/// A struct column's array has no length of its own where it has no children.
pub fn struct_of(fields: Vec<FieldRef>, arrays: Vec<ArrayRef>, rows: usize) -> StructArray {
    debug_assert!(arrays.iter().all(|array| array.len() == rows));
    // SAFETY: as in `take`.
    unsafe { StructArray::new_unchecked_with_length(fields.into(), arrays, None, rows) }
}
