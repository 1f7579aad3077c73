//! The seat of this node: asking for one, giving it up, its keys and its bond; and balance for
//! those who come later.

use super::{
    Api,
    error::ApiError,
    guard::Authorized,
    jobs::{Done, write},
    read::reading,
};
use crate::node::context::Context;
use axum::{
    Json,
    extract::{Query, State},
    http::StatusCode,
    response::IntoResponse,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::PoisonError;
use tequio_core::{
    consensus::{Input, SeatKeys},
    ledger::{Action, Key, KeyClaim, MemberStatus},
    types::NodeId,
};

/// How much, as a query parameter.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Amount {
    #[serde(default)]
    amount: u64,
}

/// To whom, and how much.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    to: String,
    amount: u64,
}

pub async fn show(State(api): State<Api>) -> Result<Json<Value>, ApiError> {
    let context = &api.context;
    let (tip, committee) = (context.tip(), context.committee());
    let member = tip.state.member(&context.id);
    let status = member.map(|member| match member.status {
        MemberStatus::Active => json!({"state": "active"}),
        MemberStatus::Leaving { since } => json!({"state": "leaving", "since": since}),
        MemberStatus::Unbonding { until_ms } => json!({"state": "unbonding", "until_ms": until_ms}),
        MemberStatus::Left => json!({"state": "left"}),
    });
    let account = tip.state.account(&context.id);
    let seat =
        committee.seat_of(&context.id).and_then(|seat| Some((seat, committee.seats.get(seat)?)));
    Ok(Json(json!({
        "epoch": committee.epoch,
        "epoch_blocks": context.params.epoch_blocks,
        "seats": committee.seats.len(),
        "seat": seat.map(|(seat, _)| seat),
        "weight": seat.map(|(_, seat)| seat.weight),
        "voting_key": seat.map(|(_, seat)| hex(&seat.key.0)),
        "member": status,
        "keys_wait": member.is_some_and(|member| member.next.is_some()),
        "balance": account.map(|account| account.balance),
        "bond": account.map(|account| account.bond),
    })))
}

/// Asks for a seat with the keys of the keystore that nobody knows yet, or with new ones.
pub async fn join(
    _: Authorized,
    State(api): State<Api>,
    Query(Amount { amount }): Query<Amount>,
) -> Result<impl IntoResponse, ApiError> {
    let keys = claim(&api).await?;
    done(&api, write(&api, Action::Join { amount, keys }).await?)
}

/// Other keys from the turn on. They are in the keystore before the ledger hears of them.
pub async fn rotate(_: Authorized, State(api): State<Api>) -> Result<impl IntoResponse, ApiError> {
    let keys = claim(&api).await?;
    done(&api, write(&api, Action::RotateKeys { keys }).await?)
}

pub async fn leave(_: Authorized, State(api): State<Api>) -> Result<impl IntoResponse, ApiError> {
    done(&api, write(&api, Action::Leave).await?)
}

pub async fn bond(
    _: Authorized,
    State(api): State<Api>,
    Query(Amount { amount }): Query<Amount>,
) -> Result<impl IntoResponse, ApiError> {
    done(&api, write(&api, Action::Bond { amount }).await?)
}

pub async fn transfer(
    _: Authorized,
    State(api): State<Api>,
    Query(Transfer { to, amount }): Query<Transfer>,
) -> Result<impl IntoResponse, ApiError> {
    let to: NodeId = to.parse().map_err(ApiError::bad)?;
    done(&api, write(&api, Action::Transfer { to, amount }).await?)
}

/// Keys that the ledger does not know, on disk and with the replica, and the proofs that this node
/// holds them.
async fn claim(api: &Api) -> Result<KeyClaim, ApiError> {
    let keys = reading(api, fresh_keys).await?.map_err(ApiError::internal)?;
    let context = &api.context;
    let claim = KeyClaim::new(&context.chain, &context.id, &keys.vote, &keys.vrf)
        .map_err(ApiError::internal)?;
    context.replica.send(Input::SeatKeys(Box::new(keys)));
    Ok(claim)
}

fn fresh_keys(context: &Context) -> anyhow::Result<SeatKeys> {
    let mut vault = context.vault.lock().unwrap_or_else(PoisonError::into_inner);
    let (tip, committee) = (context.tip(), context.committee());
    let is_new = |keys: &SeatKeys| {
        let known = [Key::VotingKey(keys.vote.public()), Key::VrfKey(keys.vrf.public())];
        known.iter().all(|key| tip.state.entry(key).is_none())
    };
    if let Some(keys) = vault.of_seat().into_iter().rev().find(is_new) {
        return Ok(keys);
    }
    // Those of the seat, and those that wait for the turn, stay; so do the ones of the node's first
    // seat.
    let member = tip.state.member(&context.id);
    let kept = |keys: &SeatKeys| {
        let key = keys.vote.public();
        let waits = member
            .is_some_and(|m| m.keys.key == key || m.next.is_some_and(|(next, _)| next.key == key));
        waits || committee.seats.iter().any(|seat| seat.key == key)
    };
    vault.add_later(&context.keystore, kept)
}

fn done(
    api: &Api,
    (status, done): (StatusCode, Done),
) -> Result<impl IntoResponse + use<>, ApiError> {
    let view = match done {
        Done::Applied { transaction, height } => {
            json!({"transaction": transaction.to_string(), "height": height})
        }
        Done::Queued(number) => {
            json!({"queued": number, "final": false, "reduced": api.context.is_reduced()})
        }
    };
    Ok((status, Json(view)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
