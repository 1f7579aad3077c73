//! The network of the demo: `tequio init` makes a genesis for four validators, each validator runs
//! as its own process, and one relay serves browsers and the page. All of it listens on loopback.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{
    event::{Event, Source, ended_early, left},
    input,
};
use crate::{
    process::{self, Process, ProcessReport, end_all},
    progress,
    workspace::Workspace,
};

/// Four validators are the smallest committee that tolerates one faulty member.
const VALIDATORS: usize = 4;
/// Validators that must agree to make a block final.
pub const QUORUM: usize = 3;
/// The demo's keys exist only for the demo.
const PASSPHRASE: &str = "demo";

/// The relay's addresses: WebRTC and WebSocket for browsers, TCP for nodes; the system chooses the
/// ports.
const RELAY_LISTENS: [&str; 3] =
    ["/ip4/127.0.0.1/udp/0/webrtc-direct", "/ip4/127.0.0.1/tcp/0/ws", "/ip4/127.0.0.1/tcp/0"];

/// A running network. Dropping it ends every process.
pub struct Network {
    /// The page, with the checkpoint's hash in its fragment.
    pub page_url: String,
    /// The validators' identities; any other contributor is a browser.
    pub validators: Vec<String>,
    /// Reports of the processes and inputs of the person, in order of arrival.
    events: Receiver<Event>,
    sender: Sender<Event>,
    processes: Vec<(Source, Process)>,
    folder: PathBuf,
}

impl Network {
    /// Makes the genesis and starts everything; returns when all processes are ready.
    pub fn start(
        workspace: &Workspace,
        folder: &Path,
        port: u16,
        deadline: Instant,
    ) -> Result<Self> {
        let (sender, events) = mpsc::channel();
        // First of all, so that from here on an interruption leaves neither a process nor the
        // folder behind.
        let interrupts = sender.clone();
        process::on_interrupt(move || drop(interrupts.send(Event::Interrupted)));
        let tequio = workspace.binary("tequio");
        let genesis = folder.join("net");
        let mut init = with_passphrase(&tequio);
        init.args(["init", "--devnet", "--json", "--validators", &VALIDATORS.to_string(), "--dir"])
            .arg(&genesis);
        let printed = progress::output(&mut init)?;
        let made: Value = serde_json::from_str(printed.lines().last().unwrap_or_default())
            .context("`tequio init` did not end with a line of JSON")?;
        let checkpoint_hash = text(&made, "checkpoint_hash")?;
        let peers = names(&made, "peer_id")?;

        let mut network = Self {
            page_url: String::new(),
            validators: names(&made, "node")?,
            events,
            sender,
            processes: Vec::new(),
            folder: folder.to_path_buf(),
        };
        // The relay starts first, because the validators reserve circuits on it, through which
        // browsers reach them.
        let mut relay = with_passphrase(workspace.binary("tequio-relay"));
        relay
            .args(["--json", "--http", &format!("127.0.0.1:{port}"), "--data"])
            .arg(folder.join("relay"));
        for address in RELAY_LISTENS {
            relay.args(["--listen", address]);
        }
        relay.arg("--page").arg(workspace.path("web/page/dist"));
        relay.arg("--checkpoint").arg(genesis.join("checkpoint.bin"));
        for peer in &peers {
            relay.args(["--node", &format!("/p2p/{peer}")]);
        }
        network.spawn("relay", &mut relay, Source::Relay)?;
        let ready = network.next_ready(deadline)?;
        network.page_url = format!(
            "{}/#checkpoint={checkpoint_hash}",
            text(&ready, "http")?.trim_end_matches('/')
        );
        let addresses = text_list(&ready, "listen")?;
        let plain_tcp =
            addresses.iter().find(|address| address.contains("/tcp/") && !address.contains("/ws"));
        let relay_address = plain_tcp.context("the relay does not listen on TCP")?;

        for node in 1..=peers.len() {
            let mut run = with_passphrase(&tequio);
            run.args(["run", "--json", "--http", "127.0.0.1:0", "--relay", relay_address, "--dir"]);
            run.arg(genesis.join(format!("node{node}")));
            network.spawn(&format!("node{node}"), &mut run, Source::Node(node))?;
        }
        for _ in &peers {
            network.next_ready(deadline)?;
        }
        Ok(network)
    }

    /// Returns a `tequio` command that contacts one of the validators as its operator.
    pub fn client(&self, workspace: &Workspace, node: usize, arguments: &[&str]) -> Command {
        let mut command = with_passphrase(workspace.binary("tequio"));
        command
            .args(arguments)
            .arg("--dir")
            .arg(self.folder.join("net").join(format!("node{node}")));
        command
    }

    /// Starts one more process beside the network; its reports join the others.
    pub fn spawn(&mut self, name: &str, command: &mut Command, source: Source) -> Result<()> {
        // A second job or tab writes its own log.
        let mut log = self.folder.join("logs").join(format!("{name}.log"));
        for number in 2.. {
            if !log.exists() {
                break;
            }
            log = self.folder.join("logs").join(format!("{name}-{number}.log"));
        }
        let sender = self.sender();
        let process = Process::spawn(name, command, &log, move |what| {
            // Without a receiver the output is still read, so that the process does not block on a
            // full pipe.
            let _ = sender.send(Event::Process(source, what));
        })?;
        self.processes.push((source, process));
        Ok(())
    }

    /// Returns the sender of the events.
    pub fn sender(&self) -> Sender<Event> {
        self.sender.clone()
    }

    /// Starts to read Enter from standard input.
    pub fn read_keys(&self) {
        let sender = self.sender();
        input::read_keys(move |event| sender.send(event).is_ok());
    }

    /// Returns the next event, or `None` at the deadline.
    pub fn event(&self, deadline: Option<Instant>) -> Result<Option<Event>> {
        let Some(deadline) = deadline else {
            return Ok(Some(self.events.recv().context("no process is left to report")?));
        };
        match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(event) => Ok(Some(event)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("no process is left to report"),
        }
    }

    /// Returns the next report of a process. The end of a relay or validator is an error, because
    /// the demo needs them all; so is an interruption.
    pub fn next(&mut self, deadline: Instant, what: &str) -> Result<(Source, ProcessReport)> {
        loop {
            left(deadline, what)?;
            match self.event(Some(deadline))? {
                None => bail!("{what} took too long"),
                Some(Event::Interrupted) => bail!("interrupted"),
                Some(Event::Process(
                    source @ (Source::Node(_) | Source::Relay),
                    ProcessReport::Ended,
                )) => {
                    return Err(ended_early(&mut self.take(source)?));
                }
                Some(Event::Process(source, what)) => return Ok((source, what)),
                Some(Event::Key | Event::KeysEnded) => {}
            }
        }
    }

    /// Returns the running validators, with their process ids.
    pub fn running_validators(&self) -> Vec<(usize, u32)> {
        let node = |(source, process): &(Source, Process)| match source {
            Source::Node(node) => Some((*node, process.id())),
            _ => None,
        };
        self.processes.iter().filter_map(node).collect()
    }

    /// Returns the folder of all logs.
    pub fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// Removes a process that has ended, so that the caller can wait for it.
    pub fn take(&mut self, source: Source) -> Result<Process> {
        let position = self.processes.iter().position(|(other, _)| *other == source);
        let position = position.with_context(|| format!("{source:?} was not started"))?;
        Ok(self.processes.remove(position).1)
    }

    /// Ends everything in an orderly way.
    pub fn end(mut self) {
        self.end_processes();
    }

    fn end_processes(&mut self) {
        end_all(self.processes.drain(..).map(|(_, process)| process).collect());
    }

    fn next_ready(&mut self, deadline: Instant) -> Result<Value> {
        loop {
            let (_, what) = self.next(deadline, "the start of the network")?;
            match what {
                ProcessReport::Line(line) if line["event"] == "ready" => return Ok(line),
                _ => {}
            }
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.end_processes();
    }
}

fn with_passphrase(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env("TEQUIO_PASSPHRASE", PASSPHRASE);
    command
}

/// Returns a text field that a program's line must have.
pub fn text(line: &Value, field: &str) -> Result<String> {
    let value = line[field].as_str().with_context(|| format!("no {field} in {line}"))?;
    Ok(value.to_owned())
}

/// Returns one field of each validator that `tequio init` made.
fn names(made: &Value, field: &str) -> Result<Vec<String>> {
    let nodes = made["nodes"].as_array().with_context(|| format!("no nodes in {made}"))?;
    nodes.iter().map(|node| text(node, field)).collect()
}

fn text_list(line: &Value, field: &str) -> Result<Vec<String>> {
    let list = line[field].as_array().with_context(|| format!("no {field} in {line}"))?;
    list.iter()
        .map(|item| item.as_str().map(str::to_owned).with_context(|| format!("{item} is no text")))
        .collect()
}
