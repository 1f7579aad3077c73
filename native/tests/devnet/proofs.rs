//! Verification on a chain of many epochs. Exports, answers and checkpoints follow the committee
//! handovers from a root that the caller names. A node that joined late serves the handovers from
//! before it joined.

use crate::{
    JOB_WITHIN, WITHIN, data,
    prebuilt_chain::PrebuiltChain,
    seats::light_request,
    support::{Devnet, tequio},
};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tequio_core::{
    ledger::Checkpoint,
    light::LightClient,
    wire::light::{Request, Response},
};

/// Hundreds of epochs: the handovers take more than one page.
const EPOCHS: u64 = 300;
const EPOCH_BLOCKS: u64 = 2;
/// An epoch before that of the snapshots which the members offer.
const MIDDLE: u64 = EPOCHS / 2;

/// Runs a command without a node; `config` is the home of its pins. Returns whether it succeeded,
/// its last line, and its errors.
fn run(config: &Path, arguments: &[&str]) -> (bool, Value, String) {
    let mut command = Command::new(tequio());
    let output: Output =
        command.args(arguments).arg("--json").env("XDG_CONFIG_HOME", config).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let last = serde_json::from_str(text.lines().last().unwrap_or("null")).unwrap();
    (output.status.success(), last, String::from_utf8(output.stderr).unwrap())
}

/// A copy of an export in the format of versions without handovers.
fn without_handovers(export: &Path, copy: PathBuf) -> PathBuf {
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(export)
        .unwrap()
        .map(Result::unwrap)
        .filter(|e| e.file_name() != "handovers.bin")
    {
        fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    let sums = fs::read_to_string(copy.join("BLAKE3SUMS")).unwrap();
    let sums: String =
        sums.split_inclusive('\n').filter(|line| !line.contains("handovers.bin")).collect();
    fs::write(copy.join("BLAKE3SUMS"), sums).unwrap();
    copy
}

#[test]
fn proofs_lead_from_a_named_checkpoint_through_many_epochs_to_the_head() {
    let epoch = EPOCH_BLOCKS.to_string();
    let mut net = Devnet::make_with(4, &["--term-blocks", &epoch, "--epoch-blocks", &epoch]);
    let past = PrebuiltChain::of(&net, 4);
    drop(past.make(
        &PrebuiltChain::store(&net, 1),
        EPOCHS * EPOCH_BLOCKS + 1,
        &mut |_| Vec::new(),
        &mut |_, _| (),
    ));
    for node in [2, 3, 4] {
        fs::copy(PrebuiltChain::store(&net, 1), PrebuiltChain::store(&net, node)).unwrap();
    }
    // The first node's own checkpoint has expired.
    let genesis = net.path().join("net/checkpoint.bin");
    let expired =
        Checkpoint::new(past.start.header.clone(), None, past.start.committee.record().clone(), 1);
    fs::write(net.dir(1).join("checkpoint.bin"), expired.encode()).unwrap();
    (1..=4).for_each(|node| net.restart(node));
    net.wait_height(2, EPOCHS * EPOCH_BLOCKS + 2, WITHIN);

    let iris = data("iris.csv");
    let folder = net.path().to_owned();
    let (path, config) = (|name: &str| folder.join(name), folder.join("config"));
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let export = path("export");
    let job = net.client(
        2,
        &[
            "job",
            "train",
            "--label",
            "class",
            "--layers",
            "8",
            "--rounds",
            "2",
            "--json",
            "--data",
            iris.to_str().unwrap(),
            "--out",
            export.to_str().unwrap(),
        ],
    );
    let id = job["job"].as_str().unwrap().to_owned();

    verify_needs_a_root(&config, &export, &iris, &genesis);
    let old = without_handovers(&export, path("old"));
    let (ok, printed, _) = run(
        &config,
        &["verify", &text(&old), "--data", &text(&iris), "--checkpoint", &text(&genesis)],
    );
    assert!(!ok && printed["part"] == "handovers", "{printed}");
    assert!(printed["error"].as_str().unwrap().contains("export the job again"), "{printed}");

    // The same proofs verify answers.
    let rows = path("rows.csv");
    fs::write(
        &rows,
        fs::read_to_string(&iris).unwrap().lines().take(4).collect::<Vec<_>>().join("\n"),
    )
    .unwrap();
    let answers = path("answers.csv");
    net.client(
        2,
        &[
            "job",
            "infer",
            "--model",
            &id,
            "--data",
            &text(&rows),
            "--out",
            &text(&answers),
            "--json",
        ],
    );
    assert_eq!(fs::read_to_string(&answers).unwrap().lines().count(), 4);

    // A node whose checkpoint has expired exports from its newest checkpoint on.
    net.wait_until(1, &format!("/v1/jobs/{id}"), JOB_WITHIN, |job| job["state"] == "final");
    let fresh = path("fresh");
    net.client(1, &["job", "export", &id, "--out", &text(&fresh), "--json"]);
    let (ok, printed, error) = run(
        &config,
        &["verify", &text(&fresh), "--data", &text(&iris), "--dir", &text(net.dir(1))],
    );
    assert!(!ok && printed["error"].as_str().unwrap().contains("trust"), "{printed} {error}");

    checkpoints(&net, &config, &genesis);

    // A node that joins with a later checkpoint and a snapshot serves the handovers from the first
    // epoch on.
    let middle = follow_handovers(&net, 2, &genesis, MIDDLE).checkpoint();
    let peers: Vec<String> =
        (1..=4).map(|node| net.dir(node).to_str().unwrap().to_owned()).collect();
    let joined = net.init_join(&peers);
    fs::write(net.dir(joined).join("checkpoint.bin"), middle.encode()).unwrap();
    net.restart_with(joined, &["--state-sync-threshold", "8"]);
    net.wait_log(joined, "continuing from a fetched state", WITHIN);
    net.wait_log(joined, "stored committee handovers of earlier epochs", WITHIN);
    let out = path("by-joined.bin");
    let by_joined =
        ["checkpoint", "export", "--out", &text(&out), "--checkpoint", &text(&genesis), "--json"];
    let shown = net.client(joined, &by_joined);
    assert!(shown["epoch"].as_u64() > Some(EPOCHS), "{shown}");
    follow_handovers(&net, joined, &genesis, EPOCHS);
}

/// Verification trusts nothing in the export itself.
fn verify_needs_a_root(config: &Path, export: &Path, data: &Path, genesis: &Path) {
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (export, data, genesis_text) = (text(export), text(data), text(genesis));
    let verify = |more: &[&str]| {
        run(config, &[["verify", &export, "--data", &data].as_slice(), more].concat())
    };
    let hash = Checkpoint::hash(&fs::read(genesis).unwrap()).to_string();
    let wrong = "0".repeat(64);

    let (ok, printed, _) = verify(&[]);
    assert!(!ok && printed["part"] == "checkpoint", "{printed}");
    let error = printed["error"].as_str().unwrap();
    assert!(
        error.contains("no root of trust") && error.contains(&format!("--trust-embedded {hash}")),
        "{error}"
    );
    for (root, holds) in [
        (["--checkpoint", &genesis_text].as_slice(), true),
        (&["--checkpoint", &genesis_text, "--checkpoint-hash", &hash], true),
        (&["--checkpoint-hash", &hash], true),
        (&["--trust-embedded", &hash], true),
        (&["--checkpoint", &genesis_text, "--checkpoint-hash", &wrong], false),
        (&["--checkpoint-hash", &wrong], false),
        (&["--trust-embedded", &wrong], false),
    ] {
        let (ok, printed, _) = verify(root);
        assert_eq!(ok, holds, "{root:?}: {printed}");
        assert!(holds || printed["part"] == "checkpoint", "{root:?}: {printed}");
        // An error for a command that names a root does not recommend another root.
        let advises =
            printed["error"].as_str().is_some_and(|error| error.contains("--trust-embedded"));
        assert!(!advises || root[0] == "--trust-embedded", "{root:?}: {printed}");
        assert!(!holds || printed["root"]["hash"] == hash.as_str(), "{root:?}: {printed}");
    }
    // Archives: the output states the limits of the date, and a date before the export is rejected.
    let today = tequio::node::machine::now_ms() / 1000;
    let today = time::OffsetDateTime::from_unix_timestamp(today as i64).unwrap().date().to_string();
    let (ok, printed, _) = verify(&["--checkpoint", &genesis_text, "--as-of", &today]);
    assert!(ok && printed["warning"].as_str().unwrap().contains("could have forged"), "{printed}");
    let (ok, printed, _) = verify(&["--checkpoint", &genesis_text, "--as-of", "2020-01-01"]);
    assert!(!ok && printed["part"] == "proof", "{printed}");
    // A pin is stored for the network.
    let (ok, _, error) =
        run(config, &["checkpoint", "pin", &genesis_text, "--checkpoint-hash", &wrong]);
    assert!(!ok && error.contains("not the one you were given"), "{error}");
    let (ok, printed, _) =
        run(config, &["checkpoint", "pin", &genesis_text, "--checkpoint-hash", &hash]);
    assert!(
        ok && printed["pinned"].as_str().is_some_and(|pin| Path::new(pin).starts_with(config)),
        "{printed}"
    );
    let (ok, printed, _) = verify(&[]);
    assert!(ok && printed["root"]["hash"] == hash.as_str(), "{printed}");
    fs::remove_dir_all(config).unwrap();
}

/// Exports fresh checkpoints from a running node, verified from an older one.
fn checkpoints(net: &Devnet, config: &Path, genesis: &Path) {
    let path = |name: &str| net.path().join(name).to_str().unwrap().to_owned();
    let genesis = genesis.to_str().unwrap();
    let (new, handovers) = (path("new.bin"), path("handovers.bin"));
    let export = ["checkpoint", "export", "--out", &new, "--handovers", &handovers, "--json"];
    // Node 1 has an expired checkpoint, and the command names no other root.
    let refused = net.client_output(1, &export);
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(
        !refused.status.success() && error.contains("--trust-node") && !Path::new(&new).exists(),
        "{error}"
    );
    let exported = net.client(1, &[export.as_slice(), &["--checkpoint", genesis]].concat());
    assert!(
        exported["epoch"].as_u64() > Some(EPOCHS) && exported["expired"] == false,
        "{exported}"
    );
    let again = net.client_output(1, &[export.as_slice(), &["--checkpoint", genesis]].concat());
    assert!(
        !again.status.success() && String::from_utf8(again.stderr).unwrap().contains("--replace")
    );
    net.client(1, &["checkpoint", "export", "--out", &path("word.bin"), "--trust-node", "--json"]);

    let (ok, shown, _) = run(config, &["checkpoint", "show", &new]);
    assert!(ok);
    for field in ["checkpoint_hash", "height", "chain", "trusted_until"] {
        assert_eq!(shown[field], exported[field], "{field}");
    }
    // Verified offline with the file of handovers, or through a node. Not backwards, not without a
    // root, not with a gap.
    let verify =
        |more: &[&str]| run(config, &[["checkpoint", "verify", &new].as_slice(), more].concat());
    let (ok, printed, error) = verify(&["--checkpoint", genesis, "--handovers", &handovers]);
    assert!(ok && printed["checkpoint_hash"] == exported["checkpoint_hash"], "{printed} {error}");
    net.client(2, &["checkpoint", "verify", &new, "--json"]);
    assert!(verify(&[]).2.contains("no root of trust"));
    assert!(verify(&["--checkpoint", genesis]).2.contains("--handovers"));
    let (ok, _, error) = run(config, &["checkpoint", "verify", genesis, "--checkpoint", &new]);
    assert!(!ok && error.contains("before the root of trust"), "{error}");
    // A checkpoint with a forged committee or trust period.
    let whole = Checkpoint::open(&fs::read(&new).unwrap(), None, 0).unwrap().0;
    let Checkpoint { header, certificate, committee, trust_period_ms, .. } = whole;
    let longer = Checkpoint::new(header, certificate, committee, trust_period_ms + 1);
    let forged = path("forged.bin");
    fs::write(&forged, longer.encode()).unwrap();
    let arguments =
        ["checkpoint", "verify", &forged, "--checkpoint", genesis, "--handovers", &handovers];
    let (ok, _, error) = run(config, &arguments);
    assert!(!ok && error.contains("trust period"), "{error}");
}

/// A light client that has followed one node's handovers, in pages, from the first checkpoint to at
/// least `epoch`.
fn follow_handovers(net: &Devnet, node: usize, genesis: &Path, epoch: u64) -> LightClient {
    const PAGE: u16 = 128;
    let checkpoint = fs::read(genesis).unwrap();
    let now_ms = tequio::node::machine::now_ms;
    let mut light = LightClient::start(&checkpoint, None, now_ms()).unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let (network, mut events) = tequio_p2p::spawn(tequio_p2p::Config::new([80; 32])).unwrap();
        tokio::spawn(async move { while events.next().await.is_some() {} });
        let addr: tequio_p2p::Multiaddr = net.listen(node).parse().unwrap();
        let peer = tequio_p2p::identity::node_of(&addr).unwrap();
        network.add_persistent_peer(addr).await;
        while light.committee().epoch() < epoch {
            let request = Request::Handovers { from: light.committee().epoch(), count: PAGE };
            let Response::Handovers(page) = light_request(&network, peer, &request).await else {
                panic!("no handovers")
            };
            assert!(
                page.iter().all(|handover| handover.seats.is_none()),
                "the seats have not changed"
            );
            assert!(light.follow_handovers(PAGE.into(), page.into_vec(), now_ms()).unwrap() > 0);
            // The client is saved and resumed at the end of an epoch.
            light = LightClient::resume(&light.save(), light.chain(), now_ms()).unwrap();
        }
        light
    })
}
