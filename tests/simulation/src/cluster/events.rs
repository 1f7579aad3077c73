//! Events of a host and outputs of its machine: from the queue into the machine, and from the
//! machine through Byzantine faults, mutants and checkers into the queue.

use super::state::{Cluster, SimulationEvent};
use crate::{
    adversary::{ByzantineSender, receivers},
    disk::{Entry, Write, WriteFate},
    host::cost_us,
    mutants::{Mutant, unsubmitted_transaction},
    network::DropReason,
};
use tequio_core::{
    codec,
    consensus::{BuildBlock, Error, Event, Input, Output, Recipient, VoteRouting},
    crypto::meter,
    machine::Machine,
    types::{Height, NodeId, Unverified},
    wire::consensus::{Message, REQUEST_LEN_MAX},
};

/// Blocks in an answer to a peer that is behind.
const SYNC_BLOCKS: usize = 8;

impl Cluster {
    pub(super) fn handle_event(&mut self, happening: SimulationEvent) {
        let (now_us, is_life) =
            (self.now_us, |host: usize, life: u32| self.hosts[host].life == life);
        match happening {
            SimulationEvent::Deliver { host, from, bytes } => {
                self.checkers.record_event(&(now_us, 0u8, host as u64, &bytes));
                match codec::decode::<Message>(&bytes, REQUEST_LEN_MAX) {
                    Ok(message) => self.receive(host, from, message),
                    Err(error) => {
                        self.checkers.fail(format!("codec: a message does not decode: {error}"))
                    }
                }
            }
            SimulationEvent::Wake { host, life } if is_life(host, life) => {
                self.checkers.record_event(&(now_us, 1u8, host as u64));
                self.hosts[host].wake_at_us = None;
                if self.mutant != Some(Mutant::FrozenClock) || self.hosts[host].disk.height() < 3 {
                    self.enqueue_input(host, Input::Tick);
                }
            }
            SimulationEvent::CoreIdle { host, life } if is_life(host, life) => {
                self.process_input(host)
            }
            SimulationEvent::Written { host, life } if is_life(host, life) => {
                self.checkers.record_event(&(now_us, 2u8, host as u64));
                if let Some(write) = self.hosts[host].writing.take() {
                    self.complete_write(host, write);
                }
                self.enqueue_input(host, Input::Persisted);
            }
            SimulationEvent::WrittenLate { host, life, write } if is_life(host, life) => {
                self.hosts[host].disk.apply(write)
            }
            SimulationEvent::Built { host, life, wanted } if is_life(host, life) => {
                let mut transactions = self.hosts[host].select_transactions(&wanted.state);
                if let Some(mutant) = self.mutant {
                    transactions = mutant.build(&wanted, transactions, |height| {
                        unsubmitted_transaction(self.fixture, height)
                    });
                }
                let BuildBlock { height, view, parent, .. } = wanted;
                let waiting = self.pending_override.unwrap_or(self.hosts[host].inbox.len());
                self.enqueue_input(
                    host,
                    Input::Built { height, view, parent, transactions, queued_inputs: waiting },
                );
            }
            SimulationEvent::SyncRequested { host, by, life, from }
                if self.hosts[host].replica.is_some() =>
            {
                self.answer_sync(host, by, life, from);
            }
            SimulationEvent::Synced { host, life, from, blocks } if is_life(host, life) => {
                self.enqueue_input(host, Input::Synced { from, blocks });
            }
            SimulationEvent::PollPeers { host } => self.poll_peers(host),
            SimulationEvent::Submitted { host, transaction } => {
                let key = (transaction.transaction.sender, transaction.transaction.nonce);
                if self.hosts[host].replica.is_some()
                    && !self.checkers.included.contains(&transaction.id())
                {
                    self.hosts[host].mempool.insert(key, transaction);
                    let height = self.hosts[host].included_height + 1;
                    self.enqueue_input(host, Input::WantBlock { height });
                }
            }
            _ => {} // Meant for an earlier life.
        }
    }

    fn receive(&mut self, host: usize, from: NodeId, message: Message) {
        let seat = self.hosts[host].seat;
        if let Some(mutant) = self.mutant.filter(|_| self.is_correct(host))
            && let Some(answer) = mutant.extra_message(self.fixture, seat, &message)
        {
            self.send_checked(host, Recipient::All, answer);
        }
        let message = match self.mutant {
            Some(mutant) if self.is_correct(host) => mutant.on_receive(self.fixture, message),
            _ => message,
        };
        if let Message::Proposal(proposal) = &message {
            let checked = self.hosts[host].verified_signatures(&proposal.block.transactions);
            if !checked.is_empty() {
                self.enqueue_input(host, Input::SignaturesVerified(checked));
            }
        }
        self.enqueue_input(host, Input::Received { from, message: Unverified::new(message) });
    }

    /// Queues an input while the host's core is busy.
    pub(super) fn enqueue_input(&mut self, host: usize, input: Input) {
        let node = &mut self.hosts[host];
        if node.replica.is_none() {
            return;
        }
        node.inbox.push_back(input);
        if node.inbox.len() == 1 {
            let (life, at_us) = (node.life, node.busy_until_us);
            match at_us <= self.now_us {
                true => self.process_input(host),
                false => self.schedule(at_us, SimulationEvent::CoreIdle { host, life }),
            }
        }
    }

    fn process_input(&mut self, host: usize) {
        let node = &mut self.hosts[host];
        let (now_ms, life) = (node.clock_ms(self.now_us), node.life);
        // The input stays at the front until its outputs are executed: inputs that follow from them
        // wait behind it.
        let Some(input) = node.inbox.front().cloned() else { return };
        let Some(replica) = &mut node.replica else { return };
        meter::take();
        let handled = replica.handle(now_ms, input);
        let cost_us = cost_us(&meter::take()) * self.slowness;
        node.busy_until_us = self.now_us + cost_us;
        self.cpu_us += cost_us;
        match handled {
            Ok(()) | Err(Error::NotRequested | Error::Overloaded) => {}
            Err(error) if self.is_correct(host) => {
                self.checkers.fail(format!("host {host}: {error}"))
            }
            Err(_) => self.hosts[host].is_dead = true,
        }
        self.drain_outputs(host);
        let node = &mut self.hosts[host];
        if node.life == life {
            node.inbox.pop_front();
            let at_us = node.busy_until_us;
            if !node.inbox.is_empty() {
                self.schedule(at_us, SimulationEvent::CoreIdle { host, life });
            }
        }
    }

    pub(super) fn drain_outputs(&mut self, host: usize) {
        while let Some(output) = self.hosts[host].replica.as_mut().and_then(Machine::poll) {
            self.handle_output(host, output);
        }
        let (now_us, node) = (self.now_us, &mut self.hosts[host]);
        let Some(deadline_ms) = node.replica.as_ref().and_then(Machine::deadline) else { return };
        let wake_us = node.true_us(deadline_ms).max(now_us + 1000);
        if node.wake_at_us.is_none_or(|at| wake_us < at) {
            node.wake_at_us = Some(wake_us);
            let life = node.life;
            self.schedule(wake_us, SimulationEvent::Wake { host, life });
        }
    }

    fn handle_output(&mut self, host: usize, output: Output) {
        let (life, done_us) = (self.hosts[host].life, self.hosts[host].busy_until_us);
        match output {
            Output::Send { to, message } => self.send_checked(host, to, message),
            Output::Persist(record) => {
                if self.mutant.is_some_and(|mutant| mutant.drops(&record)) {
                    return self.enqueue_input(host, Input::Persisted);
                }
                self.begin_write(
                    host,
                    Write { entry: Entry::Record(codec::encode(&*record)), finalised: None },
                );
            }
            Output::Finalised(mut finalised) => {
                if let Some(mutant) = self.mutant {
                    finalised.certificate = mutant.certificate(self.fixture, &finalised);
                }
                let height = finalised.block.header.height;
                if self.is_correct(host) {
                    for signed in finalised.block.transactions.iter() {
                        let Some(called_us) = self.submitted_us.get(&signed.id()) else { continue };
                        self.served_us.entry(*called_us).or_insert(done_us);
                        self.submit_ms.push((done_us.saturating_sub(*called_us) / 1000) as u32);
                    }
                    self.checkers.finalised(host, &finalised, self.now_us);
                    if let Some(proposed_us) = self.proposed_us.get(&height) {
                        self.latencies_ms
                            .push((done_us.saturating_sub(*proposed_us) / 1000) as u32);
                    }
                }
                self.hosts[host].remove_included(&finalised.block);
                let entry = Entry::Block(finalised.block.clone(), finalised.certificate.clone());
                self.begin_write(host, Write { entry, finalised: Some(finalised) });
                if !self.hosts[host].mempool.is_empty() {
                    self.enqueue_input(host, Input::WantBlock { height: height + 1 });
                }
            }
            Output::InstallSnapshot(_) => {
                self.checkers.fail("snapshot: there are none in this network".into())
            }
            Output::BuildBlock(wanted) => {
                let at_us = done_us + self.rng.range(200, 4_000);
                self.schedule(at_us, SimulationEvent::Built { host, life, wanted });
            }
            Output::SyncNeeded { from, peer } => {
                let Some(seat) = self.fixture.member(&peer) else { return };
                if let Some(travel_us) = self.message_delay_us(host, seat) {
                    self.schedule(
                        done_us + travel_us,
                        SimulationEvent::SyncRequested { host: seat, by: host, life, from },
                    );
                }
            }
            Output::Misbehaviour { peer, offence } => {
                if self.is_correct(host) {
                    self.checkers.offence(host, peer, &offence);
                    if let Some(evidence) = offence.evidence().filter(|_| self.churn) {
                        self.report(peer, evidence);
                    }
                }
            }
            Output::Event(Event::ViewChange { .. }) => self.view_changes += 1,
            Output::Event(Event::CollectorBypassed { .. }) => self.fallbacks += 1,
            Output::Event(Event::PipelinedAccepted { .. }) => self.pipelined_votes += 1,
            Output::Event(Event::Prepared { height, view, digest }) if self.is_correct(host) => {
                self.checkers.block_locked(self.hosts[host].seat, height, view, digest);
            }
            Output::Event(Event::Orphaned { .. }) => self.orphaned_votes += 1,
            Output::Event(_) => {}
        }
    }

    fn answer_sync(&mut self, host: usize, by: usize, life: u32, from: Height) {
        let blocks = self.hosts[host].disk.blocks_from(from).iter().take(SYNC_BLOCKS);
        let mut blocks: Vec<_> = blocks.cloned().collect();
        if let Some(mutant) = self.mutant {
            blocks = mutant.on_sync_response(blocks);
        }
        if let Some(travel_us) = self.message_delay_us(host, by).filter(|_| !blocks.is_empty()) {
            let from = self.hosts[host].config.node_key.id();
            self.schedule(
                self.now_us + travel_us,
                SimulationEvent::Synced { host: by, life, from, blocks },
            );
        }
    }

    fn begin_write(&mut self, host: usize, write: Write) {
        self.writes[host] += 1;
        let (begun, node) = (self.writes[host], &self.hosts[host]);
        let (life, (low_us, high_us)) = (node.life, node.disk.sync_us);
        let at_us = node.busy_until_us + self.rng.range(low_us, high_us);
        let early = match write.entry {
            Entry::Record(_) => self.mutant == Some(Mutant::SendBeforeWrite),
            Entry::Block(..) => self.mutant == Some(Mutant::BlocksNotWritten),
        };
        if early {
            if let Some(height) = write.finalised.as_ref().map(|f| f.block.header.height) {
                self.checkers.stored(host, height);
            }
            self.schedule(at_us + 200_000, SimulationEvent::WrittenLate { host, life, write });
            return self.enqueue_input(host, Input::Persisted);
        }
        if self.hosts[host].writing.replace(write).is_some() {
            return self
                .checkers
                .fail(format!("barrier: host {host} writes before the last write is done"));
        }
        if self.hosts[host].disk.is_full {
            self.count_fault("full_disk");
            return self.crash_with(host, WriteFate::Lost);
        }
        if let Some((_, _, fate)) =
            self.crash_at_write.filter(|(who, nth, _)| (*who, *nth) == (host, begun))
        {
            return self.crash_with(host, fate);
        }
        self.schedule(at_us, SimulationEvent::Written { host, life });
    }

    fn complete_write(&mut self, host: usize, write: Write) {
        let height = write.finalised.as_ref().map(|finalised| finalised.block.header.height);
        self.hosts[host].disk.apply(write);
        if let Some(height) = height.filter(|_| self.is_correct(host)) {
            self.checkers.stored(host, height);
        }
    }

    /// Sends a message of a host: first Byzantine faults and mutants change it, then the checkers
    /// examine it, then the network delivers it.
    fn send_checked(&mut self, host: usize, to: Recipient, message: Message) {
        let (fixture, seat) = (self.fixture, self.hosts[host].seat);
        let Some(replica) = &self.hosts[host].replica else { return };
        let height = replica.height();
        let mut receivers = receivers(fixture, &replica.recipients(&message), seat, to);
        if let (Some(Mutant::NoCollectorFallback), Message::Vote(_)) = (self.mutant, &message)
            && self.hosts[host].config.vote_routing == VoteRouting::Leader
        {
            let seats = replica.head().committee.seats();
            let collector = seats.get(replica.collector(message.height()));
            receivers = collector.and_then(|seat| fixture.member(&seat.node)).into_iter().collect();
        }
        let outgoing: Vec<(usize, Message)> = match (self.byzantine.get(&seat), self.mutant) {
            (Some(fault), _) => {
                self.faults.entry(fault.name()).and_modify(|n| *n += 1).or_insert(1);
                let now_ms = self.hosts[host].clock_ms(self.now_us);
                let mut sender = ByzantineSender {
                    seat,
                    fault: *fault,
                    fixture,
                    receivers,
                    now_ms,
                    rng: &mut self.rng,
                };
                self.coalition.rewrite(&mut sender, message)
            }
            (None, mutant) => {
                let messages = mutant.map_or_else(
                    || vec![message.clone()],
                    |mutant| mutant.on_send(fixture, seat, height, message.clone()),
                );
                let host = &mut self.hosts[host];
                let is_sent = |message: &Message| {
                    mutant != Some(Mutant::NeverRetransmit)
                        || host.sent.insert(codec::encode(message))
                };
                let messages: Vec<_> = messages.into_iter().filter(is_sent).collect();
                messages
                    .into_iter()
                    .flat_map(|message| receivers.iter().map(move |to| (*to, message.clone())))
                    .collect()
            }
        };
        let is_correct = self.is_correct(host);
        let mut last = None;
        for (seat, message) in outgoing {
            if last.as_ref() != Some(&message) {
                self.checkers.message_sent(self.hosts[host].seat, is_correct, &message);
                if !self.byzantine.is_empty() {
                    self.coalition.observe(&message);
                }
                if let (true, Message::Proposal(proposal)) = (is_correct, &message) {
                    let height = proposal.block.header.height;
                    self.proposed_us.entry(height).or_insert(self.now_us);
                }
            }
            self.send(host, seat, &message);
            last = Some(message);
        }
    }

    fn send(&mut self, host: usize, seat: usize, message: &Message) {
        let (from, done_us) = (
            self.hosts[host].config.node_key.id(),
            self.hosts[host].busy_until_us.max(self.now_us),
        );
        let withheld = self.network.drop_filter;
        let bytes = codec::encode(message);
        for to in (0..self.hosts.len()).filter(|to| *to != host) {
            if self.hosts[to].seat != seat || withheld(host, to, message) {
                continue;
            }
            let again = self.rng.chance(self.network.duplicate_per_mille);
            if again {
                self.count_fault("duplicated");
            }
            for _ in 0..1 + u64::from(again) {
                self.bytes += bytes.len() as u64;
                if let Some(travel_us) = self.message_delay_us(host, to) {
                    self.schedule(
                        done_us + travel_us,
                        SimulationEvent::Deliver { host: to, from, bytes: bytes.clone() },
                    );
                }
            }
        }
    }

    pub(super) fn message_delay_us(&mut self, from: usize, to: usize) -> Option<u64> {
        match self.network.delay_us(from, to, &mut self.rng) {
            Ok(us) => {
                if us >= 100_000 + self.network.regions.one_way_us(from, to) {
                    self.count_fault("delayed");
                }
                Some(us)
            }
            Err(lost) => {
                self.count_fault(match lost {
                    DropReason::Partitioned => "parted",
                    DropReason::DeadLink => "cut_one_way",
                    DropReason::RandomLoss => "lost",
                });
                None
            }
        }
    }
}
