//! Explains why the ledger refused a write of this node, and what its operator can do about it.

use crate::store::ClientWrite;
use tequio_core::ledger::{
    Action, TransactionError, job::JOB_MACS_MAX, membership::MEMBERS_MAX,
    transition::jobs::JOBS_PER_OWNER_MAX,
};

/// The reason of a refusal, as text for people.
pub fn refusal(write: Option<&ClientWrite>, error: &TransactionError) -> String {
    let Some(ClientWrite::Own(action)) = write else { return error.to_string() };
    match (action, error) {
        (Action::SubmitJob(_), TransactionError::QuotaExceeded(_)) => format!(
            "this node coordinates {JOBS_PER_OWNER_MAX} running or pending jobs, the most allowed \
             at once: wait until one is final, or give one up (`tequio job list`, `tequio job \
             cancel`)"
        ),
        (Action::Join { .. }, TransactionError::QuotaExceeded(_)) => {
            format!(
                "the network has {MEMBERS_MAX} members, the most allowed: join when one has left"
            )
        }
        (Action::SubmitJob(_), TransactionError::JobTooLarge(_)) => {
            format!(
                "{error}; the maximum is {JOB_MACS_MAX}: ask for fewer rounds, fewer rows or \
                 narrower layers"
            )
        }
        (Action::CancelJob { .. }, TransactionError::NotCoordinator) => {
            format!("{error}: cancel it on the node that submitted it (`tequio job show` names it)")
        }
        (Action::CancelJob { .. }, TransactionError::WrongJobStatus) => {
            "the job has ended already".to_owned()
        }
        (
            Action::Join { .. } | Action::Bond { .. } | Action::Transfer { .. },
            TransactionError::InsufficientBalance(balance),
        ) => {
            format!(
                "the balance is {balance}, less than that: give less, or get more with `tequio \
                 seat fund` of a member"
            )
        }
        (Action::Join { .. }, TransactionError::BondTooSmall(_)) => {
            format!("{error}: give a higher --amount")
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tequio_core::{
        crypto::NodeKey,
        types::{Digest, NodeId},
    };

    #[test]
    fn the_error_of_a_full_quota_explains_how_to_free_a_slot() {
        let of = |action: Action, error| refusal(Some(&ClientWrite::Own(action)), &error);
        let cancel = || Action::CancelJob { job: Digest([0; 32]) };
        let node: NodeId = NodeKey::from_bytes(&[1; 32]).id();
        for (text, parts) in [
            (
                of(cancel(), TransactionError::NotCoordinator),
                ["only the job's coordinator", "the node that submitted it"],
            ),
            (of(cancel(), TransactionError::WrongJobStatus), ["ended", "already"]),
            (
                of(
                    Action::Transfer { to: node, amount: 9 },
                    TransactionError::InsufficientBalance(3),
                ),
                ["is 3", "seat fund"],
            ),
            (of(Action::Leave, TransactionError::NotMember), ["not a member", ""]),
        ] {
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        }
        let quota = TransactionError::QuotaExceeded(JOBS_PER_OWNER_MAX);
        assert!(quota.to_string().contains("end one of them first"), "{quota}");
    }
}
