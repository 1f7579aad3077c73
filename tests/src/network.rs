//! A whole network on loopback for a test: relays and validators as separate processes, in a folder
//! that is removed with the network. The system chooses the ports.

use crate::process::Process;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tempfile::TempDir;

/// Longest start of any process on a busy machine.
pub const START_WAIT: Duration = Duration::from_secs(90);
const PASSPHRASE: &str = "a test's passphrase";

/// A running network.
pub struct Network {
    /// Dropped first: no process may write into the folder when it is removed.
    nodes: Vec<Option<Process>>,
    relays: Vec<Relay>,
    /// The id and peer id of each validator.
    members: Vec<(String, String)>,
    checkpoint_hash: String,
    /// Further arguments of each validator, besides those of the harness.
    arguments: Vec<String>,
    folder: TempDir,
}

/// A running relay.
pub struct Relay {
    process: Process,
    /// Address of the web server: `http://127.0.0.1:port`.
    pub http: String,
    /// Multiaddresses of the relay.
    pub listen: Vec<String>,
}

impl Network {
    /// Makes a genesis, starts `relays` relays and then the validators, and waits until all are
    /// ready.
    pub fn start(validators: usize, relays: usize) -> Result<Self> {
        Self::start_with(validators, relays, &[])
    }

    /// Starts a network like [`Network::start`], with further arguments for each validator.
    pub fn start_with(validators: usize, relays: usize, arguments: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut init = tequio();
        // Epochs of seconds, so that readers of proofs have handovers to follow.
        init.args(["init", "--devnet", "--term-blocks", "4", "--epoch-blocks", "8"]);
        init.args(["--json", "--validators", &validators.to_string(), "--dir"]);
        let made = output(init.arg(folder.path().join("net")))?;
        let nodes = made["nodes"].as_array().context("init names its nodes")?;
        let members = nodes
            .iter()
            .map(|n| Ok((text(n, "node")?, text(n, "peer_id")?)))
            .collect::<Result<_>>()?;
        let checkpoint_hash = text(&made, "checkpoint_hash")?;
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let mut network =
            Self { nodes: vec![], relays: vec![], members, checkpoint_hash, arguments, folder };
        for number in 0..relays {
            network.start_relay(number)?;
        }
        for node in 0..validators {
            network.nodes.push(None);
            network.launch(node)?;
        }
        for node in 0..validators {
            network.wait_ready(node)?;
        }
        Ok(network)
    }

    fn start_relay(&mut self, number: usize) -> Result<()> {
        let mut command = Command::new(binary("tequio-relay"));
        command.env("TEQUIO_PASSPHRASE", PASSPHRASE);
        command
            .args(["--json", "--http", "127.0.0.1:0", "--data"])
            .arg(self.folder.path().join(format!("relay{number}")));
        for listen in [
            "/ip4/127.0.0.1/udp/0/webrtc-direct",
            "/ip4/127.0.0.1/tcp/0/ws",
            "/ip4/127.0.0.1/tcp/0",
        ] {
            command.args(["--listen", listen]);
        }
        command.arg("--checkpoint").arg(self.checkpoint());
        let page = root().join("web/page/dist");
        if page.is_dir() {
            command.arg("--page").arg(page);
        }
        for (_, peer) in &self.members {
            command.args(["--node", &format!("/p2p/{peer}")]);
        }
        let log = self.folder.path().join(format!("relay{number}.log"));
        let mut process = Process::spawn("relay", &mut command, &log)?;
        let ready = process.event("ready", START_WAIT)?;
        let listen = ready["listen"].as_array().context("the relay's event has no `listen`")?;
        let listen = listen.iter().filter_map(|a| a.as_str().map(str::to_owned)).collect();
        let http = text(&ready, "http")?.trim_end_matches('/').to_owned();
        self.relays.push(Relay { process, http, listen });
        Ok(())
    }

    /// Starts a validator that is not running; [`Network::wait_ready`] waits for it.
    pub fn launch(&mut self, node: usize) -> Result<()> {
        let mut command = tequio();
        command
            .args(["run", "--json", "--http", "127.0.0.1:0", "--dir"])
            .arg(self.node_dir(node))
            .args(&self.arguments);
        for relay in &self.relays {
            let tcp = relay.listen.iter().find(|a| a.contains("/tcp/") && !a.contains("/ws"));
            command.args(["--relay", tcp.context("the relay listens on TCP")?]);
        }
        let log = self.folder.path().join(format!("node{node}.log"));
        let process = Process::spawn(&format!("node{node}"), &mut command, &log)?;
        *self.nodes.get_mut(node).context("no such node")? = Some(process);
        Ok(())
    }

    /// Waits until a validator that was launched is ready, and returns its height.
    pub fn wait_ready(&mut self, node: usize) -> Result<u64> {
        let ready = self.process(node)?.event("ready", START_WAIT)?;
        ready["height"].as_u64().context("a ready node names its height")
    }

    /// Kills a validator with SIGKILL.
    pub fn kill(&mut self, node: usize) -> Result<()> {
        self.nodes.get_mut(node).and_then(Option::take).context("no such node is running")?.kill()
    }

    fn process(&mut self, node: usize) -> Result<&mut Process> {
        self.nodes.get_mut(node).and_then(Option::as_mut).context("no such node is running")
    }

    /// Returns the end of a node's log, for failure messages.
    pub fn log(&self, node: usize) -> String {
        self.nodes.get(node).and_then(Option::as_ref).map(Process::tail).unwrap_or_default()
    }

    /// Runs a command of a validator's operator to its end and returns the last JSON that it
    /// prints.
    pub fn run_client(&self, node: usize, arguments: &[&str]) -> Result<Value> {
        output(&mut self.client(node, arguments))
    }

    /// Starts a command of a validator's operator.
    pub fn spawn_client(&self, node: usize, arguments: &[&str]) -> Result<Process> {
        let log =
            self.folder.path().join(format!("client-{}.log", arguments.first().unwrap_or(&"")));
        Process::spawn("client", &mut self.client(node, arguments), &log)
    }

    fn client(&self, node: usize, arguments: &[&str]) -> Command {
        let mut command = tequio();
        command.args(arguments).arg("--json").arg("--dir").arg(self.node_dir(node));
        command
    }

    fn node_dir(&self, node: usize) -> PathBuf {
        self.folder.path().join("net").join(format!("node{}", node + 1))
    }

    /// Returns the path of the checkpoint file.
    pub fn checkpoint(&self) -> PathBuf {
        self.folder.path().join("net/checkpoint.bin")
    }

    /// Returns the address of a relay's page, with the checkpoint pinned.
    pub fn page(&self, relay: usize) -> Result<String> {
        let relay = self.relays.get(relay).context("no such relay")?;
        Ok(format!("{}/#checkpoint={}", relay.http, self.checkpoint_hash))
    }

    /// Returns a running relay.
    pub fn relay(&self, relay: usize) -> Result<&Relay> {
        self.relays.get(relay).context("no such relay")
    }

    /// Returns the id of a validator.
    pub fn member(&self, node: usize) -> &str {
        self.members.get(node).map_or("", |(id, _)| id)
    }

    /// Returns the folder of this network, which is removed on drop.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns a dialable address of a running validator.
    pub fn address(&self, node: usize) -> Result<String> {
        let run: Value =
            serde_json::from_slice(&std::fs::read(self.node_dir(node).join("run.json"))?)?;
        let listen =
            run["listen"].get(0).and_then(Value::as_str).context("a running node listens")?;
        let (_, peer) = self.members.get(node).context("no such node")?;
        Ok(if listen.contains("/p2p/") {
            listen.to_owned()
        } else {
            format!("{listen}/p2p/{peer}")
        })
    }
}

impl Relay {
    /// Returns whether the process still runs.
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

/// Returns the root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// Returns the path of a program of the workspace, built beside this test. If it is missing,
/// starting it fails with a message.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap_or_default();
    // target/<profile>/deps/<test> or target/<profile>/<program>
    let folder = test.ancestors().find(|folder| folder.join(name).is_file());
    folder.map_or_else(|| PathBuf::from(name), |folder| folder.join(name))
}

fn tequio() -> Command {
    let mut command = Command::new(binary("tequio"));
    command.env("TEQUIO_PASSPHRASE", PASSPHRASE);
    command
}

fn output(command: &mut Command) -> Result<Value> {
    let output = command.output()?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {}\n{errors}{printed}", output.status);
    serde_json::from_str(printed.lines().last().unwrap_or_default())
        .with_context(|| format!("no JSON in {printed}"))
}

fn text(value: &Value, field: &str) -> Result<String> {
    value[field].as_str().map(str::to_owned).with_context(|| format!("no {field} in {value}"))
}
