//! Values as the text that stands in a JSON document, each with one exact form.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

const DAY_US: i64 = 86_400_000_000;

/// In quotes, escaped as JSON asks and no further.
pub fn string(value: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = value.as_bytes();
    let mut start = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte >= 0x20 && *byte != b'"' && *byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[start..at]);
        start = at + 1;
        match *byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            control => {
                let digit = |half: u8| b"0123456789abcdef"[usize::from(half)];
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[digit(control >> 4), digit(control & 15)]);
            }
        }
    }
    out.extend_from_slice(&bytes[start..]);
    out.push(b'"');
}

/// An object as it is, on one line. `None`: another value, which its document has to tell of; no JSON
/// at all, or such as not every reader can hold.
pub fn object(value: &str, out: &mut Vec<u8>) -> Option<()> {
    if !value.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
        return None;
    }
    serde_json::from_str::<Sound>(value).ok()?;
    // Only whitespace between tokens can be a line's end.
    out.extend(value.bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
    Some(())
}

/// Read to the end, every number and escape of it, and kept nowhere.
struct Sound;

impl<'de> Deserialize<'de> for Sound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Sound {
    type Value = Self;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Self, A::Error> {
        while access.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self, A::Error> {
        while access.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
    }
}

pub fn integer(value: i64, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    unsigned(value.unsigned_abs(), out);
}

pub fn unsigned(value: u64, out: &mut Vec<u8>) {
    padded(value, 1, out);
}

/// With zeros before it up to `width` digits.
fn padded(mut value: u64, width: usize, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    while value > 0 || at > digits.len() - width {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.extend_from_slice(&digits[at..]);
}

/// The shortest that reads back as the same. `None`: JSON has no NaN and no infinity.
pub fn double(value: f64, out: &mut Vec<u8>) -> Option<()> {
    if !value.is_finite() {
        return None;
    }
    serde_json::to_writer(out, &value).ok()
}

/// All digits of the scale, no exponent.
pub fn decimal(value: i128, scale: usize, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    let magnitude = value.unsigned_abs();
    let start = out.len();
    match u64::try_from(magnitude) {
        Ok(small) if scale < 20 => padded(small, scale + 1, out),
        _ => out.extend_from_slice(format!("{magnitude:0width$}", width = scale + 1).as_bytes()),
    }
    if scale > 0 {
        let point = out.len() - scale;
        debug_assert!(point > start);
        out.insert(point, b'.');
    }
}

/// Of the days since the epoch. `None`: not in the years 1 to 9999.
pub fn date(days: i64, out: &mut Vec<u8>) -> Option<()> {
    let (year, month, day) = civil(days);
    if !(1..=9999).contains(&year) {
        return None;
    }
    padded(year as u64, 4, out);
    out.push(b'-');
    padded(month, 2, out);
    out.push(b'-');
    padded(day, 2, out);
    Some(())
}

/// Year, month and day of the proleptic Gregorian calendar; Howard Hinnant's `civil_from_days`
/// (<https://howardhinnant.github.io/date_algorithms.html>).
fn civil(days: i64) -> (i64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month as u64, day as u64)
}

/// Of the microseconds since the epoch, without an offset.
pub fn datetime(micros: i64, digits: Option<u8>, out: &mut Vec<u8>) -> Option<()> {
    date(micros.div_euclid(DAY_US), out)?;
    out.push(b'T');
    clock(micros.rem_euclid(DAY_US) as u64, digits, out);
    Some(())
}

/// May be negative or beyond 24 hours.
pub fn time(micros: i64, digits: Option<u8>, out: &mut Vec<u8>) {
    if micros < 0 {
        out.push(b'-');
    }
    clock(micros.unsigned_abs(), digits, out);
}

fn clock(micros: u64, digits: Option<u8>, out: &mut Vec<u8>) {
    let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
    padded(seconds / 3600, 2, out);
    out.push(b':');
    padded(seconds / 60 % 60, 2, out);
    out.push(b':');
    padded(seconds % 60, 2, out);
    let shown = match digits {
        None if rest == 0 => 0,
        None => 6,
        Some(digits) => usize::from(digits.min(6)),
    };
    if shown > 0 {
        out.push(b'.');
        padded(rest, 6, out);
        out.truncate(out.len() - (6 - shown));
    }
}
