//! Whether the processors of this host are wanted by more than they can serve. Linux counts how
//! long some task has waited for one (*pressure stall information*,
//! Documentation/accounting/psi.rst of the kernel); where nothing is counted, nothing is known.

use std::{
    cell::Cell,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

const FILE: &str = "/proc/pressure/cpu";
/// How long a verdict holds at least.
const WINDOW: Duration = Duration::from_secs(1);
/// Some task has waited for a processor in at least this share of the time.
const HIGH: f64 = 0.5;

/// See the module's documentation.
#[derive(Debug)]
pub struct Pressure {
    file: PathBuf,
    last: Cell<(Instant, Option<u64>)>,
    is_high: Cell<bool>,
}

impl Default for Pressure {
    fn default() -> Self {
        Self::of(FILE.into(), Instant::now())
    }
}

impl Pressure {
    /// As this file counts it, from now on.
    fn of(file: PathBuf, now: Instant) -> Self {
        let last = Cell::new((now, waited_us(&file)));
        Self { file, last, is_high: Cell::new(false) }
    }

    /// Whether it has been high since the last look, a second ago or more, where that is news. At
    /// first it is not high.
    pub fn news(&self) -> Option<bool> {
        let (at, before) = self.last.get();
        if at.elapsed() < WINDOW {
            return None;
        }
        let (now, after) = (Instant::now(), waited_us(&self.file));
        let share = |(before, after): (u64, u64)| {
            after.saturating_sub(before) as f64 / (now - at).as_micros() as f64
        };
        let is_high = before.zip(after).map(share).is_some_and(|share| share >= HIGH);
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
impl Pressure {
    /// As this file counts it, from so long ago that what it says now counts.
    pub fn until_now(file: PathBuf) -> Self {
        Self::of(file, Instant::now().checked_sub(WINDOW).unwrap())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_high_where_some_task_has_waited_for_most_of_the_time_and_said_when_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cpu");
        let say = |total_us: u64| {
            fs::write(&file, format!("some avg10=0.00 total={total_us}\n")).unwrap()
        };
        say(7);
        let looked =
            |pressure: &Pressure, at: Instant| pressure.last.set((at, pressure.last.get().1));
        let long_ago =
            |pressure: &Pressure| looked(pressure, Instant::now().checked_sub(WINDOW).unwrap());
        // So that no pause of this test is a second long.
        let just_now = |pressure: &Pressure| looked(pressure, Instant::now() + WINDOW * 60);
        let pressure = Pressure::of(file.clone(), Instant::now());
        just_now(&pressure);
        // More than any time that this test takes.
        say(1_000_000_000_000);
        assert_eq!(pressure.news(), None, "nothing is looked at within a second");
        let pressure = Pressure::until_now(file.clone());
        assert_eq!(pressure.news(), None, "nobody has waited since");
        say(2_000_000_000_000);
        long_ago(&pressure);
        assert_eq!(pressure.news(), Some(true));
        assert_eq!(pressure.last.get().1, Some(2_000_000_000_000), "the next look begins here");
        just_now(&pressure);
        assert_eq!(pressure.news(), None, "it is not high for so long yet");
        say(3_000_000_000_000);
        long_ago(&pressure);
        assert_eq!(pressure.news(), None, "it is high still");
        long_ago(&pressure);
        assert_eq!(pressure.news(), Some(false));
        say(4_000_000_000_000);
        long_ago(&pressure);
        assert_eq!(pressure.news(), Some(true));
        fs::remove_file(&file).unwrap();
        long_ago(&pressure);
        assert_eq!(pressure.news(), Some(false), "nothing is known");
    }

    /// Where the kernel counts.
    #[test]
    fn what_linux_says_is_read() {
        let is_counted = fs::read_to_string("/proc/pressure/cpu").is_ok();
        assert_eq!(Pressure::default().last.get().1.is_some(), is_counted);
    }

    #[test]
    fn reads_how_long_some_task_has_waited() {
        let text = "some avg10=25.73 avg60=46.09 avg300=45.42 total=16724725553\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        assert_eq!(total_us(text), Some(16_724_725_553));
        assert_eq!(total_us("full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"), None);
        assert_eq!(total_us("some avg10=0.00 total=much\n"), None);
        assert_eq!(total_us(""), None);
    }
}
