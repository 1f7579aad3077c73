//! Handles Ctrl-C while a command waits for a job: the command ends, and prints that the job
//! continues.

use super::{options::Json, output::print};
use serde_json::{Value, json};
use std::{
    path::Path,
    sync::{Mutex, Once, PoisonError},
};

/// Exit code of a command that Ctrl-C has ended: 128 plus the number of SIGINT.
const INTERRUPTED: i32 = 130;

/// The message about the work that continues after the command ends.
struct PendingNotice {
    event: Value,
    text: String,
    json: Json,
}

static PENDING_NOTICE: Mutex<Option<PendingNotice>> = Mutex::new(None);
static START: Once = Once::new();

/// While the guard exists, Ctrl-C prints what continues.
#[derive(Debug)]
#[must_use]
pub struct InterruptGuard(());

impl Drop for InterruptGuard {
    fn drop(&mut self) {
        *PENDING_NOTICE.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Guards a command that waits for a job.
pub fn waiting_for_job(dir: &Path, id: &str, json: Json) -> InterruptGuard {
    let dir = dir.display();
    waiting(PendingNotice {
        event: json!({"event": "interrupted", "job": id, "goes_on": true}),
        text: format!(
            "interrupted: job {id} goes on\nfollow it: tequio job watch --dir {dir} {id}\ngive it \
             up: tequio job cancel --dir \
             {dir} {id}"
        ),
        json,
    })
}

/// Guards a command that waits for a queued write.
pub fn waiting_for_write(dir: &Path, number: u64, json: Json) -> InterruptGuard {
    waiting(PendingNotice {
        event: json!({"event": "interrupted", "queued": number, "goes_on": true}),
        text: format!(
            "interrupted: write {number} stays queued, and the node sends it when there is a \
             quorum\nsee what becomes of it: \
             tequio job list --dir {}",
            dir.display()
        ),
        json,
    })
}

fn waiting(notice: PendingNotice) -> InterruptGuard {
    *PENDING_NOTICE.lock().unwrap_or_else(PoisonError::into_inner) = Some(notice);
    START.call_once(listen);
    InterruptGuard(())
}

/// Handles SIGINT on a thread. If the thread cannot start, the signal's default action ends the
/// command silently.
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
        let notice = PENDING_NOTICE.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(PendingNotice { event, text, json }) = notice {
            print(json, &event, || text);
        }
        std::process::exit(INTERRUPTED);
    });
}
