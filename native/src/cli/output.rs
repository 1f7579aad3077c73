//! Output of the commands: text, or JSON.

use super::options::Json;
use std::{
    ffi::OsString,
    io::{self, ErrorKind, Write as _},
    path::Path,
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

/// A number with its noun: `1 row`, `2 rows`.
pub fn counted(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// The context of a failed write of a file that the command line names.
pub fn cannot_write(path: &Path) -> String {
    format!(
        "cannot write {}: check that the disk has room and that this user may write there, or name \
         another place",
        path.display()
    )
}

/// Prints the error of a command on standard error: as text, or with `--json` as an object.
pub fn print_error(message: &str) {
    match is_json_wanted() {
        true => eprintln!("{}", serde_json::json!({"error": message})),
        false => eprintln!("error: {message}"),
    }
}

/// Whether the arguments or the environment ask for JSON, see [`Json`].
fn is_json_wanted() -> bool {
    let is_on = |value: OsString| {
        let value = value.to_string_lossy().to_lowercase();
        !["", "0", "f", "false", "n", "no", "off"].contains(&value.as_str())
    };
    std::env::args_os().any(|argument| argument == "--json")
        || std::env::var_os("TEQUIO_JSON").is_some_and(is_on)
}

/// Whether no output was lost. A closed pipe does not count: its reader has finished.
pub fn is_output_whole() -> bool {
    !IS_OUTPUT_LOST.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular() {
        assert_eq!([0, 1, 2].map(|number| counted(number, "row")), ["0 rows", "1 row", "2 rows"]);
    }
}
