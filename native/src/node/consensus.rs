//! Drives the consensus replica. Its votes go to disk before they are sent, and each block goes to
//! the store in one write.
//!
//! The replica runs on its own thread. Sending and fetching is spawned from there, and results come
//! back as inputs. A failing disk, or a block that executes differently here, ends the node.

use super::{
    context::{NodeContext, Tip},
    cpu_pressure::CpuPressure,
    machine::{self, Inbox, InboxReceiver, OutputHandler},
    mempool, sync, transaction_submitter,
};
use crate::{config::Config as Options, store::FinalBlock};
use anyhow::Context as _;
use std::{collections::BTreeSet, sync::Arc, thread::JoinHandle};
use tequio_core::{
    codec,
    consensus::{
        BuildBlock, Config, Error, Event, Finalised, Head, Input, Output, Recipient, Replica,
        WalRecord,
    },
    ledger::{Action, Entry, Evidence, VerifiedSignature},
    types::{Height, NodeId, Unverified},
    wire::{
        consensus::{Message, Proposal, REQUEST_LEN_MAX},
        light::FinalHeader,
    },
};
use tequio_p2p::{Notification, NotificationProtocol, NotificationStream};
use tokio::runtime::Handle;

/// Most messages of one batch for the replica, so that neither it nor its feeder waits long.
const BATCH_MAX: usize = 128;

/// Restores the replica from the store and starts its thread.
pub fn start(
    context: &Arc<NodeContext>,
    options: &Options,
    inbox: &Inbox<Input>,
    receiver: InboxReceiver<Input>,
    ended: impl FnOnce(anyhow::Result<()>) + Send + 'static,
) -> anyhow::Result<JoinHandle<()>> {
    let tip = context.tip();
    let FinalHeader { header, certificate } = tip.header.clone();
    let head = Head::new(header, certificate, tip.state.clone())
        .context("the store's state is not usable")?;
    let (vote_routing, pipeline) = (options.votes_to.into(), options.pipeline.into());
    let config = Config {
        node_key: context.keys.node.clone(),
        seat_keys: context.keys.of_seat(),
        vote_routing,
        pipeline,
    };
    let records = context.store.wal_records()?;
    let decode = |bytes: Vec<u8>| codec::decode::<WalRecord>(&bytes, WalRecord::LEN_MAX);
    let wal = records
        .into_iter()
        .map(decode)
        .collect::<Result<Vec<_>, _>>()
        .context("the consensus log is damaged")?;
    let replica = Replica::restore(config, head, wal, machine::now_ms())
        .context("cannot resume consensus")?;
    let handler = ReplicaOutputs {
        context: context.clone(),
        inbox: inbox.clone(),
        runtime: Handle::current(),
        accused_members: BTreeSet::new(),
        pressure: CpuPressure::default(),
    };
    // Only members send consensus messages; the network drops those of other peers.
    context.network.set_consensus_peers(context.consensus_peers());
    tokio::spawn(request_blocks(context.clone(), inbox.clone()));
    Ok(machine::spawn("consensus".into(), replica, receiver, handler, ended)?)
}

/// Delivers the members' messages to the replica, in each member's order, until the network ends.
pub async fn listen(
    context: Arc<NodeContext>,
    inbox: Inbox<Input>,
    mut notifications: NotificationStream,
) {
    let checked =
        |proposal: &Proposal| context.mempool.verified_signatures(&proposal.block.transactions);
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
async fn request_blocks(context: Arc<NodeContext>, inbox: Inbox<Input>) {
    let mut dedup = WantBlockDedup::default();
    loop {
        context.mempool.wait_for_insert().await;
        let height = context.tip().height() + 1;
        let builds =
            || context.upcoming_proposers(1).iter().any(|(_, leader)| *leader == context.id);
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

struct ReplicaOutputs {
    context: Arc<NodeContext>,
    inbox: Inbox<Input>,
    runtime: Handle,
    /// Members that this node has accused since it started.
    accused_members: BTreeSet<NodeId>,
    pressure: CpuPressure,
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
                self.context.store.wal_append(record.height(), &codec::encode(&*record))?;
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
                let (context, inbox) = (self.context.clone(), self.inbox.clone());
                self.runtime.spawn(async move { sync::fetch(&context, &inbox, peer, from).await });
            }
            Output::Misbehaviour { peer, offence } => {
                self.context.metrics.misbehaviour.inc();
                let evidence = offence.evidence();
                tracing::warn!(peer = %peer.short(), evidence = evidence.is_some(), %offence, "misbehaviour");
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
                tracing::error!(%error, "the consensus driver is out of step");
                Ok(())
            }
        }
    }
}

impl ReplicaOutputs {
    fn send(&self, replica: &Replica, to: Recipient, message: &Message) {
        let body: Arc<[u8]> = codec::encode(message).into();
        let network = &self.context.network;
        match to {
            Recipient::One(peer) => network.notify(NotificationProtocol::Consensus, [peer], &body),
            Recipient::All => {
                network.notify(NotificationProtocol::Consensus, replica.recipients(message), &body)
            }
        }
    }

    /// Submits evidence to the ledger, once per member.
    fn submit_evidence(&mut self, accused: NodeId, evidence: Evidence) {
        let known = self.context.tip().state.conviction(&accused).is_some();
        if known || !self.accused_members.insert(accused) {
            return;
        }
        let context = self.context.clone();
        self.runtime.spawn(async move {
            let action = Action::Report { accused, evidence: Box::new(evidence) };
            match transaction_submitter::submit_and_wait(&context, action).await {
                Ok((_, height)) => tracing::warn!(accused = %accused.short(), height, "convicted"),
                Err(error) => {
                    tracing::info!(accused = %accused.short(), %error, "the report came to nothing")
                }
            }
        });
    }

    fn finalise(&self, finalised: Finalised) -> anyhow::Result<()> {
        let Finalised { block, certificate, outcome } = finalised;
        let (changes, receipts) = (&outcome.changes, &outcome.receipts);
        self.context.store.append(FinalBlock {
            block: &block,
            certificate: &certificate,
            changes,
            receipts,
        })?;
        let count = block.transactions.len();
        tracing::debug!(height = block.header.height, transactions = count, "final");
        for receipt in receipts.iter().filter(|r| r.result.is_err()) {
            tracing::info!(transaction = ?receipt.transaction, result = ?receipt.result, "transaction not applied");
        }
        self.context.metrics.blocks.inc();
        self.context.metrics.transactions.inc_by(count as u64);
        self.context.mempool.on_included(receipts.iter().map(|receipt| receipt.transaction));
        let tip = Tip::new(
            FinalHeader { header: block.header, certificate: Some(certificate) },
            outcome.state,
        );
        self.context.advance(tip, changes);
        if changes
            .iter()
            .any(|change| matches!(change.entry(), Entry::Committee(_) | Entry::MemberSet(_)))
        {
            self.context.network.set_consensus_peers(self.context.consensus_peers());
        }
        self.report_cpu_pressure();
        self.request_block();
        Ok(())
    }

    /// Updates the measurements that `pipeline = "auto"` uses.
    fn update_pacing_metrics(&self, replica: &Replica) {
        let ms = |mean: Option<u64>| mean.unwrap_or_default() as i64;
        let ((alone, beside), metrics) = (replica.mean_block_ms(), &self.context.metrics);
        metrics.sequential_block_ms.set(ms(alone));
        metrics.pipelined_block_ms.set(ms(beside));
    }

    fn adopt(&self, head: Head) -> anyhow::Result<()> {
        let Head { header, certificate, state, .. } = head;
        let header = FinalHeader { header, certificate };
        self.context.store.adopt(&header)?;
        self.context.adopt(Tip::new(header, state));
        self.context.network.set_consensus_peers(self.context.consensus_peers());
        self.request_block();
        Ok(())
    }

    /// Reports changes of the CPU pressure to the machine.
    fn report_cpu_pressure(&self) {
        if let Some(is_high) = self.pressure.poll_change() {
            self.context.metrics.contended.set(i64::from(is_high));
            self.inbox.send(Input::Contended(is_high));
        }
    }

    /// `WantBlock` holds for one height. It is repeated while an applicable transaction waits, or a
    /// result waits for the blocks that draw its auditors and finalise it.
    fn request_block(&self) {
        let tip = self.context.tip();
        let waiting = self.context.mempool.has_applicable(&tip.state, tip.height() + 1);
        if waiting || !tip.state.pending_jobs().is_empty() {
            self.inbox.send(Input::WantBlock { height: tip.height() + 1 });
        }
    }

    fn build(&self, wanted: &BuildBlock) -> Input {
        let BuildBlock { height, view, parent, state, len_max, transactions_max } = wanted;
        let (height, view, parent) = (*height, *view, *parent);
        mempool::verify_for_proposal(&self.context);
        let transactions = self.context.mempool.select(state, height, *len_max, *transactions_max);
        Input::Built { height, view, parent, transactions, queued_inputs: self.inbox.waiting() }
    }

    fn log_event(&self, event: &Event) {
        match event {
            Event::ViewChange { height, view, leader } => {
                self.context.metrics.view.set(*view as i64);
                tracing::info!(height, view, leader = %leader.short(), "view change");
            }
            Event::Accepted { height, view, .. } => {
                self.context.record_proposal(*height);
                self.context.metrics.view.set(*view as i64);
                tracing::trace!(height, view, "proposal accepted");
            }
            Event::PipelinedAccepted { height, .. } => {
                self.context.record_proposal(*height);
                self.context.metrics.pipelined_votes.inc();
                tracing::trace!(height, "proposal accepted ahead of the decision below");
            }
            Event::Orphaned { height, .. } => {
                tracing::info!(
                    height,
                    "another block was decided below: the vote ahead of it was in vain"
                );
            }
            Event::Epoch { epoch, seats, seat } => {
                tracing::info!(epoch, seats, ?seat, "another committee decides")
            }
            Event::CollectorBypassed { height, .. } => {
                self.context.metrics.collector_fallbacks.inc();
                tracing::debug!(height, "the collector has not answered in time: votes go to all");
            }
            Event::Prepared { height, view, .. } => tracing::trace!(height, view, "prepared"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::fixture::Fixture;
    use std::{fs, time::Duration};
    use tequio_core::{
        consensus::{Pipeline, VoteRouting},
        crypto::{NodeKey, bls::SecretKey},
        ledger::{Phase, SignedTransaction, Vote},
        machine::Machine,
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
    fn malformed_messages_keep_no_vote_waiting() {
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
        let mut said = |height, builds| dedup.should_send(height, || builds);
        assert_eq!(
            [said(1, false), said(1, false), said(1, true), said(1, false)],
            [true, false, true, false]
        );
        assert_eq!(
            [said(2, false), said(2, false), said(3, true), said(3, true)],
            [true, false, true, true]
        );
    }

    fn handler(fixture: &Fixture, pressure: CpuPressure) -> (ReplicaOutputs, Replica) {
        let (context, start) = (&fixture.context, &fixture.start);
        let (node_key, seat_keys) = (context.keys.node.clone(), context.keys.of_seat());
        let config = Config {
            node_key,
            seat_keys,
            vote_routing: VoteRouting::All,
            pipeline: Pipeline::Auto,
        };
        let replica =
            Replica::restore(config, Head::genesis(start), [], machine::now_ms()).unwrap();
        let handler = ReplicaOutputs {
            context: context.clone(),
            inbox: fixture.inbox.clone(),
            runtime: fixture.runtime.handle().clone(),
            accused_members: BTreeSet::new(),
            pressure,
        };
        (handler, replica)
    }

    /// Transactions that the machine gets when it requests a block.
    fn built(fixture: &Fixture) -> Vec<SignedTransaction> {
        let (mut handler, replica) = handler(fixture, CpuPressure::default());
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
        let mut fixture = Fixture::of(mempool::SMALL_COMMITTEE_MAX + 1);
        let mut notifications = fixture.notifications();
        let (member, stranger) =
            (fixture.members[1].node.clone(), NodeKey::from_bytes(&[0x77; 32]));
        let (of_member, of_stranger) = (fixture.signed(0), fixture.signed(1));
        for (key, transaction) in [(member, &of_member), (stranger, &of_stranger)] {
            let peer = fixture.peer(&key);
            fixture.notify(&peer, transaction);
            let notification =
                async { tokio::time::timeout(Duration::from_secs(60), notifications.next()).await };
            let notification = fixture.runtime.block_on(notification).expect("in time").unwrap();
            assert_eq!(notification.peer, key.id());
            mempool::receive(&fixture.context, notification);
        }
        assert!(fixture.context.mempool.is_empty());
        assert_eq!(built(&fixture), [of_member]);
        assert!(!fixture.context.mempool.contains(&of_stranger.id()), "it is left to its round");
    }

    #[test]
    fn cpu_pressure_is_reported_to_the_machine_after_a_block() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, total_us: u64| {
            let path = dir.path().join(name);
            fs::write(&path, format!("some avg10=0.00 total={total_us}\n")).unwrap();
            path
        };
        let said = |pressure: CpuPressure| {
            let fixture = Fixture::of(1);
            let (mut handler, mut replica) = handler(&fixture, pressure);
            let (inbox, receiver) = machine::inbox();
            handler.inbox = inbox;
            let later_ms = machine::now_ms() + 1_000;
            let mut next = Some(Input::WantBlock { height: 1 });
            while let Some(input) = next {
                replica.handle(later_ms, input).unwrap();
                next = None;
                while next.is_none()
                    && let Some(output) = replica.poll()
                {
                    next = handler.handle_output(&replica, output).unwrap();
                }
            }
            assert_eq!(replica.height(), 2);
            receiver.waiting()
        };
        assert!(said(CpuPressure::until_now(file("idle", 5))).is_empty());
        let pressure = CpuPressure::until_now(file("busy", 5));
        file("busy", 1_000_000_000_000);
        let said = said(pressure);
        assert!(matches!(said[..], [Input::Contended(true)]), "{said:?}");
    }
}
