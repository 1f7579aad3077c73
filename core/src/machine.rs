//! The sans-IO interface of core's state machines: the replica, a job's coordinator, and the
//! worker.
//!
//! A driver feeds inputs with the time, drains [`Machine::poll`], performs the outputs, and calls
//! again at [`Machine::deadline`]. There are three drivers: native, browser and simulation.

use crate::types::TimeMs;

/// A state machine without socket, clock, disk or thread: time is an argument, effects are outputs.
pub trait Machine {
    /// Events that the machine handles.
    type Input;
    /// Effects that the driver performs, in order.
    type Output;
    /// Faults of the driver and of this node itself; a peer's fault is an output.
    type Error;

    /// Handles one input. A rejected input leaves the state as it was. `now_ms` never goes
    /// backwards.
    fn handle(&mut self, now_ms: TimeMs, input: Self::Input) -> Result<(), Self::Error>;

    /// The next output, if any.
    fn poll(&mut self) -> Option<Self::Output>;

    /// When the driver must call again even if nothing happens.
    fn deadline(&self) -> Option<TimeMs>;
}
