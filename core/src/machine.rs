//! The one sans-IO shape that every state machine of core has.
//!
//! A driver feeds inputs with the time, drains [`Machine::poll`], performs what comes out, and
//! calls again at [`Machine::deadline`]. There are three drivers: native, browser and simulation.

use crate::types::TimeMs;

/// Knows no socket, clock, disk or thread: time is an argument, effects are outputs.
pub trait Machine {
    /// What can happen to it.
    type Input;
    /// What it wants done, in order.
    type Output;
    /// Faults of the driver and of this node itself; a peer's fault is an output.
    type Error;

    /// Takes one input. A rejected input leaves the state as it was. `now_ms` never goes backwards.
    fn handle(&mut self, now_ms: TimeMs, input: Self::Input) -> Result<(), Self::Error>;

    /// The next thing to do, if any.
    fn poll(&mut self) -> Option<Self::Output>;

    /// When it wants to be called even if nothing happens.
    fn deadline(&self) -> Option<TimeMs>;
}
