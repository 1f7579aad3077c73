//! The messages that the server sends, byte by byte bounded by what it puts in.

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

type Written = Result<Vec<u8>, StunWriteError>;

/// Where a client's packets come from.
pub fn binding(request: &Message<'_>, client: SocketAddr) -> Written {
    let mut answer = Message::builder_success(request, MessageWriteVec::new());
    answer.add_attribute(&XorMappedAddress::new(client, request.transaction_id()))?;
    finish(answer, None)
}

/// An allocation, made or found again.
pub fn allocated(
    request: &Message<'_>,
    client: SocketAddr,
    relayed: SocketAddr,
    lifetime_s: u32,
    key: &IntegrityKey,
) -> Written {
    let mut answer = Message::builder_success(request, MessageWriteVec::new());
    answer.add_attribute(&XorRelayedAddress::new(relayed, request.transaction_id()))?;
    answer.add_attribute(&Lifetime::new(lifetime_s))?;
    answer.add_attribute(&XorMappedAddress::new(client, request.transaction_id()))?;
    finish(answer, Some(key))
}

/// A refreshed allocation; 0 seconds if it is gone.
pub fn refreshed(request: &Message<'_>, lifetime_s: u32, key: &IntegrityKey) -> Written {
    let mut answer = Message::builder_success(request, MessageWriteVec::new());
    answer.add_attribute(&Lifetime::new(lifetime_s))?;
    finish(answer, Some(key))
}

/// A permission or a channel is set.
pub fn done(request: &Message<'_>, key: &IntegrityKey) -> Written {
    finish(Message::builder_success(request, MessageWriteVec::new()), Some(key))
}

/// A refusal; signed if the client has proved who he is.
pub fn refused(request: &Message<'_>, code: u16, key: Option<&IntegrityKey>) -> Written {
    let mut answer = Message::builder_error(request, MessageWriteVec::new());
    answer.add_attribute(&ErrorCode::builder(code).build()?)?;
    finish(answer, key)
}

/// A refusal with what the client needs to try again with a credential.
pub fn challenge(request: &Message<'_>, code: u16, realm: &str, nonce: &str) -> Written {
    let mut answer = Message::builder_error(request, MessageWriteVec::new());
    answer.add_attribute(&ErrorCode::builder(code).build()?)?;
    answer.add_attribute(&Realm::new(realm)?)?;
    answer.add_attribute(&Nonce::new(nonce)?)?;
    finish(answer, None)
}

/// Attributes that must be understood and are not.
pub fn unknown(request: &Message<'_>, attributes: &[AttributeType]) -> Written {
    let mut answer = Message::builder_error(request, MessageWriteVec::new());
    answer.add_attribute(&ErrorCode::builder(ErrorCode::UNKNOWN_ATTRIBUTE).build()?)?;
    answer.add_attribute(&UnknownAttributes::new(attributes))?;
    finish(answer, None)
}

/// A peer's packet for a client without a channel for it.
pub fn data(peer: SocketAddr, payload: &[u8]) -> Written {
    let mut indication = Message::builder_indication(DATA, MessageWriteVec::new());
    let transaction = indication.transaction_id();
    indication.add_attribute(&XorPeerAddress::new(peer, transaction))?;
    indication.add_attribute(&Data::new(payload))?;
    Ok(indication.finish())
}

/// A peer's packet for a client with a channel for it.
pub fn channel_data(channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; payload.len() + 4];
    ChannelData::new(channel, payload).write_into_unchecked(&mut bytes);
    bytes
}

fn finish(mut answer: MessageWriteVec, key: Option<&IntegrityKey>) -> Written {
    if let Some(key) = key {
        answer.add_message_integrity_with_key(key, IntegrityAlgorithm::Sha1)?;
    }
    answer.add_fingerprint()?;
    Ok(answer.finish())
}
