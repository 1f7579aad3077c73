//! Drives the consensus replica: its votes go to disk before the wire, its blocks to the store in
//! one write.
//!
//! The replica runs on a thread of its own; sending and fetching is spawned from there, and what
//! comes back is an input again. A failing disk, or a block that executes differently here, ends
//! the node.

use super::{
    context::{Context, Tip},
    machine::{self, Inbox, Mail, Performer},
    mempool,
    pressure::Pressure,
    sync, transactor,
};
use crate::{config::Config as Options, store::FinalBlock};
use anyhow::Context as _;
use std::{collections::BTreeSet, sync::Arc, thread::JoinHandle};
use tequio_core::{
    codec,
    consensus::{
        BuildBlock, Config, Error, Event, Finalised, Head, Input, Output, Replica, To, WalRecord,
    },
    ledger::{Action, Checked, Entry, Evidence},
    types::{Height, NodeId, Unverified},
    wire::{
        consensus::{Message, Proposal, REQUEST_LEN_MAX},
        light::FinalHeader,
    },
};
use tequio_p2p::{Channel, Tells, Told};
use tokio::runtime::Handle;

/// Messages that are handed to the replica at once, so that neither it nor the worker waits long
/// for the other.
const TOGETHER_MAX: usize = 128;

/// Restores the replica from the store and starts its thread.
pub fn start(
    context: &Arc<Context>,
    options: &Options,
    inbox: &Inbox<Input>,
    mail: Mail<Input>,
    ended: impl FnOnce(anyhow::Result<()>) + Send + 'static,
) -> anyhow::Result<JoinHandle<()>> {
    let tip = context.tip();
    let FinalHeader { header, certificate } = tip.header.clone();
    let head = Head::new(header, certificate, tip.state.clone())
        .context("the store's state is not usable")?;
    let (votes_to, pipeline) = (options.votes_to.into(), options.pipeline.into());
    let config = Config {
        node_key: context.keys.node.clone(),
        seat_keys: context.keys.of_seat(),
        votes_to,
        pipeline,
    };
    let records = context.store.log_records()?;
    let decode = |bytes: Vec<u8>| codec::decode::<WalRecord>(&bytes, WalRecord::LEN_MAX);
    let log = records
        .into_iter()
        .map(decode)
        .collect::<Result<Vec<_>, _>>()
        .context("the consensus log is damaged")?;
    let replica = Replica::restore(config, head, log, machine::now_ms())
        .context("cannot resume consensus")?;
    let performer = Replicating {
        context: context.clone(),
        inbox: inbox.clone(),
        runtime: Handle::current(),
        reported: BTreeSet::new(),
        pressure: Pressure::default(),
    };
    // Members speak to members; nobody else has anything to say here.
    context.network.hear(context.speakers());
    tokio::spawn(want_blocks(context.clone(), inbox.clone()));
    Ok(machine::spawn("consensus".into(), replica, mail, performer, ended)?)
}

/// Hands the members' messages to the replica, in each member's order, until the network ends.
pub async fn listen(context: Arc<Context>, inbox: Inbox<Input>, mut tells: Tells) {
    let checked = |proposal: &Proposal| context.mempool.checked(&proposal.block.transactions);
    while let Some(first) = tells.next().await {
        // Votes come in bursts. Connections that are ready now are looked at first, so that one
        // waking serves them all.
        tokio::task::yield_now().await;
        let told = std::iter::once(first).chain(std::iter::from_fn(|| tells.try_next()));
        let inputs = together(told.map(|Told { peer, body, share }| (peer, body, share)), checked);
        if !inputs.is_empty() {
            inbox.send_told(inputs);
        }
    }
}

/// What is handed over at once, of messages with their shares of memory: no more are taken than
/// that.
fn together<S>(
    told: impl Iterator<Item = (NodeId, Vec<u8>, S)>,
    checked: impl Fn(&Proposal) -> Vec<Checked>,
) -> Vec<(Input, Option<S>)> {
    let mut inputs = Vec::new();
    // Malformed ones count as well, so that many of them keep no vote waiting.
    for (from, body, share) in told.take(TOGETHER_MAX) {
        match codec::decode::<Message>(&body, REQUEST_LEN_MAX) {
            Ok(message) => {
                if let Message::Proposal(proposal) = &message {
                    let checked = checked(proposal);
                    if !checked.is_empty() {
                        inputs.push((Input::Checked(checked), None));
                    }
                }
                inputs.push((
                    Input::Received { from, message: Unverified::new(message) },
                    Some(share),
                ));
            }
            Err(error) => {
                tracing::debug!(peer = %from.short(), %error, "malformed consensus message")
            }
        }
    }
    inputs
}

/// Tells the replica of waiting transactions.
async fn want_blocks(context: Arc<Context>, inbox: Inbox<Input>) {
    let mut wish = Wish::default();
    loop {
        context.mempool.arrival().await;
        let height = context.tip().height() + 1;
        let builds = || context.next_builders(1).iter().any(|(_, leader)| *leader == context.id);
        if wish.is_new(height, builds) {
            inbox.send(Input::WantBlock { height });
        }
    }
}

/// The height for which a block was last wished for.
#[derive(Debug, Default)]
struct Wish(Height);

impl Wish {
    /// A wish holds for its height, so it is said once: each time that the replica's thread is
    /// woken costs more than what it is told. Only who builds the next block may have found
    /// nothing before, and is told of all that comes.
    fn is_new(&mut self, height: Height, builds: impl FnOnce() -> bool) -> bool {
        std::mem::replace(&mut self.0, height) != height || builds()
    }
}

struct Replicating {
    context: Arc<Context>,
    inbox: Inbox<Input>,
    runtime: Handle,
    /// Members that this node has accused since it started.
    reported: BTreeSet<NodeId>,
    pressure: Pressure,
}

impl Performer<Replica> for Replicating {
    fn tick() -> Input {
        Input::Tick
    }

    fn perform(&mut self, replica: &Replica, output: Output) -> anyhow::Result<Option<Input>> {
        match output {
            Output::Send { to, message } => self.send(replica, to, &message),
            Output::Persist(record) => {
                self.context.store.log_append(record.height(), &codec::encode(&*record))?;
                return Ok(Some(Input::Persisted));
            }
            Output::Finalised(finalised) => {
                self.finalise(*finalised)?;
                self.show_pace(replica);
                return Ok(Some(Input::Persisted));
            }
            Output::Adopted(head) => {
                self.adopt(*head)?;
                return Ok(Some(Input::Persisted));
            }
            Output::Request(wanted) => return Ok(Some(self.build(&wanted))),
            Output::SyncNeeded { from, peer } => {
                let (context, inbox) = (self.context.clone(), self.inbox.clone());
                self.runtime.spawn(async move { sync::fetch(&context, &inbox, peer, from).await });
            }
            Output::Misbehaviour { peer, offence } => {
                self.context.metrics.misbehaviour.inc();
                let evidence = offence.evidence();
                tracing::warn!(peer = %peer.short(), evidence = evidence.is_some(), %offence, "misbehaviour");
                if let Some(evidence) = evidence {
                    self.report(peer, evidence);
                }
            }
            Output::Event(event) => self.tell(&event),
        }
        Ok(None)
    }

    fn refused(&mut self, error: Error) -> anyhow::Result<()> {
        match error {
            Error::Diverged { .. } => Err(error.into()),
            // Ours, but without harm: the view was over, or the disk is behind and the message
            // comes again.
            Error::NotRequested | Error::Overloaded => Ok(()),
            Error::NothingToPersist => {
                tracing::error!(%error, "the consensus driver is out of step");
                Ok(())
            }
        }
    }
}

impl Replicating {
    fn send(&self, replica: &Replica, to: To, message: &Message) {
        let body: Arc<[u8]> = codec::encode(message).into();
        let network = &self.context.network;
        match to {
            To::One(peer) => network.tell(Channel::Consensus, [peer], &body),
            To::All => network.tell(Channel::Consensus, replica.audience(message), &body),
        }
    }

    /// Takes evidence to the ledger, once for each member.
    fn report(&mut self, accused: NodeId, evidence: Evidence) {
        let known = self.context.tip().state.conviction(&accused).is_some();
        if known || !self.reported.insert(accused) {
            return;
        }
        let context = self.context.clone();
        self.runtime.spawn(async move {
            let action = Action::Report { accused, evidence: Box::new(evidence) };
            match transactor::perform(&context, action).await {
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
        self.context.mempool.settled(receipts.iter().map(|receipt| receipt.transaction));
        let tip = Tip::new(
            FinalHeader { header: block.header, certificate: Some(certificate) },
            outcome.state,
        );
        self.context.advance(tip, changes);
        if changes
            .iter()
            .any(|change| matches!(change.entry(), Entry::Committee(_) | Entry::Roster(_)))
        {
            self.context.network.hear(self.context.speakers());
        }
        self.say_pressure();
        self.want_block();
        Ok(())
    }

    /// What `pipeline = "auto"` goes by.
    fn show_pace(&self, replica: &Replica) {
        let ms = |mean: Option<u64>| mean.unwrap_or_default() as i64;
        let ((alone, beside), metrics) = (replica.pace_ms(), &self.context.metrics);
        metrics.block_alone_ms.set(ms(alone));
        metrics.block_beside_ms.set(ms(beside));
    }

    fn adopt(&self, head: Head) -> anyhow::Result<()> {
        let Head { header, certificate, state, .. } = head;
        let header = FinalHeader { header, certificate };
        self.context.store.adopt(&header)?;
        self.context.adopt(Tip::new(header, state));
        self.context.network.hear(self.context.speakers());
        self.want_block();
        Ok(())
    }

    /// What the machine does not know yet of the processors.
    fn say_pressure(&self) {
        if let Some(is_high) = self.pressure.news() {
            self.context.metrics.contended.set(i64::from(is_high));
            self.inbox.send(Input::Contended(is_high));
        }
    }

    /// A wish holds for one height: it is repeated while something waits that could be applied, or
    /// a result for the blocks that draw its auditors and settle it.
    fn want_block(&self) {
        let tip = self.context.tip();
        let waiting = self.context.mempool.is_wanted(&tip.state, tip.height() + 1);
        if waiting || !tip.state.pending_jobs().is_empty() {
            self.inbox.send(Input::WantBlock { height: tip.height() + 1 });
        }
    }

    fn build(&self, wanted: &BuildBlock) -> Input {
        let BuildBlock { height, view, parent, state, len_max, transactions_max } = wanted;
        let (height, view, parent) = (*height, *view, *parent);
        mempool::check_for_block(&self.context);
        let transactions = self.context.mempool.select(state, height, *len_max, *transactions_max);
        Input::Built { height, view, parent, transactions, waiting: self.inbox.waiting() }
    }

    fn tell(&self, event: &Event) {
        match event {
            Event::ViewChange { height, view, leader } => {
                self.context.metrics.view.set(*view as i64);
                tracing::info!(height, view, leader = %leader.short(), "view change");
            }
            Event::Accepted { height, view, .. } => {
                self.context.note_proposal(*height);
                self.context.metrics.view.set(*view as i64);
                tracing::trace!(height, view, "proposal accepted");
            }
            Event::Ahead { height, .. } => {
                self.context.note_proposal(*height);
                self.context.metrics.ahead.inc();
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
            Event::FellBack { height, .. } => {
                self.context.metrics.fallbacks.inc();
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
        consensus::{Pipeline, VotesTo},
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

    /// The heights of the votes that are handed over from a stream, with their numbers in it, and
    /// how many messages were taken.
    fn taken(bodies: impl Iterator<Item = Vec<u8>>) -> (Vec<(u64, usize)>, usize) {
        let mut count = 0;
        let told = bodies
            .enumerate()
            .inspect(|_| count += 1)
            .map(|(number, body)| (NodeId([1; 32]), body, number));
        let inputs = together(told, |_| Vec::new());
        let height = |input: &Input| match input {
            Input::Received { message, .. } => message.claim().height(),
            other => panic!("{other:?}"),
        };
        (inputs.iter().map(|(input, share)| (height(input), share.unwrap())).collect(), count)
    }

    #[test]
    fn malformed_messages_keep_no_vote_waiting() {
        let rubbish = || std::iter::repeat_n(vec![0xff; 3], 10 * TOGETHER_MAX);
        assert_eq!(taken(std::iter::once(vote(7)).chain(rubbish())), (vec![(7, 0)], TOGETHER_MAX));
        assert_eq!(taken(rubbish()), (vec![], TOGETHER_MAX));
        // They take nobody's place but their own.
        let between = (1..=3).flat_map(|height| [vec![0xff; 3], vote(height)]);
        assert_eq!(taken(between), (vec![(1, 1), (2, 3), (3, 5)], 6));
        let votes = (1..=2 * TOGETHER_MAX as u64).map(vote);
        assert_eq!(taken(votes).1, TOGETHER_MAX);
    }

    #[test]
    fn a_block_is_wished_for_once_a_height_and_again_by_who_builds_it() {
        let mut wish = Wish::default();
        let mut said = |height, builds| wish.is_new(height, || builds);
        assert_eq!(
            [said(1, false), said(1, false), said(1, true), said(1, false)],
            [true, false, true, false]
        );
        assert_eq!(
            [said(2, false), said(2, false), said(3, true), said(3, true)],
            [true, false, true, true]
        );
    }

    fn performer(fixture: &Fixture, pressure: Pressure) -> (Replicating, Replica) {
        let (context, start) = (&fixture.context, &fixture.start);
        let (node_key, seat_keys) = (context.keys.node.clone(), context.keys.of_seat());
        let config =
            Config { node_key, seat_keys, votes_to: VotesTo::All, pipeline: Pipeline::Auto };
        let replica =
            Replica::restore(config, Head::genesis(start), [], machine::now_ms()).unwrap();
        let performer = Replicating {
            context: context.clone(),
            inbox: fixture.inbox.clone(),
            runtime: fixture.runtime.handle().clone(),
            reported: BTreeSet::new(),
            pressure,
        };
        (performer, replica)
    }

    /// What the machine is given where it asks for a block.
    fn built(fixture: &Fixture) -> Vec<SignedTransaction> {
        let (mut performer, replica) = performer(fixture, Pressure::default());
        let (parent, state) = (*replica.head().digest(), fixture.start.state.clone());
        let wanted = BuildBlock {
            height: 1,
            view: 0,
            parent,
            state,
            len_max: 1 << 20,
            transactions_max: 100,
        };
        match performer.perform(&replica, Output::Request(wanted)).unwrap() {
            Some(Input::Built { height: 1, view: 0, parent: upon, transactions, .. })
                if upon == parent =>
            {
                transactions.into_iter().map(|t| t.into_inner()).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_members_have_told_and_nobody_has_checked_yet_is_in_a_block() {
        let mut fixture = Fixture::of(mempool::SMALL + 1);
        let mut tells = fixture.tells();
        let (member, stranger) =
            (fixture.members[1].node.clone(), NodeKey::from_bytes(&[0x77; 32]));
        let (of_member, of_stranger) = (fixture.signed(0), fixture.signed(1));
        for (key, transaction) in [(member, &of_member), (stranger, &of_stranger)] {
            let peer = fixture.peer(&key);
            fixture.told(&peer, transaction);
            let told = async { tokio::time::timeout(Duration::from_secs(60), tells.next()).await };
            let told = fixture.runtime.block_on(told).expect("in time").unwrap();
            assert_eq!(told.peer, key.id());
            mempool::hear(&fixture.context, told);
        }
        assert!(fixture.context.mempool.is_empty());
        assert_eq!(built(&fixture), [of_member]);
        assert!(!fixture.context.mempool.contains(&of_stranger.id()), "it is left to its round");
    }

    #[test]
    fn the_machine_hears_of_pressure_on_the_host_after_a_block() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, total_us: u64| {
            let path = dir.path().join(name);
            fs::write(&path, format!("some avg10=0.00 total={total_us}\n")).unwrap();
            path
        };
        let said = |pressure: Pressure| {
            let fixture = Fixture::of(1);
            let (mut performer, mut replica) = performer(&fixture, pressure);
            let (inbox, mail) = machine::inbox();
            performer.inbox = inbox;
            let later_ms = machine::now_ms() + 1_000;
            let mut next = Some(Input::WantBlock { height: 1 });
            while let Some(input) = next {
                replica.handle(later_ms, input).unwrap();
                next = None;
                while next.is_none()
                    && let Some(output) = replica.poll()
                {
                    next = performer.perform(&replica, output).unwrap();
                }
            }
            assert_eq!(replica.height(), 2);
            mail.waiting()
        };
        assert!(said(Pressure::until_now(file("idle", 5))).is_empty());
        let pressure = Pressure::until_now(file("busy", 5));
        file("busy", 1_000_000_000_000);
        let said = said(pressure);
        assert!(matches!(said[..], [Input::Contended(true)]), "{said:?}");
    }
}
