//! Columns of numbers, truth values and text, as the cells of a table.

use std::fs::File;
use std::sync::Arc;

use parquet::basic::{ConvertedType, LogicalType, Type};
use parquet::column::page::PageReader;
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{BoolType, ByteArrayType, DataType, DoubleType, FloatType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::schema::types::ColumnDescriptor;

use super::file::ParquetFile;

/// Values that are read at once.
const BATCH: usize = 1 << 12;

/// What a column holds: a value per row, or a list of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    kind: Kind,
    list: bool,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Bool,
    Int32,
    Int64,
    Float,
    Double,
    Text,
}

impl Shape {
    /// The shape of a column whose cells are read; `None` for others.
    pub(super) fn of(column: &ColumnDescriptor) -> Option<Self> {
        let text =
            column.converted_type() == ConvertedType::UTF8 || matches!(column.logical_type_ref(), Some(LogicalType::String));
        let kind = match column.physical_type() {
            Type::BOOLEAN => Kind::Bool,
            Type::INT32 => Kind::Int32,
            Type::INT64 => Kind::Int64,
            Type::FLOAT => Kind::Float,
            Type::DOUBLE => Kind::Double,
            Type::BYTE_ARRAY if text => Kind::Text,
            _ => return None,
        };
        let (depth, repeated) = (column.path().parts().len(), column.max_rep_level());
        match (depth, repeated) {
            (1, 0) => Some(Self { kind, list: false }),
            // The path of an image lies within its column.
            (2, 0) if text && column.path().parts()[1] == "path" => Some(Self { kind, list: false }),
            // `labels.list.element`, or the older `labels.list.item` and `labels.bag.array_element`.
            (3, 1) => Some(Self { kind, list: true }),
            _ => None,
        }
    }
}

/// The cells of a column, one per row; `None` where there is none. Numbers of classes become their names.
pub(super) fn texts(
    file: &ParquetFile,
    column: usize,
    shape: &Shape,
    classes: Option<&[String]>,
) -> Result<Vec<Option<String>>, ParquetError> {
    let class = |number: i64| match (classes, usize::try_from(number)) {
        (Some(names), Ok(place)) if place < names.len() => names[place].clone(),
        // `datasets` writes -1 where a class is unknown.
        (Some(_), _) => String::new(),
        (None, _) => number.to_string(),
    };
    // With a decimal point, as numbers that may be identifiers are to be seen for what they are.
    let decimal = |text: String| if text == "NaN" { String::new() } else { text };
    match shape.kind {
        Kind::Bool => typed::<BoolType>(file, column, shape, |value| u8::from(*value).to_string()),
        Kind::Int32 => typed::<Int32Type>(file, column, shape, |value| class(i64::from(*value))),
        Kind::Int64 => typed::<Int64Type>(file, column, shape, |value| class(*value)),
        Kind::Float => typed::<FloatType>(file, column, shape, |value| decimal(format!("{value:?}"))),
        Kind::Double => typed::<DoubleType>(file, column, shape, |value| decimal(format!("{value:?}"))),
        Kind::Text => typed::<ByteArrayType>(file, column, shape, |value| String::from_utf8_lossy(value.data()).into_owned()),
    }
}

fn typed<T: DataType>(
    file: &ParquetFile,
    column: usize,
    shape: &Shape,
    text: impl Fn(&T::T) -> String,
) -> Result<Vec<Option<String>>, ParquetError> {
    let descriptor = file.metadata.file_metadata().schema_descr().column(column);
    let (most, repeated) = (descriptor.max_def_level(), descriptor.max_rep_level() > 0);
    let opened = Arc::new(File::open(&file.path)?);
    // The level of a list that is there and has no element.
    let empty = i16::from(file.metadata.file_metadata().schema_descr().get_column_root(column).is_optional());
    let mut cells: Vec<Option<String>> = Vec::new();
    for group in file.metadata.row_groups() {
        let rows = usize::try_from(group.num_rows())?;
        let pages: Box<dyn PageReader> =
            Box::new(SerializedPageReader::new(Arc::clone(&opened), group.column(column), rows, None)?);
        let mut reader = ColumnReaderImpl::<T>::new(descriptor.clone(), pages);
        let end = cells.len() + rows;
        loop {
            let (mut defined, mut repetition, mut values) = (Vec::new(), Vec::new(), Vec::new());
            let levels = repeated.then_some(&mut repetition);
            let (records, _, count) = reader.read_records(BATCH, Some(&mut defined), levels, &mut values)?;
            if records == 0 {
                break;
            }
            if cells.len() + records > end {
                return Err(ParquetError::General("more values than rows".to_owned()));
            }
            // Columns that are required have no levels.
            defined.resize(count, most);
            let mut values = values.iter().map(&text);
            for (at, level) in defined.iter().enumerate() {
                let value = if *level == most { values.next() } else { None };
                let begins = !shape.list || repetition.get(at).is_none_or(|repeats| *repeats == 0);
                match (begins, cells.last_mut()) {
                    // An empty list says something, a null nothing.
                    (true, _) if shape.list && *level == empty => cells.push(Some("[]".to_owned())),
                    (true, _) => cells.push(value),
                    (false, Some(Some(cell))) => {
                        if let Some(value) = value {
                            cell.push('|');
                            cell.push_str(&value);
                        }
                    }
                    (false, _) => {}
                }
            }
        }
    }
    Ok(cells)
}
