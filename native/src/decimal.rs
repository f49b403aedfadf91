//! Exact decimals: unscaled integers to 38 digits, plain text beyond.

use crate::Refusal;

const TOO_LONG: Refusal = "a decimal of more digits than declared";
const NOT_PLAIN: Refusal = "text that is no decimal of this scale";
/// `MySQL`'s longest DECIMAL has 65 digits: 28 bytes and a sign fit this.
const MAX_BYTES: usize = 32;

/// Big-endian two's complement, as Java's `BigInteger` writes it.
pub fn unscaled(bytes: &[u8]) -> Result<i128, Refusal> {
    if bytes.is_empty() || bytes.len() > 16 {
        return Err("a decimal of no bytes, or of more than 16");
    }
    let sign = if bytes[0] & 0x80 == 0 { 0 } else { 0xFF };
    let mut wide = [sign; 16];
    wide[16 - bytes.len()..].copy_from_slice(bytes);
    Ok(i128::from_be_bytes(wide))
}

pub fn checked(value: i128, precision: u8) -> Result<i128, Refusal> {
    if value.unsigned_abs() < 10u128.pow(u32::from(precision)) {
        Ok(value)
    } else {
        Err(TOO_LONG)
    }
}

pub fn from_text(text: &[u8], precision: u8, scale: u8) -> Result<i128, Refusal> {
    let (is_negative, whole, fraction) = parts(text, scale)?;
    let mut value: i128 = 0;
    let padding = usize::from(scale) - fraction.len();
    let digits = whole.iter().chain(fraction).copied();
    for digit in digits.chain(std::iter::repeat_n(b'0', padding)) {
        value = value
            .checked_mul(10)
            .and_then(|value| value.checked_add(i128::from(digit - b'0')))
            .ok_or(TOO_LONG)?;
    }
    checked(if is_negative { -value } else { value }, precision)
}

pub fn text_from_text(text: &[u8], precision: u8, scale: u8) -> Result<String, Refusal> {
    let (is_negative, whole, fraction) = parts(text, scale)?;
    let mut digits = [whole, fraction].concat();
    digits.resize(whole.len() + usize::from(scale), b'0');
    plain(is_negative, &digits, precision, scale)
}

pub fn text_from_bytes(bytes: &[u8], precision: u8, scale: u8) -> Result<String, Refusal> {
    if bytes.is_empty() || bytes.len() > MAX_BYTES {
        return Err("a decimal of no bytes, or of more than 32");
    }
    let is_negative = bytes[0] & 0x80 != 0;
    let mut magnitude = bytes.to_vec();
    if is_negative {
        negate(&mut magnitude);
    }
    plain(is_negative, &digits_of(magnitude), precision, scale)
}

/// Plain notation of an unscaled value.
pub fn write_plain(value: i128, scale: u8, out: &mut Vec<u8>) {
    let digits = value.unsigned_abs().to_string();
    point(value < 0, digits.as_bytes(), scale, out);
}

/// `-?digits[.digits]`, with no more fraction than the scale.
fn parts(text: &[u8], scale: u8) -> Result<(bool, &[u8], &[u8]), Refusal> {
    let (is_negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let (whole, fraction) = match text.iter().position(|byte| *byte == b'.') {
        Some(at) if at + 1 < text.len() => (&text[..at], &text[at + 1..]),
        Some(_) => return Err(NOT_PLAIN),
        None => (text, &text[text.len()..]),
    };
    let is_plain = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
    if whole.is_empty() || fraction.len() > usize::from(scale) {
        return Err(NOT_PLAIN);
    }
    if is_plain(whole) && is_plain(fraction) {
        Ok((is_negative, whole, fraction))
    } else {
        Err(NOT_PLAIN)
    }
}

fn plain(is_negative: bool, digits: &[u8], precision: u8, scale: u8) -> Result<String, Refusal> {
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    let significant = &digits[zeros..];
    if significant.len() > usize::from(precision) {
        return Err(TOO_LONG);
    }
    let mut out = Vec::with_capacity(significant.len() + 3);
    let digits = if significant.is_empty() { b"0" } else { significant };
    point(is_negative && !significant.is_empty(), digits, scale, &mut out);
    String::from_utf8(out).map_err(|_| NOT_PLAIN)
}

fn point(is_negative: bool, digits: &[u8], scale: u8, out: &mut Vec<u8>) {
    let scale = usize::from(scale);
    if is_negative {
        out.push(b'-');
    }
    let lacking = (scale + 1).saturating_sub(digits.len());
    let padded = std::iter::repeat_n(b'0', lacking).chain(digits.iter().copied());
    let whole = lacking + digits.len() - scale;
    for (index, digit) in padded.enumerate() {
        if index == whole {
            out.push(b'.');
        }
        out.push(digit);
    }
}

fn negate(bytes: &mut [u8]) {
    let mut carry = true;
    for byte in bytes.iter_mut().rev() {
        let (sum, overflow) = (!*byte).overflowing_add(u8::from(carry));
        *byte = sum;
        carry = overflow;
    }
}

/// Decimal digits of a big-endian magnitude, by long division.
fn digits_of(mut magnitude: Vec<u8>) -> Vec<u8> {
    let mut digits = Vec::new();
    while magnitude.iter().any(|byte| *byte != 0) {
        let mut remainder = 0u16;
        for byte in &mut magnitude {
            let value = remainder << 8 | u16::from(*byte);
            *byte = (value / 10) as u8;
            remainder = value % 10;
        }
        digits.push(b'0' + remainder as u8);
    }
    digits.reverse();
    digits
}
