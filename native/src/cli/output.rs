//! Output of the commands: text, or JSON.

use super::options::Json;
use std::{
    io::{self, ErrorKind, Write as _},
    sync::atomic::{AtomicBool, Ordering},
};

/// Whether output was lost for a reason other than a closed pipe.
static IS_OUTPUT_LOST: AtomicBool = AtomicBool::new(false);

/// Prints text, or with `--json` an object, as a line. Returns false if writing failed.
pub fn print(json: Json, object: &serde_json::Value, text: impl FnOnce() -> String) -> bool {
    let line = if json.json { object.to_string() } else { text() };
    let mut out = io::stdout().lock();
    let written = writeln!(out, "{line}").and_then(|()| out.flush());
    if let Some(error) =
        written.as_ref().err().filter(|error| error.kind() != ErrorKind::BrokenPipe)
        && !IS_OUTPUT_LOST.swap(true, Ordering::Relaxed)
    {
        eprintln!(
            "error: cannot write to standard output: {error}; check the disk or the program that \
             it leads to"
        );
    }
    written.is_ok()
}

/// Whether no output was lost. A closed pipe does not count: its reader has finished.
pub fn is_output_whole() -> bool {
    !IS_OUTPUT_LOST.load(Ordering::Relaxed)
}
