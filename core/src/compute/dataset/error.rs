//! Errors in a CSV, with the position that its owner must correct: lines and columns count from 1.

use crate::compute::limits::{CLASSES_MAX, CSV_BYTES_MAX, DATASET_BYTES_MAX, NAME_BYTES_MAX};
use alloc::string::String;

/// The reason why a CSV is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum DatasetError {
    #[error("the file has {found} bytes; at most {CSV_BYTES_MAX} are allowed")]
    FileTooLarge { found: usize },
    #[error("the prepared data would take {found} bytes; at most {DATASET_BYTES_MAX} are allowed")]
    DataTooLarge { found: usize },
    #[error("{what}: {found}, but at most {max} are allowed")]
    TooMany { what: &'static str, found: usize, max: usize },
    #[error(
        "line {line} is not UTF-8 text: save the file as UTF-8 \
         (from Latin-1: iconv -f latin1 -t utf-8 FILE)"
    )]
    NotText { line: u32 },
    #[error("the file is UTF-16 text: save it as UTF-8 (iconv -f utf-16 -t utf-8 FILE)")]
    Utf16,
    #[error("line {line} opens a quotation that never ends")]
    OpenQuote { line: u32 },
    #[error("the file is empty")]
    Empty,
    #[error("the file has a header, but no rows")]
    NoRows,
    #[error(
        "the first line has only numbers ({columns}), so it looks like a row: without a header, \
         submit with --no-header (header=false), otherwise give the columns names"
    )]
    NumericHeader { columns: String },
    #[error(
        "{count} columns have the name {name:?}: give each column a name of its own; if the first \
         line is a row, submit with --no-header (header=false)"
    )]
    DuplicateColumn { name: String, count: usize },
    #[error(
        "the model has {count} columns named {name:?}, so a file's columns cannot be matched with \
         them: train it again with a name of its own for each column"
    )]
    DuplicateModelColumn { name: String, count: usize },
    #[error("no column is named {label:?}; the columns are: {columns}")]
    MissingLabel { label: String, columns: String },
    #[error("{count} columns are named {label:?}; name the label by its position")]
    AmbiguousLabel { label: String, count: usize },
    #[error("the model needs a column named {name:?}; the columns are: {columns}")]
    MissingColumn { name: String, columns: String },
    #[error("{count} columns are named {name:?}, which the model needs")]
    AmbiguousColumn { name: String, count: usize },
    #[error("the rows do not fit the model")]
    OtherModel,
    #[error("there is no column but the label")]
    NoFeatures,
    #[error("line {line} has {found} fields, but the first line has {expected}")]
    UnequalRow { line: u32, found: usize, expected: usize },
    #[error(
        "line {line}, column {column} ({name}): {text:?} is not a number{}",
        hint(*.line, .text)
    )]
    NotANumber { line: u32, column: u32, name: String, text: String },
    #[error("line {line}, column {column} ({name}): {text:?} is not a finite number")]
    NotFinite { line: u32, column: u32, name: String, text: String },
    #[error("line {line} has no class in column {column} ({name})")]
    NoClass { line: u32, column: u32, name: String },
    #[error(
        "line {line}, column {column}: a name of {found} bytes, but at most {NAME_BYTES_MAX} are \
         allowed"
    )]
    NameTooLong { line: u32, column: u32, found: usize },
    #[error("every row has the class {class:?}; at least two classes are needed")]
    OneClass { class: String },
    #[error(
        "there are more than {CLASSES_MAX} classes; is {label:?} really the column of the class?"
    )]
    TooManyClasses { label: String },
    #[error("the numbers of column {name:?} are too large to be averaged")]
    Overflow { name: String },
}

fn hint(line: u32, text: &str) -> &'static str {
    if is_decimal_comma(text) {
        "; decimal commas are not read: write 1.5 for 1,5"
    } else if line == 1 {
        " (is the first line a header?)"
    } else {
        ""
    }
}

fn is_decimal_comma(text: &str) -> bool {
    text.split_once(',').is_some_and(|(whole, fraction)| {
        let whole: String = whole.chars().filter(|c| *c != '.').collect();
        !fraction.is_empty()
            && fraction.bytes().all(|b| b.is_ascii_digit())
            && whole.parse::<i64>().is_ok()
    })
}
