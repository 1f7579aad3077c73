//! Detects whether the tasks of this host contend for its processors. Linux measures how long some
//! task has waited for a processor (*pressure stall information*, Documentation/accounting/psi.rst
//! of the kernel). Without these measurements nothing is reported.

use std::{
    cell::Cell,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

const FILE: &str = "/proc/pressure/cpu";
/// Shortest time between two verdicts.
const WINDOW: Duration = Duration::from_secs(1);
/// Share of the time in which some task waits for a processor, from which the pressure is high.
const HIGH_SHARE: f64 = 0.5;

/// CPU pressure of the host, see the module documentation.
#[derive(Debug)]
pub struct CpuPressure {
    file: PathBuf,
    last: Cell<(Instant, Option<u64>)>,
    is_high: Cell<bool>,
}

impl Default for CpuPressure {
    fn default() -> Self {
        Self::of(FILE.into(), Instant::now())
    }
}

impl CpuPressure {
    /// Measures from now on, by this file.
    fn of(file: PathBuf, now: Instant) -> Self {
        let last = Cell::new((now, waited_us(&file)));
        Self { file, last, is_high: Cell::new(false) }
    }

    /// Whether the pressure has been high since the last verdict, a second ago or more. Returned
    /// only if it has changed; at first it is not high.
    pub fn poll_change(&self) -> Option<bool> {
        let (at, before) = self.last.get();
        if at.elapsed() < WINDOW {
            return None;
        }
        let (now, after) = (Instant::now(), waited_us(&self.file));
        let share = |(before, after): (u64, u64)| {
            after.saturating_sub(before) as f64 / (now - at).as_micros() as f64
        };
        let is_high = before.zip(after).map(share).is_some_and(|share| share >= HIGH_SHARE);
        self.last.set((now, after));
        (self.is_high.replace(is_high) != is_high).then_some(is_high)
    }
}

fn waited_us(file: &Path) -> Option<u64> {
    total_us(&fs::read_to_string(file).ok()?)
}

/// The total of the line `some`.
fn total_us(text: &str) -> Option<u64> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    some.split(' ').find_map(|field| field.strip_prefix("total="))?.parse().ok()
}

#[cfg(test)]
impl CpuPressure {
    /// Measures by this file, from so long ago that the next verdict is due.
    pub fn until_now(file: PathBuf) -> Self {
        Self::of(file, Instant::now().checked_sub(WINDOW).unwrap())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_high_while_some_task_waits_most_of_the_time_and_changes_are_reported_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cpu");
        let write_total = |total_us: u64| {
            fs::write(&file, format!("some avg10=0.00 total={total_us}\n")).unwrap()
        };
        write_total(7);
        let set_last_read =
            |pressure: &CpuPressure, at: Instant| pressure.last.set((at, pressure.last.get().1));
        let long_ago = |pressure: &CpuPressure| {
            set_last_read(pressure, Instant::now().checked_sub(WINDOW).unwrap())
        };
        // In the future, so that no pause of this test makes a verdict due.
        let just_now =
            |pressure: &CpuPressure| set_last_read(pressure, Instant::now() + WINDOW * 60);
        let pressure = CpuPressure::of(file.clone(), Instant::now());
        just_now(&pressure);
        // More than any time that this test takes.
        write_total(1_000_000_000_000);
        assert_eq!(pressure.poll_change(), None, "the file is read at most once a second");
        let pressure = CpuPressure::until_now(file.clone());
        assert_eq!(pressure.poll_change(), None, "no task has waited since");
        write_total(2_000_000_000_000);
        long_ago(&pressure);
        assert_eq!(pressure.poll_change(), Some(true));
        assert_eq!(
            pressure.last.get().1,
            Some(2_000_000_000_000),
            "the next measurement begins here"
        );
        just_now(&pressure);
        assert_eq!(pressure.poll_change(), None, "pressure is not high for long enough");
        write_total(3_000_000_000_000);
        long_ago(&pressure);
        assert_eq!(pressure.poll_change(), None, "pressure stays high");
        long_ago(&pressure);
        assert_eq!(pressure.poll_change(), Some(false));
        write_total(4_000_000_000_000);
        long_ago(&pressure);
        assert_eq!(pressure.poll_change(), Some(true));
        fs::remove_file(&file).unwrap();
        long_ago(&pressure);
        assert_eq!(pressure.poll_change(), Some(false), "nothing is known");
    }

    /// Passes with and without support of the kernel.
    #[test]
    fn reads_the_file_of_linux() {
        let is_counted = fs::read_to_string("/proc/pressure/cpu").is_ok();
        assert_eq!(CpuPressure::default().last.get().1.is_some(), is_counted);
    }

    #[test]
    fn reads_how_long_some_task_has_waited() {
        let text = "some avg10=25.73 avg60=46.09 avg300=45.42 total=16724725553\nfull avg10=0.00 \
                    avg60=0.00 avg300=0.00 total=7\n";
        assert_eq!(total_us(text), Some(16_724_725_553));
        assert_eq!(total_us("full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"), None);
        assert_eq!(total_us("some avg10=0.00 total=much\n"), None);
        assert_eq!(total_us(""), None);
    }
}
