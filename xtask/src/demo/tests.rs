//! Tests the orchestration with scripts that print the output of the real programs: which programs
//! start, what the demo waits for, and that a program that dies is named and all others are ended.

use std::{fs, os::unix::fs::PermissionsExt};

use super::{event::Event, outcome::Outcome, *};
use crate::cli::DemoOptions;

const NODE: &str = r#"
case "$1" in
init) echo '{"event":"initialised","checkpoint_hash":"abcd",'\
           '"nodes":[{"node":"x","peer_id":"X"},{"node":"y","peer_id":"Y"}]}' ;;
run) echo '{"event":"ready","listen":["/ip4/127.0.0.1/tcp/1/p2p/X"],"http":"http://127.0.0.1:2"}'
     exec sleep 600 ;;
job) echo '{"event":"round","round":1,"rounds":2,"accuracy":0.5}'
     echo '{"event":"final","accuracy":0.97,"units":8,"checked":8,"rejected":0,"height":9,
            "model_cid":"bafy","contributors":[{"id":"tab","units":3}]}' | tr -d '\n'; echo ;;
esac"#;
const RELAY: &str = r#"
echo '{"event":"ready","http":"http://127.0.0.1:3/","listen":["/ip4/127.0.0.1/tcp/4/p2p/R"]}'
exec sleep 600"#;
const TAB: &str = r#"
console.log(JSON.stringify({ event: "joined", node: "tab", path: "webrtc" }));
const verified = { event: "verified", model_cid: "bafy", path: "webrtc" };
setTimeout(() => console.log(JSON.stringify(verified)), 50);"#;

/// A repository and target folder in which scripts replace the programs.
struct Stage {
    folder: PathBuf,
    workspace: Workspace,
}

impl Stage {
    fn set(name: &str, node: &str, relay: &str, tab: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("xtask-demo-{name}-{}", process::id()));
        let workspace = Workspace::at(folder.join("root"), folder.join("target"));
        for path in [workspace.binaries(), workspace.path("tests/browser"), folder.join("logs")] {
            fs::create_dir_all(path).unwrap();
        }
        for (program, script) in [("tequio", node), ("tequio-relay", relay)] {
            let path = workspace.binary(program);
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::write(workspace.path("tests/browser/demo.mjs"), tab).unwrap();
        Self { folder, workspace }
    }

    fn start(&self) -> Result<Network> {
        Network::start(&self.workspace, &self.folder, 0, soon())
    }

    fn train_with_tab(&self) -> Result<Outcome> {
        let mut network = self.start()?;
        tab::join(&self.workspace, Path::new("chromium"), &mut network, soon())?;
        job::train_with_tab(&DemoOptions::default(), &self.workspace, &mut network, soon())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn error_of<T>(result: Result<T>) -> String {
    format!("{:#}", result.err().unwrap())
}

#[test]
fn a_complete_demo_ends_with_the_model_that_the_tab_verified() {
    let outcome = Stage::set("whole", NODE, RELAY, TAB).train_with_tab().unwrap();
    assert!(
        outcome.summary().starts_with("trained to 97.0 % in 8 units (3 by browsers"),
        "{}",
        outcome.summary()
    );
}

/// Each training is a process of its own: the end of one never counts as the end of the next.
#[test]
fn trainings_follow_each_other_until_the_user_stops() {
    let stage = Stage::set("again", NODE, RELAY, TAB);
    let mut network = stage.start().unwrap();
    let sender = network.sender();
    sender.send(Event::Key).unwrap();
    let mut trained = 0;
    interactive::run(None, &stage.workspace, &mut network, |_| {
        trained += 1;
        sender.send(if trained < 5 { Event::Key } else { Event::Interrupted }).unwrap();
    })
    .unwrap();
    assert_eq!(trained, 5);
}

#[test]
fn a_failed_job_and_a_dead_validator_do_not_end_the_demo() {
    // The first job fails, then the first validator dies, then a tab joins and starts the second
    // training.
    let node = NODE
        .replace(
            "job)",
            r#"job) cd "${0%/*}"
               [ -e failed ] || { echo 'no such column' >&2; touch failed; exit 2; };"#,
        )
        .replace(
            "exec sleep 600",
            r#"case "$*" in *node1*) cd "${0%/*}"; AWAIT failed; touch dead; exit 7; esac
               exec sleep 600"#,
        )
        .replace("AWAIT failed", "until [ -e failed ]; do sleep 0.02; done");
    let joined = r#"cd "${0%/*}"; until [ -e dead ]; do sleep 0.02; done
        echo '{"event":"browsers","browsers":1}'; "#;
    let stage = Stage::set(
        "failures",
        &node,
        &RELAY.replace("exec sleep", &format!("{joined} exec sleep")),
        TAB,
    );
    let mut network = stage.start().unwrap();
    let sender = network.sender();
    sender.send(Event::Key).unwrap();
    let mut trained = 0;
    interactive::run(None, &stage.workspace, &mut network, |_| {
        trained += 1;
        sender.send(Event::Interrupted).unwrap();
    })
    .unwrap();
    assert_eq!(trained, 1);
}

#[test]
fn the_page_carries_the_checkpoint() {
    let stage = Stage::set("page", NODE, RELAY, TAB);
    let network = stage.start().unwrap();
    assert_eq!(network.page_url, "http://127.0.0.1:3/#checkpoint=abcd");
}

#[test]
fn a_validator_that_dies_is_named_with_its_last_output() {
    let dying = r#"
[ "$1" = init ] && echo '{"checkpoint_hash":"x","nodes":[{"node":"x","peer_id":"X"}]}' && exit
echo 'the disk is full' >&2; exit 7"#;
    let error = error_of(Stage::set("node", dying, RELAY, TAB).start());
    assert!(
        error.contains("node") && error.contains("code 7") && error.contains("the disk is full"),
        "{error}"
    );
}

#[test]
fn a_relay_that_dies_later_ends_the_demo() {
    let dying = RELAY.replace("exec sleep 600", "sleep 0.5; kill -9 $$");
    let endless = r#"console.log(JSON.stringify({ event: "joined", node: "tab" }));
        setTimeout(() => {}, 600000);"#;
    let error = error_of(Stage::set("relay", NODE, &dying, endless).train_with_tab());
    assert!(error.contains("relay was ended by signal 9"), "{error}");
}

#[test]
fn a_tab_that_dies_before_it_has_verified_is_a_failure() {
    let dying = r#"console.log(JSON.stringify({ event: "joined", node: "tab" }));
        setTimeout(() => process.exit(3), 50);"#;
    let error = error_of(Stage::set("tab", NODE, RELAY, dying).train_with_tab());
    assert!(error.contains("tab ended with code 3"), "{error}");
    let early =
        error_of(Stage::set("early", NODE, RELAY, "throw new Error('no page')").train_with_tab());
    assert!(early.contains("no page"), "{early}");
}

#[test]
fn a_job_that_fails_is_named() {
    let failing = NODE.replace("job)", "job) echo 'no such column' >&2; exit 2;;\nnever)");
    let error = error_of(Stage::set("job", &failing, RELAY, TAB).train_with_tab());
    assert!(error.contains("job ended with code 2") && error.contains("no such column"), "{error}");
}

#[test]
fn a_network_that_never_gets_ready_times_out() {
    let stage = Stage::set(
        "silent",
        &NODE.replace("\"event\":\"ready\"", "\"event\":\"thinking\""),
        RELAY,
        TAB,
    );
    let soon = Instant::now() + Duration::from_millis(300);
    let error = error_of(Network::start(&stage.workspace, &stage.folder, 0, soon));
    assert!(error.contains("the start of the network took too long"), "{error}");
}

#[test]
fn a_folder_to_keep_must_be_empty() {
    let path = std::env::temp_dir().join(format!("xtask-keep-{}", process::id()));
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("precious"), "").unwrap();
    assert!(Folder::create(Some(&path)).is_err());
    fs::remove_file(path.join("precious")).unwrap();
    let folder = Folder::create(Some(&path)).unwrap();
    folder.remove_unless_kept();
    assert!(path.exists());
    fs::remove_dir_all(&path).unwrap();
}
