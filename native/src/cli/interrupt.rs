//! Ctrl-C while a command waits for a job: the command ends, and says that the job does not.

use super::{Json, say};
use serde_json::{Value, json};
use std::{
    path::Path,
    sync::{Mutex, Once, PoisonError},
};

/// Exit code of a command that Ctrl-C has ended: 128 and the number of SIGINT.
const INTERRUPTED: i32 = 130;

/// What goes on when the command ends.
struct Remaining {
    event: Value,
    text: String,
    json: Json,
}

static REMAINING: Mutex<Option<Remaining>> = Mutex::new(None);
static START: Once = Once::new();

/// While it lives, Ctrl-C says what goes on.
#[derive(Debug)]
#[must_use]
pub struct Waiting(());

impl Drop for Waiting {
    fn drop(&mut self) {
        *REMAINING.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// The command waits for a job.
pub fn waiting_for_job(dir: &Path, id: &str, json: Json) -> Waiting {
    let dir = dir.display();
    waiting(Remaining {
        event: json!({"event": "interrupted", "job": id, "goes_on": true}),
        text: format!(
            "interrupted: job {id} goes on\nfollow it: tequio job watch --dir {dir} {id}\ngive it up: tequio job cancel --dir \
             {dir} {id}"
        ),
        json,
    })
}

/// The command waits for a queued write.
pub fn waiting_for_write(dir: &Path, number: u64, json: Json) -> Waiting {
    waiting(Remaining {
        event: json!({"event": "interrupted", "queued": number, "goes_on": true}),
        text: format!(
            "interrupted: write {number} stays queued, and the node sends it when there is a quorum\nsee what becomes of it: \
             tequio job list --dir {}",
            dir.display()
        ),
        json,
    })
}

fn waiting(remaining: Remaining) -> Waiting {
    *REMAINING.lock().unwrap_or_else(PoisonError::into_inner) = Some(remaining);
    START.call_once(listen);
    Waiting(())
}

/// Takes SIGINT on a thread of its own. Without one the signal's default ends the command,
/// silently.
fn listen() {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else {
        return;
    };
    let entered = runtime.enter();
    let Ok(mut interrupt) =
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())
    else {
        return;
    };
    drop(entered);
    std::thread::spawn(move || {
        runtime.block_on(interrupt.recv());
        let remaining = REMAINING.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Remaining { event, text, json }) = remaining {
            say(json, &event, || text);
        }
        std::process::exit(INTERRUPTED);
    });
}
