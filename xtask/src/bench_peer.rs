//! `cargo xtask bench-peer`: benchmarks our consensus and that of a peer one after the other on the
//! same machine, in release builds.
//!
//! The peer is a workspace of its own, and only this command builds it. So `cargo xtask test` does
//! not wait for it, and its dependencies are in no lock file of the shipped programs.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use crate::{
    cli::BenchPeerOptions,
    progress::{Steps, output, run as run_command},
    workspace::Workspace,
};

const PEER: &str = "simplex-peer";
const PEER_MANIFEST: &str = "tests/peers/simplex/Cargo.toml";
/// Reads Linux's load averages over one, five and fifteen minutes.
const LOAD: &str = "/proc/loadavg";

/// Builds and runs both, and prints the peer's figures beside ours as one line of JSON.
pub fn run(options: &BenchPeerOptions) -> Result<()> {
    let workspace = Workspace::locate()?;
    let mut steps = Steps::new(4);
    steps.run("our release build", || {
        run_command(workspace.cargo().args([
            "build",
            "--release",
            "--locked",
            "--package",
            "tequio",
            "--bin",
            "tequio",
        ]))
    })?;
    steps.run("the peer's release build", || {
        let mut cargo = workspace.cargo();
        cargo.args(["build", "--release", "--locked", "--manifest-path", PEER_MANIFEST]);
        run_command(cargo.env("CARGO_TARGET_DIR", workspace.peers_target()))
    })?;
    let dir = match &options.dir {
        Some(dir) => dir.clone(),
        None => emptied_dir(&workspace.peers_target().join("stores"))?,
    };
    let load = fs::read_to_string(LOAD).ok();
    let ours = steps.run("our consensus", || {
        let mut command = Command::new(release(workspace.target(), "tequio"));
        command
            .args(["bench", "consensus", "--json"])
            .args(&options.ours)
            .arg("--dir")
            .arg(dir.join("tequio"));
        last_line(&output(&mut command)?)
    })?;
    let peer = steps.run("the peer's consensus", || {
        let mut command = Command::new(release(&workspace.peers_target(), PEER));
        last_line(&output(command.args(&options.peers).arg("--dir").arg(dir.join("peer")))?)
    })?;
    println!("{}", merge_results(ours, peer, load.as_deref()));
    Ok(())
}

/// Returns a folder without remains of an earlier run.
fn emptied_dir(dir: &Path) -> Result<PathBuf> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    Ok(dir.to_path_buf())
}

fn release(target: &Path, name: &str) -> PathBuf {
    target.join("release").join(format!("{name}{}", env::consts::EXE_SUFFIX))
}

fn last_line(output: &str) -> Result<Map<String, Value>> {
    let line = output.lines().last().context("the bench printed nothing")?;
    match serde_json::from_str(line) {
        Ok(Value::Object(object)) => Ok(object),
        _ => bail!("the bench's last line is not a JSON object: {line}"),
    }
}

/// Merges our fields, the peer's with the prefix `peer_`, and the load of the machine before both
/// runs.
fn merge_results(
    mut ours: Map<String, Value>,
    peer: Map<String, Value>,
    load: Option<&str>,
) -> Value {
    for (name, value) in peer {
        let name = if name == "peer" { name } else { format!("peer_{name}") };
        ours.insert(name, value);
    }
    if let Some(minute) = load.and_then(|load| load.split_whitespace().next()?.parse::<f64>().ok())
    {
        ours.insert("load_average".into(), minute.into());
    }
    Value::Object(ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_of_the_peer_are_printed_beside_ours() {
        let ours = last_line("building\n{\"nodes\":4,\"p50_ms\":9.5}\n").unwrap();
        let peer =
            last_line("{\"peer\":\"commonware simplex\",\"nodes\":4,\"p50_ms\":14.0}").unwrap();
        let both = merge_results(ours, peer, Some("0.25 0.10 0.05 1/200 4711\n"));
        assert_eq!(both["p50_ms"], 9.5);
        assert_eq!(both["peer"], "commonware simplex");
        assert_eq!(both["peer_p50_ms"], 14.0);
        assert_eq!(both["load_average"], 0.25);
    }

    #[test]
    fn output_that_is_not_a_json_object_is_refused() {
        for output in ["", "done\n", "[1]\n", "{\"nodes\":4}\nthat was all\n"] {
            assert!(last_line(output).is_err(), "{output:?}");
        }
    }
}
