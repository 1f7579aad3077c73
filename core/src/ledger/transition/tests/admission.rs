//! New identities solve a puzzle, and only a few enter with each block.

use super::*;
use crate::ledger::transition::admission::{
    REGISTRATIONS_PER_BLOCK_MAX, admission_digest, leading_zeros, solve_admission,
};

#[test]
fn only_a_solved_recent_puzzle_admits_and_only_eight_in_a_block() {
    let mut ledger = Ledger::new();
    assert_eq!(
        ledger.apply_action(5, Action::SubmitJob(spec())),
        Err(TransactionError::UnknownSender)
    );
    let (anchor, bits) = (ledger.head.height - 1, ledger.start.params.admission_bits);
    let digest = ledger.state.recent(anchor).unwrap();
    let chain = ledger.start.chain;
    let solve = |node: &NodeId| solve_admission(&chain, node, &digest, bits, 0, 1 << 20).unwrap();
    let solution = solve(&ledger.keys[5].id());
    // Another identity's solution, and an anchor outside the recent blocks, are refused.
    let other = (0..).find(|s| {
        leading_zeros(&admission_digest(&chain, &ledger.keys[5].id(), &digest, *s)) < bits.into()
    });
    let refused = Err(TransactionError::InvalidAdmission);
    assert_eq!(
        ledger.apply_action(5, Action::Register { anchor, solution: other.unwrap() }),
        refused
    );
    assert_eq!(ledger.apply_action(5, Action::Register { anchor: 1000, solution }), refused);
    assert_eq!(ledger.apply_action(5, Action::Register { anchor, solution }), Ok(()));
    assert_eq!(
        ledger.apply_action(5, Action::Register { anchor, solution }),
        Err(TransactionError::AlreadyRegistered)
    );
    // The nonce starts at the height of the registration.
    assert!(ledger.state.account(&ledger.keys[5].id()).unwrap().nonce > 0);

    let applicants: Vec<NodeKey> = (100..109).map(|n| NodeKey::from_bytes(&[n; 32])).collect();
    let transactions: Vec<_> = applicants
        .iter()
        .map(|key| {
            let action = Action::Register { anchor, solution: solve(&key.id()) };
            let t =
                Transaction { chain, sender: key.id(), nonce: 0, expires: 50, action }.sign(key);
            Unverified::new(t).verify(&chain).unwrap()
        })
        .collect();
    let results = ledger.block(&transactions);
    assert!(results[..REGISTRATIONS_PER_BLOCK_MAX].iter().all(Result::is_ok));
    assert_eq!(results[REGISTRATIONS_PER_BLOCK_MAX], Err(TransactionError::TooManyRegistrations));
}
