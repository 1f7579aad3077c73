//! Feeds the consensus replica: the messages of members, and requests for blocks when transactions
//! wait.

use crate::node::{chain_view::ChainView, machine::Inbox, mempool::Mempool};
use std::sync::Arc;
use tequio_core::{
    codec,
    consensus::Input,
    ledger::VerifiedSignature,
    types::{Height, NodeId, Unverified},
    wire::consensus::{Message, Proposal, REQUEST_LEN_MAX},
};
use tequio_p2p::{Notification, NotificationStream};

/// Most messages of one batch for the replica, so that neither it nor its feeder waits long.
const BATCH_MAX: usize = 128;

/// Delivers the members' messages to the replica, in each member's order, until the network ends.
pub async fn listen(
    mempool: Arc<Mempool>,
    inbox: Inbox<Input>,
    mut notifications: NotificationStream,
) {
    let checked = |proposal: &Proposal| mempool.verified_signatures(&proposal.block.transactions);
    while let Some(first) = notifications.next().await {
        // Votes come in bursts. Yielding lets ready connections be read first, so one wake-up
        // serves all.
        tokio::task::yield_now().await;
        let messages =
            std::iter::once(first).chain(std::iter::from_fn(|| notifications.try_next()));
        let inputs = decode_batch(
            messages.map(|Notification { peer, body, permit }| (peer, body, permit)),
            checked,
        );
        if !inputs.is_empty() {
            inbox.send_from_peers(inputs);
        }
    }
}

/// Decodes at most one batch of messages with their memory permits, and takes no more than that
/// from the iterator.
fn decode_batch<S>(
    messages: impl Iterator<Item = (NodeId, Vec<u8>, S)>,
    checked: impl Fn(&Proposal) -> Vec<VerifiedSignature>,
) -> Vec<(Input, Option<S>)> {
    let mut inputs = Vec::new();
    // Malformed messages count too, so that many of them cannot delay a vote.
    for (from, body, permit) in messages.take(BATCH_MAX) {
        match codec::decode::<Message>(&body, REQUEST_LEN_MAX) {
            Ok(message) => {
                if let Message::Proposal(proposal) = &message {
                    let checked = checked(proposal);
                    if !checked.is_empty() {
                        inputs.push((Input::SignaturesVerified(checked), None));
                    }
                }
                inputs.push((
                    Input::Received { from, message: Unverified::new(message) },
                    Some(permit),
                ));
            }
            Err(error) => {
                tracing::debug!(peer = %from.short(), %error, "malformed consensus message")
            }
        }
    }
    inputs
}

/// Notifies the replica of waiting transactions.
pub async fn request_blocks(chain: ChainView, mempool: Arc<Mempool>, inbox: Inbox<Input>) {
    let mut dedup = WantBlockDedup::default();
    loop {
        mempool.wait_for_insert().await;
        let height = chain.tip().height() + 1;
        let builds = || chain.upcoming_proposers(1).iter().any(|(_, leader)| *leader == chain.node);
        if dedup.should_send(height, builds) {
            inbox.send(Input::WantBlock { height });
        }
    }
}

/// The height for which a block was last requested.
#[derive(Debug, Default)]
struct WantBlockDedup(Height);

impl WantBlockDedup {
    /// Sends `WantBlock` once per height, because waking the replica's thread costs more than the
    /// message. Only the next proposer may have found nothing before, so it gets one for every new
    /// transaction.
    fn should_send(&mut self, height: Height, builds: impl FnOnce() -> bool) -> bool {
        std::mem::replace(&mut self.0, height) != height || builds()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tequio_core::{
        crypto::bls::SecretKey,
        ledger::{Phase, Vote},
        types::{ChainId, Digest},
        wire::consensus::SignedVote,
    };

    fn vote(height: u64) -> Vec<u8> {
        let (chain, digest) = (ChainId([0; 32]), Digest([0; 32]));
        let vote = Vote { chain, epoch: 0, height, view: 0, phase: Phase::Commit, digest };
        codec::encode(&Message::Vote(SignedVote::sign(vote, &SecretKey::from_seed(&[1; 32]))))
    }

    /// The heights of the votes that are decoded from a stream, with their positions in it, and the
    /// number of messages taken.
    fn taken(bodies: impl Iterator<Item = Vec<u8>>) -> (Vec<(u64, usize)>, usize) {
        let mut count = 0;
        let messages = bodies
            .enumerate()
            .inspect(|_| count += 1)
            .map(|(number, body)| (NodeId([1; 32]), body, number));
        let inputs = decode_batch(messages, |_| Vec::new());
        let height = |input: &Input| match input {
            Input::Received { message, .. } => message.unverified().height(),
            other => panic!("{other:?}"),
        };
        (inputs.iter().map(|(input, permit)| (height(input), permit.unwrap())).collect(), count)
    }

    #[test]
    fn malformed_messages_do_not_delay_votes() {
        let rubbish = || std::iter::repeat_n(vec![0xff; 3], 10 * BATCH_MAX);
        assert_eq!(taken(std::iter::once(vote(7)).chain(rubbish())), (vec![(7, 0)], BATCH_MAX));
        assert_eq!(taken(rubbish()), (vec![], BATCH_MAX));
        // Malformed messages use up no slots of valid ones.
        let between = (1..=3).flat_map(|height| [vec![0xff; 3], vote(height)]);
        assert_eq!(taken(between), (vec![(1, 1), (2, 3), (3, 5)], 6));
        let votes = (1..=2 * BATCH_MAX as u64).map(vote);
        assert_eq!(taken(votes).1, BATCH_MAX);
    }

    #[test]
    fn want_block_is_sent_once_per_height_and_again_by_the_proposer() {
        let mut dedup = WantBlockDedup::default();
        let mut sent = |height, builds| dedup.should_send(height, || builds);
        assert_eq!(
            [sent(1, false), sent(1, false), sent(1, true), sent(1, false)],
            [true, false, true, false]
        );
        assert_eq!(
            [sent(2, false), sent(2, false), sent(3, true), sent(3, true)],
            [true, false, true, true]
        );
    }
}
