//! Verifies the transactions that full nodes push, in batches: signatures in a batch cost half of
//! single checks.
//!
//! The first leader has usually already included transactions sent to several leaders by the time
//! of a batch. The signatures in a proposal are verified there, in one batch, and not here again. A
//! batch starts at once if no transactions came lately. A proposer does not wait for the batch; it
//! verifies the pending transactions of members only, because those of other peers may be false and
//! cost it time.

use super::{admission::Admission, fetch::Fetcher};
use crate::node::{
    chain_view::ChainView,
    mempool::{Mempool, Source, dissemination::is_small_committee},
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
    time::Duration,
};
use tequio_core::{
    ledger::SignedTransaction,
    wire::{
        compression,
        mempool::{MESSAGE_LEN_MAX, Message, TRANSACTIONS_MAX},
    },
};
use tequio_p2p::{MemoryPermit, Network, NotificationStream};
use tokio::time::Instant;

/// Shortest time between the starts of two batches.
const BATCH_INTERVAL: Duration = Duration::from_millis(100);

/// Most transactions verified before a block is built; the others wait for their batch.
const BLOCK_BATCH_MAX: usize = 512;

/// Receives the mempool messages of full nodes. Clones share the received transactions.
#[derive(Clone, Debug)]
pub struct Ingest {
    chain: ChainView,
    mempool: Arc<Mempool>,
    admission: Admission,
    fetcher: Fetcher,
    queue: Arc<IngestQueue>,
}

/// Received transactions that are not verified yet.
#[derive(Debug, Default)]
struct IngestQueue {
    pending: Mutex<PendingBatches>,
    /// Held while transactions of members are verified.
    verifying: Mutex<()>,
}

#[derive(Debug, Default)]
struct PendingBatches {
    batches: Vec<PeerBatch>,
    /// Number of transactions plus messages of any kind, so that endless announcements cannot
    /// delay earlier transactions.
    count: usize,
}

#[derive(Debug)]
struct PeerBatch {
    source: Source,
    /// Whether the sender is a committee member.
    from_member: bool,
    transactions: Vec<SignedTransaction>,
    /// Memory permit of the message.
    permit: Option<MemoryPermit>,
}

impl IngestQueue {
    fn pending(&self) -> MutexGuard<'_, PendingBatches> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PendingBatches {
    /// Takes the members' batches that can be verified before a block is built.
    fn take_for_proposal(&mut self) -> Vec<PeerBatch> {
        let mut left = BLOCK_BATCH_MAX;
        let is_taken = |batch: &mut PeerBatch| {
            let fits = batch.from_member && batch.transactions.len() <= left;
            left -= if fits { batch.transactions.len() } else { 0 };
            fits
        };
        let taken: Vec<_> = self.batches.extract_if(.., is_taken).collect();
        self.count -= taken.iter().map(|batch| 1 + batch.transactions.len()).sum::<usize>();
        taken
    }
}

impl Ingest {
    /// Ingests into this mempool.
    pub fn new(
        chain: ChainView,
        network: Network,
        mempool: Arc<Mempool>,
        admission: Admission,
    ) -> Self {
        let fetcher = Fetcher::new(network, mempool.clone(), admission.clone());
        Self { chain, mempool, admission, fetcher, queue: Arc::default() }
    }

    /// Receives mempool messages of full nodes until the network ends.
    pub async fn listen(self, notifications: NotificationStream) {
        self.listen_in_batches(notifications, BATCH_INTERVAL).await;
    }

    async fn listen_in_batches(self, mut notifications: NotificationStream, round: Duration) {
        let mut next_round = Instant::now();
        while let Some(first) = notifications.next().await {
            self.receive(first);
            let until = if is_small_committee(self.chain.committee_len()) {
                Instant::now()
            } else {
                next_round
            };
            while self.queue.pending().count < TRANSACTIONS_MAX {
                let next = match notifications.try_next() {
                    None => {
                        tokio::time::timeout_at(until, notifications.next()).await.ok().flatten()
                    }
                    next => next,
                };
                let Some(message) = next else { break };
                self.receive(message);
            }
            next_round = Instant::now() + round;
            let ingest = self.clone();
            // Signature checks are too slow for the network's threads.
            let _ = tokio::task::spawn_blocking(move || ingest.verify_pending()).await;
        }
    }

    /// Queues pushed transactions for their batch, and requests announced ones at once.
    pub fn receive(&self, message: tequio_p2p::Notification) {
        let from = message.peer;
        let from_member = self.chain.committee_has(&from);
        let decoded = compression::decode::<Message>(&message.body, MESSAGE_LEN_MAX);
        self.queue.pending().count += 1;
        match decoded {
            Ok(Message::New { transactions, forward }) => {
                let (source, permit) = (Source::Peer { peer: from, forward }, Some(message.permit));
                let mut pending = self.queue.pending();
                pending.count += transactions.len();
                pending.batches.push(PeerBatch {
                    source,
                    from_member,
                    transactions: transactions.into_vec(),
                    permit,
                });
            }
            Ok(Message::Announce(ids)) => {
                let ids = self.mempool.dissemination().on_announce(from, from_member, &ids);
                self.fetcher.fetch(from, ids);
            }
            Err(error) => {
                tracing::debug!(peer = %from.short(), %error, "malformed mempool message")
            }
        }
    }

    /// Verifies all pending transactions. Members' transactions come first in their own batch, so
    /// that those of other peers delay neither members nor a leader.
    fn verify_pending(&self) {
        let queue = &*self.queue;
        let of_others = {
            let _turn = queue.verifying.lock().unwrap_or_else(PoisonError::into_inner);
            let round = std::mem::take(&mut *queue.pending());
            let (of_members, of_others) =
                round.batches.into_iter().partition(|batch| batch.from_member);
            self.accept_batches(of_members);
            of_others
        };
        self.accept_batches(of_others);
    }

    /// Verifies the members' pending transactions. When this returns, the valid ones are in the
    /// pool, unless a batch is in progress.
    pub fn verify_for_proposal(&self) {
        let queue = &*self.queue;
        let _turn = match queue.verifying.try_lock() {
            Ok(turn) => turn,
            Err(TryLockError::Poisoned(turn)) => turn.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let batches = queue.pending().take_for_proposal();
        self.accept_batches(batches);
    }

    fn accept_batches(&self, batches: Vec<PeerBatch>) {
        let (mut messages, mut permits) = (Vec::new(), Vec::new());
        for PeerBatch { source, transactions, permit, .. } in batches {
            messages.push((source, transactions));
            permits.push(permit);
        }
        if !messages.is_empty() {
            self.admission.accept_from_peers(messages);
        }
        drop(permits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{fixture::Fixture, mempool::SMALL_COMMITTEE_MAX};
    use std::time::Instant as Realtime;
    use tequio_core::{
        crypto::NodeKey,
        ledger::{Action, Transaction},
        types::ChainId,
    };

    fn batch(peer: u8, from_member: bool, count: usize) -> PeerBatch {
        let key = NodeKey::from_bytes(&[peer; 32]);
        let transaction = Transaction {
            chain: ChainId([1; 32]),
            sender: key.id(),
            nonce: 0,
            expires: 9,
            action: Action::Leave,
        };
        let transactions = vec![transaction.sign(&key); count];
        PeerBatch {
            source: Source::Peer { peer: key.id(), forward: false },
            from_member,
            transactions,
            permit: None,
        }
    }

    #[test]
    fn before_a_block_only_transactions_of_members_are_verified_up_to_a_limit() {
        let all = [
            batch(1, true, 200),
            batch(2, false, 1),
            batch(3, true, 400),
            batch(4, true, 312),
            batch(5, true, 1),
        ];
        let count = all.iter().map(|batch| 1 + batch.transactions.len()).sum();
        let mut pending = PendingBatches { batches: all.into(), count };
        let lens = |batches: &[PeerBatch]| {
            batches.iter().map(|batch| batch.transactions.len()).collect::<Vec<_>>()
        };
        assert_eq!(lens(&pending.take_for_proposal()), [200, 312]);
        assert_eq!((lens(&pending.batches), pending.count), (vec![1, 400, 1], 405));
        assert_eq!(lens(&pending.take_for_proposal()), [400, 1]);
        assert!(pending.take_for_proposal().is_empty());
        assert_eq!((lens(&pending.batches), pending.count), (vec![1], 2));
    }

    /// Generous, because the machine may be busy.
    const WITHIN: Duration = Duration::from_secs(30);

    fn wait(what: &str, is_so: impl Fn() -> bool) {
        let began = Realtime::now();
        while !is_so() {
            assert!(began.elapsed() < WITHIN, "{what}");
            std::thread::yield_now();
        }
    }

    /// A node in a committee of this size receives one transaction and, after it is accepted,
    /// others, each when `arrived` holds for the one before. Then the batch ends. Returns the
    /// number of checks until then, and in total.
    fn checks(
        seats: usize,
        round: Duration,
        others: u8,
        arrived: impl Fn(&Fixture, u8) -> bool + Send + 'static,
    ) -> [u64; 2] {
        let mut fixture = Fixture::of(seats);
        let (ingest, notifications) = (fixture.ingest.clone(), fixture.notifications());
        let listening =
            fixture.runtime.spawn(ingest.clone().listen_in_batches(notifications, round));
        let peer = fixture.peer(&fixture.members[1].node);
        fixture.notify(&peer, &fixture.signed(0));
        wait("the first is not taken in at once", || fixture.mempool.len() == 1);
        for number in 1..=others {
            fixture.notify(&peer, &fixture.signed(number));
            wait("it does not arrive", || arrived(&fixture, number));
            // Timers fire in order, so a batch that was due before this one has started.
            fixture.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(2)).await });
        }
        let meanwhile = fixture.metrics.peer_verifications.get();
        listening.abort();
        ingest.verify_pending();
        assert_eq!(
            (fixture.mempool.len(), fixture.metrics.peer_transactions.get()),
            (others as usize + 1, others as u64 + 1)
        );
        [meanwhile, fixture.metrics.peer_verifications.get()]
    }

    /// So long that no batch ends by itself.
    const NEVER: Duration = Duration::from_secs(1_000_000);

    fn taken_in(fixture: &Fixture, number: u8) -> bool {
        fixture.mempool.len() == usize::from(number) + 1
    }

    #[test]
    fn transactions_within_an_interval_are_verified_in_one_batch() {
        let received = |fixture: &Fixture, number: u8| {
            fixture.ingest.queue.pending().batches.len() == usize::from(number)
        };
        assert_eq!(checks(SMALL_COMMITTEE_MAX + 1, NEVER, 5, received), [1, 2]);
    }

    #[test]
    fn a_batch_ends_after_its_interval() {
        assert_eq!(checks(SMALL_COMMITTEE_MAX + 1, Duration::from_millis(1), 5, taken_in), [6, 6]);
    }

    #[test]
    fn in_a_small_committee_transactions_do_not_wait_for_a_batch() {
        assert_eq!(checks(SMALL_COMMITTEE_MAX, NEVER, 5, taken_in), [6, 6]);
    }

    #[test]
    fn a_forged_transaction_of_a_non_member_fails_no_batch_of_members() {
        let mut fixture = Fixture::of(SMALL_COMMITTEE_MAX + 1);
        let mut notifications = fixture.notifications();
        let forged =
            SignedTransaction { signature: fixture.signed(3).signature, ..fixture.signed(2) };
        let [first, second] = [1, 2].map(|member: usize| fixture.members[member].node.clone());
        let non_member = NodeKey::from_bytes(&[0x77; 32]);
        let all = [(first, fixture.signed(0)), (non_member, forged), (second, fixture.signed(1))];
        for (key, transaction) in all {
            let peer = fixture.peer(&key);
            fixture.notify(&peer, &transaction);
            let notification = async { tokio::time::timeout(WITHIN, notifications.next()).await };
            fixture
                .ingest
                .receive(fixture.runtime.block_on(notification).expect("in time").unwrap());
        }
        fixture.ingest.verify_pending();
        assert_eq!(fixture.mempool.len(), 2);
        // One check of the members' transactions; three for the forged one: its batch, its message,
        // and itself.
        assert_eq!(fixture.metrics.peer_verifications.get(), 1 + 3);
    }
}
