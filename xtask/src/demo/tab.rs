//! The tab of `--headless`: `tests/browser/demo.mjs` drives a real Chromium as a person would, and
//! reports what the page shows in lines of JSON.
//!
//! It prints `{"event":"joined","node":ID,"path":…}` once the page is in the network and computes,
//! any number of other events, and
//! `{"event":"verified","job":…,"model_cid":…,"accuracy":…,"path":…}` once the page has read the
//! trained model back with its proofs; then it ends with code 0. A browser that dies makes it end
//! with another code.

use std::{path::Path, process::Command, time::Instant};

use anyhow::Result;

use super::{
    event::{Source, ended_early},
    network::Network,
};
use crate::{process::ProcessReport, workspace::Workspace};

/// Opens the page and joins; returns when the tab computes.
pub fn join(
    workspace: &Workspace,
    chromium: &Path,
    network: &mut Network,
    deadline: Instant,
) -> Result<()> {
    let mut command = Command::new("node");
    command
        .arg(workspace.path("tests/browser/demo.mjs"))
        .args(["--url", &network.page_url, "--chromium"])
        .arg(chromium);
    command.current_dir(workspace.path("tests/browser"));
    network.spawn("tab", &mut command, Source::Tab)?;
    loop {
        match network.next(deadline, "the tab's joining")? {
            (Source::Tab, ProcessReport::Line(line)) if line["event"] == "joined" => {
                return Ok(());
            }
            (Source::Tab, ProcessReport::Ended) => {
                return Err(ended_early(&mut network.take(Source::Tab)?));
            }
            _ => {}
        }
    }
}
