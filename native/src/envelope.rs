//! What a Debezium record says beyond its fields: ID, version, commit time
//! (`callsheet/codec/envelope.py` and `callsheet/event.py` state the rules).

use crate::column::{Column, Values};
use crate::decimal;
use crate::Refusal;

const MAX_ORDINAL: i64 = (1 << 31) - 1;
const MAX_OFFSET: i64 = (1 << 32) - 1;

/// The columns that the rules read, by index.
pub struct Rules {
    op: usize,
    before: usize,
    after: usize,
    ts_us: usize,
    ts_ms: usize,
    file: usize,
    pos: usize,
    row: usize,
    key_of_before: Vec<usize>,
    key_of_after: Vec<usize>,
    epoch: i64,
}

impl Rules {
    pub fn new(
        columns: &[Column],
        top: &[usize],
        key_columns: &[String],
        epoch: i64,
    ) -> Result<Self, String> {
        let at = |name: &str| {
            let found = top.iter().copied().find(|index| columns[*index].name == name);
            found.ok_or_else(|| format!("the plan has no column {name}"))
        };
        let children = |image: usize| match &columns[image].values {
            Values::Struct(children) => key_columns
                .iter()
                .map(|name| {
                    let found = children.iter().copied().find(|i| columns[*i].name == *name);
                    found.ok_or_else(|| format!("the row has no key column {name}"))
                })
                .collect::<Result<Vec<_>, _>>(),
            _ => Err("an image is no struct".to_owned()),
        };
        let (before, after) = (at("before")?, at("after")?);
        Ok(Self {
            op: at("op")?,
            before,
            after,
            ts_us: at("ts_us")?,
            ts_ms: at("ts_ms")?,
            file: at("file")?,
            pos: at("pos")?,
            row: at("row")?,
            key_of_before: children(before)?,
            key_of_after: children(after)?,
            epoch,
        })
    }

    /// The row's version; its ID is written to `id`. Completes `ts_us`.
    pub fn apply(
        &self,
        columns: &mut [Column],
        row: usize,
        id: &mut Vec<u8>,
    ) -> Result<i64, Refusal> {
        let is_delete = match &columns[self.op].values {
            Values::Text(op) => op.get(row) == b"d",
            _ => return Err("no operation"),
        };
        let (image, key) = if is_delete {
            (self.before, &self.key_of_before)
        } else {
            (self.after, &self.key_of_after)
        };
        if !columns[image].is_valid(row) {
            return Err("an operation without its image of the row");
        }
        write_id(columns, key, row, id)?;
        self.complete_time(columns, row)?;
        self.version(columns, row)
    }

    fn complete_time(&self, columns: &mut [Column], row: usize) -> Result<(), Refusal> {
        if columns[self.ts_us].is_valid(row) {
            return Ok(());
        }
        let micros = integer(columns, self.ts_ms, row)?.checked_mul(1000).ok_or("ts_ms")?;
        let column = &mut columns[self.ts_us];
        column.truncate(row);
        match &mut column.values {
            Values::Int64(values) => values.push(micros),
            _ => return Err("no commit time"),
        }
        column.valid.append_non_null();
        Ok(())
    }

    fn version(&self, columns: &[Column], row: usize) -> Result<i64, Refusal> {
        let ordinal = match &columns[self.file].values {
            Values::Text(file) => file_ordinal(file.get(row)),
            _ => None,
        };
        let ordinal = ordinal.ok_or("no binlog file")?.checked_add(self.epoch);
        let offset = integer(columns, self.pos, row)?.checked_add(integer(columns, self.row, row)?);
        match (ordinal, offset) {
            (Some(ordinal @ 1..=MAX_ORDINAL), Some(offset @ 0..=MAX_OFFSET)) => {
                Ok(ordinal << 32 | offset)
            }
            _ => Err("a position that does not fit a version"),
        }
    }
}

fn integer(columns: &[Column], index: usize, row: usize) -> Result<i64, Refusal> {
    match &columns[index].values {
        Values::Int64(values) if columns[index].is_valid(row) => Ok(values[row]),
        _ => Err("a position or time that is missing"),
    }
}

/// `binlog.000042` is 42.
fn file_ordinal(file: &[u8]) -> Option<i64> {
    let dot = file.iter().rposition(|byte| *byte == b'.').filter(|dot| *dot > 0)?;
    let digits = &file[dot + 1..];
    if digits.is_empty() || file.contains(&b'\n') || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The canonical ID of a row's key columns.
pub fn write_id(
    columns: &[Column],
    key: &[usize],
    row: usize,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    out.clear();
    for (position, index) in key.iter().enumerate() {
        if position > 0 {
            out.push(b'|');
        }
        let column = &columns[*index];
        if !column.is_valid(row) {
            return Err("a key column is null");
        }
        write_part(&column.values, row, out)?;
    }
    Ok(())
}

fn write_part(values: &Values, row: usize, out: &mut Vec<u8>) -> Result<(), Refusal> {
    match values {
        Values::Boolean(values) => {
            out.extend_from_slice(if values.get_bit(row) { b"true" } else { b"false" });
        }
        Values::Int64(values) => push_display(out, values[row]),
        Values::UInt64(values) => push_display(out, values[row]),
        Values::Decimal { values, scale, .. } => decimal::write_plain(values[row], *scale, out),
        Values::Date(values) => write_date(i64::from(values[row]), out),
        Values::Datetime(values) => write_datetime(values[row], out),
        Values::Text(views) => write_escaped(views.get(row), out),
        Values::Binary(views) => write_hex(views.get(row), out),
        _ => return Err("a column that makes no ID"),
    }
    Ok(())
}

fn push_display(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    use std::io::Write;
    // Writing to memory does not fail.
    let _ = write!(out, "{value}");
}

fn write_escaped(text: &[u8], out: &mut Vec<u8>) {
    if text.is_empty() {
        out.extend_from_slice(b"%-");
    }
    for byte in text {
        match byte {
            b'%' | b'|' | 0..=0x1F | 0x7F => push_display(out, format_args!("%{byte:02X}")),
            _ => out.push(*byte),
        }
    }
}

fn write_hex(bytes: &[u8], out: &mut Vec<u8>) {
    if bytes.is_empty() {
        out.extend_from_slice(b"%-");
    }
    for byte in bytes {
        push_display(out, format_args!("{byte:02x}"));
    }
}

fn write_datetime(micros: i64, out: &mut Vec<u8>) {
    const DAY: i64 = 86_400_000_000;
    write_date(micros.div_euclid(DAY), out);
    let time = micros.rem_euclid(DAY);
    let (seconds, fraction) = (time / 1_000_000, time % 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    push_display(out, format_args!("T{hour:02}:{minute:02}:{second:02}.{fraction:06}"));
}

/// Civil date of a day number, proleptic Gregorian (Howard Hinnant, `civil_from_days`).
fn write_date(days: i64, out: &mut Vec<u8>) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    push_display(out, format_args!("{year:04}-{month:02}-{day:02}"));
}
