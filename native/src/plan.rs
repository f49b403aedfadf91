//! What to decode, as Python compiled it from the schemas (`callsheet/codec/plan.py`).

use serde::Deserialize;

/// How an Avro value lies on the wire; JSON has a form for each.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wire {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    String,
    Bytes,
    Array(Box<Wire>),
    Union(Vec<Wire>),
    Record(Vec<Wire>),
}

/// What becomes of a value. Integers of time are `value * multiply / divide` microseconds.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cell {
    Boolean,
    /// 0 or 1 of a TINYINT(1) that is declared boolean.
    DeclaredBoolean,
    Integer,
    /// 32 bits wide in Arrow too.
    Integer32,
    Unsigned,
    Decimal {
        precision: u8,
        scale: u8,
    },
    /// A decimal beyond 38 digits, as text.
    DecimalText {
        precision: u8,
        scale: u8,
    },
    Float32,
    Float64,
    Text,
    /// Text that often repeats from row to row.
    RepeatedText,
    /// Text of which some is written in another way: (as it comes, as it is kept).
    ReplacedText(Vec<(String, String)>),
    /// ISO-8601 in UTC.
    Utc,
    /// A UUID in its canonical form.
    Uuid,
    Binary,
    Date,
    Datetime {
        multiply: i64,
        divide: i64,
    },
    Time {
        multiply: i64,
        divide: i64,
    },
    Vector,
    /// One of c, r, u, d.
    Op,
    /// Debezium's snapshot mark, as a boolean.
    Snapshot,
    /// Must be this text, and is not kept.
    Constant(String),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Node {
    /// Read past it.
    Skip { wire: Wire },
    Cell {
        wire: Wire,
        /// Which branch of its union is null; absent where it cannot be null.
        null_branch: Option<u8>,
        cell: Cell,
    },
    Record {
        null_branch: Option<u8>,
        /// A struct column of its own; otherwise its columns stand beside the others.
        is_struct: bool,
        /// JSON may have no other fields.
        is_closed: bool,
        /// JSON must have the fields in this order.
        is_ordered: bool,
        fields: Vec<Field>,
    },
}

#[derive(Clone, Debug, Deserialize)]
pub struct Field {
    pub name: String,
    /// The column's name, where it is not the field's.
    pub column: Option<String>,
    pub node: Node,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    Avro { value_id: u32, key_id: u32 },
    Json,
}

/// The rules of a Debezium envelope on top of its fields.
#[derive(Clone, Debug, Deserialize)]
pub struct Envelope {
    pub key: Node,
    /// Key columns by name, in the ID's order.
    pub key_columns: Vec<String>,
    pub epoch: i64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Plan {
    pub format: Format,
    pub value: Node,
    pub envelope: Option<Envelope>,
    /// Names of the columns to hand out, in order.
    pub output: Vec<String>,
}
