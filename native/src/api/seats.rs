//! The seat of this node: requesting it, giving it up, its keys and its bond. Also transfers of
//! balance, for example to new members.

use super::{
    Api,
    error::ApiError,
    guard::Authorized,
    jobs::{WriteResult, write},
    read::reading,
};
use crate::node::context::NodeContext;
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
    ledger::{Action, Key, KeyRegistration, MemberStatus},
    types::NodeId,
};

/// An amount, as a query parameter.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Amount {
    #[serde(default)]
    amount: u64,
}

/// Recipient and amount, as query parameters.
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
        "keys_wait": member.is_some_and(|member| member.pending_keys.is_some()),
        "balance": account.map(|account| account.balance),
        "bond": account.map(|account| account.bond),
    })))
}

/// Requests a seat with keys of the keystore that are not registered yet, or with new ones.
pub async fn join(
    _: Authorized,
    State(api): State<Api>,
    Query(Amount { amount }): Query<Amount>,
) -> Result<impl IntoResponse, ApiError> {
    let keys = claim(&api).await?;
    respond(&api, write(&api, Action::Join { amount, keys }).await?)
}

/// Registers other keys from the next epoch boundary on. They are in the keystore before they are
/// sent.
pub async fn rotate(_: Authorized, State(api): State<Api>) -> Result<impl IntoResponse, ApiError> {
    let keys = claim(&api).await?;
    respond(&api, write(&api, Action::RotateKeys { keys }).await?)
}

pub async fn leave(_: Authorized, State(api): State<Api>) -> Result<impl IntoResponse, ApiError> {
    respond(&api, write(&api, Action::Leave).await?)
}

pub async fn bond(
    _: Authorized,
    State(api): State<Api>,
    Query(Amount { amount }): Query<Amount>,
) -> Result<impl IntoResponse, ApiError> {
    respond(&api, write(&api, Action::Bond { amount }).await?)
}

pub async fn transfer(
    _: Authorized,
    State(api): State<Api>,
    Query(Transfer { to, amount }): Query<Transfer>,
) -> Result<impl IntoResponse, ApiError> {
    let to: NodeId = to.parse().map_err(ApiError::bad)?;
    respond(&api, write(&api, Action::Transfer { to, amount }).await?)
}

/// Unregistered keys, stored on disk and added to the replica, with their proofs of possession.
async fn claim(api: &Api) -> Result<KeyRegistration, ApiError> {
    let keys = reading(api, fresh_keys).await?.map_err(ApiError::internal)?;
    let context = &api.context;
    let claim = KeyRegistration::new(&context.chain, &context.id, &keys.vote, &keys.vrf)
        .map_err(ApiError::internal)?;
    context.replica.send(Input::SeatKeys(Box::new(keys)));
    Ok(claim)
}

fn fresh_keys(context: &NodeContext) -> anyhow::Result<SeatKeys> {
    let mut vault = context.stored_keys.lock().unwrap_or_else(PoisonError::into_inner);
    let (tip, committee) = (context.tip(), context.committee());
    let is_new = |keys: &SeatKeys| {
        let known = [Key::VotingKey(keys.vote.public()), Key::VrfKey(keys.vrf.public())];
        known.iter().all(|key| tip.state.entry(key).is_none())
    };
    if let Some(keys) = vault.of_seat().into_iter().rev().find(is_new) {
        return Ok(keys);
    }
    // Keeps the keys of the seat, those that wait for the epoch boundary, and those of the node's
    // first seat.
    let member = tip.state.member(&context.id);
    let kept = |keys: &SeatKeys| {
        let key = keys.vote.public();
        let waits = member.is_some_and(|m| {
            m.keys.key == key || m.pending_keys.is_some_and(|(next, _)| next.key == key)
        });
        waits || committee.seats.iter().any(|seat| seat.key == key)
    };
    vault.add_seat_keys(&context.keystore, kept)
}

fn respond(
    api: &Api,
    (status, done): (StatusCode, WriteResult),
) -> Result<impl IntoResponse + use<>, ApiError> {
    let view = match done {
        WriteResult::Applied { transaction, height } => {
            json!({"transaction": transaction.to_string(), "height": height})
        }
        WriteResult::Queued(number) => {
            json!({"queued": number, "final": false, "reduced": api.context.is_reduced()})
        }
    };
    Ok((status, Json(view)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
