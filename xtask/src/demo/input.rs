//! Reads Enter from standard input in a thread of its own.
//!
//! Standard input may be a terminal, a pipe, a file or nothing at all. A terminal never ends: in
//! the background it gives an error, and Ctrl-D gives an empty read, and more input follows both.
//! Everything else ends once.

use std::{
    io::{self, BufRead, IsTerminal},
    thread,
    time::Duration,
};

use super::event::Event;
use crate::unix;

/// Least interval between two keys, so that an endless pipe does not keep a processor busy.
const INTERVAL: Duration = Duration::from_millis(100);

/// Sends an event for each line, until the receiver of `send` is gone or the input has ended.
pub fn read_keys(send: impl FnMut(Event) -> bool + Send + 'static) {
    unix::fail_background_reads();
    let is_terminal = io::stdin().is_terminal();
    thread::spawn(move || read(io::stdin().lock(), is_terminal, send));
}

fn read(mut input: impl BufRead, is_terminal: bool, mut send: impl FnMut(Event) -> bool) {
    loop {
        // Reads whole buffers, so that a line without an end takes no memory.
        let (read, pressed) = match input.fill_buf() {
            Ok(bytes) => (bytes.len(), bytes.contains(&b'\n')),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => (0, false),
        };
        input.consume(read);
        if read == 0 && !is_terminal {
            send(Event::KeysEnded);
            return;
        }
        if pressed && !send(Event::Key) {
            return;
        }
        thread::sleep(INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(input: impl BufRead, is_terminal: bool, most: usize) -> Vec<Event> {
        let mut events = Vec::new();
        read(input, is_terminal, |event| {
            events.push(event);
            events.len() < most
        });
        events
    }

    #[test]
    fn a_pipe_gives_its_lines_and_ends_once() {
        assert!(matches!(events(&b""[..], false, 9)[..], [Event::KeysEnded]));
        assert!(matches!(events(&b"\n"[..], false, 9)[..], [Event::Key, Event::KeysEnded]));
        assert!(matches!(events(&b"no line"[..], false, 9)[..], [Event::KeysEnded]));
    }

    /// Empty reads and errors between two keys, as from a terminal in the background.
    struct Terminal(Vec<Option<&'static [u8]>>);

    impl io::Read for Terminal {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let mut bytes =
                self.0.remove(0).ok_or_else(|| io::Error::other("in the background"))?;
            bytes.read(buffer)
        }
    }

    #[test]
    fn a_terminal_is_read_again_after_an_error_or_an_empty_read() {
        let terminal = Terminal(vec![Some(b"\n"), Some(b""), None, Some(b"\n")]);
        assert!(matches!(
            events(io::BufReader::new(terminal), true, 2)[..],
            [Event::Key, Event::Key]
        ));
    }
}
