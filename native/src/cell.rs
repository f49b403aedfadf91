//! Wire value to canonical value: `callsheet/codec/values.py` states the rules, and the property
//! tests hold this to it. What is in doubt is refused, and read again there.

use arrow_array::builder::BooleanBufferBuilder;

use crate::column::{Column, Values, Views};
use crate::decimal;
use crate::plan::Cell;
use crate::Refusal;

const DAYS: std::ops::RangeInclusive<i64> = -719_162..=2_932_896;
const MICROS: std::ops::RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;
const MARKS: [&str; 6] =
    ["true", "first", "first_in_data_collection", "last_in_data_collection", "last", "incremental"];
const WRONG: Refusal = "a value of another kind than declared";

pub fn values_for(cell: &Cell) -> Values {
    match *cell {
        Cell::Boolean | Cell::DeclaredBoolean | Cell::Snapshot => {
            Values::Boolean(BooleanBufferBuilder::new(0))
        }
        Cell::Integer | Cell::Time { .. } => Values::Int64(vec![]),
        Cell::Integer32 => Values::Int32(vec![]),
        Cell::Unsigned => Values::UInt64(vec![]),
        Cell::Decimal { precision, scale } => Values::Decimal { values: vec![], precision, scale },
        Cell::Float32 => Values::Float32(vec![]),
        Cell::Float64 => Values::Float64(vec![]),
        Cell::DecimalText { .. }
        | Cell::Text
        | Cell::RepeatedText
        | Cell::ReplacedText(_)
        | Cell::Utc
        | Cell::Uuid
        | Cell::Op => Values::Text(Views::default()),
        Cell::Binary => Values::Binary(Views::default()),
        Cell::Date => Values::Date(vec![]),
        Cell::Datetime { .. } => Values::Datetime(vec![]),
        Cell::Vector => Values::Vector { ends: vec![], items: vec![] },
        Cell::Constant(_) => Values::Nothing,
    }
}

pub fn push_null(cell: &Cell, column: &mut Column) -> Result<(), Refusal> {
    match (cell, &mut column.values) {
        (Cell::Constant(_), _) => return Err("a constant is null"),
        (Cell::Snapshot, Values::Boolean(values)) => {
            values.append(false);
            column.valid.append_non_null();
        }
        _ => column.push_null(),
    }
    Ok(())
}

pub fn push_boolean(cell: &Cell, column: &mut Column, value: bool) -> Result<(), Refusal> {
    match (cell, &mut column.values) {
        (Cell::Boolean, Values::Boolean(values)) => values.append(value),
        _ => return Err(WRONG),
    }
    column.valid.append_non_null();
    Ok(())
}

pub fn push_integer(cell: &Cell, column: &mut Column, value: i64) -> Result<(), Refusal> {
    match (cell, &mut column.values) {
        (Cell::Integer, Values::Int64(values)) => values.push(value),
        (Cell::Integer32, Values::Int32(values)) => {
            values.push(i32::try_from(value).map_err(|_| WRONG)?);
        }
        (Cell::Unsigned, Values::UInt64(values)) => {
            values.push(u64::try_from(value).map_err(|_| "a negative unsigned integer")?);
        }
        (Cell::DeclaredBoolean, Values::Boolean(values)) => match value {
            0 | 1 => values.append(value == 1),
            _ => return Err("a declared boolean is neither 0 nor 1"),
        },
        (Cell::Date, Values::Date(values)) if DAYS.contains(&value) => values.push(value as i32),
        (Cell::Datetime { multiply, divide }, Values::Datetime(values)) => {
            let micros = micros(value, *multiply, *divide)?;
            if !MICROS.contains(&micros) {
                return Err("a datetime outside the years 1 to 9999");
            }
            values.push(micros);
        }
        (Cell::Time { multiply, divide }, Values::Int64(values)) => {
            values.push(micros(value, *multiply, *divide)?);
        }
        _ => return Err(WRONG),
    }
    column.valid.append_non_null();
    Ok(())
}

fn micros(value: i64, multiply: i64, divide: i64) -> Result<i64, Refusal> {
    if divide != 1 && value % divide != 0 {
        return Err("a time finer than a microsecond");
    }
    (value / divide).checked_mul(multiply).ok_or("a time beyond 64 bits")
}

pub fn push_unsigned(column: &mut Column, value: u64) -> Result<(), Refusal> {
    match &mut column.values {
        Values::UInt64(values) => values.push(value),
        _ => return Err(WRONG),
    }
    column.valid.append_non_null();
    Ok(())
}

pub fn push_float(cell: &Cell, column: &mut Column, value: f64) -> Result<(), Refusal> {
    match (cell, &mut column.values) {
        (Cell::Float64, Values::Float64(values)) => values.push(value),
        (Cell::Float32, Values::Float32(values)) => values.push(float32(value)?),
        _ => return Err(WRONG),
    }
    column.valid.append_non_null();
    Ok(())
}

pub fn float32(value: f64) -> Result<f32, Refusal> {
    let narrow = value as f32;
    if narrow.is_infinite() && value.is_finite() {
        return Err("a float beyond 32 bits");
    }
    Ok(narrow)
}

/// `value` is valid UTF-8.
pub fn push_text(cell: &Cell, column: &mut Column, value: &str) -> Result<(), Refusal> {
    match (cell, &mut column.values) {
        (Cell::Text, Values::Text(views)) => views.push(value.as_bytes())?,
        (Cell::RepeatedText, Values::Text(views)) => views.push_repeated(value.as_bytes())?,
        (Cell::ReplacedText(known), Values::Text(views)) => {
            let found = known.iter().find(|(from, _)| from == value);
            views.push(found.map_or(value, |(_, to)| to).as_bytes())?;
        }
        (Cell::Utc, Values::Text(views)) if is_utc(value.as_bytes()) => {
            views.push(value.as_bytes())?;
        }
        (Cell::Uuid, Values::Text(views)) if is_uuid(value.as_bytes()) => {
            views.push(value.as_bytes())?;
        }
        (Cell::Op, Values::Text(views)) if matches!(value, "c" | "r" | "u" | "d") => {
            views.push(value.as_bytes())?;
        }
        (Cell::Snapshot, Values::Boolean(values)) => match value {
            "false" => values.append(false),
            mark if MARKS.contains(&mark) => values.append(true),
            _ => return Err("an unknown snapshot mark"),
        },
        (Cell::Constant(expected), _) if value == expected => {}
        (Cell::Constant(_), _) => return Err("another table, source or connector"),
        (Cell::Decimal { precision, scale }, Values::Decimal { values, .. }) => {
            values.push(decimal::from_text(value.as_bytes(), *precision, *scale)?);
        }
        (Cell::DecimalText { precision, scale }, Values::Text(views)) => {
            let text = decimal::text_from_text(value.as_bytes(), *precision, *scale)?;
            views.push(text.as_bytes())?;
        }
        _ => return Err(WRONG),
    }
    column.valid.append_non_null();
    Ok(())
}

pub fn push_bytes(cell: &Cell, column: &mut Column, value: &[u8]) -> Result<(), Refusal> {
    match (cell, &mut column.values) {
        (Cell::Binary, Values::Binary(views)) => views.push(value)?,
        (Cell::Decimal { precision, .. }, Values::Decimal { values, .. }) => {
            values.push(decimal::checked(decimal::unscaled(value)?, *precision)?);
        }
        (Cell::Unsigned, Values::UInt64(values)) => {
            let wide = decimal::unscaled(value)?;
            values.push(u64::try_from(wide).map_err(|_| "no unsigned 64-bit integer")?);
        }
        (Cell::DecimalText { precision, scale }, Values::Text(views)) => {
            let text = decimal::text_from_bytes(value, *precision, *scale)?;
            views.push(text.as_bytes())?;
        }
        _ => return Err(WRONG),
    }
    column.valid.append_non_null();
    Ok(())
}

pub fn push_vector_item(column: &mut Column, value: f32) -> Result<(), Refusal> {
    match &mut column.values {
        Values::Vector { items, .. } => items.push(value),
        _ => return Err(WRONG),
    }
    Ok(())
}

pub fn end_vector(column: &mut Column) -> Result<(), Refusal> {
    match &mut column.values {
        Values::Vector { ends, items } => ends.push(items.len() as i64),
        _ => return Err(WRONG),
    }
    column.valid.append_non_null();
    Ok(())
}

/// `YYYY-MM-DDTHH:MM:SS[.f{1,9}]Z`
fn is_utc(text: &[u8]) -> bool {
    const SHAPE: &[u8] = b"0000-00-00T00:00:00";
    let Some((head, tail)) = text.split_at_checked(SHAPE.len()) else {
        return false;
    };
    let fits = |(byte, shape): (&u8, &u8)| match shape {
        b'0' => byte.is_ascii_digit(),
        _ => byte == shape,
    };
    head.iter().zip(SHAPE).all(fits)
        && match tail {
            [b'Z'] => true,
            [b'.', digits @ .., b'Z'] => {
                (1..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
            }
            _ => false,
        }
}

/// 8-4-4-4-12 digits of lower-case hexadecimal.
fn is_uuid(text: &[u8]) -> bool {
    let fits = |(index, byte): (usize, &u8)| match index {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
    };
    text.len() == 36 && text.iter().enumerate().all(fits)
}
