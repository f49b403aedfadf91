//! Kafka values to Arrow columns, many at a time.
//!
//! One decoder serves one table under one pair of schemas. It accepts a record only if every byte of
//! it is accounted for; what it refuses leaves no trace in the columns and is named by its index.

mod avro;
mod bulk;
mod cell;
mod column;
mod decimal;
mod encode;
mod envelope;
mod json;
mod plan;
mod reader;
mod scan;
mod text;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::ffi_stream::{FFI_ArrowArrayStream, RecordBatchStreamReader};
use arrow_array::{
    cast::AsArray, ffi, types, Array, ArrayRef, Int32Array, Int64Array, RecordBatch, StructArray,
};
use arrow_schema::{DataType, Field, FieldRef};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyBytesMethods, PyCapsule, PyCapsuleMethods, PyList};

use bulk::BulkPlan;
use column::{Column, Values, Views};
use encode::{EncodePlan, Encoded};
use envelope::Rules;
use plan::{Format, Plan};
use reader::Reader;

/// Why a record was refused. For whoever debugs; the row path words what the user reads.
type Refusal = &'static str;

/// A batch on its way to whoever speaks Arrow's `PyCapsule` interface.
#[pyclass(frozen)]
struct Columns(StructArray);

#[pymethods]
impl Columns {
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
        let _ = requested_schema; // we offer one schema only, as the interface allows
        let (array, schema) = ffi::to_ffi(&self.0.to_data())
            .map_err(|fault| PyRuntimeError::new_err(fault.to_string()))?;
        Ok((
            PyCapsule::new_with_value(py, schema, c"arrow_schema")?,
            PyCapsule::new_with_value(py, array, c"arrow_array")?,
        ))
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    /// Per partition the offset of its last row.
    fn ends(&self) -> PyResult<BTreeMap<i32, i64>> {
        let column = |name| self.0.column_by_name(name);
        let partitions = column("partition").and_then(|c| c.as_primitive_opt::<types::Int32Type>());
        let offsets = column("offset").and_then(|c| c.as_primitive_opt::<types::Int64Type>());
        let (Some(partitions), Some(offsets)) = (partitions, offsets) else {
            return Err(PyRuntimeError::new_err("no places"));
        };
        Ok(ends(partitions.values(), offsets.values()))
    }

    /// The least and the greatest value of a column of 64-bit integers; None where it has no row, or
    /// is no such column.
    fn span(&self, name: &str) -> Option<(i64, i64)> {
        let column = self.0.column_by_name(name)?.as_primitive_opt::<types::Int64Type>()?;
        Some((aggregate(column, Ord::min)?, aggregate(column, Ord::max)?))
    }

    /// Whether rows next to each other in a partition have one version, but for the two of a changed
    /// primary key: a delete and a create of different IDs. And per partition the version of its
    /// first row and all rows that share it with none between, then the same of its last.
    /// Rows of a snapshot and of a sweep are passed over: many have one place, and may.
    fn places(&self) -> PyResult<(bool, BTreeMap<i32, Edges>)> {
        self.edges().ok_or_else(|| PyRuntimeError::new_err("no versions"))
    }
}

/// The transaction of what a sweep writes begins so: `SWEEP` in callsheet/event.py.
const SWEEP: &str = "callsheet-sweep:";

type Edges = (i64, Vec<usize>, i64, Vec<usize>);

/// Neighbours of one partition that have one version: its first, and its last so far.
struct Runs {
    partition: i32,
    oldest: (i64, Vec<usize>),
    newest: Option<(i64, Vec<usize>)>,
}

impl Columns {
    /// None where there are no such columns.
    fn edges(&self) -> Option<(bool, BTreeMap<i32, Edges>)> {
        let versions = self.0.column_by_name("version")?.as_primitive_opt::<types::Int64Type>()?;
        let places = self.0.column_by_name("partition")?.as_primitive_opt::<types::Int32Type>()?;
        let snapshot = self.0.column_by_name("snapshot")?.as_boolean_opt()?;
        let transaction =
            self.0.column_by_name("transaction_id").and_then(|c| c.as_string_view_opt());
        let is_swept =
            |row| transaction.is_some_and(|t| t.is_valid(row) && t.value(row).starts_with(SWEEP));
        let mut found: Vec<Runs> = vec![];
        let mut repeats = false;
        for row in (0..self.0.len()).filter(|&row| !snapshot.value(row) && !is_swept(row)) {
            let (partition, version) = (places.value(row), versions.value(row));
            let Some(runs) = found.iter_mut().find(|runs| runs.partition == partition) else {
                found.push(Runs { partition, oldest: (version, vec![row]), newest: None });
                continue;
            };
            let current = runs.newest.as_mut().unwrap_or(&mut runs.oldest);
            if current.0 == version {
                current.1.push(row);
                repeats |= current.1.len() > 2 || !self.is_move(current.1[0], row);
            } else if let Some(newest) = &mut runs.newest {
                newest.0 = version;
                newest.1.clear();
                newest.1.push(row);
            } else {
                runs.newest = Some((version, vec![row]));
            }
        }
        let edges = |runs: Runs| {
            let (newest, last) = runs.newest.unwrap_or_else(|| runs.oldest.clone());
            (runs.partition, (runs.oldest.0, runs.oldest.1, newest, last))
        };
        Some((repeats, found.into_iter().map(edges).collect()))
    }

    fn is_move(&self, one: usize, other: usize) -> bool {
        let text = |name| self.0.column_by_name(name)?.as_string_view_opt();
        let (Some(ops), Some(ids)) = (text("op"), text("id")) else { return false };
        matches!((ops.value(one), ops.value(other)), ("d", "c") | ("c", "d"))
            && ids.value(one) != ids.value(other)
    }
}

fn aggregate(column: &Int64Array, better: fn(i64, i64) -> i64) -> Option<i64> {
    column.iter().flatten().reduce(better)
}

/// The envelope's key and rules, and the columns that only they make.
struct Derived {
    rules: Rules,
    key: Reader,
    key_columns: Vec<Column>,
    key_top: Vec<usize>,
    id: Views,
    version: Vec<i64>,
}

struct Machine {
    format: Format,
    json: json::Json,
    value: Reader,
    columns: Vec<Column>,
    top: Vec<usize>,
    derived: Option<Derived>,
    output: Vec<String>,
    id: Vec<u8>,
    key_id: Vec<u8>,
}

impl Machine {
    fn new(plan: &Plan) -> Result<Self, String> {
        let (mut columns, mut top) = (vec![], vec![]);
        let value = Reader::new("", &plan.value, &mut columns, &mut top);
        let derived = plan.envelope.as_ref().map(|envelope| {
            let (mut key_columns, mut key_top) = (vec![], vec![]);
            let key = Reader::new("", &envelope.key, &mut key_columns, &mut key_top);
            Ok::<_, String>(Derived {
                rules: Rules::new(&columns, &top, &envelope.key_columns, envelope.epoch)?,
                key,
                key_columns,
                key_top,
                id: Views::default(),
                version: vec![],
            })
        });
        Ok(Self {
            format: plan.format.clone(),
            json: json::Json::default(),
            value,
            derived: derived.transpose()?,
            output: plan.output.clone(),
            columns,
            top,
            id: vec![],
            key_id: vec![],
        })
    }

    /// Reads one record as row `row`, or leaves the columns as they were.
    fn read(&mut self, row: usize, value: &[u8], key: Option<&[u8]>) -> Result<(), Refusal> {
        let result = self.read_unguarded(row, value, key);
        if result.is_err() {
            self.truncate(row);
        }
        result
    }

    fn read_unguarded(
        &mut self,
        row: usize,
        value: &[u8],
        key: Option<&[u8]>,
    ) -> Result<(), Refusal> {
        match self.format {
            Format::Avro { value_id, .. } => {
                avro::read(value, value_id, &self.value, &mut self.columns)?;
            }
            Format::Json => self.json.read(value, &mut self.value, &mut self.columns)?,
        }
        let Some(derived) = &mut self.derived else {
            return Ok(());
        };
        let version = derived.rules.apply(&mut self.columns, row, &mut self.id)?;
        let key = key.ok_or("no key")?;
        let columns = &mut derived.key_columns;
        for column in columns.iter_mut() {
            column.truncate(0);
        }
        match self.format {
            Format::Avro { key_id, .. } => avro::read(key, key_id, &derived.key, columns)?,
            Format::Json => self.json.read(key, &mut derived.key, columns)?,
        }
        envelope::write_id(columns, &derived.key_top, 0, &mut self.key_id)?;
        if self.key_id != self.id {
            return Err("the key and the row name different IDs");
        }
        derived.id.push(&self.id)?;
        derived.version.push(version);
        Ok(())
    }

    fn truncate(&mut self, rows: usize) {
        self.columns.iter_mut().for_each(|column| column.truncate(rows));
    }

    /// Forgets everything, also what a call that did not end left behind.
    fn clear(&mut self) {
        self.truncate(0);
        if let Some(derived) = &mut self.derived {
            derived.id = Views::default();
            derived.version.clear();
        }
    }

    fn take(&mut self, partitions: Vec<i32>, offsets: Vec<i64>) -> Result<StructArray, String> {
        let rows = offsets.len();
        let (mut fields, mut arrays): (Vec<FieldRef>, Vec<ArrayRef>) = (vec![], vec![]);
        let (mut partitions, mut offsets) = (Some(partitions), Some(offsets));
        for name in &self.output {
            let (field, array) = match (name.as_str(), &mut self.derived) {
                ("id", Some(derived)) => {
                    let mut id = [Column::new("id", Values::Text(std::mem::take(&mut derived.id)))];
                    id[0].valid.append_n_non_nulls(rows);
                    (column::field(&id, 0), column::take(&mut id, 0))
                }
                ("version", Some(derived)) => {
                    integers("version", std::mem::take(&mut derived.version))
                }
                ("offset", Some(_)) => integers("offset", offsets.take().unwrap_or_default()),
                ("partition", Some(_)) => {
                    let values = Int32Array::from(partitions.take().unwrap_or_default());
                    let field = Field::new("partition", DataType::Int32, true);
                    (Arc::new(field), Arc::new(values) as ArrayRef)
                }
                _ => {
                    let found = self.top.iter().find(|index| self.columns[**index].name == *name);
                    let index = *found.ok_or_else(|| format!("the plan has no column {name}"))?;
                    let field = column::field(&self.columns, index);
                    (field, column::take(&mut self.columns, index))
                }
            };
            if array.len() != rows {
                return Err(format!("column {name} has {} rows of {rows}", array.len()));
            }
            fields.push(field);
            arrays.push(array);
        }
        self.clear();
        Ok(column::struct_of(fields, arrays, rows))
    }
}

fn integers(name: &str, values: Vec<i64>) -> (FieldRef, ArrayRef) {
    let field = Field::new(name, DataType::Int64, true);
    (Arc::new(field), Arc::new(Int64Array::from(values)))
}

/// Decodes the records of one table under one pair of schemas.
#[pyclass]
struct Decoder(Machine);

#[pymethods]
impl Decoder {
    #[new]
    fn new(plan: &str) -> PyResult<Self> {
        let plan: Plan =
            serde_json::from_str(plan).map_err(|fault| PyValueError::new_err(fault.to_string()))?;
        Machine::new(&plan).map(Self).map_err(PyValueError::new_err)
    }

    /// The accepted records as columns in the order given, and (index, why) of the refused.
    fn decode<'py>(
        &mut self,
        py: Python<'py>,
        values: &Bound<'py, PyList>,
        keys: &Bound<'py, PyList>,
        partitions: Vec<i32>,
        offsets: Vec<i64>,
    ) -> PyResult<(Columns, Vec<(usize, Refusal)>)> {
        let values: Vec<Bound<'py, PyBytes>> = values.extract()?;
        let keys: Vec<Option<Bound<'py, PyBytes>>> = keys.extract()?;
        if [keys.len(), partitions.len(), offsets.len()] != [values.len(); 3] {
            return Err(PyValueError::new_err("as many keys, partitions and offsets as values"));
        }
        // The lists above own their bytes for as long as these borrow them.
        let records: Vec<(&[u8], Option<&[u8]>)> = values
            .iter()
            .zip(&keys)
            .map(|(value, key)| (value.as_bytes(), key.as_ref().map(PyBytesMethods::as_bytes)))
            .collect();
        let machine = &mut self.0;
        py.detach(|| decode(machine, &records, partitions, offsets))
            .map_err(PyRuntimeError::new_err)
    }
}

fn decode(
    machine: &mut Machine,
    records: &[(&[u8], Option<&[u8]>)],
    mut partitions: Vec<i32>,
    mut offsets: Vec<i64>,
) -> Result<(Columns, Vec<(usize, Refusal)>), String> {
    machine.clear();
    let mut refused = vec![];
    let mut rows = 0;
    for (index, (value, key)) in records.iter().enumerate() {
        match machine.read(rows, value, *key) {
            Ok(()) => {
                partitions[rows] = partitions[index];
                offsets[rows] = offsets[index];
                rows += 1;
            }
            Err(why) => refused.push((index, why)),
        }
    }
    partitions.truncate(rows);
    offsets.truncate(rows);
    let columns = machine.take(partitions, offsets)?;
    Ok((Columns(columns), refused))
}

type Framed<'py> = (Vec<Bound<'py, PyBytes>>, Vec<(usize, Refusal)>);

/// Encodes rows of one table under one schema: whatever hands out an Arrow stream of records.
#[pyclass(frozen)]
struct Encoder(EncodePlan);

#[pymethods]
impl Encoder {
    #[new]
    fn new(plan: &str) -> PyResult<Self> {
        let plan =
            serde_json::from_str(plan).map_err(|fault| PyValueError::new_err(fault.to_string()))?;
        Ok(Self(plan))
    }

    /// One framed value per row in order, empty where refused, and (index, why) of the refused.
    fn encode<'py>(&self, py: Python<'py>, frame: &Bound<'py, PyAny>) -> PyResult<Framed<'py>> {
        let reader = records_of(frame)?;
        let encoded = py.detach(|| encode(&self.0, reader)).map_err(PyValueError::new_err)?;
        let mut values = Vec::with_capacity(encoded.ends.len());
        let mut start = 0;
        for end in encoded.ends {
            values.push(PyBytes::new(py, &encoded.bytes[start..end]));
            start = end;
        }
        Ok((values, encoded.refused))
    }
}

fn records_of(frame: &Bound<'_, PyAny>) -> PyResult<RecordBatchStreamReader> {
    let stream = frame.call_method0("__arrow_c_stream__")?;
    let capsule = stream.cast::<PyCapsule>()?;
    let pointer = capsule.pointer_checked(Some(c"arrow_array_stream"))?;
    // SAFETY: a capsule of this name holds a stream, says the interface; it is moved out of there,
    // and what is left behind is released already, which its owner looks at.
    unsafe { RecordBatchStreamReader::from_raw(pointer.cast::<FFI_ArrowArrayStream>().as_ptr()) }
        .map_err(|fault| PyValueError::new_err(fault.to_string()))
}

fn ends(partitions: &[i32], offsets: &[i64]) -> BTreeMap<i32, i64> {
    let mut found = BTreeMap::new();
    for (number, (partition, offset)) in partitions.iter().zip(offsets).enumerate() {
        if partitions.get(number + 1) != Some(partition) {
            found.insert(*partition, *offset); // of a run, only the last
        }
    }
    found
}

fn encode(plan: &EncodePlan, reader: RecordBatchStreamReader) -> Result<Encoded, String> {
    let mut encoded = Encoded::default();
    for batch in reader {
        encode::encode(plan, &batch.map_err(|fault| fault.to_string())?, &mut encoded)?;
    }
    Ok(encoded)
}

/// Lines of a bulk request, to be sent in pieces.
#[pyclass(frozen)]
struct BulkLines(bulk::Lines);

type Piece<'py> = (usize, Vec<usize>, Bound<'py, PyBytes>);

#[pymethods]
impl BulkLines {
    /// How many rows are written.
    fn __len__(&self) -> usize {
        self.0.rows.len()
    }

    /// (lane, places in the batch, body): by lane, in the order of the batch.
    fn pieces<'py>(
        &self,
        py: Python<'py>,
        lanes: usize,
        most_bytes: usize,
    ) -> PyResult<Vec<Piece<'py>>> {
        if lanes == 0 {
            return Err(PyValueError::new_err("at least one lane"));
        }
        let pieces = self.0.pieces(lanes, most_bytes);
        let parts = pieces.into_iter().map(|piece| {
            let body = PyBytes::new_with(py, piece.size, |mut body| {
                for span in piece.spans {
                    let line = &self.0.bytes[span];
                    body[..line.len()].copy_from_slice(line);
                    body = &mut body[line.len()..];
                }
                Ok(())
            })?;
            Ok((piece.lane, piece.rows, body))
        });
        parts.collect()
    }
}

/// Writes the rows of one table under one schema as lines of a bulk request.
#[pyclass(frozen)]
struct Bulk(BulkPlan);

#[pymethods]
impl Bulk {
    #[new]
    fn new(plan: &str) -> PyResult<Self> {
        let plan =
            serde_json::from_str(plan).map_err(|fault| PyValueError::new_err(fault.to_string()))?;
        Ok(Self(plan))
    }

    /// Of `Columns`, or of whatever hands out an Arrow stream. None where a row or a column needs
    /// another look than this one.
    fn lines(
        &self,
        py: Python<'_>,
        rows: &Bound<'_, PyAny>,
        deleted_at: &str,
    ) -> PyResult<Option<BulkLines>> {
        let batches = match rows.cast::<Columns>() {
            Ok(columns) => vec![RecordBatch::from(columns.get().0.clone())],
            Err(_) => records_of(rows)?
                .collect::<Result<_, _>>()
                .map_err(|fault| PyValueError::new_err(fault.to_string()))?,
        };
        Ok(py.detach(|| bulk::lines(&self.0, &batches, deleted_at)).map(BulkLines))
    }
}

/// Raised with every change of what a plan may say, or of what Python calls: it uses no module of another version.
const PLAN_VERSION: u32 = 6;

#[pymodule]
fn callsheet_native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("PLAN_VERSION", PLAN_VERSION)?;
    module.add_class::<Columns>()?;
    module.add_class::<Decoder>()?;
    module.add_class::<Encoder>()?;
    module.add_class::<Bulk>()
}
