//! The interface of [`super`], implemented with the crate blst.

use super::encoded::Signature;
use alloc::vec::Vec;
use blst::{
    BLST_ERROR,
    min_sig::{AggregateSignature, PublicKey, SecretKey, Signature as Sig},
};

pub(super) type Point = PublicKey;

/// Flag in the first byte of a compressed point.
const INFINITY_FLAG: u8 = 0x40;

pub(super) fn public(secret: &[u8; 32]) -> [u8; 96] {
    secret_key(secret).map_or([0; 96], |s| s.sk_to_pk().compress())
}

pub(super) fn sign(secret: &[u8; 32], message: &[u8], tag: &[u8]) -> [u8; 48] {
    secret_key(secret).map_or([0; 48], |s| s.sign(message, tag, &[]).compress())
}

pub(super) fn decode_key(bytes: &[u8; 96]) -> Option<Point> {
    PublicKey::key_validate(bytes).ok()
}

pub(super) fn verify(keys: &[&Point], message: &[u8], tag: &[u8], signature: &[u8; 48]) -> bool {
    // Rejects the identity; the subgroup is checked once, here.
    let Ok(signature) = Sig::sig_validate(signature, true) else { return false };
    signature.fast_aggregate_verify(false, message, tag, keys) == BLST_ERROR::BLST_SUCCESS
}

pub(super) fn aggregate(parts: &[Signature]) -> Option<[u8; 48]> {
    let parts = parts.iter().map(|part| decode_part(&part.0)).collect::<Option<Vec<Sig>>>()?;
    let parts: Vec<&Sig> = parts.iter().collect();
    AggregateSignature::aggregate(&parts, false).ok().map(|a| a.to_signature().compress())
}

/// A point of the curve in any subgroup, but not the identity.
fn decode_part(bytes: &[u8; 48]) -> Option<Sig> {
    Sig::from_bytes(bytes).ok().filter(|_| bytes[0] & INFINITY_FLAG == 0)
}

/// A signature as a point.
#[cfg(feature = "simulation")]
pub(super) fn sign_point(secret: &[u8; 32], message: &[u8], tag: &[u8]) -> Option<Sig> {
    secret_key(secret).map(|s| s.sign(message, tag, &[]))
}

fn secret_key(bytes: &[u8; 32]) -> Option<SecretKey> {
    SecretKey::from_bytes(bytes).ok()
}
