//! JSON values as Connect's `JsonConverter` writes them.

use base64::{engine::general_purpose::STANDARD, Engine};
use jiter::{Jiter, JiterError, NumberInt, Peek};

use crate::cell;
use crate::column::Column;
use crate::plan::{Cell, Wire};
use crate::reader::{CellReader, Reader, RecordReader};
use crate::Refusal;

const DEPTH: usize = 64;
const NO_JSON: Refusal = "not the JSON that is declared";

/// Reads whole values; keeps its working memory from one to the next.
#[derive(Default)]
pub struct Json {
    tape: Vec<u8>,
    bytes: Vec<u8>,
}

impl Json {
    pub fn read(
        &mut self,
        value: &[u8],
        reader: &mut Reader,
        columns: &mut [Column],
    ) -> Result<(), Refusal> {
        let tape = std::mem::take(&mut self.tape);
        let mut input = Input { jiter: Jiter::with_tape(value, tape), bytes: &mut self.bytes };
        let result = input.document(reader, columns);
        self.tape = input.jiter.into_tape();
        result
    }
}

struct Input<'a> {
    jiter: Jiter<'a>,
    bytes: &'a mut Vec<u8>,
}

fn refused(_: JiterError) -> Refusal {
    NO_JSON
}

impl Input<'_> {
    fn document(&mut self, reader: &mut Reader, columns: &mut [Column]) -> Result<(), Refusal> {
        self.value(reader, columns)?;
        self.jiter.finish().map_err(refused)
    }

    fn value(&mut self, reader: &mut Reader, columns: &mut [Column]) -> Result<(), Refusal> {
        let peek = self.jiter.peek().map_err(refused)?;
        if peek == Peek::Null && !matches!(reader, Reader::Skip(_)) {
            self.jiter.known_null().map_err(refused)?;
            return reader.push_null(columns);
        }
        match reader {
            Reader::Skip(_) => self.skip(peek, 0),
            Reader::Cell(cell) => self.cell(cell, peek, &mut columns[cell.column]),
            Reader::Record(record) if peek == Peek::Object => self.record(record, columns),
            Reader::Record(_) => Err(NO_JSON),
        }
    }

    fn record(&mut self, record: &mut RecordReader, columns: &mut [Column]) -> Result<(), Refusal> {
        record.stamp += 1;
        let mut expected = 0;
        let mut key = self.jiter.known_object().map_err(refused)?;
        while let Some(name) = key {
            if let Some(index) = find(record, name, expected)? {
                if record.seen[index] == record.stamp {
                    return Err("a field twice in one object");
                }
                record.seen[index] = record.stamp;
                expected = index + 1;
                self.value(&mut record.readers[index], columns)?;
            } else {
                let peek = self.jiter.peek().map_err(refused)?;
                self.skip(peek, 0)?;
            }
            key = self.jiter.next_key().map_err(refused)?;
        }
        for (reader, seen) in record.readers.iter().zip(&record.seen) {
            if *seen != record.stamp {
                reader.push_null(columns)?;
            }
        }
        record.end(columns);
        Ok(())
    }

    fn cell(
        &mut self,
        reader: &CellReader,
        peek: Peek,
        column: &mut Column,
    ) -> Result<(), Refusal> {
        let cell = &reader.cell;
        let is_decimal = matches!(cell, Cell::Decimal { .. } | Cell::DecimalText { .. });
        match (&reader.wire, peek) {
            (Wire::Boolean, Peek::True | Peek::False) => {
                let value = self.jiter.known_bool(peek).map_err(refused)?;
                cell::push_boolean(cell, column, value)
            }
            (Wire::Int | Wire::Long, peek) if peek.is_num() => {
                let value = self.integer(peek)?;
                if matches!(reader.wire, Wire::Int) && i32::try_from(value).is_err() {
                    return Err("an int beyond 32 bits");
                }
                cell::push_integer(cell, column, value)
            }
            (Wire::String, Peek::String) => {
                cell::push_text(cell, column, self.jiter.known_str().map_err(refused)?)
            }
            (Wire::Bytes, Peek::String) => {
                self.bytes.clear();
                let text = self.jiter.known_str().map_err(refused)?;
                STANDARD.decode_vec(text, self.bytes).map_err(|_| "not base64")?;
                cell::push_bytes(cell, column, self.bytes)
            }
            (Wire::String | Wire::Bytes, peek) if is_decimal && peek.is_num() => {
                let digits = self.jiter.known_number_bytes(peek).map_err(refused)?;
                let text = std::str::from_utf8(digits).map_err(|_| NO_JSON)?;
                cell::push_text(cell, column, text)
            }
            (Wire::Float | Wire::Double, peek) => {
                let value = self.float(peek)?;
                cell::push_float(cell, column, value)
            }
            (Wire::Array(_), Peek::Array) => self.vector(column),
            _ => Err(NO_JSON),
        }
    }

    fn integer(&mut self, peek: Peek) -> Result<i64, Refusal> {
        match self.jiter.known_int(peek).map_err(refused)? {
            NumberInt::Int(value) => Ok(value),
            #[allow(unreachable_patterns)] // there is a wider one with jiter's num-bigint
            _ => Err("an integer beyond 64 bits"),
        }
    }

    fn float(&mut self, peek: Peek) -> Result<f64, Refusal> {
        if peek == Peek::String {
            return match self.jiter.known_str().map_err(refused)? {
                "NaN" => Ok(f64::NAN),
                "Infinity" => Ok(f64::INFINITY),
                "-Infinity" => Ok(f64::NEG_INFINITY),
                _ => Err(NO_JSON),
            };
        }
        if !peek.is_num() {
            return Err(NO_JSON);
        }
        let value = self.jiter.known_float(peek).map_err(refused)?;
        if value.is_finite() {
            Ok(value)
        } else {
            Err("a number beyond 64 bits of float")
        }
    }

    fn vector(&mut self, column: &mut Column) -> Result<(), Refusal> {
        let mut item = self.jiter.known_array().map_err(refused)?;
        while let Some(peek) = item {
            let value = self.float(peek)?;
            cell::push_vector_item(column, cell::float32(value)?)?;
            item = self.jiter.array_step().map_err(refused)?;
        }
        cell::end_vector(column)
    }

    /// Reads past a value, as strictly as if it were wanted: jiter's own skipping would let text
    /// pass that is not UTF-8.
    fn skip(&mut self, peek: Peek, depth: usize) -> Result<(), Refusal> {
        if depth > DEPTH {
            return Err("JSON nested too deeply");
        }
        match peek {
            Peek::String => self.jiter.known_str().map(drop).map_err(refused),
            Peek::Array => {
                let mut item = self.jiter.known_array().map_err(refused)?;
                while let Some(peek) = item {
                    self.skip(peek, depth + 1)?;
                    item = self.jiter.array_step().map_err(refused)?;
                }
                Ok(())
            }
            Peek::Object => {
                let mut has_key = self.jiter.known_object().map_err(refused)?.is_some();
                while has_key {
                    let peek = self.jiter.peek().map_err(refused)?;
                    self.skip(peek, depth + 1)?;
                    has_key = self.jiter.next_key().map_err(refused)?.is_some();
                }
                Ok(())
            }
            _ => self.jiter.known_skip(peek).map_err(refused),
        }
    }
}

/// Index of a field by its name: mostly the one after the field before.
fn find(record: &RecordReader, name: &str, expected: usize) -> Result<Option<usize>, Refusal> {
    if record.names.get(expected).is_some_and(|next| next == name) {
        return Ok(Some(expected));
    }
    if record.is_ordered {
        return Err("other fields, or another order, than declared");
    }
    let found = record.names.iter().position(|known| known == name);
    if found.is_none() && record.is_closed {
        return Err("a field that is not declared");
    }
    Ok(found)
}
