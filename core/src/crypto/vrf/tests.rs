use super::*;
use alloc::vec::Vec;
use curve25519_dalek::constants::EIGHT_TORSION;

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    hex::decode(hex).unwrap().try_into().unwrap()
}

fn check(secret: &str, public: &str, input: &str, proof: &str, output: &str) {
    let (secret, input) = (SecretKey::from_bytes(&bytes(secret)), hex::decode(input).unwrap());
    let (proof, output) = (Proof(bytes(proof)), Output(bytes(output)));
    assert_eq!(secret.public(), PublicKeyBytes(bytes(public)));
    assert_eq!(secret.prove(&input), Ok(proof));
    assert_eq!(secret.public().decode().unwrap().verify(&input, &proof), Ok(output));
    assert_eq!(proof.output(), Ok(output));
}

#[test]
fn matches_the_examples_of_rfc_9381() {
    let lines = include_str!("../../../../tests/vectors/vrf/edwards25519_tai.txt").lines();
    let examples: Vec<Vec<&str>> = lines.map(|line| line.split(' ').collect()).collect();
    assert_eq!(examples.len(), 3);
    for example in examples {
        let input = if example[2] == "-" { "" } else { example[2] };
        check(example[0], example[1], input, example[3], example[4]);
    }
}

/// The same from another source, with intermediate values, if the file is present.
#[test]
fn matches_the_shared_vectors_if_they_are_present() {
    let path =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/vectors/vrf/edwards25519_tai.json");
    let Ok(text) = std::fs::read_to_string(path) else { return };
    let cases: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let field = |name: &str| case[name].as_str().unwrap();
        check(field("sk"), field("pk"), field("alpha"), field("pi"), field("beta"));
        let input = hex::decode(field("alpha")).unwrap();
        let h = encode_to_curve(&CompressedEdwardsY(bytes(field("pk"))), &input).unwrap();
        assert_eq!(h.compress().0, bytes(field("h")));
    }
}

#[test]
fn a_proof_is_bound_to_key_and_input_and_fails_if_any_bit_changes() {
    let (a, b) = (SecretKey::from_bytes(&[1; 32]), SecretKey::from_bytes(&[2; 32]));
    let proof = a.prove(b"seed").unwrap();
    let (ours, theirs) = (a.public().decode().unwrap(), b.public().decode().unwrap());
    assert!(ours.verify(b"seed", &proof).is_ok());
    assert_eq!(ours.verify(b"seat", &proof), Err(VrfError::BadProof));
    assert_eq!(theirs.verify(b"seed", &proof), Err(VrfError::BadProof));
    for bit in 0..PROOF_LEN * 8 {
        let mut changed = proof;
        changed.0[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(ours.verify(b"seed", &changed), Err(VrfError::BadProof), "bit {bit}");
    }
}

#[test]
fn outputs_depend_only_on_key_and_input() {
    let secret = SecretKey::from_bytes(&[3; 32]);
    let key = secret.public().decode().unwrap();
    let output = key.verify(b"x", &secret.prove(b"x").unwrap()).unwrap();
    // Another nonce gives another valid proof with the same output: proofs are not unique, outputs
    // are.
    let (x, _) = secret.expand();
    let h = encode_to_curve(&key.point.compress(), b"x").unwrap();
    let (gamma, nonce) = (h * *x, Scalar::from(12345u64));
    let c = challenge([&key.point, &h, &gamma, &EdwardsPoint::mul_base(&nonce), &(h * nonce)]);
    let s = nonce + scalar(&c) * *x;
    let other = [&gamma.compress().0[..], &c, s.as_bytes()].concat();
    let other = Proof(other.try_into().unwrap());
    assert_ne!(Ok(other), secret.prove(b"x"));
    assert_eq!(key.verify(b"x", &other), Ok(output));
    // Gamma plus a point of small order: even if the equations held, the output would stay the
    // same.
    let shifted = EIGHT_TORSION[1] + gamma;
    assert_eq!(super::proof_to_hash(&shifted), output);
}

#[test]
fn keys_of_small_order_and_non_canonical_bytes_are_refused() {
    for point in EIGHT_TORSION {
        assert_eq!(PublicKeyBytes(point.compress().0).decode().err(), Some(VrfError::BadKey));
    }
    // y = p + 1 equals 1, and x = 0 has no second sign.
    let mut above = [0xff; 32];
    above[0] = 0xee;
    above[31] = 0x7f;
    let mut signed_zero = [0; 32];
    (signed_zero[0], signed_zero[31]) = (1, 0x80);
    for bytes in [above, signed_zero, [0xff; 32], [2; 32]] {
        assert_eq!(PublicKeyBytes(bytes).decode().err(), Some(VrfError::BadKey), "{bytes:?}");
        let mut proof = SecretKey::from_bytes(&[1; 32]).prove(b"").unwrap();
        proof.0[..32].copy_from_slice(&bytes);
        assert_eq!(proof.output(), Err(VrfError::BadProof));
    }
    // A scalar above the order would be a second encoding of the same proof.
    let secret = SecretKey::from_bytes(&[4; 32]);
    let mut proof = secret.prove(b"x").unwrap();
    let order: [u8; 32] = bytes("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let mut carry = 0u16;
    for (byte, add) in proof.0[48..].iter_mut().zip(order) {
        carry += u16::from(*byte) + u16::from(add);
        *byte = carry as u8;
        carry >>= 8;
    }
    assert_eq!(secret.public().decode().unwrap().verify(b"x", &proof), Err(VrfError::BadProof));
}

#[test]
fn public_keys_are_those_of_ed25519() {
    // RFC 9381, 5.5: one secret has the same public key in both schemes. For this reason it must
    // never serve for both.
    let secret = [9; 32];
    assert_eq!(
        SecretKey::from_bytes(&secret).public().0,
        crate::crypto::NodeKey::from_bytes(&secret).id().0
    );
}
