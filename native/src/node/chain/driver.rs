//! Drives the consensus replica. Its votes go to disk before they are sent, and each block goes to
//! the store in one write.
//!
//! The replica runs on its own thread. Sending and fetching is spawned from there, and results come
//! back as inputs. A failing disk, or a block that executes differently here, ends the node.

use super::{inputs, snapshot_cache::SnapshotCache, sync::BlockSync};
use crate::{
    config::Config as Options,
    keys::Keys,
    node::{
        chain_view::{ChainView, Tip},
        machine::{self, Inbox, InboxReceiver, OutputHandler},
        mempool::{Mempool, verify::ingest::Ingest},
        telemetry::metrics::Metrics,
        writes::submit::Submitter,
    },
    store::{FinalBlock, Store},
};
use anyhow::Context as _;
use std::{collections::BTreeSet, sync::Arc, thread::JoinHandle};
use tequio_core::{
    codec,
    consensus::{
        BuildBlock, Config, Error, Event, Finalised, Head, Input, Output, Recipient, Replica,
        WalRecord,
    },
    ledger::{Action, Entry, Evidence},
    types::NodeId,
    wire::{consensus::Message, light::FinalHeader},
};
use tequio_p2p::{Network, NotificationProtocol};
use tokio::runtime::Handle;

/// The parts of the node that the driver uses.
#[derive(Clone, Debug)]
pub struct DriverParts {
    /// The head, which the driver advances.
    pub chain: ChainView,
    /// Votes, blocks and states.
    pub store: Arc<Store>,
    /// Carries consensus messages.
    pub network: Network,
    /// The transactions for blocks.
    pub mempool: Arc<Mempool>,
    /// Verifies received transactions before a block is built.
    pub ingest: Ingest,
    /// Gets each new state.
    pub snapshots: Arc<SnapshotCache>,
    /// Fetches missing blocks.
    pub sync: BlockSync,
    /// Submits evidence of misbehaviour.
    pub submitter: Submitter,
    /// Counters and gauges.
    pub metrics: Arc<Metrics>,
    /// The replica itself.
    pub inbox: Inbox<Input>,
}

/// Restores the replica from the store and starts its thread.
pub fn start(
    parts: DriverParts,
    keys: &Keys,
    options: &Options,
    receiver: InboxReceiver<Input>,
    ended: impl FnOnce(anyhow::Result<()>) + Send + 'static,
) -> anyhow::Result<JoinHandle<()>> {
    let tip = parts.chain.tip();
    let FinalHeader { header, certificate } = tip.header.clone();
    let head = Head::new(header, certificate, tip.state.clone())
        .context("the store's state is not usable")?;
    let (vote_routing, pipeline) = (options.vote_routing.into(), options.pipelining.into());
    let config =
        Config { node_key: keys.node.clone(), seat_keys: keys.of_seat(), vote_routing, pipeline };
    let records = parts.store.wal_records()?;
    let decode = |bytes: Vec<u8>| codec::decode::<WalRecord>(&bytes, WalRecord::LEN_MAX);
    let wal = records
        .into_iter()
        .map(decode)
        .collect::<Result<Vec<_>, _>>()
        .context("the consensus log is damaged")?;
    let replica = Replica::restore(config, head, wal, machine::now_ms())
        .context("cannot resume consensus")?;
    // Only members send consensus messages; the network drops those of other peers.
    parts.network.set_consensus_peers(parts.chain.consensus_peers());
    tokio::spawn(inputs::request_blocks(
        parts.chain.clone(),
        parts.mempool.clone(),
        parts.inbox.clone(),
    ));
    let handler =
        ReplicaOutputs { parts, runtime: Handle::current(), accused_members: BTreeSet::new() };
    Ok(machine::spawn("consensus".into(), replica, receiver, handler, ended)?)
}

struct ReplicaOutputs {
    parts: DriverParts,
    runtime: Handle,
    /// Members that this node has accused since it started.
    accused_members: BTreeSet<NodeId>,
}

impl OutputHandler<Replica> for ReplicaOutputs {
    fn tick() -> Input {
        Input::Tick
    }

    fn handle_output(
        &mut self,
        replica: &Replica,
        output: Output,
    ) -> anyhow::Result<Option<Input>> {
        match output {
            Output::Send { to, message } => self.send(replica, to, &message),
            Output::Persist(record) => {
                self.parts.store.wal_append(record.height(), &codec::encode(&*record))?;
                return Ok(Some(Input::Persisted));
            }
            Output::Finalised(finalised) => {
                self.finalise(*finalised)?;
                self.update_pacing_metrics(replica);
                return Ok(Some(Input::Persisted));
            }
            Output::InstallSnapshot(head) => {
                self.adopt(*head)?;
                return Ok(Some(Input::Persisted));
            }
            Output::BuildBlock(wanted) => return Ok(Some(self.build(&wanted))),
            Output::SyncNeeded { from, peer } => {
                let sync = self.parts.sync.clone();
                self.runtime.spawn(async move { sync.fetch(peer, from).await });
            }
            Output::Misbehaviour { peer, offence } => {
                self.parts.metrics.misbehaviour.inc();
                let evidence = offence.evidence();
                tracing::warn!(peer = %peer.short(), evidence = evidence.is_some(), %offence,
                    "misbehaviour");
                if let Some(evidence) = evidence {
                    self.submit_evidence(peer, evidence);
                }
            }
            Output::Event(event) => self.log_event(&event),
        }
        Ok(None)
    }

    fn handle_error(&mut self, error: Error) -> anyhow::Result<()> {
        match error {
            Error::Diverged { .. } => Err(error.into()),
            // A harmless local error: the view was over, or the disk is behind and the message will
            // be retransmitted.
            Error::NotRequested | Error::Overloaded => Ok(()),
            Error::NothingToPersist => {
                tracing::error!(%error, "the consensus driver sent an input that the replica does \
                                         not expect");
                Ok(())
            }
        }
    }
}

impl ReplicaOutputs {
    fn send(&self, replica: &Replica, to: Recipient, message: &Message) {
        let body: Arc<[u8]> = codec::encode(message).into();
        let network = &self.parts.network;
        match to {
            Recipient::One(peer) => network.notify(NotificationProtocol::Consensus, [peer], &body),
            Recipient::All => {
                network.notify(NotificationProtocol::Consensus, replica.recipients(message), &body)
            }
        }
    }

    /// Submits evidence to the ledger, once per member.
    fn submit_evidence(&mut self, accused: NodeId, evidence: Evidence) {
        let known = self.parts.chain.tip().state.conviction(&accused).is_some();
        if known || !self.accused_members.insert(accused) {
            return;
        }
        let submitter = self.parts.submitter.clone();
        self.runtime.spawn(async move {
            let action = Action::Report { accused, evidence: Box::new(evidence) };
            match submitter.submit_and_wait(action).await {
                Ok((_, height)) => tracing::warn!(accused = %accused.short(), height, "convicted"),
                Err(error) => {
                    tracing::info!(
                        accused = %accused.short(), %error,
                        "the misbehaviour report was not applied"
                    )
                }
            }
        });
    }

    fn finalise(&self, finalised: Finalised) -> anyhow::Result<()> {
        let Finalised { block, certificate, outcome } = finalised;
        let (changes, receipts) = (&outcome.changes, &outcome.receipts);
        self.parts.store.append(FinalBlock {
            block: &block,
            certificate: &certificate,
            changes,
            receipts,
        })?;
        let count = block.transactions.len();
        tracing::debug!(height = block.header.height, transactions = count, "final");
        for receipt in receipts.iter().filter(|r| r.result.is_err()) {
            tracing::info!(transaction = ?receipt.transaction, result = ?receipt.result,
                "transaction not applied");
        }
        self.parts.metrics.blocks.inc();
        self.parts.metrics.transactions.inc_by(count as u64);
        self.parts.mempool.on_included(receipts.iter().map(|receipt| receipt.transaction));
        let tip = Tip::new(
            FinalHeader { header: block.header, certificate: Some(certificate) },
            outcome.state,
        );
        let tip = self.prepare(tip);
        self.parts.chain.advance(tip, changes);
        if changes
            .iter()
            .any(|change| matches!(change.entry(), Entry::Committee(_) | Entry::MemberSet(_)))
        {
            self.parts.network.set_consensus_peers(self.parts.chain.consensus_peers());
        }
        self.request_block();
        Ok(())
    }

    /// Applies a new tip to the mempool, the gauges and the states for others, before it is
    /// published.
    fn prepare(&self, tip: Tip) -> Arc<Tip> {
        self.parts.mempool.prune(&tip.state, tip.height() + 1);
        self.parts.metrics.height.set(tip.height() as i64);
        let tip = Arc::new(tip);
        self.parts.snapshots.add_tip(&tip, false);
        tip
    }

    /// Updates the measurements that `pipelining = "auto"` uses.
    fn update_pacing_metrics(&self, replica: &Replica) {
        let ms = |mean: Option<u64>| mean.unwrap_or_default() as i64;
        let ((alone, beside), metrics) = (replica.mean_block_ms(), &self.parts.metrics);
        metrics.sequential_block_ms.set(ms(alone));
        metrics.pipelined_block_ms.set(ms(beside));
    }

    fn adopt(&self, head: Head) -> anyhow::Result<()> {
        let Head { header, certificate, state, .. } = head;
        let header = FinalHeader { header, certificate };
        self.parts.store.adopt(&header)?;
        let tip = self.prepare(Tip::new(header, state));
        self.parts.chain.adopt(tip);
        self.parts.network.set_consensus_peers(self.parts.chain.consensus_peers());
        self.request_block();
        Ok(())
    }

    /// `WantBlock` holds for one height. It is repeated while an applicable transaction waits, or a
    /// result waits for the blocks that draw its auditors and finalise it.
    fn request_block(&self) {
        let tip = self.parts.chain.tip();
        let waiting = self.parts.mempool.has_applicable(&tip.state, tip.height() + 1);
        if waiting || !tip.state.pending_jobs().is_empty() {
            self.parts.inbox.send(Input::WantBlock { height: tip.height() + 1 });
        }
    }

    fn build(&self, wanted: &BuildBlock) -> Input {
        let BuildBlock { height, view, parent, state, len_max, transactions_max } = wanted;
        let (height, view, parent) = (*height, *view, *parent);
        self.parts.ingest.verify_for_proposal();
        let transactions = self.parts.mempool.select(state, height, *len_max, *transactions_max);
        Input::Built {
            height,
            view,
            parent,
            transactions,
            queued_inputs: self.parts.inbox.waiting(),
        }
    }

    fn log_event(&self, event: &Event) {
        match event {
            Event::ViewChange { height, view, leader } => {
                self.parts.metrics.view.set(*view as i64);
                tracing::info!(height, view, leader = %leader.short(), "view change");
            }
            Event::Accepted { height, view, .. } => {
                self.parts.chain.record_proposal(*height);
                self.parts.metrics.view.set(*view as i64);
                tracing::trace!(height, view, "proposal accepted");
            }
            Event::PipelinedAccepted { height, .. } => {
                self.parts.chain.record_proposal(*height);
                self.parts.metrics.pipelined_votes.inc();
                tracing::trace!(height, "pipelined proposal accepted");
            }
            Event::Orphaned { height, .. } => {
                tracing::info!(
                    height,
                    "pipelined vote orphaned: another block became final at the height below"
                );
            }
            Event::Epoch { epoch, seats, seat } => {
                tracing::info!(epoch, seats, ?seat, "a new committee is active")
            }
            Event::CollectorBypassed { height, .. } => {
                self.parts.metrics.collector_fallbacks.inc();
                tracing::debug!(
                    height,
                    "the collector did not answer in time: sending votes to all members"
                );
            }
            Event::Prepared { height, view, .. } => tracing::trace!(height, view, "prepared"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{fixture::Fixture, mempool::SMALL_COMMITTEE_MAX};
    use std::time::Duration;
    use tequio_core::{
        consensus::{Pipeline, VoteRouting},
        crypto::NodeKey,
        ledger::SignedTransaction,
    };

    fn handler(fixture: &Fixture) -> (ReplicaOutputs, Replica) {
        let (keys, start) = (&fixture.keys, &fixture.start);
        let (node_key, seat_keys) = (keys.node.clone(), keys.of_seat());
        let config = Config {
            node_key,
            seat_keys,
            vote_routing: VoteRouting::All,
            pipeline: Pipeline::Auto,
        };
        let replica =
            Replica::restore(config, Head::genesis(start), [], machine::now_ms()).unwrap();
        let handler = ReplicaOutputs {
            parts: fixture.driver.clone(),
            runtime: fixture.runtime.handle().clone(),
            accused_members: BTreeSet::new(),
        };
        (handler, replica)
    }

    /// Transactions that the machine gets when it requests a block.
    fn built(fixture: &Fixture) -> Vec<SignedTransaction> {
        let (mut handler, replica) = handler(fixture);
        let (parent, state) = (*replica.head().digest(), fixture.start.state.clone());
        let wanted = BuildBlock {
            height: 1,
            view: 0,
            parent,
            state,
            len_max: 1 << 20,
            transactions_max: 100,
        };
        match handler.handle_output(&replica, Output::BuildBlock(wanted)).unwrap() {
            Some(Input::Built { height: 1, view: 0, parent: upon, transactions, .. })
                if upon == parent =>
            {
                transactions.into_iter().map(|t| t.into_inner()).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn unverified_transactions_of_members_are_in_a_block() {
        let mut fixture = Fixture::of(SMALL_COMMITTEE_MAX + 1);
        let mut notifications = fixture.notifications();
        let (member, non_member) =
            (fixture.members[1].node.clone(), NodeKey::from_bytes(&[0x77; 32]));
        let (of_member, of_non_member) = (fixture.signed(0), fixture.signed(1));
        for (key, transaction) in [(member, &of_member), (non_member, &of_non_member)] {
            let peer = fixture.peer(&key);
            fixture.notify(&peer, transaction);
            let notification =
                async { tokio::time::timeout(Duration::from_secs(60), notifications.next()).await };
            let notification = fixture.runtime.block_on(notification).expect("in time").unwrap();
            assert_eq!(notification.peer, key.id());
            fixture.ingest.receive(notification);
        }
        assert!(fixture.mempool.is_empty());
        assert_eq!(built(&fixture), [of_member]);
        assert!(
            !fixture.mempool.contains(&of_non_member.id()),
            "it is verified later in its batch"
        );
    }
}
