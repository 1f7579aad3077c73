//! `tequio status`: shows the state of a running node.

use super::{
    client::Client,
    options::{Dir, Json},
    output::print,
};
use clap::Args;
use serde_json::Value;

/// Show the state of a running node
#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    dir: Dir,
    #[command(flatten)]
    json: Json,
}

impl Status {
    /// Queries and prints the status.
    pub fn execute(self) -> anyhow::Result<()> {
        let client = Client::of(&self.dir.dir)?;
        let mut status = client.json("/v1/status")?;
        status["peer_list"] = client.json("/v1/peers")?["peers"].take();
        print(self.json, &status, || text(&status));
        Ok(())
    }
}

/// Describes a missing quorum or queued writes; empty if there is neither.
fn mode_text(status: &Value) -> String {
    let queued = status["queued_writes"].as_u64().unwrap_or_default();
    match (status["mode"] == "reduced", queued) {
        (true, _) => format!(
            "mode    REDUCED: no block becomes final; reads go on, writes are queued ({queued} now)"
        ),
        (false, 0) => String::new(),
        (false, _) => format!("queued  {queued} writes on their way into the ledger"),
    }
}

/// Describes the progress of syncing; empty if the node is in sync.
fn sync_text(sync: &Value) -> String {
    match sync["how"].as_str() {
        Some("snapshot") => {
            let percent = sync["share"].as_f64().unwrap_or_default() * 100.0;
            let (target, entries, peers) = (&sync["target"], &sync["entries"], &sync["peers"]);
            format!(
                "sync    fetching the state of height {target}: {percent:.0} %, {entries} entries, \
                 from {peers} peers"
            )
        }
        Some("blocks") => format!("sync    fetching blocks up to {}", sync["target"]),
        _ => String::new(),
    }
}

fn text(status: &Value) -> String {
    let field = |name: &str| status[name].as_str().unwrap_or_default().to_owned();
    let seat = status["seat"].as_u64().map_or("no seat".into(), |seat| format!("seat {seat}"));
    let age = status["head_age_ms"].as_u64().unwrap_or_default() as f64 / 1000.0;
    let stale = if status["stale"] == true { ", STALE: is there a quorum?" } else { "" };
    let mut lines = vec![
        format!("node    {} ({seat})", field("node")),
        format!("chain   {}", field("chain")),
        format!("height  {} ({age:.1} s ago{stale})", status["height"]),
        sync_text(&status["sync"]),
        format!("waiting {} transactions", status["mempool"]),
        mode_text(status),
        format!("peers   {}", status["peers"]),
    ];
    lines.retain(|line| !line.is_empty());
    for peer in status["peer_list"].as_array().into_iter().flatten() {
        let text = |name: &str| peer[name].as_str().unwrap_or("?").to_owned();
        let rtt = peer["rtt_ms"].as_f64().map_or(String::new(), |rtt| format!(", {rtt:.1} ms"));
        let way = format!("{} {} {}", text("path"), text("transport"), text("address"));
        let agent = match peer["identify_error"].as_str() {
            Some(cause) => format!("(not identified: {cause})"),
            None => text("agent"),
        };
        lines.push(format!("        {} {way} {agent}{rtt}", text("id")));
    }
    lines.join("\n")
}
