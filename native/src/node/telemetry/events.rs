//! Events for people, such as refused results. The newest few hundred are kept in memory.

use crate::node::machine::now_ms;
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tequio_core::{
    types::TimeMs,
    wire::light::{Event, LIST_MAX},
};

/// Number of events that are kept.
const EVENTS_MAX: usize = 512;

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
        if log.events.len() > EVENTS_MAX {
            log.events.pop_front();
        }
    }

    /// The oldest events with a number above `after`.
    pub fn after(&self, after: u64) -> Vec<(u64, TimeMs, Event)> {
        self.log().events.iter().filter(|(n, ..)| *n > after).take(LIST_MAX).cloned().collect()
    }

    /// The newest events with a number above `after`, oldest of them first.
    pub fn newest_after(&self, after: u64) -> Vec<(u64, TimeMs, Event)> {
        let log = self.log();
        let above = log.events.iter().filter(|(number, ..)| *number > after);
        above.clone().skip(above.count().saturating_sub(LIST_MAX)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tequio_core::{
        types::{Digest, NodeId},
        wire::work::RejectionKind,
    };

    #[test]
    fn a_reader_without_a_position_gets_the_newest_events() {
        let log = EventLog::default();
        let count = LIST_MAX as u64 + 10;
        for unit in 0..count as u32 {
            let (job, worker, reason) =
                (Digest([1; 32]), NodeId([2; 32]), "late".try_into().unwrap());
            log.push(Event::Rejected {
                job,
                round: 0,
                unit,
                worker,
                kind: RejectionKind::Late,
                reason,
            });
        }
        let numbers =
            |events: Vec<(u64, TimeMs, Event)>| events.iter().map(|e| e.0).collect::<Vec<_>>();
        assert_eq!(numbers(log.newest_after(0)), (11..=count).collect::<Vec<_>>());
        assert_eq!(numbers(log.newest_after(count - 1)), [count]);
        assert_eq!(numbers(log.after(0)), (1..=LIST_MAX as u64).collect::<Vec<_>>());
    }
}
