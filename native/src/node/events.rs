//! What is worth showing to people: refused results and the like. Kept in memory, the newest few hundred.

use super::machine::now_ms;
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tequio_core::{
    types::TimeMs,
    wire::light::{Event, LIST_MAX},
};

/// Events that are kept.
const KEPT_MAX: usize = 512;

/// Numbered events.
#[derive(Debug, Default)]
pub struct EventLog(Mutex<Log>);

#[derive(Debug, Default)]
struct Log {
    last: u64,
    events: VecDeque<(u64, TimeMs, Event)>,
}

impl EventLog {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an event.
    pub fn push(&self, event: Event) {
        let mut log = self.log();
        log.last += 1;
        let number = log.last;
        log.events.push_back((number, now_ms(), event));
        if log.events.len() > KEPT_MAX {
            log.events.pop_front();
        }
    }

    /// The oldest events with a number above `after`.
    pub fn after(&self, after: u64) -> Vec<(u64, TimeMs, Event)> {
        self.log().events.iter().filter(|(n, ..)| *n > after).take(LIST_MAX).cloned().collect()
    }
}
