//! The command line and the API in realistic environments: repeated submissions, silent nodes,
//! signals, variables, probes, and a full disk.

use crate::{
    WITHIN, data,
    support::{Devnet, command, tequio},
};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

/// The time-out for a silent node; below it the margin for a loaded machine.
const SILENCE: Duration = Duration::from_secs(15);
const SLACK: Duration = Duration::from_secs(15);

fn signal(pid: u32, name: &str) {
    assert!(
        Command::new("kill")
            .args([&format!("-{name}"), &pid.to_string()])
            .status()
            .unwrap()
            .success()
    );
}

/// A running command, and its lines as they are printed.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn start(net: &Devnet, arguments: &[&str]) -> Self {
        let mut child = command()
            .args(arguments)
            .arg("--dir")
            .arg(net.dir(1))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| drop(sender.send(line)))
        });
        Self { child, lines: receiver }
    }

    /// The next line that contains this text.
    fn line(&self, text: &str) -> String {
        let deadline = Instant::now() + WITHIN;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line =
                self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("no line with {text:?}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    fn end(self) -> Output {
        self.child.wait_with_output().unwrap()
    }
}

/// A process that is killed when the test ends, on success or failure.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads a connection until it is closed or `enough` returns true.
fn raw(net: &Devnet, request: &str, enough: impl Fn(&str) -> bool) -> String {
    let mut stream = TcpStream::connect(net.http(1).trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(WITHIN)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let (mut text, mut bytes) = (String::new(), [0; 4096]);
    while !enough(&text) {
        match stream.read(&mut bytes).unwrap() {
            0 => break,
            len => text.push_str(&String::from_utf8_lossy(&bytes[..len])),
        }
    }
    text
}

fn submit(
    net: &Devnet,
    query: &str,
    key: Option<&str>,
    body: &[u8],
) -> (u16, Option<String>, Value) {
    let (http, token) = net.access(1);
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let request = agent.post(format!("{http}/v1/jobs?{query}")).header("authorization", token);
    let request =
        key.into_iter().fold(request, |request, key| request.header("Idempotency-Key", key));
    let mut response = request.send(body).unwrap();
    let replayed =
        response.headers().get("idempotent-replayed").map(|v| v.to_str().unwrap().to_owned());
    (response.status().as_u16(), replayed, response.body_mut().read_json().unwrap())
}

#[test]
fn a_submission_that_is_repeated_under_its_key_makes_one_job() {
    let mut net = Devnet::start(1);
    net.wait_height(1, 1, WITHIN);
    let iris = fs::read(data("iris.csv")).unwrap();
    let query = "label=class&layers=8&rounds=1&name=once&mode=local";
    // Four at once, like an impatient client.
    let answers: Vec<_> = std::thread::scope(|scope| {
        let posts: Vec<_> =
            (0..4).map(|_| scope.spawn(|| submit(&net, query, Some("order-7"), &iris))).collect();
        let answer = |post: std::thread::ScopedJoinHandle<'_, _>| {
            post.join().unwrap_or_else(|_| panic!("{}", net.whole_log(1)))
        };
        posts.into_iter().map(answer).collect()
    });
    let id = answers[0].2["id"].as_str().unwrap().to_owned();
    for (status, _, answer) in &answers {
        assert_eq!((status, answer), (&201, &answers[0].2));
    }
    assert_eq!(
        answers.iter().filter(|(_, replayed, _)| replayed.is_none()).count(),
        1,
        "{answers:?}"
    );
    // The key's quoting and the order of the parameters do not matter; everything else does.
    let (status, replayed, answer) = submit(
        &net,
        "mode=local&name=once&rounds=1&layers=8&label=class",
        Some("\"order-7\""),
        &iris,
    );
    assert_eq!(
        (status, replayed.as_deref(), &answer["id"]),
        (201, Some("true"), &id.as_str().into())
    );
    let more = [&iris[..], b"\n"].concat();
    for (query, body) in
        [("label=class&layers=8&rounds=2&name=once&mode=local", &iris), (query, &more)]
    {
        let (status, _, answer) = submit(&net, query, Some("order-7"), body);
        assert_eq!((status, &answer["error"]["code"]), (422, &"KEY_REUSED".into()), "{answer}");
    }
    assert_eq!(submit(&net, query, Some(&"k".repeat(129)), &iris).0, 400);
    assert_eq!(submit(&net, query, Some(""), &iris).0, 400);
    // The key works after a restart too, and on the command line.
    net.kill(1);
    net.restart(1);
    net.wait_height(1, 1, WITHIN);
    let (status, replayed, answer) = submit(&net, query, Some("order-7"), &iris);
    assert_eq!(
        (status, replayed.as_deref(), &answer["id"]),
        (201, Some("true"), &id.as_str().into())
    );
    let iris = data("iris.csv");
    let train = [
        "job", "train", "--json", "--label", "class", "--layers", "8", "--rounds", "1", "--name",
        "once",
    ];
    let again = net
        .client(1, &[&train[..], &["--key", "order-7", "--data", iris.to_str().unwrap()]].concat());
    assert_eq!(
        (again["id"].as_str(), again["key"].as_str()),
        (Some(id.as_str()), Some("order-7")),
        "{again}"
    );
    assert_eq!(net.get(1, "/v1/jobs")["jobs"].as_array().unwrap().len(), 1);
    // Without a key each submission is a new job.
    net.client(1, &[&train[..], &["--data", iris.to_str().unwrap()]].concat());
    assert_eq!(net.get(1, "/v1/jobs")["jobs"].as_array().unwrap().len(), 2);
}

#[test]
fn a_frozen_node_is_detected_and_ctrl_c_reports_that_the_job_continues() {
    let mut net = Devnet::make(1);
    // No worker computes, so the job does not progress.
    net.restart_with(1, &["--workers", "0"]);
    net.wait_height(1, 1, WITHIN);
    let iris = data("iris.csv");
    let iris = iris.to_str().unwrap();
    let train = ["job", "train", "--json", "--label", "class", "--layers", "8", "--data", iris];
    let id = net.client(1, &train)["id"].as_str().unwrap().to_owned();

    // The node sends comments while nothing happens.
    let request = format!("GET /v1/jobs/{id}/events HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let began = Instant::now();
    raw(&net, &request, |text| text.contains("\n:"));
    assert!(began.elapsed() < SILENCE, "{:?}", began.elapsed());

    // Ctrl-C.
    let waiting = Running::start(&net, &[&train[..], &["--wait"]].concat());
    let submitted: Value = serde_json::from_str(&waiting.line("\"submitted\"")).unwrap();
    let second = submitted["id"].as_str().unwrap().to_owned();
    // The command installs its handler before it requests the stream. The node has received that
    // request when it sends the job's event.
    let watching = Running::start(&net, &["job", "watch", "--json", &id]);
    for (running, id) in [(waiting, &second), (watching, &id)] {
        let pid = running.child.id();
        wait_for_stream(pid);
        signal(pid, "INT");
        let event: Value = serde_json::from_str(&running.line("interrupted")).unwrap();
        assert_eq!((&event["job"], &event["goes_on"]), (&id.as_str().into(), &true.into()));
        assert_eq!(running.end().status.code(), Some(130));
    }
    assert_eq!(net.get(1, &format!("/v1/jobs/{second}"))["state"], "running");

    // The reader closes the pipe, as `| head -1` does.
    let mut unread = command();
    unread
        .args(["job", "watch", &id, "--dir"])
        .arg(net.dir(1))
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut unread = Killed(unread.spawn().unwrap());
    drop(unread.0.stdout.take());
    assert!(unread.0.wait().unwrap().success());

    // A stopped process accepts connections and never answers.
    let watching = Running::start(&net, &["job", "watch", &id]);
    wait_for_stream(watching.child.id());
    let pid = net.pid(1);
    signal(pid, "STOP");
    let began = Instant::now();
    let mut all = vec![watching];
    for arguments in [
        &["status"][..],
        &["job", "list"],
        &["job", "show", &id],
        &["job", "watch", &id],
        &["job", "cancel", &id],
        &["seat", "leave"],
    ] {
        all.push(Running::start(&net, arguments));
    }
    let writes = all.len() - 2;
    let ended: Vec<_> = all.into_iter().map(Running::end).collect();
    let took = began.elapsed();
    signal(pid, "CONT");
    assert!(took < SILENCE + SLACK, "{took:?}");
    for (index, output) in ended.into_iter().enumerate() {
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        // The node may have executed a write.
        assert_eq!(error.contains("it is not known whether"), index >= writes, "{error}");
        assert!(
            error.contains("is silent")
                && error.contains("15 s")
                && error.contains("tequio run --dir"),
            "{error}"
        );
    }
    net.wait_status(1, "/v1/status", 200, WITHIN);
}

/// Waits until a process has a connection: from then on the command reads events.
fn wait_for_stream(pid: u32) {
    let deadline = Instant::now() + WITHIN;
    let is_socket = |entry: fs::DirEntry| {
        fs::read_link(entry.path()).is_ok_and(|link| link.to_string_lossy().starts_with("socket:"))
    };
    let catches_interrupt = || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let caught = status
            .lines()
            .find_map(|line| line.strip_prefix("SigCgt:"))
            .map(str::trim)
            .unwrap_or("0");
        u64::from_str_radix(caught, 16).unwrap_or(0) & (1 << 1) != 0
    };
    let has_socket = || {
        fs::read_dir(format!("/proc/{pid}/fd"))
            .is_ok_and(|fds| fds.filter_map(Result::ok).any(is_socket))
    };
    while !(catches_interrupt() && has_socket()) {
        assert!(Instant::now() < deadline, "the command does not follow the job");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn environment_variables_health_probes_and_signals_work_as_for_services() {
    let mut net = Devnet::make(1);
    net.restart_with(1, &["--http", "localhost:0", "--http-host", "node1,tequio.example"]);
    net.wait_height(1, 1, WITHIN);
    let dir = net.dir(1).to_owned();

    // A load balancer's probe, and a Prometheus that scrapes by the service name.
    let status =
        |request: &str| raw(&net, request, |_| false).lines().next().unwrap_or_default().to_owned();
    assert!(status("GET /healthz HTTP/1.0\r\n\r\n").contains("200"));
    assert!(
        status("GET /metrics HTTP/1.1\r\nHost: node1:4811\r\nConnection: close\r\n\r\n")
            .contains("200")
    );
    assert!(
        status("GET /metrics HTTP/1.1\r\nHost: tequio.example\r\nConnection: close\r\n\r\n")
            .contains("200")
    );
    assert!(status("GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n").contains("421"));
    let refused = raw(
        &net,
        "GET /metrics HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        |_| false,
    );
    assert!(
        refused.contains("421")
            && refused.contains("evil.example")
            && refused.contains("http_hosts"),
        "{refused}"
    );

    // Environment variables.
    let show = |name: &str, value: &str| {
        let output =
            command().env(name, value).args(["status", "--dir"]).arg(&dir).output().unwrap();
        assert!(output.status.success(), "{name}={value}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    for json in ["1", "true", "yes", "on"] {
        serde_json::from_str::<Value>(show("TEQUIO_JSON", json).trim()).unwrap();
    }
    for text in ["", "0", "false", "no"] {
        assert!(show("TEQUIO_JSON", text).starts_with("node "), "{text}");
    }
    let output = command()
        .env("TEQUIO_DIR", &dir)
        .env("http_proxy", "http://127.0.0.1:1")
        .arg("status")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let keys = |command: &mut Command| {
        command.args(["keys", "show", "--dir"]).arg(&dir).output().unwrap().status.success()
    };
    assert!(keys(command().env("TEQUIO_PASSPHRASE_FILE", "")));

    // SIGHUP reads the log filter again and does not end the node.
    net.kill(1);
    set_line(&dir.join("config.toml"), "log = ", "log = \"warn\"");
    let mut run = command();
    run.env_remove("RUST_LOG")
        .env("TEQUIO_LOG", "")
        .args(["run", "--json", "--http", "127.0.0.1:0", "--dir"])
        .arg(&dir);
    let mut killed = Killed(run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let child = &mut killed.0;
    let mut ready = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    assert!(ready.contains("\"ready\":true"), "{ready}");
    set_line(&dir.join("config.toml"), "log = ", "log = \"tequio=info\"");
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut logged = |text: &str| {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "the node has ended without {text:?}");
        }
        line
    };
    signal(child.id(), "HUP");
    assert!(logged("SIGHUP").contains("tequio=info"));
    set_line(&dir.join("config.toml"), "log = ", "log = \"[[\"");
    signal(child.id(), "HUP");
    assert!(logged("SIGHUP").contains("not a log filter"));
    let status = command().args(["status", "--dir"]).arg(&dir).output().unwrap();
    assert!(status.status.success(), "{status:?}");
    signal(child.id(), "TERM");
    logged("stopping");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// Replaces the line of a file that starts with `begins`.
fn set_line(path: &Path, begins: &str, line: &str) {
    let text = fs::read_to_string(path).unwrap();
    let changed: Vec<&str> =
        text.lines().map(|old| if old.starts_with(begins) { line } else { old }).collect();
    assert!(changed.contains(&line), "{text}");
    fs::write(path, changed.join("\n") + "\n").unwrap();
}

#[test]
fn a_disk_that_fills_in_mid_submission_ends_the_node_with_its_cause_and_loses_nothing() {
    let mut net = Devnet::start(1);
    let height = net.wait_height(1, 2, WITHIN);
    net.kill(1);
    let dir = net.dir(1).to_owned();
    // The system refuses to grow the file, as with a full disk. The signal that accompanies the
    // refusal is ignored.
    let blocks = fs::metadata(dir.join("store.redb")).unwrap().len().div_ceil(1024) + 256;
    let script = format!(
        "trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" run --json --http 127.0.0.1:0 --dir \"$1\""
    );
    let limited = command();
    let mut shell = Command::new("bash");
    shell.args(["-c", &script, tequio()]).arg(&dir).stdin(Stdio::null());
    shell.envs(limited.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut killed = Killed(shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let child = &mut killed.0;
    let mut ready = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    assert!(ready.contains("\"ready\":true"), "{ready}");
    // Larger than the space left for the file, and hard to compress.
    let digit = |i: u32| i.wrapping_mul(2_654_435_761) >> 29;
    let row =
        |i: u32| (0..32).map(|column| format!("{},", digit(32 * i + column))).collect::<String>();
    let rows: String = (0..40_000).map(|i| format!("{}{}\n", row(i), i % 2)).collect();
    let names: String = (0..32).map(|column| format!("x{column},")).collect();
    fs::write(dir.join("large.csv"), format!("{names}class\n{rows}")).unwrap();
    let train = command()
        .args(["job", "train", "--label", "class", "--key", "large", "--data"])
        .arg(dir.join("large.csv"))
        .arg("--dir")
        .arg(&dir)
        .output()
        .unwrap();
    assert!(!train.status.success(), "{train:?}");
    let mut log = String::new();
    child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    let ended = child.wait().unwrap();
    assert_eq!((ended.code(), ended.signal()), (Some(1), None), "{log}");
    let error =
        log.lines().filter(|line| line.starts_with("{\"error\":")).collect::<Vec<_>>().join("\n");
    for part in [dir.to_str().unwrap(), "has failed", "store.redb", "File too large", "is kept"] {
        assert!(error.contains(part), "{part}: {error}\n{log}");
    }
    assert!(!error.contains("Previous I/O"), "{error}");
    // With free space, the node continues where it was, and the submission can be repeated.
    net.restart(1);
    assert!(net.height(1) >= height);
    let key =
        ["job", "train", "--json", "--label", "class", "--rounds", "1", "--key", "large", "--data"];
    let large = dir.join("large.csv");
    net.client(1, &[&key[..], &[large.to_str().unwrap()]].concat());
    assert_eq!(net.get(1, "/v1/jobs")["jobs"].as_array().unwrap().len(), 1);
}
