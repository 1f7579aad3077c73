//! Whether the processors of this host are wanted by more than they can serve. Linux counts how long some task has waited for one (*pressure
//! stall information*, Documentation/accounting/psi.rst of the kernel); where nothing is counted, nothing is known.

use std::{
    cell::Cell,
    fs,
    time::{Duration, Instant},
};

const FILE: &str = "/proc/pressure/cpu";
/// How long a verdict holds.
const WINDOW: Duration = Duration::from_secs(1);
/// Some task has waited for a processor in at least this share of the time.
const HIGH: f64 = 0.5;

/// See the module's documentation.
#[derive(Debug)]
pub struct Pressure {
    last: Cell<(Instant, Option<u64>)>,
    is_high: Cell<bool>,
}

impl Default for Pressure {
    fn default() -> Self {
        Self { last: Cell::new((Instant::now(), waited_us())), is_high: Cell::new(false) }
    }
}

impl Pressure {
    /// Whether it has been high between the last two looks, which are a second apart or more.
    pub fn is_high(&self) -> bool {
        let (at, before) = self.last.get();
        if at.elapsed() >= WINDOW {
            let (now, after) = (Instant::now(), waited_us());
            let share =
                |(before, after): (u64, u64)| after.saturating_sub(before) as f64 / (now - at).as_micros() as f64;
            self.is_high.set(before.zip(after).map(share).is_some_and(|share| share >= HIGH));
            self.last.set((now, after));
        }
        self.is_high.get()
    }
}

fn waited_us() -> Option<u64> {
    total_us(&fs::read_to_string(FILE).ok()?)
}

/// The total of the line `some`.
fn total_us(text: &str) -> Option<u64> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    some.split(' ').find_map(|field| field.strip_prefix("total="))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_how_long_some_task_has_waited() {
        let text = "some avg10=25.73 avg60=46.09 avg300=45.42 total=16724725553\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        assert_eq!(total_us(text), Some(16_724_725_553));
        assert_eq!(total_us("full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"), None);
        assert_eq!(total_us("some avg10=0.00 total=much\n"), None);
        assert_eq!(total_us(""), None);
    }
}
