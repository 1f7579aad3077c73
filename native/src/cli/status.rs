//! `tequio status`: how a running node is.

use super::{Dir, Json, client::Client, say};
use clap::Args;
use serde_json::Value;

/// Show how a running node is
#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    dir: Dir,
    #[command(flatten)]
    json: Json,
}

impl Status {
    /// Asks and shows.
    pub fn execute(self) -> anyhow::Result<()> {
        let client = Client::of(&self.dir.dir)?;
        let mut status = client.json("/v1/status")?;
        status["peer_list"] = client.json("/v1/peers")?["peers"].take();
        say(self.json, &status, || text(&status));
        Ok(())
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
        format!("waiting {} transactions", status["mempool"]),
        format!("peers   {}", status["peers"]),
    ];
    for peer in status["peer_list"].as_array().into_iter().flatten() {
        let text = |name: &str| peer[name].as_str().unwrap_or("?").to_owned();
        let rtt = peer["rtt_ms"].as_f64().map_or(String::new(), |rtt| format!(", {rtt:.1} ms"));
        lines.push(format!("        {} {} {} {}{rtt}", text("id"), text("path"), text("transport"), text("agent")));
    }
    lines.join("\n")
}
