//! Verdicts without pairings, for keys whose secrets are in this process. Exists only with feature
//! `simulation`.
//!
//! A BLS signature is unique: for one key and one message exactly one point of the subgroup
//! verifies, and the compressed form of a point is unique too. So an aggregate verifies for some
//! keys if and only if its bytes are the sum of the signatures that the holders of those keys would
//! make. A simulation holds all secrets and computes that sum. It costs one signature for each
//! (key, message) of a run instead of one pairing for each receiver. Keys that were not announced
//! by [`register`] are verified in the ordinary way.

use super::{
    encoded::{Signature, VOTE_TAG},
    fast,
    keys::SecretKey,
};
use crate::crypto::{
    hash::{HashContext, hash},
    verdict_cache::{self, GenerationalCache},
};
use crate::types::Digest;
use blst::min_sig::{AggregateSignature, Signature as Point};
use std::{cell::RefCell, collections::BTreeMap, vec::Vec};

#[derive(Default)]
struct KnownSecrets {
    secrets: BTreeMap<[u8; 96], [u8; 32]>,
    /// Signatures by key and digest of the message.
    signatures: GenerationalCache<([u8; 96], Digest), ([u8; 48], Point)>,
    /// The points of all of `signatures`.
    points: GenerationalCache<[u8; 48], Point>,
}

/// The first byte of the compressed point at infinity, which never verifies.
const INFINITY: u8 = 0xc0;

thread_local! {
    static KNOWN: RefCell<KnownSecrets> = RefCell::default();
}

/// Registers the secrets of this thread and drops all others. With any secret, the thread also
/// caches its verdicts on signatures and proofs of other schemes.
pub fn register<'a>(secrets: impl IntoIterator<Item = &'a SecretKey>) {
    let secrets: BTreeMap<_, _> =
        secrets.into_iter().map(|secret| (secret.public().0, *secret.0)).collect();
    verdict_cache::set_enabled(!secrets.is_empty());
    KNOWN.set(KnownSecrets { secrets, ..KnownSecrets::default() });
}

pub(super) fn sign(key: &SecretKey, message: &[u8]) -> Option<[u8; 48]> {
    KNOWN.with_borrow_mut(|known| {
        let public = known
            .secrets
            .iter()
            .find(|(_, secret)| **secret == *key.0)
            .map(|(public, _)| *public)?;
        known.signature(&public, message).map(|(bytes, _)| bytes)
    })
}

/// The verdict, if the secrets of all keys are known.
pub(super) fn verify(keys: &[[u8; 96]], message: &[u8], signature: &[u8; 48]) -> Option<bool> {
    KNOWN.with_borrow_mut(|known| {
        let parts: Option<Vec<Point>> =
            keys.iter().map(|key| known.signature(key, message).map(|(_, point)| point)).collect();
        let sum = add(&parts?)?;
        Some(sum == *signature && signature.first() != Some(&INFINITY))
    })
}

/// The sum, if all parts were made here.
pub(super) fn aggregate(parts: &[Signature]) -> Option<[u8; 48]> {
    KNOWN.with_borrow(|known| {
        let parts: Option<Vec<Point>> =
            parts.iter().map(|part| known.points.get(&part.0)).collect();
        add(&parts?)
    })
}

/// Adds points. Parts that verify are in the subgroup, so no check is needed.
fn add(parts: &[Point]) -> Option<[u8; 48]> {
    let parts: Vec<&Point> = parts.iter().collect();
    AggregateSignature::aggregate(&parts, false).ok().map(|sum| sum.to_signature().compress())
}

impl KnownSecrets {
    fn signature(&mut self, public: &[u8; 96], message: &[u8]) -> Option<([u8; 48], Point)> {
        let secret = self.secrets.get(public)?;
        let key = (*public, hash(HashContext::Vote, message));
        if let Some(made) = self.signatures.get(&key) {
            return Some(made);
        }
        let point = fast::sign_point(secret, message, VOTE_TAG)?;
        let made = (point.compress(), point);
        self.signatures.insert(key, made);
        self.points.insert(made.0, made.1);
        Some(made)
    }
}
