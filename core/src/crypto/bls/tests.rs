#[cfg(feature = "blst")]
use super::encoded::VOTE_TAG;
use super::{votes::possession_message, *};
use crate::types::{ChainId, NodeId};
use alloc::vec::Vec;

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

#[test]
fn aggregates_verify_only_for_exactly_their_signers_and_message() {
    let secrets: Vec<_> = (1..=4).map(key).collect();
    let keys: Vec<_> = secrets.iter().map(|s| s.public().decode().unwrap()).collect();
    let parts: Vec<_> = secrets.iter().map(|s| s.sign(b"vote")).collect();
    let all = aggregate(&parts).unwrap();
    assert_eq!(verify_aggregate(&keys, b"vote", &all), Ok(()));
    assert!(verify_aggregate(&keys[..3], b"vote", &all).is_err());
    assert!(verify_aggregate(&keys, b"veto", &all).is_err());
    assert!(verify_aggregate([], b"vote", &all).is_err());
    let three = aggregate(&parts[1..]).unwrap();
    assert_eq!(verify_aggregate(&keys[1..], b"vote", &three), Ok(()));
    assert_eq!(aggregate(&[]), Err(BlsError::Empty));
}

#[test]
fn possession_is_bound_to_chain_and_node() {
    let (chain, node) = (ChainId([1; 32]), NodeId([2; 32]));
    let secret = key(9);
    let proof = secret.prove_possession(&chain, &node);
    assert!(secret.public().verify_possession(&chain, &node, &proof).is_ok());
    assert!(secret.public().verify_possession(&ChainId([9; 32]), &node, &proof).is_err());
    assert!(secret.public().verify_possession(&chain, &NodeId([9; 32]), &proof).is_err());
    // A vote is never a proof of possession, whatever its message.
    let vote = secret.sign(&possession_message(&chain, &node, &secret.public()));
    assert!(secret.public().verify_possession(&chain, &node, &vote).is_err());
}

#[test]
fn refuses_infinity_and_garbage() {
    let mut infinity = [0; 96];
    infinity[0] = 0xc0;
    for bytes in [infinity, [0; 96], [0xff; 96]] {
        assert_eq!(PublicKeyBytes(bytes).decode().err(), Some(BlsError::BadKey));
    }
    let mut infinity = [0; 48];
    infinity[0] = 0xc0;
    let public = key(1).public().decode().unwrap();
    for bytes in [infinity, [0; 48], [0xff; 48]] {
        assert!(verify_aggregate([&public], b"m", &Signature(bytes)).is_err());
        assert!(aggregate(&[Signature(bytes)]).is_err());
    }
    assert!(SecretKey::from_bytes(&[0; 32]).is_err());
    assert!(SecretKey::from_bytes(&[0xff; 32]).is_err());
}

/// A point of the curve outside of the subgroup: the first x from a start value that is on the
/// curve gives one, except with a chance of one in the cofactor, 2^126.
fn stray(from: u8) -> [u8; 48] {
    let candidate = |n: u8| {
        let mut bytes = [0; 48];
        (bytes[0], bytes[47]) = (0x80, n);
        bytes
    };
    let is_stray = |bytes: &[u8; 48]| {
        let point: Option<bls12_381::G1Affine> =
            bls12_381::G1Affine::from_compressed_unchecked(bytes).into();
        point.is_some_and(|p| bool::from(p.is_on_curve()) && !bool::from(p.is_torsion_free()))
    };
    (from..=255).map(candidate).find(is_stray).unwrap()
}

#[test]
fn a_sum_with_a_part_outside_of_the_subgroup_never_verifies() {
    let secrets: Vec<_> = (1..=3).map(key).collect();
    let keys: Vec<_> = secrets.iter().map(|s| s.public().decode().unwrap()).collect();
    let good: Vec<_> = secrets.iter().map(|s| s.sign(b"vote")).collect();
    let stray = Signature(stray(1));
    assert!(verify_aggregate([&keys[0]], b"vote", &stray).is_err());
    // In place of a signature, or added to all of them.
    let sum = aggregate(&[good[0], good[1], stray]).unwrap();
    assert!(verify_aggregate(&keys, b"vote", &sum).is_err());
    let laced = aggregate(&[good[2], stray]).unwrap();
    assert!(verify_aggregate([&keys[2]], b"vote", &laced).is_err(), "a laced part by itself");
    let sum = aggregate(&[good[0], good[1], laced]).unwrap();
    assert!(verify_aggregate(&keys, b"vote", &sum).is_err());
    // Parts that cancel leave exactly the sum of the signatures, in the same bytes.
    let mut minus = stray;
    minus.0[0] ^= 0x20;
    let unlaced = aggregate(&[good[0], good[1], laced, minus]).unwrap();
    assert_eq!(unlaced, aggregate(&good).unwrap());
    #[cfg(feature = "blst")]
    assert_eq!(fast::aggregate(&[good[0], stray]), pure::aggregate(&[good[0], stray]));
}

#[cfg(feature = "blst")]
#[test]
fn both_implementations_agree() {
    for n in 1..20u8 {
        let secret = key(n).to_bytes();
        let message = [n; 17];
        let (a, b) =
            (fast::sign(&secret, &message, VOTE_TAG), pure::sign(&secret, &message, VOTE_TAG));
        assert_eq!(a, b);
        let bytes = fast::public(&secret);
        assert_eq!(bytes, pure::public(&secret));
        assert_eq!(
            fast::aggregate(&[Signature(a), Signature(b)]),
            pure::aggregate(&[Signature(a), Signature(b)])
        );
        // Changing any one byte of key or signature gives the same verdict.
        for at in 0..96 {
            let mut key = bytes;
            key[at] ^= 1 << (n % 8);
            let mut signature = a;
            signature[at % 48] ^= 1 << (n % 8);
            let (f, p) = (fast::decode_key(&key), pure::decode_key(&key));
            assert_eq!(f.is_some(), p.is_some());
            let (f, p) = (fast::decode_key(&bytes).unwrap(), pure::decode_key(&bytes).unwrap());
            if at < 4 {
                assert!(!fast::verify(&[&f], &message, VOTE_TAG, &signature));
                assert!(!pure::verify(&[&p], &message, VOTE_TAG, &signature));
            }
        }
    }
}
