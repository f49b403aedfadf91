//! Columns to the lines of an Elasticsearch bulk request: an action and a document per row.
//!
//! Of the rows of one ID only the one of the highest version is written. What is not certain to have
//! one exact text leaves the whole batch to the caller's other way: `lines` answers `None`.

use std::ops::Range;

use arrow_array::{
    cast::AsArray, types, Array, ArrayRef, BinaryViewArray, BooleanArray, RecordBatch,
    StringViewArray,
};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, TimeUnit};
use base64::{engine::general_purpose::STANDARD, Engine};
use foldhash::{HashMap, HashMapExt};
use serde::Deserialize;

use crate::text;

/// How a column reads in a document.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    Boolean,
    Integer,
    Double,
    Text,
    /// A string, exact to its scale.
    Decimal,
    Date,
    /// So many digits of the second; none given: six, or none where all are zero.
    Datetime(Option<u8>),
    Time(Option<u8>),
    Base64,
    /// A SET's text as an array.
    Members,
    /// A JSON object as it is.
    Object,
}

#[derive(Debug, Deserialize)]
pub struct Member {
    /// Of the struct `after`.
    pub column: String,
    /// With its quotes, a comma before and a colon behind.
    pub key: String,
    pub form: Form,
}

#[derive(Debug, Deserialize)]
pub struct BulkPlan {
    /// The action up to the ID.
    pub action: String,
    /// The document up to the commit time.
    pub document: String,
    pub members: Vec<Member>,
    /// Bytes that an ID may have.
    pub longest_id: usize,
}

/// Of each ID its lines, ending where `ends` says, in the order of the rows.
#[derive(Default)]
pub struct Lines {
    pub bytes: Vec<u8>,
    pub rows: Vec<usize>,
    ends: Vec<usize>,
    hashes: Vec<u32>,
}

/// Rows of one lane, and where their lines are.
#[derive(Default)]
pub struct Piece {
    pub lane: usize,
    pub rows: Vec<usize>,
    pub spans: Vec<Range<usize>>,
    pub size: usize,
}

impl Lines {
    /// By lane, in the order of the rows, none of more than `most_bytes` unless a row is. The lane
    /// of an ID is the remainder of its CRC-32 (that of zlib), as it is for who renders without us.
    pub fn pieces(&self, lanes: usize, most_bytes: usize) -> Vec<Piece> {
        let mut found: Vec<Vec<Piece>> = (0..lanes).map(|_| vec![]).collect();
        let mut start = 0;
        for ((&end, &row), &hash) in self.ends.iter().zip(&self.rows).zip(&self.hashes) {
            let lane = hash as usize % lanes;
            let size = end - start;
            let piece = match found[lane].last_mut() {
                Some(last) if last.size + size <= most_bytes => last,
                _ => {
                    found[lane].push(Piece { lane, ..Piece::default() });
                    found[lane].last_mut().expect("just pushed")
                }
            };
            piece.rows.push(row);
            piece.spans.push(start..end);
            piece.size += size;
            start = end;
        }
        found.into_iter().flatten().collect()
    }
}

const DELETE: &str = "d";

/// `None`: a row that only a look at it alone can judge, or a column of another type.
pub fn lines(plan: &BulkPlan, batches: &[RecordBatch], deleted_at: &str) -> Option<Lines> {
    let parts: Vec<Part<'_>> =
        batches.iter().map(|batch| Part::of(plan, batch)).collect::<Option<_>>()?;
    let kept = latest(&parts);
    let mut found = Lines { rows: Vec::with_capacity(kept.len()), ..Lines::default() };
    let mut first = 0;
    let mut kept = kept.into_iter().peekable();
    for part in &parts {
        while let Some(row) = kept.next_if(|row| row - first < part.id.len()) {
            part.write(plan, row - first, deleted_at, &mut found.bytes)?;
            found.ends.push(found.bytes.len());
            found.rows.push(row);
            found.hashes.push(crc32fast::hash(part.id.value(row - first).as_bytes()));
        }
        first += part.id.len();
    }
    Some(found)
}

/// Per ID the row with the highest version, and of equal ones the last: a repeat can run backwards.
fn latest(parts: &[Part<'_>]) -> Vec<usize> {
    let count = parts.iter().map(|part| part.id.len()).sum();
    let mut best: HashMap<&str, (i64, usize)> = HashMap::with_capacity(count);
    let mut row = 0;
    for part in parts {
        for (id, version) in (0..part.id.len()).map(|n| (part.id.value(n), part.version[n])) {
            let found = best.entry(id).or_insert((version, row));
            if version >= found.0 {
                *found = (version, row);
            }
            row += 1;
        }
    }
    let mut kept: Vec<usize> = best.into_values().map(|(_, row)| row).collect();
    kept.sort_unstable();
    kept
}

struct Part<'a> {
    op: &'a StringViewArray,
    id: &'a StringViewArray,
    ts_us: &'a [i64],
    version: &'a [i64],
    after: Option<&'a NullBuffer>,
    cells: Vec<Cell<'a>>,
}

struct Cell<'a> {
    key: &'a [u8],
    nulls: Option<&'a NullBuffer>,
    values: Values<'a>,
}

enum Values<'a> {
    Boolean(&'a BooleanArray),
    Int32(&'a [i32]),
    Int64(&'a [i64]),
    UInt64(&'a [u64]),
    Double(&'a [f64]),
    Text(&'a StringViewArray),
    Decimal(&'a [i128], usize),
    Date(&'a [i32]),
    Datetime(&'a [i64], Option<u8>),
    Time(&'a [i64], Option<u8>),
    Base64(&'a BinaryViewArray),
    Members(&'a StringViewArray),
    Object(&'a StringViewArray),
}

impl<'a> Part<'a> {
    fn of(plan: &'a BulkPlan, batch: &'a RecordBatch) -> Option<Self> {
        let text = |name| batch.column_by_name(name)?.as_string_view_opt();
        let integers = |name: &str| {
            let found = batch.column_by_name(name)?.as_primitive_opt::<types::Int64Type>()?;
            (found.null_count() == 0).then(|| found.values().as_ref())
        };
        let after = batch.column_by_name("after")?.as_struct_opt()?;
        let cells = plan.members.iter().map(|member| {
            let array = after.column_by_name(&member.column)?;
            let values = values(array, member.form)?;
            Some(Cell { key: member.key.as_bytes(), nulls: array.nulls(), values })
        });
        Some(Self {
            op: text("op")?,
            id: text("id")?,
            ts_us: integers("ts_us")?,
            version: integers("version")?,
            after: after.nulls(),
            cells: cells.collect::<Option<_>>()?,
        })
    }

    fn write(
        &self,
        plan: &BulkPlan,
        row: usize,
        deleted_at: &str,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let id = self.id.value(row);
        if id.len() > plan.longest_id {
            return None;
        }
        out.extend_from_slice(plan.action.as_bytes());
        text::string(id, out);
        out.extend_from_slice(br#","version_type":"external","version":"#);
        text::integer(self.version[row], out);
        out.extend_from_slice(b"}}\n");
        out.extend_from_slice(plan.document.as_bytes());
        text::datetime(self.ts_us[row], Some(6), out)?;
        out.extend_from_slice(br#"Z","version":"#);
        text::integer(self.version[row], out);
        if self.op.value(row) == DELETE {
            out.extend_from_slice(br#","deleted":true,"deleted_at":""#);
            out.extend_from_slice(deleted_at.as_bytes());
            out.extend_from_slice(b"\"}}\n");
            return Some(());
        }
        if self.after.is_some_and(|nulls| nulls.is_null(row)) {
            return None;
        }
        out.push(b'}');
        self.cells.iter().try_for_each(|cell| cell.write(row, out))?;
        out.extend_from_slice(b"}\n");
        Some(())
    }
}

fn values(array: &ArrayRef, form: Form) -> Option<Values<'_>> {
    Some(match (form, array.data_type()) {
        (Form::Boolean, DataType::Boolean) => Values::Boolean(array.as_boolean()),
        (Form::Integer, DataType::Int32) => {
            Values::Int32(array.as_primitive::<types::Int32Type>().values())
        }
        (Form::Integer, DataType::Int64) => {
            Values::Int64(array.as_primitive::<types::Int64Type>().values())
        }
        (Form::Integer, DataType::UInt64) => {
            Values::UInt64(array.as_primitive::<types::UInt64Type>().values())
        }
        (Form::Double, DataType::Float64) => {
            Values::Double(array.as_primitive::<types::Float64Type>().values())
        }
        (Form::Text | Form::Decimal, DataType::Utf8View) => Values::Text(array.as_string_view()),
        (Form::Decimal, DataType::Decimal128(_, scale)) => {
            let values = array.as_primitive::<types::Decimal128Type>().values();
            Values::Decimal(values, usize::try_from(*scale).ok()?)
        }
        (Form::Date, DataType::Date32) => {
            Values::Date(array.as_primitive::<types::Date32Type>().values())
        }
        (Form::Datetime(digits), DataType::Timestamp(TimeUnit::Microsecond, None)) => {
            let values = array.as_primitive::<types::TimestampMicrosecondType>().values();
            Values::Datetime(values, digits)
        }
        (Form::Time(digits), DataType::Int64) => {
            Values::Time(array.as_primitive::<types::Int64Type>().values(), digits)
        }
        (Form::Base64, DataType::BinaryView) => Values::Base64(array.as_binary_view()),
        (Form::Members, DataType::Utf8View) => Values::Members(array.as_string_view()),
        (Form::Object, DataType::Utf8View) => Values::Object(array.as_string_view()),
        _ => return None,
    })
}

impl Cell<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Option<()> {
        out.extend_from_slice(self.key);
        if self.nulls.is_some_and(|nulls| nulls.is_null(row)) {
            out.extend_from_slice(b"null");
            return Some(());
        }
        match &self.values {
            Values::Boolean(values) => {
                let word: &[u8] = if values.value(row) { b"true" } else { b"false" };
                out.extend_from_slice(word);
            }
            Values::Int32(values) => text::integer(values[row].into(), out),
            Values::Int64(values) => text::integer(values[row], out),
            Values::UInt64(values) => text::unsigned(values[row], out),
            Values::Double(values) => text::double(values[row], out)?,
            Values::Text(values) => text::string(values.value(row), out),
            Values::Decimal(values, scale) => {
                quoted(out, |out| {
                    text::decimal(values[row], *scale, out);
                    Some(())
                })?;
            }
            Values::Date(values) => quoted(out, |out| text::date(values[row].into(), out))?,
            Values::Datetime(values, digits) => {
                quoted(out, |out| text::datetime(values[row], *digits, out))?;
            }
            Values::Time(values, digits) => {
                quoted(out, |out| {
                    text::time(values[row], *digits, out);
                    Some(())
                })?;
            }
            Values::Base64(values) => quoted(out, |out| {
                let mut text = String::new();
                STANDARD.encode_string(values.value(row), &mut text);
                out.extend_from_slice(text.as_bytes());
                Some(())
            })?,
            Values::Members(values) => members(values.value(row), out),
            Values::Object(values) => text::object(values.value(row), out)?,
        }
        Some(())
    }
}

fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Option<()>) -> Option<()> {
    out.push(b'"');
    write(out)?;
    out.push(b'"');
    Some(())
}

fn members(set: &str, out: &mut Vec<u8>) {
    out.push(b'[');
    if !set.is_empty() {
        for (number, member) in set.split(',').enumerate() {
            if number > 0 {
                out.push(b',');
            }
            text::string(member, out);
        }
    }
    out.push(b']');
}
