//! Avro values, accepted only in their canonical encoding and to the last byte.

use crate::cell;
use crate::column::Column;
use crate::plan::{Cell, Wire};
use crate::reader::{CellReader, Reader};
use crate::Refusal;

const SHORT: Refusal = "the value ends too early";
const FRAME: usize = 5;

/// Reads one framed value into the columns.
pub fn read(
    value: &[u8],
    schema_id: u32,
    reader: &Reader,
    columns: &mut [Column],
) -> Result<(), Refusal> {
    match value.split_at_checked(FRAME) {
        Some(([0, id @ ..], body)) if id == schema_id.to_be_bytes() => {
            let mut input = Input(body);
            input.value(reader, columns)?;
            if input.0.is_empty() {
                Ok(())
            } else {
                Err("spare bytes after the record")
            }
        }
        _ => Err("another frame than the batch's"),
    }
}

/// What is left of a value. Every read takes from its front or refuses, so every read ends.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn value(&mut self, reader: &Reader, columns: &mut [Column]) -> Result<(), Refusal> {
        match reader {
            Reader::Skip(wire) => self.skip(wire),
            Reader::Cell(cell) => {
                if self.is_null(cell.null_branch)? {
                    return cell::push_null(&cell.cell, &mut columns[cell.column]);
                }
                self.cell(cell, &mut columns[cell.column])
            }
            Reader::Record(record) => {
                if self.is_null(record.null_branch)? {
                    return reader.push_null(columns);
                }
                for inner in &record.readers {
                    self.value(inner, columns)?;
                }
                record.end(columns);
                Ok(())
            }
        }
    }

    fn cell(&mut self, reader: &CellReader, column: &mut Column) -> Result<(), Refusal> {
        let cell = &reader.cell;
        match &reader.wire {
            Wire::Boolean => cell::push_boolean(cell, column, self.boolean()?),
            Wire::Int => cell::push_integer(cell, column, self.int()?),
            Wire::Long => cell::push_integer(cell, column, self.long()?),
            Wire::Float => cell::push_float(cell, column, f64::from(self.float()?)),
            Wire::Double => cell::push_float(cell, column, self.double()?),
            Wire::String => cell::push_text(cell, column, self.text()?),
            Wire::Bytes => cell::push_bytes(cell, column, self.bytes()?),
            Wire::Array(_) if matches!(cell, Cell::Vector) => self.vector(column),
            _ => Err("a column of no plain type"),
        }
    }

    fn vector(&mut self, column: &mut Column) -> Result<(), Refusal> {
        self.items(|input| cell::push_vector_item(column, input.float()?))?;
        cell::end_vector(column)
    }

    fn skip(&mut self, wire: &Wire) -> Result<(), Refusal> {
        match wire {
            Wire::Null => {}
            Wire::Boolean => drop(self.boolean()?),
            Wire::Int | Wire::Long => drop(self.long()?),
            Wire::Float => drop(self.float()?),
            Wire::Double => drop(self.double()?),
            Wire::String => drop(self.text()?),
            Wire::Bytes => drop(self.bytes()?),
            Wire::Array(items) => {
                self.items(|input| input.skip(items))?;
            }
            Wire::Union(branches) => {
                let index = usize::try_from(self.long()?).map_err(|_| "a union's branch")?;
                self.skip(branches.get(index).ok_or("a union has no such branch")?)?;
            }
            Wire::Record(fields) => {
                for field in fields {
                    self.skip(field)?;
                }
            }
        }
        Ok(())
    }

    /// The branch of a union of null and one other.
    fn is_null(&mut self, null_branch: Option<u8>) -> Result<bool, Refusal> {
        let Some(null_branch) = null_branch else {
            return Ok(false);
        };
        match self.take(1)? {
            [tag @ (0 | 2)] => Ok(*tag == null_branch * 2),
            _ => Err("a union has no such branch"),
        }
    }

    /// An array: one block of items, then a block of none. Each item takes a byte at least, so a
    /// count beyond the bytes that are left is a lie.
    fn items(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let count = usize::try_from(self.long()?).map_err(|_| "an array in sized blocks")?;
        if count > self.0.len() {
            return Err("an array longer than its value");
        }
        for _ in 0..count {
            item(self)?;
        }
        if count > 0 && self.long()? != 0 {
            return Err("an array in several blocks");
        }
        Ok(())
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Refusal> {
        let (head, tail) = self.0.split_at_checked(bytes).ok_or(SHORT)?;
        self.0 = tail;
        Ok(head)
    }

    fn boolean(&mut self) -> Result<bool, Refusal> {
        match self.take(1)? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err("a boolean is neither 0 nor 1"),
        }
    }

    /// Zigzag, little-endian groups of seven bits, in as few bytes as hold it.
    fn long(&mut self) -> Result<i64, Refusal> {
        let mut value = 0u64;
        for (index, byte) in self.0.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7F) << (7 * index);
            if byte & 0x80 == 0 {
                if (index > 0 && *byte == 0) || (index == 9 && *byte > 1) {
                    return Err("an overlong integer");
                }
                self.0 = &self.0[index + 1..];
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err("an integer without end")
    }

    fn int(&mut self) -> Result<i64, Refusal> {
        let value = self.long()?;
        i32::try_from(value).map(i64::from).map_err(|_| "an int beyond 32 bits")
    }

    fn float(&mut self) -> Result<f32, Refusal> {
        let bytes = self.take(4)?.try_into().map_err(|_| SHORT)?;
        let value = f32::from_le_bytes(bytes);
        // A signalling NaN does not survive the way through 64 bits that the row path takes.
        if value.is_nan() && value.to_bits() & 0x0040_0000 == 0 {
            return Err("a signalling NaN");
        }
        Ok(value)
    }

    fn double(&mut self) -> Result<f64, Refusal> {
        let bytes = self.take(8)?.try_into().map_err(|_| SHORT)?;
        Ok(f64::from_le_bytes(bytes))
    }

    fn bytes(&mut self) -> Result<&'a [u8], Refusal> {
        let length = usize::try_from(self.long()?).map_err(|_| "a negative length")?;
        self.take(length)
    }

    fn text(&mut self) -> Result<&'a str, Refusal> {
        std::str::from_utf8(self.bytes()?).map_err(|_| "text that is not UTF-8")
    }
}
