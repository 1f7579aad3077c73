//! The network of the demo: `tequio init` makes a genesis for four validators, each runs as its own
//! process, and one relay lets browsers in and serves the page. All of it listens on loopback.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{Event, Source, ended_early, input, left};
use crate::{
    process::{self, Process, What, end_all},
    progress,
    workspace::Workspace,
};

/// Four is the least number that survives one faulty member.
const VALIDATORS: usize = 4;
/// So many of them make blocks final.
pub const QUORUM: usize = 3;
/// The keys of the demo are made for it and thrown away with it.
const PASSPHRASE: &str = "demo";

/// Where the relay of the demo listens: browsers by WebRTC and WebSocket, nodes by TCP; the system
/// chooses the ports.
const RELAY_LISTENS: [&str; 3] =
    ["/ip4/127.0.0.1/udp/0/webrtc-direct", "/ip4/127.0.0.1/tcp/0/ws", "/ip4/127.0.0.1/tcp/0"];

/// The running network. Dropping it ends every process.
pub struct Network {
    /// The page, with the checkpoint's hash in its fragment.
    pub page_url: String,
    /// The validators' identities: whoever else contributes is a browser.
    pub validators: Vec<String>,
    /// What the processes print, and what the person does, in the order in which it arrives.
    events: Receiver<Event>,
    sender: Sender<Event>,
    processes: Vec<(Source, Process)>,
    folder: PathBuf,
}

impl Network {
    /// Makes the genesis and starts everything; comes back when all have said that they are ready.
    pub fn start(
        workspace: &Workspace,
        folder: &Path,
        port: u16,
        deadline: Instant,
    ) -> Result<Self> {
        let (sender, events) = mpsc::channel();
        // First of all: from here on an interruption leaves neither a process nor the folder
        // behind.
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
        // The relay first: the validators then reserve circuits on it, through which browsers reach
        // them.
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

    /// A `tequio` command that speaks to one of the validators as its operator.
    pub fn client(&self, workspace: &Workspace, node: usize, arguments: &[&str]) -> Command {
        let mut command = with_passphrase(workspace.binary("tequio"));
        command
            .args(arguments)
            .arg("--dir")
            .arg(self.folder.join("net").join(format!("node{node}")));
        command
    }

    /// Starts one more process beside the network, its reports among the others.
    pub fn spawn(&mut self, name: &str, command: &mut Command, source: Source) -> Result<()> {
        // A second job or tab writes a log of its own.
        let mut log = self.folder.join("logs").join(format!("{name}.log"));
        for number in 2.. {
            if !log.exists() {
                break;
            }
            log = self.folder.join("logs").join(format!("{name}-{number}.log"));
        }
        let sender = self.sender();
        let process = Process::spawn(name, command, &log, move |what| {
            // If nobody listens any more, the output is still read, so that the process does not
            // block on a full pipe.
            let _ = sender.send(Event::Process(source, what));
        })?;
        self.processes.push((source, process));
        Ok(())
    }

    /// Sends events as the processes and the person do.
    pub fn sender(&self) -> Sender<Event> {
        self.sender.clone()
    }

    /// Reads Enter from standard input from now on.
    pub fn read_keys(&self) {
        let sender = self.sender();
        input::read_keys(move |event| sender.send(event).is_ok());
    }

    /// The next event, or `None` at the deadline.
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

    /// The next report of a process. A relay or validator that ends is an error here, for nothing
    /// can go on without it, and so is an interruption.
    pub fn next(&mut self, deadline: Instant, what: &str) -> Result<(Source, What)> {
        loop {
            left(deadline, what)?;
            match self.event(Some(deadline))? {
                None => bail!("{what} took too long"),
                Some(Event::Interrupted) => bail!("interrupted"),
                Some(Event::Process(source @ (Source::Node(_) | Source::Relay), What::Ended)) => {
                    return Err(ended_early(&mut self.take(source)?));
                }
                Some(Event::Process(source, what)) => return Ok((source, what)),
                Some(Event::Key | Event::KeysEnded) => {}
            }
        }
    }

    /// The validators that run, with their process ids.
    pub fn running_validators(&self) -> Vec<(usize, u32)> {
        let node = |(source, process): &(Source, Process)| match source {
            Source::Node(node) => Some((*node, process.id())),
            _ => None,
        };
        self.processes.iter().filter_map(node).collect()
    }

    /// Where every process logs.
    pub fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// Hands over a process that has ended, to be waited for.
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
                What::Line(line) if line["event"] == "ready" => return Ok(line),
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

/// A text field that a program's line must have.
pub fn text(line: &Value, field: &str) -> Result<String> {
    let value = line[field].as_str().with_context(|| format!("no {field} in {line}"))?;
    Ok(value.to_owned())
}

/// One field of each validator that `tequio init` made.
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
