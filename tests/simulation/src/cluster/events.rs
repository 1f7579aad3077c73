//! What happens to a host, and what its machine wants done: from the queue into the machine, and
//! from the machine through liars, bugs and checkers into the queue.

use super::{Cluster, Happening, SYNC_BLOCKS};
use crate::{
    adversary::{Liar, receivers},
    bugs::{Bug, invented},
    disk::{Entry, Fate, Write},
    host::cost_us,
    network::Lost,
};
use tequio_core::{
    codec,
    consensus::{BuildBlock, Error, Event, Input, Output, To, VotesTo},
    crypto::meter,
    machine::Machine,
    types::{Height, NodeId, Unverified},
    wire::consensus::{Message, REQUEST_LEN_MAX},
};

impl Cluster {
    pub(super) fn happen(&mut self, happening: Happening) {
        let (now_us, is_life) =
            (self.now_us, |host: usize, life: u32| self.hosts[host].life == life);
        match happening {
            Happening::Deliver { host, from, bytes } => {
                self.checkers.note(&(now_us, 0u8, host as u64, &bytes));
                match codec::decode::<Message>(&bytes, REQUEST_LEN_MAX) {
                    Ok(message) => self.hear(host, from, message),
                    Err(error) => {
                        self.checkers.fail(format!("codec: a message does not decode: {error}"))
                    }
                }
            }
            Happening::Wake { host, life } if is_life(host, life) => {
                self.checkers.note(&(now_us, 1u8, host as u64));
                self.hosts[host].wake_at_us = None;
                if self.bug != Some(Bug::ClockStands) || self.hosts[host].disk.height() < 3 {
                    self.feed(host, Input::Tick);
                }
            }
            Happening::Ready { host, life } if is_life(host, life) => self.work(host),
            Happening::Written { host, life } if is_life(host, life) => {
                self.checkers.note(&(now_us, 2u8, host as u64));
                if let Some(write) = self.hosts[host].writing.take() {
                    self.apply(host, write);
                }
                self.feed(host, Input::Persisted);
            }
            Happening::WrittenLate { host, life, write } if is_life(host, life) => {
                self.hosts[host].disk.apply(write)
            }
            Happening::Built { host, life, wanted } if is_life(host, life) => {
                let mut transactions = self.hosts[host].choice(&wanted.state);
                if let Some(bug) = self.bug {
                    transactions =
                        bug.build(&wanted, transactions, |height| invented(self.world, height));
                }
                let BuildBlock { height, view, parent, .. } = wanted;
                let waiting = self.waiting.unwrap_or(self.hosts[host].inbox.len());
                self.feed(host, Input::Built { height, view, parent, transactions, waiting });
            }
            Happening::Asked { host, by, life, from } if self.hosts[host].replica.is_some() => {
                self.answer(host, by, life, from);
            }
            Happening::Synced { host, life, from, blocks } if is_life(host, life) => {
                self.feed(host, Input::Synced { from, blocks });
            }
            Happening::Look { host } => self.look(host),
            Happening::Submitted { host, transaction } => {
                let key = (transaction.transaction.sender, transaction.transaction.nonce);
                if self.hosts[host].replica.is_some()
                    && !self.checkers.included.contains(&transaction.id())
                {
                    self.hosts[host].mempool.insert(key, transaction);
                    let height = self.hosts[host].emptied + 1;
                    self.feed(host, Input::WantBlock { height });
                }
            }
            _ => {} // Meant for an earlier life.
        }
    }

    fn hear(&mut self, host: usize, from: NodeId, message: Message) {
        let seat = self.hosts[host].seat;
        if let Some(bug) = self.bug.filter(|_| self.is_correct(host))
            && let Some(answer) = bug.answer(self.world, seat, &message)
        {
            self.utter(host, To::All, answer);
        }
        let message = match self.bug {
            Some(bug) if self.is_correct(host) => bug.hear(self.world, message),
            _ => message,
        };
        if let Message::Proposal(proposal) = &message {
            let checked = self.hosts[host].checked(&proposal.block.transactions);
            if !checked.is_empty() {
                self.feed(host, Input::Checked(checked));
            }
        }
        self.feed(host, Input::Received { from, message: Unverified::new(message) });
    }

    /// An input waits while its host's core is busy.
    pub(super) fn feed(&mut self, host: usize, input: Input) {
        let node = &mut self.hosts[host];
        if node.replica.is_none() {
            return;
        }
        node.inbox.push_back(input);
        if node.inbox.len() == 1 {
            let (life, at_us) = (node.life, node.busy_until_us);
            match at_us <= self.now_us {
                true => self.work(host),
                false => self.at(at_us, Happening::Ready { host, life }),
            }
        }
    }

    fn work(&mut self, host: usize) {
        let node = &mut self.hosts[host];
        let (now_ms, life) = (node.clock_ms(self.now_us), node.life);
        // The input stays at the front until its outputs are performed: what they feed back waits
        // behind it.
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
        self.drain(host);
        let node = &mut self.hosts[host];
        if node.life == life {
            node.inbox.pop_front();
            let at_us = node.busy_until_us;
            if !node.inbox.is_empty() {
                self.at(at_us, Happening::Ready { host, life });
            }
        }
    }

    pub(super) fn drain(&mut self, host: usize) {
        while let Some(output) = self.hosts[host].replica.as_mut().and_then(Machine::poll) {
            self.perform(host, output);
        }
        let (now_us, node) = (self.now_us, &mut self.hosts[host]);
        let Some(deadline_ms) = node.replica.as_ref().and_then(Machine::deadline) else { return };
        let wake_us = node.world_us(deadline_ms).max(now_us + 1000);
        if node.wake_at_us.is_none_or(|at| wake_us < at) {
            node.wake_at_us = Some(wake_us);
            let life = node.life;
            self.at(wake_us, Happening::Wake { host, life });
        }
    }

    fn perform(&mut self, host: usize, output: Output) {
        let (life, done_us) = (self.hosts[host].life, self.hosts[host].busy_until_us);
        match output {
            Output::Send { to, message } => self.utter(host, to, message),
            Output::Persist(record) => {
                if self.bug.is_some_and(|bug| bug.drops(&record)) {
                    return self.feed(host, Input::Persisted);
                }
                self.write(
                    host,
                    Write { entry: Entry::Record(codec::encode(&*record)), finalised: None },
                );
            }
            Output::Finalised(mut finalised) => {
                if let Some(bug) = self.bug {
                    finalised.certificate = bug.certificate(self.world, &finalised);
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
                self.hosts[host].forget_included(&finalised.block);
                let entry = Entry::Block(finalised.block.clone(), finalised.certificate.clone());
                self.write(host, Write { entry, finalised: Some(finalised) });
                if !self.hosts[host].mempool.is_empty() {
                    self.feed(host, Input::WantBlock { height: height + 1 });
                }
            }
            Output::Adopted(_) => self.checkers.fail("snapshot: nobody gives any here".into()),
            Output::Request(wanted) => {
                let at_us = done_us + self.rng.range(200, 4_000);
                self.at(at_us, Happening::Built { host, life, wanted });
            }
            Output::SyncNeeded { from, peer } => {
                let Some(seat) = self.world.member(&peer) else { return };
                if let Some(travel_us) = self.travel(host, seat) {
                    self.at(
                        done_us + travel_us,
                        Happening::Asked { host: seat, by: host, life, from },
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
            Output::Event(Event::FellBack { .. }) => self.fallbacks += 1,
            Output::Event(Event::Ahead { .. }) => self.ahead += 1,
            Output::Event(Event::Prepared { height, view, digest }) if self.is_correct(host) => {
                self.checkers.locked(self.hosts[host].seat, height, view, digest);
            }
            Output::Event(Event::Orphaned { .. }) => self.orphaned += 1,
            Output::Event(_) => {}
        }
    }

    fn answer(&mut self, host: usize, by: usize, life: u32, from: Height) {
        let blocks = self.hosts[host].disk.from(from).iter().take(SYNC_BLOCKS);
        let mut blocks: Vec<_> = blocks.cloned().collect();
        if let Some(bug) = self.bug {
            blocks = bug.sync(blocks);
        }
        if let Some(travel_us) = self.travel(host, by).filter(|_| !blocks.is_empty()) {
            let from = self.hosts[host].config.node_key.id();
            self.at(self.now_us + travel_us, Happening::Synced { host: by, life, from, blocks });
        }
    }

    fn write(&mut self, host: usize, write: Write) {
        self.writes[host] += 1;
        let (begun, node) = (self.writes[host], &self.hosts[host]);
        let (life, (low_us, high_us)) = (node.life, node.disk.sync_us);
        let at_us = node.busy_until_us + self.rng.range(low_us, high_us);
        let early = match write.entry {
            Entry::Record(_) => self.bug == Some(Bug::WireBeforeDisk),
            Entry::Block(..) => self.bug == Some(Bug::BlocksNotWritten),
        };
        if early {
            if let Some(height) = write.finalised.as_ref().map(|f| f.block.header.height) {
                self.checkers.stored(host, height);
            }
            self.at(at_us + 200_000, Happening::WrittenLate { host, life, write });
            return self.feed(host, Input::Persisted);
        }
        if self.hosts[host].writing.replace(write).is_some() {
            return self
                .checkers
                .fail(format!("barrier: host {host} writes before the last write is done"));
        }
        if self.hosts[host].disk.is_full {
            self.fault("full_disk");
            return self.crash_with(host, Fate::Lost);
        }
        if let Some((_, _, fate)) =
            self.crash_at_write.filter(|(who, nth, _)| (*who, *nth) == (host, begun))
        {
            return self.crash_with(host, fate);
        }
        self.at(at_us, Happening::Written { host, life });
    }

    fn apply(&mut self, host: usize, write: Write) {
        let height = write.finalised.as_ref().map(|finalised| finalised.block.header.height);
        self.hosts[host].disk.apply(write);
        if let Some(height) = height.filter(|_| self.is_correct(host)) {
            self.checkers.stored(host, height);
        }
    }

    /// A host says something: lies and bugs have their way with it, then the checkers, then the
    /// network.
    fn utter(&mut self, host: usize, to: To, message: Message) {
        let (world, seat) = (self.world, self.hosts[host].seat);
        let Some(replica) = &self.hosts[host].replica else { return };
        let height = replica.height();
        let mut receivers = receivers(world, &replica.audience(&message), seat, to);
        if let (Some(Bug::NoFallback), Message::Vote(_)) = (self.bug, &message)
            && self.hosts[host].config.votes_to == VotesTo::Collectors
        {
            let seats = replica.head().committee.seats();
            let collector = seats.get(replica.collector(message.height()));
            receivers = collector.and_then(|seat| world.member(&seat.node)).into_iter().collect();
        }
        let said: Vec<(usize, Message)> = match (self.lies.get(&seat), self.bug) {
            (Some(lie), _) => {
                self.faults.entry(lie.name()).and_modify(|n| *n += 1).or_insert(1);
                let now_ms = self.hosts[host].clock_ms(self.now_us);
                let mut liar =
                    Liar { seat, lie: *lie, world, receivers, now_ms, rng: &mut self.rng };
                self.conspiracy.rewrite(&mut liar, message)
            }
            (None, bug) => {
                let said = bug.map_or_else(
                    || vec![message.clone()],
                    |bug| bug.say(world, seat, height, message.clone()),
                );
                let host = &mut self.hosts[host];
                let is_said = |said: &Message| {
                    bug != Some(Bug::NeverRepeat) || host.said.insert(codec::encode(said))
                };
                let said: Vec<_> = said.into_iter().filter(is_said).collect();
                said.into_iter()
                    .flat_map(|said| receivers.iter().map(move |to| (*to, said.clone())))
                    .collect()
            }
        };
        let is_correct = self.is_correct(host);
        let mut last = None;
        for (seat, message) in said {
            if last.as_ref() != Some(&message) {
                self.checkers.said(self.hosts[host].seat, is_correct, &message);
                if !self.lies.is_empty() {
                    self.conspiracy.overhear(&message);
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
        let withheld = self.network.withheld;
        let bytes = codec::encode(message);
        for to in (0..self.hosts.len()).filter(|to| *to != host) {
            if self.hosts[to].seat != seat || withheld(host, to, message) {
                continue;
            }
            let again = self.rng.chance(self.network.repeat_per_mille);
            if again {
                self.fault("duplicated");
            }
            for _ in 0..1 + u64::from(again) {
                self.bytes += bytes.len() as u64;
                if let Some(travel_us) = self.travel(host, to) {
                    self.at(
                        done_us + travel_us,
                        Happening::Deliver { host: to, from, bytes: bytes.clone() },
                    );
                }
            }
        }
    }

    pub(super) fn travel(&mut self, from: usize, to: usize) -> Option<u64> {
        match self.network.travel_us(from, to, &mut self.rng) {
            Ok(us) => {
                if us >= 100_000 + self.network.regions.one_way_us(from, to) {
                    self.fault("delayed");
                }
                Some(us)
            }
            Err(lost) => {
                self.fault(match lost {
                    Lost::Parted => "parted",
                    Lost::Cut => "cut_one_way",
                    Lost::OnTheWay => "lost",
                });
                None
            }
        }
    }
}
