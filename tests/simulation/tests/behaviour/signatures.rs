//! Agreement of the faster signature checks with pairings.

use tequio_core::crypto::{
    HashContext, KeyCache, NodeKey,
    bls::{self, SecretKey, known_secrets},
    signature_batch::SignatureBatch,
    vrf,
};

#[test]
fn known_secrets_give_the_verdicts_and_bytes_of_the_pairing() {
    let secrets: Vec<_> = (1..=4).map(|n| SecretKey::from_seed(&[n; 32])).collect();
    let keys: Vec<_> = secrets.iter().map(|secret| secret.public().decode().unwrap()).collect();
    let outcomes = |is_known: bool| {
        known_secrets::register(if is_known { &secrets[..] } else { &[] });
        let parts: Vec<_> = secrets.iter().map(|secret| secret.sign(b"vote")).collect();
        let sums: Vec<_> = (1..=4).map(|n| bls::aggregate(&parts[..n]).unwrap()).collect();
        let mut verdicts = Vec::new();
        for (sum, message) in sums.iter().flat_map(|sum| [(sum, b"vote"), (sum, b"veto")]) {
            for signers in 0..=4 {
                verdicts.push(bls::verify_aggregate(&keys[..signers], message, sum).is_ok());
            }
            for at in 0..48 {
                let mut changed = *sum;
                changed.0[at] ^= 1;
                verdicts.push(bls::verify_aggregate(&keys[..2], message, &changed).is_ok());
            }
        }
        let strange = [bls::Signature([0xab; 48]), parts[0]];
        (parts, sums, verdicts, bls::aggregate(&strange).is_err())
    };
    let pairing = outcomes(false);
    assert_eq!(pairing.2.iter().filter(|verdict| **verdict).count(), 4);
    assert_eq!(outcomes(true), pairing);
}

#[test]
fn cached_verdicts_equal_those_of_the_checks() {
    let (node, proof_key) = (NodeKey::from_bytes(&[1; 32]), vrf::SecretKey::from_bytes(&[2; 32]));
    let (id, public) = (node.id(), proof_key.public().decode().unwrap());
    let verdicts = |is_registered: bool| {
        let secret = SecretKey::from_seed(&[3; 32]);
        known_secrets::register(is_registered.then_some(&secret));
        let (mut verdicts, mut keys) = (Vec::new(), KeyCache::default());
        // Each claim twice: the second check uses the cache. One changed byte makes another claim.
        for (at, _) in (0..80).flat_map(|at| [(at, 1), (at, 2)]) {
            let mut signature = node.sign(HashContext::Transaction, b"a");
            let mut proof = proof_key.prove(b"b").unwrap();
            verdicts.push(id.verify(HashContext::Transaction, b"a", &signature).is_ok());
            verdicts.push(id.verify(HashContext::Vote, b"a", &signature).is_ok());
            verdicts.push(public.verify(b"b", &proof).is_ok());
            verdicts.push(public.verify(b"a", &proof).is_ok());
            signature.0[at % 64] ^= 1;
            proof.0[at] ^= 1;
            verdicts.push(id.verify(HashContext::Transaction, b"a", &signature).is_ok());
            verdicts.push(public.verify(b"b", &proof).is_ok());
            for claimed in [b"a", b"c"] {
                let mut batch = SignatureBatch::default();
                batch.add(
                    &mut keys,
                    &id,
                    HashContext::Transaction,
                    claimed,
                    &node.sign(HashContext::Transaction, b"a"),
                );
                verdicts.push(batch.verify().is_ok());
            }
        }
        verdicts
    };
    let checked = verdicts(false);
    assert_eq!(checked.iter().filter(|verdict| **verdict).count(), 160 * 3);
    assert_eq!(verdicts(true), checked);
}
