//! `tequio seat`: requests a seat in the committee, gives it up, changes its keys.

use super::{
    client::{Client, unknown_outcome},
    options::{Dir, Json},
    output::print,
    queued,
};
use clap::{Args, Subcommand};
use serde_json::Value;
use tequio_core::types::NodeId;

/// Request a seat in the committee, leave it, change its keys
#[derive(Debug, Args)]
pub struct Seat {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the seat, the bond, and the changes that are due at the end of the epoch
    Show(Common),
    /// Bond balance and request a seat, which begins at the end of an epoch
    Join(Amount),
    /// Increase the bond of the seat; its weight follows at the end of an epoch
    Bond(Amount),
    /// Give the seat up at the end of an epoch; the bond is released some time later
    Leave(Common),
    /// Register new keys for the seat, effective at the end of an epoch; the keystore has them
    /// first
    Rotate(Common),
    /// Transfer balance to another node's account
    Fund(Fund),
}

#[derive(Debug, Args)]
struct Common {
    #[command(flatten)]
    dir: Dir,
    #[command(flatten)]
    json: Json,
}

#[derive(Debug, Args)]
struct Amount {
    /// Amount of the balance
    #[arg(long, value_name = "N")]
    amount: u64,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:
  tequio seat fund --dir net/node1 --to 5f0a... --amount 1000")]
struct Fund {
    /// The node
    #[arg(long, value_name = "NODE")]
    to: NodeId,
    #[command(flatten)]
    amount: Amount,
}

impl Seat {
    /// Runs the subcommand.
    pub fn execute(self) -> anyhow::Result<()> {
        match self.command {
            Command::Show(common) => {
                let seat = Client::of(&common.dir.dir)?.json("/v1/seat")?;
                print(common.json, &seat, || text(&seat));
                Ok(())
            }
            Command::Join(Amount { amount, common }) => {
                post(&common, "/v1/seat/join", &amount_query(amount))
            }
            Command::Bond(Amount { amount, common }) => {
                post(&common, "/v1/seat/bond", &amount_query(amount))
            }
            Command::Leave(common) => post(&common, "/v1/seat/leave", &[]),
            Command::Rotate(common) => post(&common, "/v1/seat/keys", &[]),
            Command::Fund(Fund { to, amount: Amount { amount, common } }) => {
                let query = [("to", to.to_string()), ("amount", amount.to_string())];
                post(&common, "/v1/transfers", &query)
            }
        }
    }
}

fn amount_query(amount: u64) -> [(&'static str, String); 1] {
    [("amount", amount.to_string())]
}

fn post(common: &Common, path: &str, query: &[(&str, String)]) -> anyhow::Result<()> {
    let done = Client::of(&common.dir.dir)?.post(path, query, &[]).map_err(|error| {
        unknown_outcome(error, || {
            let dir = common.dir.dir.display();
            format!(
                "it is not known whether the node has sent the transaction: `tequio seat show \
                 --dir \
                 {dir}` shows its effect once the node answers"
            )
        })
    })?;
    print(common.json, &done, || match done["height"].as_u64() {
        Some(height) => format!("in block {height}"),
        None => queued::text(&done, done["queued"].as_u64().unwrap_or_default()),
    });
    Ok(())
}

fn text(seat: &Value) -> String {
    let number = |name: &str| seat[name].as_u64().map_or("none".to_owned(), |n| n.to_string());
    let member = seat["member"]["state"].as_str().unwrap_or("no member");
    let waits =
        if seat["keys_wait"] == true { "\nnew keys wait for the end of the epoch" } else { "" };
    format!(
        "epoch   {}, {} seats\nseat    {}, weight {}\nmember  {member}\nbalance {}\nbond    \
         {}{waits}",
        seat["epoch"],
        seat["seats"],
        number("seat"),
        number("weight"),
        number("balance"),
        number("bond")
    )
}
