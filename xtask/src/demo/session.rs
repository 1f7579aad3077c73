//! The interactive demo as a state machine without processes and without a clock: its inputs are
//! events, its outputs are lines for the person and trainings to start.
//!
//! | state | ends with |
//! |---|---|
//! | `Waiting` | Enter, or the end of the countdown, which the first tab shortens: `Training` |
//! | `Training` | the end of the job's process, whether it has failed or not: `Idle` |
//! | `Idle` | Enter: `Training`. A new tab, if no browser took part yet or keys ended: `Waiting` |
//!
//! A tab counts from the opening of the page; its person then reads before pressing the button.
//!
//! The session never ends by itself: only the person ends the demo.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::outcome::Outcome;
use crate::progress::Clock;

/// How long the first training waits for a tab.
pub const COUNTDOWN: Duration = Duration::from_secs(60);
/// How long a person has to read the page and to join before a training starts.
const READING_TIME: Duration = Duration::from_secs(15);
/// Seconds left at which the countdown is printed.
const ANNOUNCED_AT_S: [u64; 6] = [60, 45, 30, 15, 10, 5];
/// The least time between two lines of progress.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// Inputs of the [`Session`].
#[derive(Debug)]
pub enum Input {
    /// This many browsers are connected to the relay.
    Browsers(u64),
    /// Enter was pressed.
    Key,
    /// Standard input has ended, so Enter cannot be pressed again.
    KeysEnded,
    /// A line of the running job.
    Job(Value),
    /// The running job's process has ended, with the reason if it failed.
    JobEnded(Result<(), String>),
    /// The deadline has passed.
    Tick,
}

/// Outputs of the [`Session`].
#[derive(Debug)]
pub enum Output {
    /// Print this for the person.
    Print(String),
    /// Start a training; the first has number 1.
    Train(u32),
    /// A model is committed.
    Trained(Box<Outcome>),
}

enum State {
    Waiting { until: Instant, has_tab: bool },
    Training { began: Instant, record: Option<Value>, printed: Instant },
    Idle,
}

/// The demo's state machine.
pub struct Session {
    state: State,
    /// Trainings begun.
    trainings: u32,
    browsers: u64,
    has_keys: bool,
    /// Whether a browser has taken part in any training.
    browsers_took_part: bool,
    validators: Vec<String>,
    outbox: VecDeque<Output>,
}

impl Session {
    /// Creates a session that waits for the first tab.
    pub fn new(now: Instant, validators: Vec<String>) -> Self {
        let mut session = Self {
            state: State::Waiting { until: now + COUNTDOWN, has_tab: false },
            trainings: 0,
            browsers: 0,
            has_keys: true,
            browsers_took_part: false,
            validators,
            outbox: VecDeque::new(),
        };
        session.count_down(COUNTDOWN);
        session
    }

    /// Handles one input.
    pub fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Browsers(browsers) => self.on_browsers(now, browsers),
            Input::Key => match self.state {
                State::Training { .. } => {
                    self.print("  a training is running; Enter starts another when it is over")
                }
                State::Waiting { .. } | State::Idle => self.train(now),
            },
            Input::KeysEnded => self.has_keys = false,
            Input::Job(line) => self.on_job_line(now, line),
            Input::JobEnded(ended) => self.on_job_ended(now, ended),
            Input::Tick => self.on_tick(now),
        }
    }

    /// Returns the next output.
    pub fn poll(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// Returns the time at which to send [`Input::Tick`].
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let State::Waiting { until, .. } = self.state else { return None };
        let next =
            ANNOUNCED_AT_S.into_iter().map(Duration::from_secs).find(|left| now + *left < until);
        Some(next.map_or(until, |left| until - left))
    }

    fn on_browsers(&mut self, now: Instant, browsers: u64) {
        let joined = browsers > self.browsers;
        self.browsers = browsers;
        let tabs = if browsers == 1 {
            "1 browser tab is".into()
        } else {
            format!("{browsers} browser tabs are")
        };
        self.print(&format!("  {tabs} in the network"));
        let until = match self.state {
            State::Waiting { until, has_tab: false } if joined => until.min(now + READING_TIME),
            State::Idle if joined && !(self.has_keys && self.browsers_took_part) => {
                now + READING_TIME
            }
            _ => return,
        };
        self.state = State::Waiting { until, has_tab: true };
        self.count_down(until.saturating_duration_since(now));
    }

    fn on_tick(&mut self, now: Instant) {
        let State::Waiting { until, has_tab } = self.state else { return };
        match until.saturating_duration_since(now) {
            Duration::ZERO => {
                if !has_tab {
                    self.print(
                        "  no tab has opened the page; the four validators begin, and a tab that \
                         joins takes part",
                    );
                }
                self.train(now);
            }
            left => self.count_down(left),
        }
    }

    fn count_down(&mut self, left: Duration) {
        let seconds = left.as_secs_f64().round();
        let reading = READING_TIME.as_secs();
        let enter = if self.has_keys { "when Enter is pressed, or " } else { "" };
        let start = match self.state {
            State::Waiting { has_tab: true, .. } => {
                format!("press “Join and compute” there; training starts {enter}")
            }
            _ => {
                let or = if self.has_keys { enter } else { "or " };
                format!("training starts {reading} s after a tab has opened the page, {or}")
            }
        };
        self.print(&format!("  {start}in {seconds} s"));
    }

    fn train(&mut self, now: Instant) {
        self.trainings += 1;
        self.state = State::Training { began: now, record: None, printed: now };
        self.print(&format!("training {}", self.trainings));
        self.outbox.push_back(Output::Train(self.trainings));
    }

    fn on_job_line(&mut self, now: Instant, line: Value) {
        let State::Training { began, record, printed } = &mut self.state else { return };
        let elapsed = Clock(now.saturating_duration_since(*began)).to_string();
        match line["event"].as_str() {
            Some("round") => {
                let is_last = line["round"] == line["rounds"];
                if !is_last && now < *printed + PROGRESS_INTERVAL {
                    return;
                }
                *printed = now;
                let accuracy = line["accuracy"].as_f64().unwrap_or_default() * 100.0;
                let browsers = self.browsers;
                self.print(&format!(
                    "  {elapsed:>6}  round {} of {}: {accuracy:.1} % of unseen digits right; \
                     browser tabs connected: {browsers}",
                    line["round"], line["rounds"],
                ));
            }
            Some("pending") => {
                self.print(&format!("  {elapsed:>6}  trained; auditors recompute it"))
            }
            Some("final") => *record = Some(line),
            _ => {}
        }
    }

    fn on_job_ended(&mut self, now: Instant, ended: Result<(), String>) {
        let State::Training { began, record, .. } = &mut self.state else { return };
        let (record, seconds) =
            (record.take(), now.saturating_duration_since(*began).as_secs_f64());
        self.state = State::Idle;
        let outcome = match (record, ended) {
            (Some(record), _) => Outcome::from_record(&record, &self.validators)
                .map_err(|error| format!("{error:#}")),
            (None, Err(reason)) => Err(reason),
            (None, Ok(())) => Err("its process ended before the model was final".into()),
        };
        match outcome {
            Ok(mut outcome) => {
                outcome.seconds = seconds;
                self.browsers_took_part |= outcome.with_browsers();
                self.print(&format!("\n{}", outcome.summary()));
                self.outbox.push_back(Output::Trained(Box::new(outcome)));
            }
            Err(reason) => {
                self.print(&format!("\nthis training has failed: {reason}\nthe network goes on"))
            }
        }
        let enter = if self.has_keys { "Enter" } else { "the next tab" };
        self.print(&format!("{enter} starts another training, Ctrl-C ends everything\n"));
    }

    fn print(&mut self, text: &str) {
        self.outbox.push_back(Output::Print(text.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Stage {
        session: Session,
        start: Instant,
        printed: String,
    }

    impl Stage {
        fn new() -> Self {
            let start = Instant::now();
            let mut session = Session::new(start, vec!["v".into()]);
            while session.poll().is_some() {}
            Self { session, start, printed: String::new() }
        }

        /// Handles one input some seconds after the start. Returns the trainings that it starts and
        /// the number of models that it reports.
        fn at(&mut self, second: u64, input: Input) -> (Vec<u32>, usize) {
            self.session.handle(self.start + Duration::from_secs(second), input);
            self.printed.clear();
            let (mut begun, mut trained) = (Vec::new(), 0);
            while let Some(output) = self.session.poll() {
                match output {
                    Output::Print(text) => self.printed += &text,
                    Output::Train(number) => begun.push(number),
                    Output::Trained(_) => trained += 1,
                }
            }
            (begun, trained)
        }

        /// Runs a training from start to end, with a browser's units or without.
        fn finish(&mut self, second: u64, browser_units: u64) -> (Vec<u32>, usize) {
            let record = json!({
                "event": "final", "accuracy": 0.97, "units": 8, "checked": 8, "rejected": 0,
                "height": 9,
                "model_cid": "bafy",
                "contributors": [{"id": "v", "units": 8}, {"id": "tab", "units": browser_units}],
            });
            self.at(second, Input::Job(record));
            self.at(second, Input::JobEnded(Ok(())))
        }
    }

    const NOTHING: (Vec<u32>, usize) = (Vec::new(), 0);

    #[test]
    fn the_first_tab_starts_the_first_training_once_its_person_has_had_time_to_join() {
        let mut stage = Stage::new();
        assert_eq!(stage.at(3, Input::Browsers(1)), NOTHING);
        assert!(
            stage.printed.contains("Join and compute") && stage.printed.contains("in 15 s"),
            "{}",
            stage.printed
        );
        assert_eq!(stage.at(10, Input::Browsers(2)), NOTHING, "a second one takes part in it");
        assert_eq!(stage.at(17, Input::Tick), NOTHING);
        assert_eq!(stage.at(18, Input::Tick), (vec![1], 0));
        assert_eq!(stage.finish(60, 4), (vec![], 1));
    }

    #[test]
    fn enter_skips_the_reading_time_and_a_late_tab_delays_nothing() {
        let mut stage = Stage::new();
        stage.at(3, Input::Browsers(1));
        assert_eq!(stage.at(5, Input::Key), (vec![1], 0));
        let mut stage = Stage::new();
        stage.at(55, Input::Browsers(1));
        assert_eq!(stage.at(60, Input::Tick), (vec![1], 0));
    }

    #[test]
    fn without_a_tab_enter_or_the_end_of_the_countdown_starts_it() {
        assert_eq!(Stage::new().at(3, Input::Key), (vec![1], 0));
        let mut stage = Stage::new();
        assert_eq!(stage.at(59, Input::Tick), NOTHING);
        assert_eq!(stage.at(60, Input::Tick), (vec![1], 0));
        assert_eq!(stage.session.deadline(stage.start), None);
    }

    #[test]
    fn the_countdown_is_printed_at_its_times() {
        let mut stage = Stage::new();
        let mut now = stage.start;
        let mut left = Vec::new();
        while let Some(deadline) = stage.session.deadline(now) {
            now = deadline;
            stage.at((now - stage.start).as_secs(), Input::Tick);
            left.push(stage.printed.split("or in ").nth(1).map(str::to_owned));
        }
        let printed: Vec<String> = left.into_iter().flatten().collect();
        assert_eq!(printed, ["45 s", "30 s", "15 s", "10 s", "5 s"]);
    }

    #[test]
    fn enter_trains_as_often_as_one_likes() {
        let mut stage = Stage::new();
        stage.at(1, Input::Browsers(1));
        stage.at(2, Input::Key);
        for number in 2..6 {
            assert_eq!(stage.finish(10, 4), (vec![], 1));
            assert_eq!(
                stage.at(11, Input::Browsers(u64::from(number))),
                NOTHING,
                "Enter is what starts it"
            );
            assert_eq!(stage.at(12, Input::Key), (vec![number], 0));
            assert_eq!(stage.at(12, Input::Key), NOTHING, "one at a time");
        }
    }

    /// The job's last line and the end of its process arrive separately, in this order; both are of
    /// the same training.
    #[test]
    fn a_training_ends_with_its_process() {
        let mut stage = Stage::new();
        stage.at(0, Input::Key);
        stage.at(1, Input::Job(json!({"event": "final"})));
        assert_eq!(stage.at(1, Input::Key), NOTHING, "its process has not ended yet");
        stage.at(2, Input::JobEnded(Ok(())));
        assert_eq!(stage.at(3, Input::Key), (vec![2], 0));
    }

    #[test]
    fn a_failed_job_reports_the_reason_and_another_can_be_started() {
        let mut stage = Stage::new();
        stage.at(0, Input::Key);
        assert_eq!(stage.at(1, Input::JobEnded(Err("no such column".into()))), NOTHING);
        assert!(
            stage.printed.contains("no such column")
                && stage.printed.contains("Enter starts another"),
            "{}",
            stage.printed
        );
        assert_eq!(stage.at(2, Input::Key), (vec![2], 0));
        stage.at(3, Input::JobEnded(Ok(())));
        assert!(stage.printed.contains("before the model was final"), "{}", stage.printed);
    }

    #[test]
    fn a_late_tab_starts_a_training_if_no_tab_has_taken_part() {
        let mut stage = Stage::new();
        stage.at(60, Input::Tick);
        stage.finish(70, 0);
        assert_eq!(stage.at(80, Input::Browsers(1)), NOTHING);
        assert_eq!(stage.at(95, Input::Tick), (vec![2], 0));
        stage.finish(100, 4);
        stage.at(101, Input::Browsers(0));
        assert_eq!(stage.at(102, Input::Browsers(1)), NOTHING);
        assert_eq!(stage.session.deadline(stage.start), None, "Enter is what starts it");
    }

    #[test]
    fn without_keys_each_tab_that_joins_starts_a_training() {
        let mut stage = Stage::new();
        stage.at(0, Input::KeysEnded);
        stage.at(15, Input::Tick);
        assert!(!stage.printed.contains("Enter"), "{}", stage.printed);
        assert!(stage.printed.contains("opened the page, or in 45 s"), "{}", stage.printed);
        stage.at(20, Input::Browsers(1));
        assert_eq!(stage.at(35, Input::Tick), (vec![1], 0));
        stage.finish(40, 4);
        assert!(stage.printed.contains("the next tab starts another"), "{}", stage.printed);
        assert_eq!(stage.at(41, Input::Browsers(0)), NOTHING);
        assert_eq!(stage.at(42, Input::Browsers(1)), NOTHING);
        assert_eq!(stage.at(57, Input::Tick), (vec![2], 0));
    }

    #[test]
    fn progress_is_printed_at_intervals_and_at_the_end() {
        let mut stage = Stage::new();
        stage.at(0, Input::Key);
        let mut printed = Vec::new();
        for second in 1..=12 {
            stage.at(
                second,
                Input::Job(
                    json!({"event": "round", "round": second, "rounds": 12, "accuracy": 0.5}),
                ),
            );
            if !stage.printed.is_empty() {
                printed.push(second);
            }
        }
        assert_eq!(printed, [5, 10, 12]);
    }
}
