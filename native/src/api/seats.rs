//! The seat of this node: requesting it, giving it up, its keys and its bond. Also transfers of
//! balance, for example to new members.

use super::{
    error::ApiError,
    guard::Authorized,
    reading::reading,
    writes::{WriteResult, write},
};
use crate::{
    keys::StoredKeys,
    node::{chain_view::ChainView, machine::Inbox, writes::outbox::WriteOutbox},
};
use axum::{
    Json,
    extract::{Query, State},
    http::StatusCode,
    response::IntoResponse,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use tequio_core::{
    consensus::{Input, SeatKeys},
    ledger::{Action, Key, KeyRegistration, MemberStatus},
    types::NodeId,
};

/// The parts of the node that these handlers use.
pub struct SeatsApi {
    pub chain: ChainView,
    pub stored_keys: Arc<StoredKeys>,
    pub outbox: WriteOutbox,
    pub replica: Inbox<Input>,
}

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

pub async fn show(State(api): State<Arc<SeatsApi>>) -> Result<Json<Value>, ApiError> {
    let (tip, committee) = (api.chain.tip(), api.chain.committee());
    let member = tip.state.member(&api.chain.node);
    let status = member.map(|member| match member.status {
        MemberStatus::Active => json!({"state": "active"}),
        MemberStatus::Leaving { since } => json!({"state": "leaving", "since": since}),
        MemberStatus::Unbonding { until_ms } => json!({"state": "unbonding", "until_ms": until_ms}),
        MemberStatus::Left => json!({"state": "left"}),
    });
    let account = tip.state.account(&api.chain.node);
    let seat = committee
        .seat_of(&api.chain.node)
        .and_then(|seat| Some((seat, committee.seats.get(seat)?)));
    Ok(Json(json!({
        "epoch": committee.epoch,
        "epoch_blocks": api.chain.params.epoch_blocks,
        "seats": committee.seats.len(),
        "seat": seat.map(|(seat, _)| seat),
        "weight": seat.map(|(_, seat)| seat.weight),
        "voting_key": seat.map(|(_, seat)| hex::encode(seat.key.0)),
        "member": status,
        "keys_wait": member.is_some_and(|member| member.pending_keys.is_some()),
        "balance": account.map(|account| account.balance),
        "bond": account.map(|account| account.bond),
    })))
}

/// Requests a seat with keys of the keystore that are not registered yet, or with new ones.
pub async fn join(
    _: Authorized,
    State(api): State<Arc<SeatsApi>>,
    Query(Amount { amount }): Query<Amount>,
) -> Result<impl IntoResponse, ApiError> {
    let keys = claim(&api).await?;
    respond(&api.chain, write(&api.outbox, Action::Join { amount, keys }).await?)
}

/// Registers other keys from the next epoch boundary on. They are in the keystore before they are
/// sent.
pub async fn rotate(
    _: Authorized,
    State(api): State<Arc<SeatsApi>>,
) -> Result<impl IntoResponse, ApiError> {
    let keys = claim(&api).await?;
    respond(&api.chain, write(&api.outbox, Action::RotateKeys { keys }).await?)
}

pub async fn leave(
    _: Authorized,
    State(api): State<Arc<SeatsApi>>,
) -> Result<impl IntoResponse, ApiError> {
    respond(&api.chain, write(&api.outbox, Action::Leave).await?)
}

pub async fn bond(
    _: Authorized,
    State(api): State<Arc<SeatsApi>>,
    Query(Amount { amount }): Query<Amount>,
) -> Result<impl IntoResponse, ApiError> {
    respond(&api.chain, write(&api.outbox, Action::Bond { amount }).await?)
}

pub async fn transfer(
    _: Authorized,
    State(api): State<Arc<SeatsApi>>,
    Query(Transfer { to, amount }): Query<Transfer>,
) -> Result<impl IntoResponse, ApiError> {
    let to: NodeId = to.parse().map_err(ApiError::bad)?;
    respond(&api.chain, write(&api.outbox, Action::Transfer { to, amount }).await?)
}

/// Unregistered keys, stored on disk and added to the replica, with their proofs of possession.
async fn claim(api: &Arc<SeatsApi>) -> Result<KeyRegistration, ApiError> {
    let keys = reading(api, |api| fresh_keys(api)).await?.map_err(ApiError::internal)?;
    let claim = KeyRegistration::new(&api.chain.id, &api.chain.node, &keys.vote, &keys.vrf)
        .map_err(ApiError::internal)?;
    api.replica.send(Input::SeatKeys(Box::new(keys)));
    Ok(claim)
}

fn fresh_keys(api: &SeatsApi) -> anyhow::Result<SeatKeys> {
    let is_new = |keys: &SeatKeys| {
        let tip = api.chain.tip();
        let known = [Key::VotingKey(keys.vote.public()), Key::VrfKey(keys.vrf.public())];
        known.iter().all(|key| tip.state.entry(key).is_none())
    };
    // Keeps the keys of the seat, those that wait for the epoch boundary, and those of the node's
    // first seat.
    let kept = |keys: &SeatKeys| {
        let (tip, committee) = (api.chain.tip(), api.chain.committee());
        let key = keys.vote.public();
        let waits = tip.state.member(&api.chain.node).is_some_and(|m| {
            m.keys.key == key || m.pending_keys.is_some_and(|(next, _)| next.key == key)
        });
        waits || committee.seats.iter().any(|seat| seat.key == key)
    };
    api.stored_keys.fresh_seat_keys(is_new, kept)
}

fn respond(
    chain: &ChainView,
    (status, done): (StatusCode, WriteResult),
) -> Result<impl IntoResponse + use<>, ApiError> {
    let view = match done {
        WriteResult::Applied { transaction, height } => {
            json!({"transaction": transaction.to_string(), "height": height})
        }
        WriteResult::Queued(number) => {
            json!({"queued": number, "final": false, "reduced": chain.is_reduced()})
        }
    };
    Ok((status, Json(view)))
}
