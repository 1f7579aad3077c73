//! The interface of [`super`], implemented with the crate bls12_381.

use super::encoded::Signature;
use bls12_381::{
    G1Affine, G1Projective, G2Affine, G2Prepared, G2Projective, MillerLoopResult, Scalar,
    hash_to_curve::{ExpandMsgXmd, HashToCurve},
    multi_miller_loop,
};

pub(super) type Point = G2Affine;

pub(super) fn scalar_from_wide(wide: &[u8; 64]) -> [u8; 32] {
    big_endian(&Scalar::from_bytes_wide(wide))
}

pub(super) fn is_scalar(bytes: &[u8; 32]) -> bool {
    scalar(bytes) != Scalar::zero()
}

#[cfg_attr(feature = "blst", allow(dead_code))]
pub(super) fn public(secret: &[u8; 32]) -> [u8; 96] {
    G2Affine::from(G2Projective::generator() * scalar(secret)).to_compressed()
}

#[cfg_attr(feature = "blst", allow(dead_code))]
pub(super) fn sign(secret: &[u8; 32], message: &[u8], tag: &[u8]) -> [u8; 48] {
    G1Affine::from(hash(message, tag) * scalar(secret)).to_compressed()
}

#[cfg_attr(feature = "blst", allow(dead_code))]
pub(super) fn decode_key(bytes: &[u8; 96]) -> Option<Point> {
    let point: Option<G2Affine> = G2Affine::from_compressed(bytes).into();
    point.filter(|p| !bool::from(p.is_identity()))
}

#[cfg_attr(feature = "blst", allow(dead_code))]
pub(super) fn verify(keys: &[&Point], message: &[u8], tag: &[u8], signature: &[u8; 48]) -> bool {
    let Some(signature) = decode_signature(signature) else { return false };
    let key: G2Projective = keys.iter().map(|k| G2Projective::from(*k)).sum();
    let key = G2Affine::from(key);
    if bool::from(key.is_identity()) {
        return false;
    }
    // e(H(m), key) * e(signature, -g2) == 1
    let terms = (
        (&G1Affine::from(hash(message, tag)), &G2Prepared::from(key)),
        (&signature, &G2Prepared::from(-G2Affine::generator())),
    );
    let product: MillerLoopResult = multi_miller_loop(&[terms.0, terms.1]);
    product.final_exponentiation() == bls12_381::Gt::identity()
}

#[cfg_attr(feature = "blst", allow(dead_code))]
pub(super) fn aggregate(parts: &[Signature]) -> Option<[u8; 48]> {
    let mut sum = G1Projective::identity();
    for part in parts {
        sum += decode_part(&part.0)?;
    }
    Some(G1Affine::from(sum).to_compressed())
}

/// A point of the curve in any subgroup, but not the identity.
#[cfg_attr(feature = "blst", allow(dead_code))]
fn decode_part(bytes: &[u8; 48]) -> Option<G1Affine> {
    let point: Option<G1Affine> = G1Affine::from_compressed_unchecked(bytes).into();
    point.filter(|p| bool::from(p.is_on_curve()) && !bool::from(p.is_identity()))
}

fn decode_signature(bytes: &[u8; 48]) -> Option<G1Affine> {
    let point: Option<G1Affine> = G1Affine::from_compressed(bytes).into();
    point.filter(|p| !bool::from(p.is_identity()))
}

fn hash(message: &[u8], tag: &[u8]) -> G1Projective {
    <G1Projective as HashToCurve<ExpandMsgXmd<sha2::Sha256>>>::hash_to_curve([message], tag)
}

/// Returns zero if the bytes are not below the order: the callers hold only checked scalars.
fn scalar(big_endian: &[u8; 32]) -> Scalar {
    let mut bytes = *big_endian;
    bytes.reverse();
    Option::from(Scalar::from_bytes(&bytes)).unwrap_or_else(Scalar::zero)
}

fn big_endian(scalar: &Scalar) -> [u8; 32] {
    let mut bytes = scalar.to_bytes();
    bytes.reverse();
    bytes
}
