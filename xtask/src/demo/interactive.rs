//! The interactive demo: passes the events of the processes and the person to [`Session`], until
//! Ctrl-C.

use std::time::Instant;

use anyhow::{Context, Result};

use super::{
    event::{Event, Source, ended_early},
    job,
    network::{Network, QUORUM},
    outcome::Outcome,
    session::{Input, Output, Session},
};
use crate::{process::ProcessReport, progress::print_line, workspace::Workspace};

/// About a minute on two cores that two tabs and four validators share.
const ROUNDS: u32 = 300;

/// Runs the session and the trainings that it starts. Returns when the person ends the demo.
pub fn run(
    rounds: Option<u32>,
    workspace: &Workspace,
    network: &mut Network,
    mut on_trained: impl FnMut(&Outcome),
) -> Result<()> {
    let rounds = rounds.unwrap_or(ROUNDS);
    let mut session = Session::new(Instant::now(), network.validators.clone());
    loop {
        while let Some(output) = session.poll() {
            match output {
                Output::Print(text) => print_line(&text),
                Output::Train(number) => {
                    let started = match network.running_validators().first() {
                        Some((node, _)) => {
                            job::start(workspace, network, number, *node, Some(rounds))
                        }
                        None => Err(anyhow::anyhow!("no validator runs any more")),
                    };
                    if let Err(error) = started {
                        session.handle(Instant::now(), Input::JobEnded(Err(format!("{error:#}"))));
                    }
                }
                Output::Trained(outcome) => on_trained(&outcome),
            }
        }
        let event = network.event(session.deadline(Instant::now()))?;
        let input = match event {
            None => Input::Tick,
            Some(Event::Interrupted) => return Ok(()),
            Some(Event::Key) => Input::Key,
            Some(Event::KeysEnded) => Input::KeysEnded,
            Some(Event::Process(Source::Job(_), ProcessReport::Line(line))) => Input::Job(line),
            Some(Event::Process(Source::Job(number), ProcessReport::Ended)) => {
                Input::JobEnded(job::ended(network, number).map_err(|error| format!("{error:#}")))
            }
            Some(Event::Process(Source::Relay, ProcessReport::Line(line))) => {
                match line["browsers"].as_u64() {
                    Some(browsers) => Input::Browsers(browsers),
                    None => continue,
                }
            }
            Some(Event::Process(Source::Relay, ProcessReport::Ended)) => {
                let mut relay = network.take(Source::Relay)?;
                return Err(ended_early(&mut relay)).context("there is no page without the relay");
            }
            Some(Event::Process(Source::Node(node), ProcessReport::Ended)) => {
                let mut validator = network.take(Source::Node(node))?;
                print_line(&format!("  {:#}", ended_early(&mut validator)));
                print_line(match network.running_validators().len() {
                    left if left >= QUORUM => "  the others go on: nothing is lost",
                    _ => "  too few validators are left: no block becomes final any more",
                });
                continue;
            }
            Some(Event::Process(Source::Node(_) | Source::Tab, _)) => continue,
        };
        session.handle(Instant::now(), input);
    }
}

/// Prints what a person can do and see.
pub fn print_introduction(network: &Network) {
    let victim = network
        .running_validators()
        .last()
        .map(|(node, pid)| format!("validator {node}: kill -9 {pid}"));
    print_line(&format!(
        "
  The page:  {}

  Open it, and press \"Join and compute\". What to look at:
    - the line beside the button, and \"Your part\": what your tab computes, and what was accepted
    - the curve: digits that the model has not seen, and how many of them it gets right
    - a second tab or another browser shares the work; one that is closed loses nothing
    - the model at the end, verified by your tab: draw a digit
    - one of four may fail ({})
  Logs: {}
",
        network.page_url,
        victim.unwrap_or_default(),
        network.logs().display(),
    ));
}
