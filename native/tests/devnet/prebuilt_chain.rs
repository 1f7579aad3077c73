//! A prebuilt chain for a devnet that has not run yet. The members' own state machines make the
//! blocks final, without network or clock, as fast as they sign. The blocks are real: the nodes
//! verify them when they read their stores.

use crate::support::{Devnet, PASSPHRASE};
use std::{collections::VecDeque, fs, path::Path};
use tequio::{
    keys::{self, Keys},
    node::{CHECKPOINT_FILE, GENESIS_FILE},
    store::{FILE_NAME, FinalBlock, Head, Store},
};
use tequio_core::{
    consensus::{self, Config, Input, Output, Pipeline, Recipient, Replica, VoteRouting},
    ledger::{
        Checkpoint, SignedTransaction,
        genesis::{GenesisFile, GenesisState},
    },
    machine::Machine,
    types::{Height, NodeId, Unverified, Verified},
    wire::{consensus::Message, light::FinalHeader},
};
use tequio_host::Passphrase;

/// The age of the chain.
const AGE_MS: u64 = 3_600_000;

pub struct PrebuiltChain {
    pub start: GenesisState,
    pub keys: Vec<Keys>,
}

/// The final chain of the members.
pub struct FinalChain {
    pub head: Head,
    pub store: Store,
}

impl PrebuiltChain {
    /// Sets the start of a devnet that has not run to an hour ago.
    pub fn of(net: &Devnet, validators: usize) -> Self {
        let keys = Self::keys(net, validators);
        let dir = net.dir(1).parent().unwrap();
        let path = dir.join(GENESIS_FILE);
        let mut genesis = GenesisFile::decode(&fs::read(&path).unwrap()).unwrap().genesis;
        genesis.time_ms -= AGE_MS;
        let chain = genesis.chain();
        let possessions = keys.iter().map(|k| k.voting.prove_possession(&chain, &k.id())).collect();
        let file = GenesisFile::new(genesis, possessions).unwrap();
        let start = file.build_state().unwrap();
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

    /// Makes blocks up to a height in a new store. `load` gives the transactions for each height.
    pub fn make(
        &self,
        path: &Path,
        height: Height,
        load: &mut dyn FnMut(Height) -> Vec<Verified<SignedTransaction>>,
        each: &mut dyn FnMut(&Store, &Head),
    ) -> FinalChain {
        let store = Store::open(path, &self.start.chain).unwrap();
        let head = store.load_head(&self.start).unwrap();
        let mut now_ms = self.start.header.time_ms;
        let replica = |keys: &Keys| {
            let (node_key, seat_keys) = (keys.node.clone(), keys.of_seat());
            let config = Config {
                node_key,
                seat_keys,
                vote_routing: VoteRouting::All,
                pipeline: Pipeline::Off,
            };
            Replica::restore(config, consensus::Head::genesis(&self.start), [], now_ms).unwrap()
        };
        let replicas: Vec<Replica> = self.keys.iter().map(replica).collect();
        let ids = self.keys.iter().map(Keys::id).collect();
        let mut members =
            Members { replicas, ids, messages: VecDeque::new(), store, head, load, each };
        while members.head.header.header.height < height {
            now_ms += 50;
            for i in 0..members.replicas.len() {
                let height = members.replicas[i].height();
                members.feed(i, now_ms, Input::WantBlock { height });
            }
            while let Some((to, from, message)) = members.messages.pop_front() {
                members.feed(
                    to,
                    now_ms,
                    Input::Received { from, message: Unverified::new(message) },
                );
            }
        }
        FinalChain { head: members.head, store: members.store }
    }

    /// Path of a node's store.
    pub fn store(net: &Devnet, node: usize) -> std::path::PathBuf {
        net.dir(node).join(FILE_NAME)
    }
}

struct Members<'a> {
    replicas: Vec<Replica>,
    ids: Vec<NodeId>,
    messages: VecDeque<(usize, NodeId, Message)>,
    store: Store,
    head: Head,
    load: &'a mut dyn FnMut(Height) -> Vec<Verified<SignedTransaction>>,
    each: &'a mut dyn FnMut(&Store, &Head),
}

impl Members<'_> {
    fn feed(&mut self, i: usize, now_ms: u64, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            // The only possible refusal is of a block that is too late to be proposed.
            let _ = self.replicas[i].handle(now_ms, input);
            while let Some(output) = self.replicas[i].poll() {
                match output {
                    Output::Send { to: Recipient::One(id), message } => {
                        self.send(i, |to| *to == id, &message)
                    }
                    Output::Send { to: Recipient::All, message } => {
                        self.send(i, |_| true, &message)
                    }
                    Output::Persist(_) => inputs.push_back(Input::Persisted),
                    Output::Finalised(finalised) => {
                        if i == 0 {
                            self.append(&finalised);
                        }
                        inputs.push_back(Input::Persisted);
                    }
                    Output::BuildBlock(wanted) => {
                        let (height, view, parent) = (wanted.height, wanted.view, wanted.parent);
                        let transactions = (self.load)(height);
                        inputs.push_back(Input::Built {
                            height,
                            view,
                            parent,
                            transactions,
                            queued_inputs: 0,
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
            self.messages.push_back((to, self.ids[from], message.clone()));
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
