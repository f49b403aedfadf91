//! JSON values as Connect's `JsonConverter` writes them.

use base64::{engine::general_purpose::STANDARD, Engine};

use crate::cell;
use crate::column::Column;
use crate::plan::{Cell, Wire};
use crate::reader::{CellReader, Reader, RecordReader};
use crate::scan::Scan;
use crate::Refusal;

const OTHER: Refusal = "JSON of another kind than declared";

/// Reads whole values; keeps its working memory from one to the next.
#[derive(Default)]
pub struct Json {
    tape: String,
    bytes: Vec<u8>,
}

impl Json {
    pub fn read(
        &mut self,
        value: &[u8],
        reader: &mut Reader,
        columns: &mut [Column],
    ) -> Result<(), Refusal> {
        let scan = Scan::new(value)?;
        let mut input = Input { scan, tape: &mut self.tape, bytes: &mut self.bytes };
        input.value(reader, columns)?;
        input.scan.finish()
    }
}

struct Input<'a> {
    scan: Scan<'a>,
    tape: &'a mut String,
    bytes: &'a mut Vec<u8>,
}

impl Input<'_> {
    fn value(&mut self, reader: &mut Reader, columns: &mut [Column]) -> Result<(), Refusal> {
        if let Reader::Skip(_) = reader {
            return self.scan.skip(self.tape);
        }
        let next = self.scan.peek()?;
        if next == b'n' {
            self.scan.literal("null")?;
            return reader.push_null(columns);
        }
        match reader {
            Reader::Cell(cell) => self.cell(cell, next, &mut columns[cell.column]),
            Reader::Record(record) if self.scan.take(b'{')? => self.record(record, columns),
            _ => Err(OTHER),
        }
    }

    fn record(&mut self, record: &mut RecordReader, columns: &mut [Column]) -> Result<(), Refusal> {
        record.stamp += 1;
        let mut expected = 0;
        let mut is_first = true;
        while self.scan.next_field(is_first)? {
            is_first = false;
            let Some(index) = self.field(record, expected)? else {
                self.scan.skip(self.tape)?;
                continue;
            };
            if record.seen[index] == record.stamp {
                return Err("a field twice in one object");
            }
            record.seen[index] = record.stamp;
            expected = index + 1;
            self.value(&mut record.readers[index], columns)?;
        }
        for (reader, seen) in record.readers.iter().zip(&record.seen) {
            if *seen != record.stamp {
                reader.push_null(columns)?;
            }
        }
        record.end(columns);
        Ok(())
    }

    /// Index of the next field by its key: mostly the one after the field before.
    fn field(&mut self, record: &RecordReader, expected: usize) -> Result<Option<usize>, Refusal> {
        let next = record.keys.get(expected).and_then(Option::as_deref);
        if next.is_some_and(|key| self.scan.take_exact(key)) {
            return Ok(Some(expected));
        }
        let name = self.scan.key(self.tape)?;
        let found = record.names.iter().position(|known| known == name);
        if record.is_ordered && found != Some(expected) {
            return Err("other fields, or another order, than declared");
        }
        if record.is_closed && found.is_none() {
            return Err("a field that is not declared");
        }
        Ok(found)
    }

    fn cell(&mut self, reader: &CellReader, next: u8, column: &mut Column) -> Result<(), Refusal> {
        let cell = &reader.cell;
        let is_decimal = matches!(cell, Cell::Decimal { .. } | Cell::DecimalText { .. });
        match (&reader.wire, next) {
            (Wire::Boolean, b't') => {
                self.scan.literal("true")?;
                cell::push_boolean(cell, column, true)
            }
            (Wire::Boolean, b'f') => {
                self.scan.literal("false")?;
                cell::push_boolean(cell, column, false)
            }
            (Wire::Int, _) => {
                let value = self.integer()?;
                i32::try_from(value).map_err(|_| "an int beyond 32 bits")?;
                cell::push_integer(cell, column, value)
            }
            (Wire::Long, _) => cell::push_integer(cell, column, self.integer()?),
            (Wire::String, b'"') => cell::push_text(cell, column, self.scan.string(self.tape)?),
            (Wire::Bytes, b'"') => {
                self.bytes.clear();
                let text = self.scan.string(self.tape)?;
                STANDARD.decode_vec(text, self.bytes).map_err(|_| "not base64")?;
                cell::push_bytes(cell, column, self.bytes)
            }
            (Wire::Bytes, _) if matches!(cell, Cell::Unsigned) => {
                cell::push_unsigned(column, self.unsigned()?)
            }
            (Wire::String | Wire::Bytes, _) if is_decimal => {
                cell::push_text(cell, column, self.scan.number()?.text)
            }
            (Wire::Float | Wire::Double, _) => cell::push_float(cell, column, self.float(next)?),
            (Wire::Array(_), b'[') => self.vector(column),
            _ => Err(OTHER),
        }
    }

    fn integer(&mut self) -> Result<i64, Refusal> {
        let number = self.scan.number()?;
        if !number.is_integer {
            return Err("a fraction where an integer is declared");
        }
        number.text.parse().map_err(|_| "an integer beyond 64 bits")
    }

    /// A decimal without a scale, as BIGINT UNSIGNED travels, written as a number.
    fn unsigned(&mut self) -> Result<u64, Refusal> {
        let number = self.scan.number()?;
        if !number.is_integer {
            return Err("a fraction where an integer is declared");
        }
        number.text.parse().map_err(|_| "no unsigned 64-bit integer")
    }

    fn float(&mut self, next: u8) -> Result<f64, Refusal> {
        if next == b'"' {
            return match self.scan.string(self.tape)? {
                "NaN" => Ok(f64::NAN),
                "Infinity" => Ok(f64::INFINITY),
                "-Infinity" => Ok(f64::NEG_INFINITY),
                _ => Err(OTHER),
            };
        }
        let value: f64 = self.scan.number()?.text.parse().map_err(|_| OTHER)?;
        if value.is_finite() {
            Ok(value)
        } else {
            Err("a number beyond 64 bits of float")
        }
    }

    fn vector(&mut self, column: &mut Column) -> Result<(), Refusal> {
        self.scan.take(b'[')?;
        let mut is_first = true;
        while self.scan.next_item(is_first)? {
            is_first = false;
            let next = self.scan.peek()?;
            let value = self.float(next)?;
            cell::push_vector_item(column, cell::float32(value)?)?;
        }
        cell::end_vector(column)
    }
}
