//! Mistakes on the command line: each gets an error message that names the file, the cause and the
//! remedy. No message is a panic or the debug format of a type.
//!
//! Missing permissions are real ones: root runs the command as another user, and any other user
//! removes its own right to read.

use crate::{
    WITHIN, data,
    support::{Devnet, PASSPHRASE, command},
};
use serde_json::{Value, json};
use std::{
    fs,
    net::TcpListener,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Texts that no message may contain: panics, the debug format, and database terms that name no
/// file.
const INSIDE: [&str; 11] = [
    "panicked",
    "RUST_BACKTRACE",
    "called `",
    "Os {",
    "Error {",
    "Some(",
    "Err(",
    "PathBuf",
    "magic number",
    "Previous I/O",
    "backtrace",
];

/// Runs commands that must fail, and collects the defects of their messages.
struct CommandErrors {
    dir: tempfile::TempDir,
    wrong: Vec<String>,
    count: usize,
}

impl CommandErrors {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), wrong: Vec::new(), count: 0 }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn file(&self, name: &str, bytes: &[u8]) -> String {
        fs::write(self.path(name), bytes).unwrap();
        self.text(name)
    }

    /// Copies a node's directory. Returns the path of the copy as text.
    fn copy(&self, from: &str, to: &str) -> String {
        copy(&self.path(from), &self.path(to));
        self.text(to)
    }

    /// Runs a wrong command, and checks that its message contains the given parts.
    fn expect_error(&mut self, arguments: &[&str], parts: &[&str]) {
        let output = command().args(arguments).output().unwrap();
        self.check(arguments, &output, parts);
    }

    fn check(&mut self, arguments: &[&str], output: &Output, parts: &[&str]) {
        self.count += 1;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        let message = error
            .lines()
            .skip_while(|line| !line.starts_with("error:"))
            .collect::<Vec<_>>()
            .join("\n");
        let mut faults = Vec::new();
        if !matches!(output.status.code(), Some(1 | 2)) {
            faults.push(format!("ends with {:?}", output.status.code()));
        }
        faults.extend(
            parts
                .iter()
                .filter(|part| !message.contains(**part))
                .map(|part| format!("does not say {part:?}")),
        );
        faults.extend(
            INSIDE
                .iter()
                .filter(|part| error.contains(**part))
                .map(|part| format!("says {part:?}")),
        );
        if !faults.is_empty() {
            self.wrong.push(format!(
                "tequio {}\n  {}\n  {}",
                arguments.join(" "),
                faults.join("; "),
                error.trim()
            ));
        }
    }

    fn end(self, at_least: usize) {
        assert!(
            self.wrong.is_empty(),
            "{} of {}:\n{}",
            self.wrong.len(),
            self.count,
            self.wrong.join("\n\n")
        );
        assert!(self.count >= at_least, "only {} mistakes", self.count);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Makes a network that has never run in `net`, and another in `other`.
fn networks(table: &CommandErrors) {
    for name in ["net", "other"] {
        let made = command()
            .args(["init", "--devnet", "--validators", "1", "--dir", &table.text(name)])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
    }
}

#[test]
fn errors_about_directories_and_files_name_file_cause_and_remedy() {
    let mut t = CommandErrors::new();
    networks(&t);
    let (net, node, missing) = (t.text("net"), t.text("net/node1"), t.text("missing"));
    let empty = t.text("empty");
    fs::create_dir(&empty).unwrap();
    let not_a_node = t.text("not-a-node");
    fs::create_dir(&not_a_node).unwrap();
    fs::write(t.path("not-a-node/letter.txt"), "hello").unwrap();
    let file = t.file("file", b"hello");
    let binary = t.file("binary", &[0xff, 0xfe, 0, 1, 2, 3, 0x80]);

    // The wrong directory: no message suggests a command that leads back to this one.
    for run in [&["run"][..], &["status"], &["job", "list"], &["verify-chain"]] {
        t.expect_error(
            &[run, &["--dir", &missing]].concat(),
            &["there is no directory", &missing, "tequio init"],
        );
        t.expect_error(
            &[run, &["--dir", &net]].concat(),
            &["directory of a network", &net, &format!("--dir {node}")],
        );
        t.expect_error(
            &[run, &["--dir", &not_a_node]].concat(),
            &[&not_a_node, "is not a node's directory", "empty or missing"],
        );
        t.expect_error(&[run, &["--dir", &empty]].concat(), &[&empty, "is empty", "tequio init"]);
        t.expect_error(
            &[run, &["--dir", &file]].concat(),
            &[&file, "is a file, not a directory", "--dir"],
        );
    }
    t.expect_error(
        &["init", "--devnet", "--dir", &node],
        &[&node, "is a node's directory already", "tequio run --dir"],
    );
    t.expect_error(
        &["init", "--devnet", "--dir", &net],
        &[&net, "holds a network already", &format!("tequio run --dir {node}")],
    );
    t.expect_error(
        &["init", "--devnet", "--dir", &not_a_node],
        &[&not_a_node, "is not empty", "empty or missing"],
    );
    t.expect_error(
        &["init", "--devnet", "--dir", &file],
        &["cannot make the directory", &file, "may write"],
    );
    t.expect_error(
        &["init", "--devnet", "--dir", &format!("{file}/below")],
        &["cannot make the directory", "file/below"],
    );

    // A failed init leaves no files that make the next init fail.
    let again = t.text("again");
    t.expect_error(&["init", "--devnet", "--epoch-blocks", "65", "--dir", &again], &["term"]);
    assert!(!t.path("again").exists(), "what the failed init has made is gone");
    t.expect_error(
        &["init", "--devnet", "--passphrase-file", &missing, "--dir", &again],
        &["passphrase file", &missing, "first line"],
    );
    let made = command()
        .args(["init", "--devnet", "--validators", "1", "--dir", &again])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");

    // Joining a network.
    let (checkpoint, genesis) = (t.text("net/checkpoint.bin"), t.text("net/genesis.bin"));
    let join = |checkpoint: &str, genesis: &str, more: &[&str]| -> Vec<String> {
        let fixed = ["init", "--dir", &missing, "--join", checkpoint, "--genesis", genesis];
        fixed.iter().chain(more).map(ToString::to_string).collect()
    };
    let peer =
        ["--peer", "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"];
    for (arguments, parts) in [
        (join(&missing, &genesis, &peer), vec!["cannot read", &missing, "--join"]),
        (join(&checkpoint, &missing, &peer), vec!["cannot read", &missing, "--genesis"]),
        (join(&binary, &genesis, &peer), vec![&binary, "not a Tequio checkpoint file"]),
        (join(&genesis, &checkpoint, &peer), vec![&genesis, "not a Tequio checkpoint file"]),
        (join(&checkpoint, &binary, &peer), vec![&binary, "not a Tequio genesis file"]),
        (
            join(&checkpoint, &t.text("other/genesis.bin"), &peer),
            vec!["different networks", &checkpoint, "same source"],
        ),
        (join(&checkpoint, &genesis, &[]), vec!["no --peer", "at least one"]),
        (
            join(&checkpoint, &genesis, &["--peer", "nobody"]),
            vec!["nobody", "neither a multiaddress", "/ip4/"],
        ),
        (
            join(&checkpoint, &genesis, &["--peer", "/ip4/127.0.0.1/tcp/1"]),
            vec!["does not name the node", "/p2p/"],
        ),
        (
            join(
                &checkpoint,
                &genesis,
                &[&peer[..], &["--checkpoint-hash", &"0".repeat(64)]].concat(),
            ),
            vec![&checkpoint, "not the one you were given"],
        ),
        (
            join(&checkpoint, &genesis, &["--checkpoint-hash", "xyz"]),
            vec!["xyz", "--checkpoint-hash"],
        ),
    ] {
        t.expect_error(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), &parts);
    }
    assert!(!t.path("missing").exists());

    // Configuration.
    for (name, contents, parts) in [
        ("unknown", "worker = 3\n", vec!["worker", "line 1"]),
        ("syntax", "workers = \n", vec!["line 1"]),
        ("http", "http = \"4811\"\n", vec!["4811", "HOST:PORT", "localhost:4811"]),
        ("host", "http_hosts = [\"http://x\"]\n", vec!["not a host name", "node1.example"]),
        (
            "listen",
            "listen = [\"4810\"]\nhttp = \"127.0.0.1:0\"\n",
            vec!["4810", "not a multiaddress"],
        ),
        ("log", "log = \"[[\"\n", vec!["not a log filter", "tequio=debug"]),
    ] {
        let dir = t.copy("net/node1", name);
        fs::write(t.path(name).join("config.toml"), contents).unwrap();
        fs::copy(t.path("net/genesis.bin"), t.path(name).join("genesis.bin")).unwrap();
        fs::copy(t.path("net/checkpoint.bin"), t.path(name).join("checkpoint.bin")).unwrap();
        t.expect_error(&["run", "--dir", &dir], &parts);
    }
    let dir = t.copy("net/node1", "binary-config");
    fs::copy(&binary, t.path("binary-config/config.toml")).unwrap();
    t.expect_error(&["run", "--dir", &dir], &["config.toml", "not UTF-8"]);
    let dir = t.copy("net/node1", "directory-config");
    fs::remove_file(t.path("directory-config/config.toml")).unwrap();
    fs::create_dir(t.path("directory-config/config.toml")).unwrap();
    t.expect_error(&["run", "--dir", &dir], &["config.toml", "directory"]);

    // Options.
    let run = |more: &[&'static str]| [&["run", "--dir", "NODE"][..], more].concat();
    for (more, parts) in [
        (vec!["--http", "nonsense"], vec!["nonsense", "HOST:PORT", "localhost:4811"]),
        (vec!["--http-host", "a:1"], vec!["a:1", "not a host name"]),
        (vec!["--workers", "many"], vec!["many", "--workers"]),
        (vec!["--retained-blocks", "5"], vec!["5", "256"]),
        (vec!["--log", "[["], vec!["[[", "not a log filter"]),
        (vec!["--vote-routing", "nobody"], vec!["nobody", "leader"]),
        (vec!["--listn", "x"], vec!["--listn", "--listen"]),
    ] {
        let arguments: Vec<&str> =
            run(&more).into_iter().map(|a| if a == "NODE" { node.as_str() } else { a }).collect();
        t.expect_error(&arguments, &parts);
    }
    t.expect_error(&["statu"], &["statu", "status"]);
    t.expect_error(&["status"], &["--dir"]);
    let odd =
        command().args(["status", "--dir", &node]).env("TEQUIO_JSON", "perhaps").output().unwrap();
    t.check(&["TEQUIO_JSON=perhaps"], &odd, &["perhaps", "--json"]);

    // A node that does not run, and the files of a killed or foreign node.
    t.expect_error(&["status", "--dir", &node], &["no node runs on", &node, "tequio run --dir"]);
    t.expect_error(&["seat", "show", "--dir", &node], &["no node runs on", &node]);
    t.expect_error(&["kb", "get", "models/x", "--dir", &node], &["no node runs on", &node]);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (name, run, parts) in [
        (
            "left",
            json!({"http": format!("http://{closed}")}).to_string(),
            vec!["has ended", "tequio run --dir"],
        ),
        (
            "cut",
            "{\"http\": \"http://127".to_owned(),
            vec!["run.json is damaged", "remove the file"],
        ),
        ("strange", "{}".to_owned(), vec!["run.json is damaged", "no address", "remove the file"]),
        ("nothing", String::new(), vec!["run.json is damaged", "remove the file"]),
    ] {
        let dir = t.copy("net/node1", name);
        fs::write(t.path(name).join("run.json"), run).unwrap();
        t.expect_error(&["status", "--dir", &dir], &[&[dir.as_str()], &parts[..]].concat());
    }
    let dir = t.copy("net/node1", "directory-run");
    fs::create_dir(t.path("directory-run/run.json")).unwrap();
    t.expect_error(&["status", "--dir", &dir], &["run.json is damaged", "remove"]);

    // Errors of jobs that the command finds before it sends a request.
    let train = |data: &'static str, more: &[&'static str]| {
        [&["job", "train", "--dir", "NODE", "--label", "x", "--data", data][..], more].concat()
    };
    for (arguments, parts) in [
        (train("MISSING", &[]), vec!["missing", "cannot read the file"]),
        (train("DIRECTORY", &[]), vec!["empty", "cannot read the file", "directory"]),
        (train("FILE", &["--out", "FILE"]), vec!["exists already", "another name"]),
        (train("FILE", &["--separator", "ab"]), vec!["ab", "--separator"]),
        (train("FILE", &["--key", "two words"]), vec!["two words", "visible ASCII"]),
        (train("FILE", &["--key", ""]), vec!["--key"]),
        (train("FILE", &["--rounds", "-1"]), vec!["-1"]),
        (train("FILE", &["--mode", "remote"]), vec!["remote", "exact"]),
        (vec!["job", "train", "--dir", "NODE", "--data", "FILE"], vec!["--label"]),
        (
            vec!["job", "show", "--dir", "NODE", "7"],
            vec!["7", "64 hexadecimal digits", "tequio job list"],
        ),
        (vec!["job", "watch", "--dir", "NODE", "../x"], vec!["../x", "64 hexadecimal digits"]),
        (vec!["job", "cancel", "--dir", "NODE", "x"], vec!["64 hexadecimal digits"]),
        (
            vec!["job", "export", "--dir", "NODE", "x", "--out", "MISSING"],
            vec!["64 hexadecimal digits"],
        ),
        (
            vec!["job", "infer", "--dir", "NODE", "--model", "x", "--data", "FILE"],
            vec!["64 hexadecimal digits"],
        ),
        (
            vec!["job", "infer", "--dir", "NODE", "--model", "x", "--data", "MISSING"],
            vec!["missing", "cannot read"],
        ),
        (vec!["seat", "fund", "--dir", "NODE", "--to", "me", "--amount", "1"], vec!["me", "--to"]),
        (vec!["seat", "join", "--dir", "NODE", "--amount", "lots"], vec!["lots", "--amount"]),
    ] {
        let arguments: Vec<&str> = arguments
            .into_iter()
            .map(|argument| match argument {
                "NODE" => node.as_str(),
                "FILE" => file.as_str(),
                "MISSING" => missing.as_str(),
                "DIRECTORY" => empty.as_str(),
                other => other,
            })
            .collect();
        t.expect_error(&arguments, &parts);
    }
    for (export, part) in
        [(&missing, "No such file"), (&net, "is not an export"), (&file, "is a file")]
    {
        t.expect_error(&["verify", export, "--data", &file], &[export, part, "tequio job export"]);
    }
    t.expect_error(&["init", "--dir", &missing], &["--devnet", "--join"]);
    t.expect_error(
        &["checkpoint", "show", &missing],
        &["cannot read the checkpoint", &missing, "may read"],
    );
    let shown = command().args(["checkpoint", "show", "--json", &checkpoint]).output().unwrap();
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    let hash = shown["checkpoint_hash"].as_str().unwrap();
    let pin = ["checkpoint", "pin", &checkpoint, "--checkpoint-hash", hash];
    let pinned = command().args(pin).env("XDG_CONFIG_HOME", &file).output().unwrap();
    t.check(&pin, &pinned, &["cannot pin", &file, "XDG_CONFIG_HOME"]);

    // With JSON, an error is an object, too.
    for (arguments, variable) in [
        (vec!["status", "--dir", &missing], "1"),
        (vec!["job", "list", "--json", "--dir", &net], ""),
    ] {
        let output = command().args(&arguments).env("TEQUIO_JSON", variable).output().unwrap();
        let error: Value = serde_json::from_slice(&output.stderr).unwrap();
        assert!(error["error"].as_str().is_some_and(|text| text.contains("director")), "{error}");
    }
    t.expect_error(
        &["verify-chain", "--dir", &node],
        &["store.redb", "has never run", "tequio run"],
    );
    t.end(80);
}

#[test]
fn errors_about_keys_stores_and_ports_name_file_cause_and_remedy() {
    let mut t = CommandErrors::new();
    networks(&t);
    let (node, binary) = (t.text("net/node1"), t.file("binary", &[0xff; 64]));
    let (nothing, missing) = (t.file("nothing", b""), t.text("missing"));
    let folder = t.text("folder");
    fs::create_dir(&folder).unwrap();

    // Passphrases.
    for (file, parts) in [
        (&missing, ["missing", "No such file"]),
        (&nothing, ["nothing", "first line is empty"]),
        (&binary, ["binary", "not UTF-8"]),
        (&folder, ["folder", "directory"]),
    ] {
        t.expect_error(
            &["keys", "show", "--dir", &node, "--passphrase-file", file],
            &[&["passphrase file"], &parts[..]].concat(),
        );
    }
    let wrong = t.file("wrong", b"not this one\n");
    t.expect_error(
        &["keys", "show", "--dir", &node, "--passphrase-file", &wrong],
        &["node1/keystore", "wrong passphrase", "TEQUIO_PASSPHRASE"],
    );
    t.expect_error(
        &["run", "--dir", &node, "--passphrase-file", &wrong],
        &["node1/keystore", "wrong passphrase"],
    );
    let empty = command()
        .env("TEQUIO_PASSPHRASE", "")
        .args(["keys", "show", "--dir", &node])
        .output()
        .unwrap();
    t.check(
        &["TEQUIO_PASSPHRASE= keys show"],
        &empty,
        &["there is no passphrase", "node1", "--passphrase-file"],
    );

    // Keystores.
    for (name, contents, parts) in [
        ("no-keys", None, ["keystore", "tequio keys import"]),
        ("binary-keys", Some(vec![0xff; 64]), ["keystore", "not a Tequio keystore"]),
        ("empty-keys", Some(Vec::new()), ["keystore", "not a Tequio keystore"]),
    ] {
        let dir = t.copy("net/node1", name);
        fs::remove_file(t.path(name).join("keystore")).unwrap();
        if let Some(contents) = contents {
            fs::write(t.path(name).join("keystore"), contents).unwrap();
        }
        t.expect_error(&["keys", "show", "--dir", &dir], &[&[dir.as_str()], &parts[..]].concat());
    }
    let exported = t.file("exported", b"something of mine");
    t.expect_error(
        &["keys", "export", "--dir", &node, "--out", &exported],
        &[&exported, "exists already", "another name"],
    );
    t.expect_error(
        &["keys", "export", "--dir", &node, "--out", &format!("{missing}/keys")],
        &["cannot write", "missing/keys"],
    );
    t.expect_error(
        &["keys", "import", "--dir", &node, "--from", &exported],
        &[&node, "has keys already", "--force"],
    );
    t.expect_error(
        &["keys", "import", "--dir", &node, "--force", "--from", &exported],
        &[&exported, "not a Tequio keystore"],
    );
    t.expect_error(
        &["keys", "import", "--dir", &missing, "--from", &exported],
        &["no directory", &missing, "tequio init"],
    );

    // The files of the network, and the node's own.
    let node_with = |t: &CommandErrors, name: &str| {
        let dir = t.copy("net/node1", name);
        for file in ["genesis.bin", "checkpoint.bin", "passphrase"] {
            let from = t.path("net").join(file);
            if from.exists() {
                fs::copy(from, t.path(name).join(file)).unwrap();
            }
        }
        dir
    };
    for (name, file, contents, parts) in [
        ("no-genesis", "genesis.bin", None, vec!["cannot read", "genesis.bin", "copy"]),
        (
            "cut-genesis",
            "genesis.bin",
            Some(&b"TEQUIO"[..]),
            vec!["genesis.bin", "damaged", "copy it again"],
        ),
        ("no-checkpoint", "checkpoint.bin", None, vec!["cannot read", "checkpoint.bin", "copy"]),
        (
            "damaged-store",
            "store.redb",
            Some(&[7; 5000]),
            vec!["store.redb", "damaged", "Move store.redb", "peers"],
        ),
        (
            "empty-store",
            "store.redb",
            Some(b""),
            vec!["store.redb", "empty", "damaged", "Move store.redb", "peers"],
        ),
        (
            "short-token",
            "api-token",
            Some(b"abc"),
            vec!["api-token", "shorter than 16", "remove the file"],
        ),
        (
            "binary-token",
            "api-token",
            Some(&[0xff; 64]),
            vec!["api-token", "not UTF-8", "remove it"],
        ),
    ] {
        let dir = node_with(&t, name);
        let path = t.path(name).join(file);
        match contents {
            Some(contents) => fs::write(path, contents).unwrap(),
            None => fs::remove_file(path).unwrap(),
        }
        t.expect_error(
            &["run", "--http", "127.0.0.1:0", "--dir", &dir],
            &[&[dir.as_str()], &parts[..]].concat(),
        );
    }
    for (name, file, parts) in [
        ("folder-store", "store.redb", ["store.redb", "put a directory", "move it away"]),
        ("folder-lock", "lock", ["cannot lock", "lock", "allowed to write"]),
        ("folder-token", "api-token", ["api-token", "directory", "remove it"]),
    ] {
        let dir = node_with(&t, name);
        let _ = fs::remove_file(t.path(name).join(file));
        fs::create_dir(t.path(name).join(file)).unwrap();
        t.expect_error(&["run", "--http", "127.0.0.1:0", "--dir", &dir], &parts);
    }

    // Ports: the store is still intact after the failure.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    let dir = node_with(&t, "ports");
    let listen = format!("/ip4/127.0.0.1/tcp/{}", taken.port());
    let http = taken.to_string();
    t.expect_error(
        &["run", "--dir", &dir, "--http", &http],
        &["cannot serve HTTP", &http, "another program", "--http"],
    );
    t.expect_error(
        &["run", "--dir", &dir, "--http", "192.0.2.1:0"],
        &["cannot serve HTTP", "192.0.2.1", "no such address"],
    );
    let failed = command()
        .args(["run", "--http", "127.0.0.1:0", "--dir", &dir, "--listen", &listen])
        .output()
        .unwrap();
    t.check(&["run --listen"], &failed, &["cannot listen on", &listen, "unharmed", "--listen"]);
    let log = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert_eq!(log.matches("cannot listen on").count(), 1, "the cause is given once: {log}");
    assert!(
        !log.contains("damaged") && !log.contains("store.redb"),
        "the error names the store: {log}"
    );

    // The store of another network, and a store with damage where redb does not look when it opens
    // the file.
    let foreign = node_with(&t, "foreign");
    fs::copy(t.path("other/genesis.bin"), t.path("foreign/genesis.bin")).unwrap();
    fs::copy(t.path("ports/store.redb"), t.path("foreign/store.redb")).unwrap();
    t.expect_error(
        &["run", "--http", "127.0.0.1:0", "--dir", &foreign],
        &["store.redb", "another chain", "genesis.bin"],
    );
    let torn = node_with(&t, "torn");
    let mut bytes = fs::read(t.path("ports/store.redb")).unwrap();
    let len = bytes.len();
    bytes[4096..].iter_mut().for_each(|byte| *byte = 0xa5);
    assert!(len > 8192);
    fs::write(t.path("torn/store.redb"), bytes).unwrap();
    t.expect_error(
        &["run", "--http", "127.0.0.1:0", "--dir", &torn],
        &["store.redb", "damaged", "Move store.redb"],
    );
    let _held = tequio_host::DirectoryLock::take(&t.path("ports")).unwrap();
    t.expect_error(
        &["run", "--dir", &dir],
        &[&dir, "in use by another tequio process", "end that one"],
    );
    t.expect_error(&["verify-chain", "--dir", &dir], &[&dir, "in use by another tequio process"]);
    t.end(30);
}

#[test]
fn an_unreadable_file_is_not_reported_as_a_stopped_node() {
    let mut t = CommandErrors::new();
    networks(&t);
    let node = t.text("net/node1");
    fs::write(t.path("net/node1/run.json"), "{}").unwrap();
    // Root may read everything, so root runs the command as the user nobody.
    let is_root = fs::read(t.path("net/node1/keystore")).is_ok() && {
        fs::set_permissions(t.path("net/node1/keystore"), fs::Permissions::from_mode(0o0)).unwrap();
        let read = fs::read(t.path("net/node1/keystore")).is_ok();
        fs::set_permissions(t.path("net/node1/keystore"), fs::Permissions::from_mode(0o600))
            .unwrap();
        read
    };
    let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    [t.dir.path().to_owned(), t.path("net"), t.path("net/node1")]
        .iter()
        .for_each(|path| open(path));
    for (file, arguments, parts) in [
        ("run.json", vec!["status", "--dir", &node], ["cannot read", "run.json", "node's user"]),
        ("config.toml", vec!["run", "--dir", &node], ["cannot read", "config.toml", "node's user"]),
        (
            "keystore",
            vec!["keys", "show", "--dir", &node],
            ["keystore", "ermission denied", "user that owns it"],
        ),
    ] {
        fs::set_permissions(t.path("net/node1").join(file), fs::Permissions::from_mode(0o0))
            .unwrap();
        let mut command: Command = command();
        command.args(&arguments);
        if is_root {
            command.uid(65534).gid(65534);
        }
        match command.output() {
            Ok(output) => t.check(&arguments, &output, &parts),
            Err(error) => return eprintln!("skipped: nobody may not run the program ({error})"),
        }
        fs::set_permissions(t.path("net/node1").join(file), fs::Permissions::from_mode(0o644))
            .unwrap();
    }
    t.end(3);
}

#[test]
fn errors_of_the_node_name_file_cause_and_remedy() {
    let net = Devnet::start(1);
    net.wait_height(1, 1, WITHIN);
    let dir = net.dir(1).to_str().unwrap().to_owned();
    let mut t = CommandErrors::new();
    let rows = |n: usize| {
        (0..n).map(|i| format!("{i},{},{}\n", i * 3 % 7, ["a", "b"][i % 2])).collect::<String>()
    };
    let good = format!("x,y,class\n{}", rows(60));
    let mut gzip = vec![0x1f, 0x8b];
    gzip.extend([0; 40]);
    for (name, bytes, options, parts) in [
        (
            "label.csv",
            good.clone().into_bytes(),
            vec!["--label", "species"],
            vec!["species", "x, y, class"],
        ),
        ("position.csv", good.clone().into_bytes(), vec!["--label", "9"], vec!["9", "x, y, class"]),
        (
            "text.csv",
            good.replace("\n3,", "\nthree,").into_bytes(),
            vec!["--label", "class"],
            vec!["line 5", "three"],
        ),
        (
            "one.csv",
            good.replace(",b\n", ",a\n").into_bytes(),
            vec!["--label", "class"],
            vec!["at least two classes"],
        ),
        ("empty.csv", Vec::new(), vec!["--label", "class"], vec!["empty"]),
        ("header.csv", b"x,y,class\n".to_vec(), vec!["--label", "class"], vec!["no rows"]),
        (
            "unequal.csv",
            good.replace("\n3,", "\n3,3,").into_bytes(),
            vec!["--label", "class"],
            vec!["line 5", "fields"],
        ),
        ("binary.csv", vec![0xff, 0xfe, 0, 1], vec!["--label", "class"], vec!["UTF-8"]),
        ("packed.csv.gz", gzip, vec!["--label", "class"], vec!["gzip", "again"]),
        (
            "columns.csv",
            b"class\na\nb\n".to_vec(),
            vec!["--label", "class"],
            vec!["no column but the label"],
        ),
        (
            "width.csv",
            good.clone().into_bytes(),
            vec!["--label", "class", "--layers", "wide"],
            vec!["wide", "64,32"],
        ),
        (
            "gap.csv",
            good.clone().into_bytes(),
            vec!["--label", "class", "--layers", "32,,4"],
            vec!["layers", "64,32"],
        ),
        (
            "bare.csv",
            rows(60).into_bytes(),
            vec!["--label", "class"],
            vec!["2 columns", "--no-header"],
        ),
        (
            "numbers.csv",
            b"0,0,5,1\n1,2,3,2\n3,4,5,1\n".to_vec(),
            vec!["--label", "-1"],
            vec!["0, 0, 5, 1", "--no-header"],
        ),
        (
            "twice.csv",
            good.replace("x,y,", "x,x,").into_bytes(),
            vec!["--label", "class"],
            vec!["2 columns", "\"x\"", "a name of its own", "--no-header"],
        ),
        (
            "commas.csv",
            b"x;class\n1,5;a\n".to_vec(),
            vec!["--label", "class"],
            vec!["line 2", "1,5", "decimal commas"],
        ),
        (
            "latin.csv",
            b"x,class\n1,\xe9\n".to_vec(),
            vec!["--label", "class"],
            vec!["UTF-8", "iconv"],
        ),
        (
            "deep.csv",
            good.clone().into_bytes(),
            vec!["--label", "class", "--layers", "0"],
            vec!["layer", "allowed"],
        ),
        (
            "rounds.csv",
            good.clone().into_bytes(),
            vec!["--label", "class", "--rounds", "0"],
            vec!["rounds", "must be"],
        ),
    ] {
        let path = t.file(name, &bytes);
        let arguments = [&["job", "train", "--dir", &dir, "--data", &path][..], &options].concat();
        t.expect_error(&arguments, &[&[name], &parts[..]].concat());
    }
    let long = "n".repeat(65);
    let path = t.file("good.csv", good.as_bytes());
    t.expect_error(
        &["job", "train", "--dir", &dir, "--data", &path, "--label", "class", "--name", &long],
        &["good.csv", "name", "64"],
    );
    let unknown = "0".repeat(64);
    for verb in ["show", "watch", "cancel"] {
        t.expect_error(
            &["job", verb, "--dir", &dir, &unknown],
            &[&unknown, "not found", "tequio job list"],
        );
    }
    let out = t.text("out");
    t.expect_error(
        &["job", "export", "--dir", &dir, &unknown, "--out", &out],
        &[&unknown, "not found"],
    );
    t.expect_error(
        &["job", "infer", "--dir", &dir, "--model", &unknown, "--data", &path],
        &[&unknown, "not found"],
    );
    t.expect_error(&["kb", "get", "--dir", &dir, "models/none"], &["models/none", "not found"]);
    t.expect_error(&["kb", "get", "--dir", &dir, "a b"], &["a b", "not an id or name"]);
    t.expect_error(
        &["seat", "join", "--dir", &dir, "--amount", "999999999"],
        &["already a member"],
    );
    t.expect_error(
        &["seat", "fund", "--dir", &dir, "--to", &unknown, "--amount", "99999999999"],
        &["the balance is", "give less"],
    );
    t.expect_error(
        &["keys", "import", "--dir", &dir, "--force", "--from", &path],
        &["in use by another tequio process"],
    );

    // One key with two different submissions.
    let train = |seed: &'static str| {
        vec![
            "job", "train", "--dir", &dir, "--data", &path, "--label", "class", "--key", "mine",
            "--rounds", "1", "--seed", seed,
        ]
    };
    let first = command().args(train("1")).output().unwrap();
    assert!(first.status.success(), "{first:?}\n{}", net.whole_log(1));
    t.expect_error(&train("2"), &["mine", "another submission", "another key"]);

    // A job that is not final cannot classify rows, and an ended job cannot be cancelled.
    let digits = data("digits.csv.gz");
    let digits = digits.to_str().unwrap();
    let job = net
        .client(1, &["job", "train", "--json", "--no-header", "--label", "-1", "--data", digits]);
    let id = job["id"].as_str().unwrap();
    t.expect_error(
        &["job", "infer", "--dir", &dir, "--model", id, "--data", &path],
        &["has not trained a model", "not final"],
    );
    t.expect_error(&["job", "export", "--dir", &dir, id, "--out", &out], &["not final"]);
    net.client(1, &["job", "cancel", "--json", id]);
    t.expect_error(&["job", "cancel", "--dir", &dir, id], &["ended already"]);
    t.expect_error(
        &["job", "watch", "--dir", &dir, id],
        &[id, "was cancelled by its coordinator", "tequio job show"],
    );
    t.expect_error(
        &["job", "infer", "--dir", &dir, "--model", id, "--data", &path],
        &["has not trained a model", "was cancelled by its coordinator", "no result"],
    );
    t.expect_error(
        &["job", "export", "--dir", &dir, id, "--out", &out],
        &["was cancelled by its coordinator", "no result"],
    );
    let shown = net.client_text(1, &["job", "show", id]);
    assert!(shown.contains("cancelled") && !shown.contains("failed"), "{shown}");
    fs::remove_file(net.dir(1).join("api-token")).unwrap();
    t.expect_error(&["job", "cancel", "--dir", &dir, id], &["api-token", "node's user"]);
    assert!(!PASSPHRASE.is_empty());
    t.end(30);
}
