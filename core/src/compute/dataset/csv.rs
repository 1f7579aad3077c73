//! A reader of comma-separated values (RFC 4180), one record at a time.
//!
//! Beyond the RFC: lines may end in LF alone, blank lines and a byte-order mark are skipped, spaces
//! around an unquoted field are dropped, and the separator may be a semicolon or a tab.

use super::error::DatasetError;
use alloc::{string::String, vec::Vec};

/// One record; its buffers are reused.
#[derive(Default)]
pub(super) struct Record {
    text: String,
    ends: Vec<usize>,
    /// The line it starts on, from 1.
    pub(super) line: u32,
}

impl Record {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn field(&self, index: usize) -> &str {
        let start = match index.checked_sub(1) {
            None => 0,
            Some(before) => self.ends.get(before).copied().unwrap_or(0),
        };
        let end = self.ends.get(index).copied().unwrap_or(start);
        self.text.get(start..end).unwrap_or("")
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|i| self.field(i))
    }

    fn clear(&mut self, line: u32) {
        self.text.clear();
        self.ends.clear();
        self.line = line;
    }

    fn end_field(&mut self) {
        self.ends.push(self.text.len());
    }
}

/// Reads records from text.
pub(super) struct Reader<'a> {
    rest: &'a str,
    line: u32,
    separator: char,
    fields_max: usize,
}

impl<'a> Reader<'a> {
    /// A reader of `text`. Detects the separator from the first line if none is given.
    pub(super) fn new(
        bytes: &'a [u8],
        separator: Option<char>,
        fields_max: usize,
    ) -> Result<Self, DatasetError> {
        if bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF") || bytes.contains(&0) {
            return Err(DatasetError::Utf16);
        }
        let text = core::str::from_utf8(bytes).map_err(|e| {
            let before = bytes.get(..e.valid_up_to()).unwrap_or_default();
            DatasetError::NotText {
                line: 1 + before.iter().filter(|b| **b == b'\n').count() as u32,
            }
        })?;
        let rest = text.strip_prefix('\u{feff}').unwrap_or(text);
        let first = rest.lines().find(|l| !l.trim().is_empty()).unwrap_or("");
        let guess = || [',', ';', '\t'].into_iter().find(|c| first.contains(*c)).unwrap_or(',');
        Ok(Self { rest, line: 1, separator: separator.unwrap_or_else(guess), fields_max })
    }

    /// Reads the next record; false at the end.
    pub(super) fn read(&mut self, record: &mut Record) -> Result<bool, DatasetError> {
        self.skip_blank_lines();
        record.clear(self.line);
        if self.rest.is_empty() {
            return Ok(false);
        }
        loop {
            if record.len() == self.fields_max {
                return Err(DatasetError::TooMany {
                    what: "columns",
                    found: self.fields_max + 1,
                    max: self.fields_max,
                });
            }
            let unquoted =
                self.rest.trim_start_matches(|c| c == ' ' || (c == '\t' && self.separator != '\t'));
            match unquoted.strip_prefix('"') {
                Some(rest) => {
                    self.rest = rest;
                    self.quoted(record)?;
                }
                None => self.plain(record),
            }
            record.end_field();
            let mut rest = self.rest.chars();
            match rest.next() {
                Some(c) if c == self.separator => self.rest = rest.as_str(),
                _ => break,
            }
        }
        self.end_line();
        Ok(true)
    }

    fn skip_blank_lines(&mut self) {
        while let Some(end) = self.rest.find('\n') {
            if !self.rest.get(..end).is_some_and(|line| line.trim().is_empty()) {
                return;
            }
            self.end_line_at(end);
        }
        if self.rest.trim().is_empty() {
            self.rest = "";
        }
    }

    fn plain(&mut self, record: &mut Record) {
        let end = self.rest.find([self.separator, '\n']).unwrap_or(self.rest.len());
        let (field, rest) = self.rest.split_at(end);
        record.text.push_str(field.trim());
        self.rest = rest;
    }

    /// Reads a field after its opening quotation mark: up to the closing one and any text between
    /// it and the separator.
    fn quoted(&mut self, record: &mut Record) -> Result<(), DatasetError> {
        loop {
            let Some(end) = self.rest.find('"') else {
                return Err(DatasetError::OpenQuote { line: record.line });
            };
            let (part, rest) = self.rest.split_at(end);
            record.text.push_str(part);
            self.line += part.matches('\n').count() as u32;
            let rest = rest.get(1..).unwrap_or("");
            match rest.strip_prefix('"') {
                Some(escaped) => {
                    record.text.push('"');
                    self.rest = escaped;
                }
                None => {
                    self.rest = rest;
                    self.plain(record);
                    return Ok(());
                }
            }
        }
    }

    fn end_line(&mut self) {
        match self.rest.find('\n') {
            Some(end) => self.end_line_at(end),
            None => self.rest = "",
        }
    }

    fn end_line_at(&mut self, newline: usize) {
        self.rest = self.rest.get(newline + 1..).unwrap_or("");
        self.line += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{string::ToString, vec};
    use proptest::prelude::*;

    fn all(text: &str) -> Vec<(u32, Vec<String>)> {
        let mut reader = Reader::new(text.as_bytes(), None, 100).unwrap();
        let (mut record, mut out) = (Record::default(), Vec::new());
        while reader.read(&mut record).unwrap() {
            out.push((record.line, record.fields().map(ToString::to_string).collect()));
        }
        out
    }

    fn row(line: u32, fields: &[&str]) -> (u32, Vec<String>) {
        (line, fields.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn reads_plain_and_quoted_fields_and_skips_blank_lines() {
        assert_eq!(
            all("a,b\n1, 2 \n\n3,4"),
            [row(1, &["a", "b"]), row(2, &["1", "2"]), row(4, &["3", "4"])]
        );
        assert_eq!(all("\u{feff}a;b\r\n1;2\r\n"), [row(1, &["a", "b"]), row(2, &["1", "2"])]);
        assert_eq!(all("a\tb\n\t2\n"), [row(1, &["a", "b"]), row(2, &["", "2"])]);
        assert_eq!(
            all("\"a,\"\"b\"\"\nc\",d\ne,\n"),
            [row(1, &["a,\"b\"\nc", "d"]), row(3, &["e", ""])]
        );
        assert_eq!(all(" \n\n"), vec![]);
        assert_eq!(all("x"), [row(1, &["x"])]);
    }

    #[test]
    fn refuses_open_quotations_too_many_fields_and_invalid_utf_8() {
        let mut record = Record::default();
        let error = |bytes: &[u8]| {
            let mut record = Record::default();
            Reader::new(bytes, None, 2).and_then(|mut r| r.read(&mut record)).unwrap_err()
        };
        assert_eq!(error(b"a,\"b\n"), DatasetError::OpenQuote { line: 1 });
        assert!(matches!(error(b"a,b,c\n"), DatasetError::TooMany { .. }));
        assert_eq!(error(b"a\nb\n\xE9"), DatasetError::NotText { line: 3 });
        assert_eq!(error(b"\xFF\xFEa\0\n\0"), DatasetError::Utf16);
        assert_eq!(error(b"a\0\n\0"), DatasetError::Utf16, "without a byte-order mark");
        assert!(!Reader::new(b"", None, 2).unwrap().read(&mut record).unwrap());
    }

    proptest! {
        #[test]
        fn any_text_is_read_to_its_end(text in "[a,;\"\t\r\n 1é]{0,60}") {
            let mut reader = Reader::new(text.as_bytes(), None, 8).unwrap();
            let mut record = Record::default();
            for _ in 0..=text.len() {
                match reader.read(&mut record) {
                    Ok(true) => prop_assert!(record.len() > 0),
                    _ => return Ok(()),
                }
            }
            prop_assert!(false, "the reader does not continue");
        }
    }
}
