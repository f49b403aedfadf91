//! The plan bound to columns: which value goes where.

use crate::cell;
use crate::column::{Column, Values};
use crate::plan::{Cell, Node, Wire};
use crate::Refusal;

pub enum Reader {
    Skip(Wire),
    Cell(CellReader),
    Record(RecordReader),
}

pub struct CellReader {
    pub wire: Wire,
    pub null_branch: Option<u8>,
    pub cell: Cell,
    pub column: usize,
}

pub struct RecordReader {
    pub null_branch: Option<u8>,
    pub names: Vec<String>,
    /// The names as they mostly stand in JSON: quoted, with the colon; none for one with escapes.
    pub keys: Vec<Option<String>>,
    pub readers: Vec<Reader>,
    /// The struct column, where the record is one.
    pub column: Option<usize>,
    pub is_closed: bool,
    pub is_ordered: bool,
    /// Per field the stamp of the last record that had it: finds JSON's absent and double fields.
    pub seen: Vec<u64>,
    pub stamp: u64,
}

impl Reader {
    /// Makes the columns that the node fills; the indices of its own are added to `top`.
    pub fn new(name: &str, node: &Node, columns: &mut Vec<Column>, top: &mut Vec<usize>) -> Self {
        match node {
            Node::Skip { wire } => Self::Skip(wire.clone()),
            Node::Cell { wire, null_branch, cell } => {
                let column = columns.len();
                columns.push(Column::new(name, cell::values_for(cell)));
                top.push(column);
                Self::Cell(CellReader {
                    wire: wire.clone(),
                    null_branch: *null_branch,
                    cell: cell.clone(),
                    column,
                })
            }
            Node::Record { null_branch, is_struct, is_closed, is_ordered, fields } => {
                let mut own = vec![];
                let readers: Vec<_> = fields
                    .iter()
                    .map(|field| {
                        let name = field.column.as_ref().unwrap_or(&field.name);
                        Self::new(name, &field.node, columns, &mut own)
                    })
                    .collect();
                let mut column = None;
                if *is_struct {
                    column = Some(columns.len());
                    top.push(columns.len());
                    columns.push(Column::new(name, Values::Struct(own)));
                } else {
                    top.extend(own);
                }
                Self::Record(RecordReader {
                    null_branch: *null_branch,
                    keys: fields.iter().map(|field| key_of(&field.name)).collect(),
                    names: fields.iter().map(|field| field.name.clone()).collect(),
                    seen: vec![0; readers.len()],
                    stamp: 0,
                    readers,
                    column,
                    is_closed: *is_closed,
                    is_ordered: *is_ordered,
                })
            }
        }
    }

    /// A null in every column of this reader, where the schema allows one.
    pub fn push_null(&self, columns: &mut [Column]) -> Result<(), Refusal> {
        match self {
            Self::Skip(_) => Ok(()),
            Self::Cell(reader) if reader.null_branch.is_none() => {
                Err("null, but declared NOT NULL")
            }
            Self::Record(reader) if reader.null_branch.is_none() => {
                Err("no record, but declared NOT NULL")
            }
            _ => self.push_empty(columns),
        }
    }

    /// The same whatever the schema allows: under a record that is null itself.
    fn push_empty(&self, columns: &mut [Column]) -> Result<(), Refusal> {
        match self {
            Self::Skip(_) => Ok(()),
            Self::Cell(reader) => cell::push_null(&reader.cell, &mut columns[reader.column]),
            Self::Record(reader) => {
                for inner in &reader.readers {
                    inner.push_empty(columns)?;
                }
                if let Some(column) = reader.column {
                    columns[column].push_null();
                }
                Ok(())
            }
        }
    }
}

impl RecordReader {
    pub fn end(&self, columns: &mut [Column]) {
        if let Some(column) = self.column {
            columns[column].valid.append_non_null();
        }
    }
}

fn key_of(name: &str) -> Option<String> {
    let is_plain = !name.bytes().any(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1F));
    is_plain.then(|| format!("\"{name}\":"))
}
