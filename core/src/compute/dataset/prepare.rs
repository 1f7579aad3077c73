//! Prepares a [`Dataset`] from the text of a CSV: finds the class column and the classes, selects
//! the test rows, and scales numbers to int8.

use super::{
    csv::{Reader, Record},
    error::DatasetError,
    normalizer::{Moments, Normalizer, Scaling},
    samples::Samples,
    table::{Dataset, Name},
};
use crate::{
    codec::BoundedVec,
    compute::{
        limits::{
            CLASSES_MAX, CSV_BYTES_MAX, DATASET_BYTES_MAX, FEATURES_MAX, ROWS_MAX, VALUES_MAX,
        },
        prng::{self, Purpose},
    },
};
use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
    vec,
    vec::Vec,
};

/// Fewest columns that can be an image's pixels.
pub const PIXELS_MIN: usize = 16;
/// Most columns of a table: a model's features, a label, and as many again that are skipped.
const FIELDS_MAX: usize = 2 * (FEATURES_MAX as usize + 1);
/// Fewest columns of a header of positions (`0,1,2,…`), which programs write for tables without
/// names. Shorter lines of this form may be rows.
const POSITIONS_MIN: usize = 4;
/// Most characters of a field that an error repeats.
const QUOTED_CHARS_MAX: usize = 40;

/// The column that holds the class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label<'a> {
    /// The column of this name; without a header, names are positions from 0.
    Name(&'a str),
    /// The column at this position, from 0.
    Index(u32),
    /// The last column.
    Last,
}

impl<'a> Label<'a> {
    /// Resolves the text of a person: a name, a position from 0, or `-1` for the last column. Names
    /// win.
    fn resolve(self, names: &[String]) -> Result<usize, DatasetError> {
        let missing = |label: &str| DatasetError::MissingLabel {
            label: excerpt(label),
            columns: listing(names),
        };
        match self {
            Self::Last => names.len().checked_sub(1).ok_or(DatasetError::Empty),
            Self::Index(index) if (index as usize) < names.len() => Ok(index as usize),
            Self::Index(index) => Err(missing(&index.to_string())),
            Self::Name(name) => {
                let mut found = names.iter().enumerate().filter(|(_, n)| *n == name.trim());
                match (found.next(), found.count()) {
                    (Some((index, _)), 0) => Ok(index),
                    (Some(_), more) => {
                        Err(DatasetError::AmbiguousLabel { label: excerpt(name), count: more + 1 })
                    }
                    (None, _) => match name.trim() {
                        "-1" => Self::Last.resolve(names),
                        digits => match digits.parse::<u32>() {
                            Ok(index) if (index as usize) < names.len() => Ok(index as usize),
                            _ => Err(missing(name)),
                        },
                    },
                }
            }
        }
    }
}

/// Options for reading a CSV.
#[derive(Clone, Copy, Debug)]
pub struct CsvOptions<'a> {
    /// Whether the first line names the columns.
    pub header: bool,
    /// Whether to refuse a header that has a name twice, or looks like a row. Off where a data set
    /// that an earlier version has accepted is prepared again.
    pub check_header: bool,
    /// The column that holds the class.
    pub label: Label<'a>,
    /// The separator of fields; detected if none is given.
    pub separator: Option<char>,
    /// The values that are scaled together. By default [`Scaling::Global`] for tables that look
    /// like pixels (at least [`PIXELS_MIN`] columns of whole numbers from 0 to 255), else
    /// [`Scaling::PerColumn`].
    pub scaling: Option<Scaling>,
    /// Seed of the split into training and test rows.
    pub seed: u32,
}

impl<'a> CsvOptions<'a> {
    /// Options with a header and seed 0; the rest is detected from the table.
    pub fn new(label: Label<'a>) -> Self {
        Self { header: true, check_header: true, label, separator: None, scaling: None, seed: 0 }
    }
}

/// Numbers and class names, in file order.
struct Table {
    columns: Vec<String>,
    label: String,
    values: Vec<f64>,
    /// For each row, its index in `names`.
    classes: Vec<u32>,
    /// Class names in order of first appearance.
    names: Vec<String>,
}

impl Table {
    fn guess_scaling(&self) -> Scaling {
        let pixel = |x: &f64| (0.0..=255.0).contains(x) && libm::floor(*x) == *x;
        if self.columns.len() >= PIXELS_MIN && self.values.iter().all(pixel) {
            Scaling::Global
        } else {
            Scaling::PerColumn
        }
    }
}

/// Reads, splits and scales a table.
pub fn prepare(csv: &[u8], options: &CsvOptions<'_>) -> Result<Dataset, DatasetError> {
    let table = read(csv, options)?;
    let (order, labels) = number_classes(&table)?;
    let is_test = split(&labels, order.len(), options.seed);
    let width = table.columns.len();
    let pick = |test: bool| {
        let rows = table.values.chunks_exact(width).zip(&labels).zip(&is_test);
        rows.filter(move |(_, t)| **t == test).map(|(row, _)| row)
    };
    let scaling = options.scaling.unwrap_or_else(|| table.guess_scaling());
    let normalizer = scale(&table, scaling, || pick(false).map(|(row, _)| row))?;
    let samples = |test: bool| {
        let (mut values, mut classes) = (Vec::new(), Vec::new());
        for (row, class) in pick(test) {
            values.extend(normalizer.apply(row).unwrap_or_default());
            classes.push(*class);
        }
        Samples::new(width as u32, values, classes)
    };
    let too_large = || DatasetError::DataTooLarge { found: table.values.len() + labels.len() };
    let dataset = Dataset {
        train: samples(false).map_err(|_| too_large())?,
        test: samples(true).map_err(|_| too_large())?,
        columns: BoundedVec::truncated(
            table
                .columns
                .iter()
                .enumerate()
                .map(|(i, n)| name(n, 1, i))
                .collect::<Result<Vec<_>, _>>()?,
        ),
        label: name(&table.label, 1, width)?,
        classes: BoundedVec::truncated(
            order.iter().map(|n| name(n, 1, width)).collect::<Result<Vec<_>, _>>()?,
        ),
        normalizer,
        seed: options.seed,
    };
    match dataset.encoded_len() {
        found if found > DATASET_BYTES_MAX => Err(DatasetError::DataTooLarge { found }),
        _ => Ok(dataset),
    }
}

fn read(csv: &[u8], options: &CsvOptions<'_>) -> Result<Table, DatasetError> {
    if csv.len() > CSV_BYTES_MAX {
        return Err(DatasetError::FileTooLarge { found: csv.len() });
    }
    let mut reader = Reader::new(csv, options.separator, FEATURES_MAX as usize + 1)?;
    let mut record = Record::default();
    if !reader.read(&mut record)? {
        return Err(DatasetError::Empty);
    }
    let mut columns: Vec<String> = if options.header {
        record.fields().map(String::from).collect()
    } else {
        (0..record.len()).map(|i| i.to_string()).collect()
    };
    for (i, column) in columns.iter().enumerate() {
        name(column, record.line, i)?;
    }
    if options.header && options.check_header {
        check_header(&columns)?;
    }
    let label = options.label.resolve(&columns)?;
    let fields = columns.len();
    if fields == 1 {
        return Err(DatasetError::NoFeatures);
    }
    if options.header && !reader.read(&mut record)? {
        return Err(DatasetError::NoRows);
    }
    let (mut values, mut classes, mut names) = (Vec::new(), Vec::new(), BTreeMap::new());
    loop {
        if record.len() != fields {
            return Err(DatasetError::UnequalRow {
                line: record.line,
                found: record.len(),
                expected: fields,
            });
        }
        if classes.len() == ROWS_MAX {
            return Err(DatasetError::TooMany { what: "rows", found: ROWS_MAX + 1, max: ROWS_MAX });
        }
        if values.len() + fields > VALUES_MAX {
            return Err(DatasetError::DataTooLarge { found: values.len() + fields });
        }
        for (i, text) in record.fields().enumerate().filter(|(i, _)| *i != label) {
            values.push(number(text, record.line, i, &columns)?);
        }
        classes.push(class(record.field(label), record.line, label, &columns, &mut names)?);
        if !reader.read(&mut record)? {
            break;
        }
    }
    let label = columns.remove(label);
    let mut first_seen: Vec<(u32, String)> =
        names.into_iter().map(|(name, number)| (number, name)).collect();
    first_seen.sort_unstable();
    Ok(Table {
        columns,
        label,
        values,
        classes,
        names: first_seen.into_iter().map(|(_, name)| name).collect(),
    })
}

/// Refuses names by which columns cannot be told apart, and a first line that is probably a row.
fn check_header(names: &[String]) -> Result<(), DatasetError> {
    if looks_like_row(names) {
        return Err(DatasetError::NumericHeader { columns: listing(names) });
    }
    match duplicate(names.iter().map(String::as_str)) {
        None => Ok(()),
        Some((name, count)) => Err(DatasetError::DuplicateColumn { name: excerpt(name), count }),
    }
}

/// Whether all names are numbers, but not the columns' positions. Names such as years are accepted
/// beside a label with a name.
fn looks_like_row(names: &[String]) -> bool {
    let is_position = |(index, name): (usize, &String)| *name == index.to_string();
    let are_positions = names.len() >= POSITIONS_MIN && names.iter().enumerate().all(is_position);
    !are_positions && names.iter().all(|name| name.parse::<f64>().is_ok_and(f64::is_finite))
}

/// The first name that occurs more than once, and how often.
fn duplicate<'a>(names: impl Iterator<Item = &'a str>) -> Option<(&'a str, usize)> {
    let mut counts = BTreeMap::new();
    let mut first = None;
    for name in names {
        let count = counts.entry(name).or_insert(0usize);
        *count += 1;
        if *count == 2 {
            first.get_or_insert(name);
        }
    }
    first.map(|name| (name, counts.get(name).copied().unwrap_or_default()))
}

/// Reads rows for inference with a model. The model's columns are found by their names, in any
/// order, and other columns are skipped. Without a header, names are positions from 0. All classes
/// are 0, because none is known.
pub fn read_batch(
    csv: &[u8],
    header: bool,
    separator: Option<char>,
    columns: &[impl AsRef<str>],
    normalizer: &Normalizer,
) -> Result<Samples, DatasetError> {
    if csv.len() > CSV_BYTES_MAX {
        return Err(DatasetError::FileTooLarge { found: csv.len() });
    }
    let mut reader = Reader::new(csv, separator, FIELDS_MAX)?;
    let mut record = Record::default();
    if !reader.read(&mut record)? {
        return Err(DatasetError::Empty);
    }
    let names: Vec<String> = match header {
        true => record.fields().map(String::from).collect(),
        false => (0..record.len()).map(|i| i.to_string()).collect(),
    };
    if let Some((name, count)) = duplicate(columns.iter().map(AsRef::as_ref)) {
        return Err(DatasetError::DuplicateModelColumn { name: excerpt(name), count });
    }
    let find = |wanted: &str| match names.iter().filter(|n| n.as_str() == wanted).count() {
        1 => Ok(names.iter().position(|n| n == wanted).unwrap_or_default()),
        0 if header && looks_like_row(&names) => {
            Err(DatasetError::NumericHeader { columns: listing(&names) })
        }
        0 => Err(DatasetError::MissingColumn { name: excerpt(wanted), columns: listing(&names) }),
        count => Err(DatasetError::AmbiguousColumn { name: excerpt(wanted), count }),
    };
    let indices = columns.iter().map(|c| find(c.as_ref())).collect::<Result<Vec<_>, _>>()?;
    if header && !reader.read(&mut record)? {
        return Err(DatasetError::NoRows);
    }
    let (mut values, mut rows) = (Vec::new(), 0);
    loop {
        if record.len() != names.len() {
            return Err(DatasetError::UnequalRow {
                line: record.line,
                found: record.len(),
                expected: names.len(),
            });
        }
        if rows == ROWS_MAX || values.len() + indices.len() > VALUES_MAX {
            return Err(DatasetError::TooMany { what: "rows", found: rows + 1, max: rows });
        }
        let numbers = indices.iter().map(|i| number(record.field(*i), record.line, *i, &names));
        let numbers = numbers.collect::<Result<Vec<_>, _>>()?;
        values.extend(normalizer.apply(&numbers).map_err(|_| DatasetError::OtherModel)?);
        rows += 1;
        if !reader.read(&mut record)? {
            break;
        }
    }
    Samples::new(indices.len() as u32, values, vec![0; rows]).map_err(|_| DatasetError::OtherModel)
}

fn number(text: &str, line: u32, index: usize, columns: &[String]) -> Result<f64, DatasetError> {
    let column = index as u32 + 1;
    let name = || columns.get(index).map(|n| excerpt(n)).unwrap_or_default();
    match text.parse::<f64>() {
        Ok(x) if x.is_finite() => Ok(x),
        Ok(_) => Err(DatasetError::NotFinite { line, column, name: name(), text: excerpt(text) }),
        Err(_) => Err(DatasetError::NotANumber { line, column, name: name(), text: excerpt(text) }),
    }
}

/// The number of a class in order of first appearance.
fn class(
    text: &str,
    line: u32,
    index: usize,
    columns: &[String],
    names: &mut BTreeMap<String, u32>,
) -> Result<u32, DatasetError> {
    if let Some(number) = names.get(text) {
        return Ok(*number);
    }
    let label = || columns.get(index).map(|n| excerpt(n)).unwrap_or_default();
    if text.is_empty() {
        return Err(DatasetError::NoClass { line, column: index as u32 + 1, name: label() });
    }
    name(text, line, index)?;
    let number = names.len() as u32;
    if number == CLASSES_MAX {
        return Err(DatasetError::TooManyClasses { label: label() });
    }
    names.insert(text.to_string(), number);
    Ok(number)
}

/// Class names in their final order, and each row's class number.
fn number_classes(table: &Table) -> Result<(Vec<&str>, Vec<u8>), DatasetError> {
    if let [only] = table.names.as_slice() {
        return Err(DatasetError::OneClass { class: excerpt(only) });
    }
    let value = |name: &str| name.parse::<f64>().ok().filter(|x| x.is_finite());
    let mut order: Vec<(u32, &str)> =
        (0u32..).zip(table.names.iter().map(String::as_str)).collect();
    if order.iter().all(|(_, name)| value(name).is_some()) {
        // Names that denote one number, such as 1 and 1.0, are two classes, in the order of their
        // bytes.
        let numeric = |name: &str| value(name).unwrap_or(0.0);
        order.sort_by(|(_, a), (_, b)| {
            numeric(a)
                .partial_cmp(&numeric(b))
                .unwrap_or(core::cmp::Ordering::Equal)
                .then_with(|| a.cmp(b))
        });
    } else {
        order.sort_unstable_by_key(|(_, name)| *name);
    }
    let mut numbers = vec![0u8; order.len()];
    for (number, (seen, _)) in (0u8..).zip(&order) {
        numbers[*seen as usize] = number;
    }
    let labels =
        table.classes.iter().filter_map(|seen| numbers.get(*seen as usize).copied()).collect();
    Ok((order.into_iter().map(|(_, name)| name).collect(), labels))
}

/// Selects the test rows: of each class, the first fifth in a pseudo-random order.
fn split(labels: &[u8], classes: usize, seed: u32) -> Vec<bool> {
    let mut members = vec![Vec::new(); classes];
    for (row, class) in labels.iter().enumerate() {
        members[usize::from(*class)].push(row);
    }
    let mut is_test = vec![false; labels.len()];
    for (class, rows) in (0u32..).zip(&members) {
        let key = prng::key(&[seed, Purpose::Split as u32, class]);
        for index in prng::permutation(key, rows.len() as u32).into_iter().take(rows.len() / 5) {
            is_test[rows[index as usize]] = true;
        }
    }
    is_test
}

fn scale<'a, I: Iterator<Item = &'a [f64]>>(
    table: &Table,
    scaling: Scaling,
    rows: impl Fn() -> I,
) -> Result<Normalizer, DatasetError> {
    let overflow = |name: &str| DatasetError::Overflow { name: excerpt(name) };
    let moments = match scaling {
        Scaling::Global => {
            vec![Moments::of(|| rows().flatten().copied()).ok_or_else(|| overflow("all"))?]
        }
        Scaling::PerColumn => table
            .columns
            .iter()
            .enumerate()
            .map(|(i, name)| {
                Moments::of(|| rows().filter_map(move |row| row.get(i).copied()))
                    .ok_or_else(|| overflow(name))
            })
            .collect::<Result<_, _>>()?,
    };
    Normalizer::new(scaling, moments).ok_or_else(|| overflow("all"))
}

fn name(text: &str, line: u32, index: usize) -> Result<Name, DatasetError> {
    Name::try_from(text).map_err(|_| DatasetError::NameTooLong {
        line,
        column: index as u32 + 1,
        found: text.len(),
    })
}

fn excerpt(text: &str) -> String {
    text.chars().take(QUOTED_CHARS_MAX).collect()
}

/// Lists the first columns, for an error.
fn listing(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(12).map(|n| excerpt(n)).collect();
    let more = if names.len() > shown.len() { ", …" } else { "" };
    shown.join(", ") + more
}
