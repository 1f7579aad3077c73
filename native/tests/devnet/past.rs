//! A past for a devnet that has not run yet: blocks that its members' own machines make final,
//! without network or clock, as fast as they sign. They are real: the nodes that find them in their
//! stores check what they read.

use crate::support::{Devnet, PASSPHRASE};
use std::{collections::VecDeque, fs, path::Path};
use tequio::{
    keys::{self, Keys},
    node::{CHECKPOINT_FILE, GENESIS_FILE},
    store::{FILE_NAME, FinalBlock, Head, Store},
};
use tequio_core::{
    consensus::{self, Config, Input, Output, Pipeline, Replica, To, VotesTo},
    ledger::{
        Checkpoint, SignedTransaction,
        genesis::{GenesisFile, Start},
    },
    machine::Machine,
    types::{Height, NodeId, Unverified, Verified},
    wire::{consensus::Message, light::FinalHeader},
};
use tequio_host::Passphrase;

/// How long ago the chain began.
const AGE_MS: u64 = 3_600_000;

pub struct Past {
    pub start: Start,
    pub keys: Vec<Keys>,
}

/// What the members make final.
pub struct Made {
    pub head: Head,
    pub store: Store,
}

impl Past {
    /// Lets a devnet that has not run begin an hour ago.
    pub fn of(net: &Devnet, validators: usize) -> Self {
        let keys = Self::keys(net, validators);
        let dir = net.dir(1).parent().unwrap();
        let path = dir.join(GENESIS_FILE);
        let mut genesis = GenesisFile::decode(&fs::read(&path).unwrap()).unwrap().genesis;
        genesis.time_ms -= AGE_MS;
        let chain = genesis.chain();
        let possessions = keys.iter().map(|k| k.voting.prove_possession(&chain, &k.id())).collect();
        let file = GenesisFile::new(genesis, possessions).unwrap();
        let start = file.start().unwrap();
        fs::write(&path, file.encode()).unwrap();
        let committee = start.committee.record().clone();
        let checkpoint =
            Checkpoint::new(start.header.clone(), None, committee, start.params.trust_period_ms);
        fs::write(dir.join(CHECKPOINT_FILE), checkpoint.encode()).unwrap();
        Self { start, keys }
    }

    /// The validators' keys.
    pub fn keys(net: &Devnet, validators: usize) -> Vec<Keys> {
        let passphrase = Passphrase::new(PASSPHRASE.to_owned());
        let open = |i| Keys::open(&net.dir(i).join(keys::FILE_NAME), &passphrase).unwrap();
        (1..=validators).map(open).collect()
    }

    /// Makes blocks up to a height into a new store, with the transactions that `load` gives for
    /// each height.
    pub fn make(
        &self,
        path: &Path,
        height: Height,
        load: &mut dyn FnMut(Height) -> Vec<Verified<SignedTransaction>>,
        each: &mut dyn FnMut(&Store, &Head),
    ) -> Made {
        let store = Store::open(path, &self.start.chain).unwrap();
        let head = store.load_head(&self.start).unwrap();
        let mut now_ms = self.start.header.time_ms;
        let replica = |keys: &Keys| {
            let (node_key, seat_keys) = (keys.node.clone(), keys.of_seat());
            let config =
                Config { node_key, seat_keys, votes_to: VotesTo::All, pipeline: Pipeline::Off };
            Replica::restore(config, consensus::Head::genesis(&self.start), [], now_ms).unwrap()
        };
        let replicas: Vec<Replica> = self.keys.iter().map(replica).collect();
        let ids = self.keys.iter().map(Keys::id).collect();
        let mut members = Members { replicas, ids, mail: VecDeque::new(), store, head, load, each };
        while members.head.header.header.height < height {
            now_ms += 50;
            for i in 0..members.replicas.len() {
                let height = members.replicas[i].height();
                members.feed(i, now_ms, Input::WantBlock { height });
            }
            while let Some((to, from, message)) = members.mail.pop_front() {
                members.feed(
                    to,
                    now_ms,
                    Input::Received { from, message: Unverified::new(message) },
                );
            }
        }
        Made { head: members.head, store: members.store }
    }

    /// Where a node's store is.
    pub fn store(net: &Devnet, node: usize) -> std::path::PathBuf {
        net.dir(node).join(FILE_NAME)
    }
}

struct Members<'a> {
    replicas: Vec<Replica>,
    ids: Vec<NodeId>,
    mail: VecDeque<(usize, NodeId, Message)>,
    store: Store,
    head: Head,
    load: &'a mut dyn FnMut(Height) -> Vec<Verified<SignedTransaction>>,
    each: &'a mut dyn FnMut(&Store, &Head),
}

impl Members<'_> {
    fn feed(&mut self, i: usize, now_ms: u64, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            // The only refusal here is of a block that came too late to be proposed.
            let _ = self.replicas[i].handle(now_ms, input);
            while let Some(output) = self.replicas[i].poll() {
                match output {
                    Output::Send { to: To::One(id), message } => {
                        self.send(i, |to| *to == id, &message)
                    }
                    Output::Send { to: To::All, message } => self.send(i, |_| true, &message),
                    Output::Persist(_) => inputs.push_back(Input::Persisted),
                    Output::Finalised(finalised) => {
                        if i == 0 {
                            self.append(&finalised);
                        }
                        inputs.push_back(Input::Persisted);
                    }
                    Output::Request(wanted) => {
                        let (height, view, parent) = (wanted.height, wanted.view, wanted.parent);
                        let transactions = (self.load)(height);
                        inputs.push_back(Input::Built {
                            height,
                            view,
                            parent,
                            transactions,
                            waiting: 0,
                        });
                    }
                    Output::Misbehaviour { offence, .. } => panic!("{offence}"),
                    _ => {}
                }
            }
        }
    }

    fn send(&mut self, from: usize, is_to: impl Fn(&NodeId) -> bool, message: &Message) {
        for to in (0..self.ids.len()).filter(|to| *to != from && is_to(&self.ids[*to])) {
            self.mail.push_back((to, self.ids[from], message.clone()));
        }
    }

    fn append(&mut self, finalised: &consensus::Finalised) {
        let consensus::Finalised { block, certificate, outcome } = finalised;
        let (changes, receipts) = (&outcome.changes, &outcome.receipts);
        self.store.append(FinalBlock { block, certificate, changes, receipts }).unwrap();
        let header =
            FinalHeader { header: block.header.clone(), certificate: Some(certificate.clone()) };
        self.head = Head { header, state: outcome.state.clone() };
        (self.each)(&self.store, &self.head);
    }
}
