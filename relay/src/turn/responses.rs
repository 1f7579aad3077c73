//! The messages that the server sends. Each function bounds the size of its message.

use std::net::SocketAddr;
use turn_types::{
    attribute::{Data, Lifetime, XorPeerAddress, XorRelayedAddress},
    channel::ChannelData,
    message::DATA,
    stun::{
        attribute::{AttributeType, ErrorCode, Nonce, Realm, UnknownAttributes, XorMappedAddress},
        message::{
            IntegrityAlgorithm, IntegrityKey, Message, MessageWrite, MessageWriteExt,
            MessageWriteVec, StunWriteError,
        },
    },
};

type EncodeResult = Result<Vec<u8>, StunWriteError>;

/// The client's address as the server sees it.
pub fn binding(request: &Message<'_>, client: SocketAddr) -> EncodeResult {
    let mut answer = Message::builder_success(request, MessageWriteVec::new());
    answer.add_attribute(&XorMappedAddress::new(client, request.transaction_id()))?;
    finish(answer, None)
}

/// A new allocation, or an existing one again.
pub fn allocated(
    request: &Message<'_>,
    client: SocketAddr,
    relayed: SocketAddr,
    lifetime_s: u32,
    key: &IntegrityKey,
) -> EncodeResult {
    let mut answer = Message::builder_success(request, MessageWriteVec::new());
    answer.add_attribute(&XorRelayedAddress::new(relayed, request.transaction_id()))?;
    answer.add_attribute(&Lifetime::new(lifetime_s))?;
    answer.add_attribute(&XorMappedAddress::new(client, request.transaction_id()))?;
    finish(answer, Some(key))
}

/// A refreshed allocation; 0 seconds if it has ended.
pub fn refreshed(request: &Message<'_>, lifetime_s: u32, key: &IntegrityKey) -> EncodeResult {
    let mut answer = Message::builder_success(request, MessageWriteVec::new());
    answer.add_attribute(&Lifetime::new(lifetime_s))?;
    finish(answer, Some(key))
}

/// Success of a permission or a channel.
pub fn success_response(request: &Message<'_>, key: &IntegrityKey) -> EncodeResult {
    finish(Message::builder_success(request, MessageWriteVec::new()), Some(key))
}

/// An error; signed if the client has authenticated.
pub fn error_response(
    request: &Message<'_>,
    code: u16,
    key: Option<&IntegrityKey>,
) -> EncodeResult {
    let mut answer = Message::builder_error(request, MessageWriteVec::new());
    answer.add_attribute(&ErrorCode::builder(code).build()?)?;
    finish(answer, key)
}

/// An error with the realm and the nonce for another attempt with a credential.
pub fn challenge(request: &Message<'_>, code: u16, realm: &str, nonce: &str) -> EncodeResult {
    let mut answer = Message::builder_error(request, MessageWriteVec::new());
    answer.add_attribute(&ErrorCode::builder(code).build()?)?;
    answer.add_attribute(&Realm::new(realm)?)?;
    answer.add_attribute(&Nonce::new(nonce)?)?;
    finish(answer, None)
}

/// The error for unsupported attributes that require comprehension.
pub fn unknown_attributes(request: &Message<'_>, attributes: &[AttributeType]) -> EncodeResult {
    let mut answer = Message::builder_error(request, MessageWriteVec::new());
    answer.add_attribute(&ErrorCode::builder(ErrorCode::UNKNOWN_ATTRIBUTE).build()?)?;
    answer.add_attribute(&UnknownAttributes::new(attributes))?;
    finish(answer, None)
}

/// A peer's packet for a client that has no channel for the peer.
pub fn data(peer: SocketAddr, payload: &[u8]) -> EncodeResult {
    let mut indication = Message::builder_indication(DATA, MessageWriteVec::new());
    let transaction = indication.transaction_id();
    indication.add_attribute(&XorPeerAddress::new(peer, transaction))?;
    indication.add_attribute(&Data::new(payload))?;
    Ok(indication.finish())
}

/// A peer's packet for a client that has a channel for the peer.
pub fn channel_data(channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; payload.len() + 4];
    ChannelData::new(channel, payload).write_into_unchecked(&mut bytes);
    bytes
}

fn finish(mut answer: MessageWriteVec, key: Option<&IntegrityKey>) -> EncodeResult {
    if let Some(key) = key {
        answer.add_message_integrity_with_key(key, IntegrityAlgorithm::Sha1)?;
    }
    answer.add_fingerprint()?;
    Ok(answer.finish())
}
