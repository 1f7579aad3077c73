//! Starts and kills the processes of a devnet, and sends them HTTP requests. Waits poll the real
//! API with a deadline.

use serde_json::Value;
use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

pub const PASSPHRASE: &str = "only for tests";
const START_WITHIN: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The program under test.
pub fn tequio() -> &'static str {
    env!("CARGO_BIN_EXE_tequio")
}

pub struct Devnet {
    dir: tempfile::TempDir,
    nodes: Vec<Running>,
    agent: ureq::Agent,
}

struct Running {
    dir: PathBuf,
    child: Option<Child>,
    http: String,
    listen: String,
}

impl Devnet {
    pub fn start(validators: usize) -> Self {
        let mut devnet = Self::make(validators);
        (1..=validators).for_each(|i| devnet.restart(i));
        devnet
    }

    /// Makes a devnet without starting it.
    pub fn make(validators: usize) -> Self {
        Self::make_with(validators, &[])
    }

    /// Makes a devnet with options of `init`, without starting it.
    pub fn make_with(validators: usize, options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let net = dir.path().join("net");
        let made = command()
            .args(["init", "--devnet", "--json", "--validators", &validators.to_string()])
            .args(options)
            .arg("--dir")
            .arg(&net)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)))
            .build()
            .into();
        let mut devnet = Self { dir, nodes: Vec::new(), agent };
        for i in 1..=validators {
            devnet.add(net.join(format!("node{i}")));
        }
        devnet
    }

    /// A node's directory.
    pub fn dir(&self, node: usize) -> &Path {
        &self.nodes[node - 1].dir
    }

    /// An address of a running node.
    pub fn listen(&self, node: usize) -> &str {
        &self.nodes[node - 1].listen
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    fn add(&mut self, dir: PathBuf) -> usize {
        self.nodes.push(Running { dir, child: None, http: String::new(), listen: String::new() });
        self.nodes.len()
    }

    /// Makes a full node without a seat with `init --join`, and starts it.
    pub fn join(&mut self) -> usize {
        let peer = self.nodes[1].listen.clone();
        let node = self.init_join(&[peer]);
        self.restart(node);
        node
    }

    /// Makes a full node without a seat with `init --join`.
    pub fn init_join(&mut self, peers: &[String]) -> usize {
        self.init_join_in("joined", peers)
    }

    /// Starts a full node without a seat that does not listen, like one behind a NAT.
    pub fn join_hidden(&mut self, name: &str, peer: usize, arguments: &[&str]) -> usize {
        let peer = self.nodes[peer - 1].listen.clone();
        let node = self.init_join_in(name, &[peer]);
        let file = self.dir(node).join("config.toml");
        let config = fs::read_to_string(&file).unwrap();
        let address = "\"/ip4/127.0.0.1/tcp/0\"";
        assert!(config.contains(address), "{config}");
        fs::write(&file, config.replace(&format!("{address},"), "").replace(address, "")).unwrap();
        self.restart_with(node, arguments);
        node
    }

    fn init_join_in(&mut self, name: &str, peers: &[String]) -> usize {
        let (net, dir) = (self.path().join("net"), self.path().join(name));
        let mut init = command();
        init.args(["init", "--json", "--dir"]).arg(&dir);
        init.arg("--join")
            .arg(net.join("checkpoint.bin"))
            .arg("--genesis")
            .arg(net.join("genesis.bin"));
        init.args(["--listen", "/ip4/127.0.0.1/tcp/0"]);
        for peer in peers {
            init.args(["--peer", peer]);
        }
        let made = init.output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        self.add(dir)
    }

    pub fn restart(&mut self, node: usize) {
        self.restart_with(node, &[]);
    }

    pub fn restart_with(&mut self, node: usize, arguments: &[&str]) {
        let running = &mut self.nodes[node - 1];
        let log = File::options().create(true).append(true).open(running.dir.join("log")).unwrap();
        let http: &[&str] =
            if arguments.contains(&"--http") { &[] } else { &["--http", "127.0.0.1:0"] };
        let mut child = command()
            .args(["run", "--json", "--dir"])
            .arg(&running.dir)
            .args(http)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| drop(sender.send(line)))
        });
        let ready = receiver.recv_timeout(START_WITHIN);
        running.child = Some(child);
        let log = || fs::read_to_string(running.dir.join("log")).unwrap_or_default();
        let ready: Value =
            serde_json::from_str(&ready.unwrap_or_else(|_| panic!("node {node}: {}", log())))
                .unwrap();
        assert_eq!(ready["event"], "ready");
        running.http = ready["http"].as_str().unwrap().to_owned();
        running.listen = ready["listen"][0].as_str().unwrap_or_default().to_owned();
    }

    /// Kills a node with SIGKILL: it cannot close or flush anything.
    pub fn kill(&mut self, node: usize) {
        let mut child = self.nodes[node - 1].child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Starts a second process on a directory that is in use.
    pub fn try_second(&self, node: usize) -> Output {
        command().args(["run", "--dir"]).arg(&self.nodes[node - 1].dir).output().unwrap()
    }

    /// The process id of a running node.
    pub fn pid(&self, node: usize) -> u32 {
        self.nodes[node - 1].child.as_ref().unwrap().id()
    }

    pub fn http(&self, node: usize) -> &str {
        &self.nodes[node - 1].http
    }

    /// Status and body of a response.
    pub fn http_get(&self, node: usize, path: &str) -> Option<(u16, Value)> {
        let mut response = self.agent.get(format!("{}{path}", self.http(node))).call().ok()?;
        let value = response.body_mut().read_json().unwrap_or(Value::Null);
        Some((response.status().as_u16(), value))
    }

    pub fn get(&self, node: usize, path: &str) -> Value {
        let (status, value) =
            self.http_get(node, path).unwrap_or_else(|| panic!("node {node} does not answer"));
        assert_eq!(status, 200, "node {node}, {path}: {value}");
        value
    }

    pub fn height(&self, node: usize) -> u64 {
        self.get(node, "/v1/status")["height"].as_u64().unwrap()
    }

    pub fn wait_height(&self, node: usize, height: u64, within: Duration) -> u64 {
        let found =
            self.wait_until(node, "/v1/status", within, |s| s["height"].as_u64() >= Some(height));
        found["height"].as_u64().unwrap()
    }

    pub fn wait_status(&self, node: usize, path: &str, status: u16, within: Duration) {
        let deadline = Instant::now() + within;
        while self.http_get(node, path).map(|(s, _)| s) != Some(status) {
            assert!(
                Instant::now() < deadline,
                "node {node}: no {status} from {path}\n{}",
                self.log(node)
            );
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    pub fn wait_until(
        &self,
        node: usize,
        path: &str,
        within: Duration,
        done: impl Fn(&Value) -> bool,
    ) -> Value {
        let deadline = Instant::now() + within;
        let mut last = Value::Null;
        while Instant::now() < deadline {
            if let Some((200, value)) = self.http_get(node, path) {
                if done(&value) {
                    return value;
                }
                assert_ne!(value["state"], "failed", "{value}\n{}", self.log(node));
                last = value;
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        panic!("node {node}: {path} stays at {last}\n{}", self.log(node));
    }

    /// A node's address, and the header that proves that a request is its operator's.
    pub fn access(&self, node: usize) -> (String, String) {
        (self.http(node).to_owned(), tequio::api::bearer(self.dir(node)).unwrap())
    }

    /// Posts bytes with the operator's token.
    pub fn post(&self, node: usize, path: &str, body: &[u8]) -> Option<(u16, Value)> {
        let (http, token) = self.access(node);
        let mut response = self
            .agent
            .post(format!("{http}{path}"))
            .header("authorization", token)
            .send(body)
            .ok()?;
        let value = response.body_mut().read_json().unwrap_or(Value::Null);
        Some((response.status().as_u16(), value))
    }

    /// Like [`Devnet::get`], for more requests than a node accepts at once.
    pub fn get_within(&self, node: usize, path: &str, within: Duration) -> Value {
        self.wait_until(node, path, within, |_| true)
    }

    /// The text output of a command of a node's operator.
    pub fn client_text(&self, node: usize, arguments: &[&str]) -> String {
        String::from_utf8(self.client_output(node, arguments).stdout).unwrap()
    }

    /// The complete log of a node.
    pub fn whole_log(&self, node: usize) -> String {
        fs::read_to_string(self.nodes[node - 1].dir.join("log")).unwrap_or_default()
    }

    pub fn wait_log(&self, node: usize, text: &str, within: Duration) {
        let deadline = Instant::now() + within;
        while !self.whole_log(node).contains(text) {
            assert!(
                Instant::now() < deadline,
                "node {node} does not log {text:?}\n{}",
                self.log(node)
            );
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    fn log(&self, node: usize) -> String {
        let log = self.whole_log(node);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    pub fn client_output(&self, node: usize, arguments: &[&str]) -> Output {
        command().args(arguments).arg("--dir").arg(&self.nodes[node - 1].dir).output().unwrap()
    }

    /// Runs a command of a node's operator that must succeed. Returns its last line.
    pub fn client(&self, node: usize, arguments: &[&str]) -> Value {
        let output = self.client_output(node, arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}\n{}", self.log(node));
        let text = String::from_utf8(output.stdout).unwrap();
        serde_json::from_str(text.lines().last().unwrap()).unwrap()
    }
}

impl Drop for Devnet {
    fn drop(&mut self) {
        for child in self.nodes.iter_mut().filter_map(|n| n.child.as_mut()) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub fn command() -> Command {
    let mut command = Command::new(tequio());
    command.env("TEQUIO_PASSPHRASE", PASSPHRASE).env("RUST_LOG", "info").stdin(Stdio::null());
    command
}
