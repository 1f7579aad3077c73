//! A chain to simulate: keys, genesis, clients. Made once for each size, because proofs of possession are slow.

use std::sync::OnceLock;
use tequio_core::{
    codec::BoundedVec,
    crypto::{NodeKey, bls},
    knowledge::{Cid, CidCodec},
    ledger::{
        Action, Genesis, Params, SignedTransaction, Transaction,
        genesis::{GenesisFile, Start},
    },
    types::TimeMs,
};

pub const GENESIS_MS: TimeMs = 1_000_000;
pub const INTERVAL_MS_MAX: u64 = 1000;
pub const VIEW_TIMEOUT_MS: u64 = 400;
pub const CLOCK_OFFSET_MS: u64 = 150;
const CLIENTS: u8 = 3;

pub struct World {
    pub start: Start,
    pub keys: Vec<(NodeKey, bls::SecretKey)>,
    pub clients: Vec<NodeKey>,
}

impl World {
    pub fn of(seats: usize) -> &'static Self {
        static FOUR: OnceLock<World> = OnceLock::new();
        static SEVEN: OnceLock<World> = OnceLock::new();
        match seats {
            4 => FOUR.get_or_init(|| Self::new(&[1; 4])),
            7 => SEVEN.get_or_init(|| Self::new(&[2, 1, 1, 3, 1, 1, 1])),
            _ => panic!("no world of {seats} seats"),
        }
    }

    fn new(weights: &[u64]) -> Self {
        let keys: Vec<_> = (1..=weights.len() as u8)
            .map(|n| (NodeKey::from_bytes(&[n; 32]), bls::SecretKey::from_seed(&[n; 32])))
            .collect();
        let clients: Vec<_> = (0..CLIENTS).map(|n| NodeKey::from_bytes(&[100 + n; 32])).collect();
        let params = Params {
            block_interval_ms_max: INTERVAL_MS_MAX,
            block_interval_ms_min: 20,
            view_timeout_ms: VIEW_TIMEOUT_MS,
            clock_skew_ms_max: 2000,
            audit_blocks_min: 3,
            audit_blocks_max: 100,
            admission_bits: 1,
            mint_max: 1000,
            trust_period_ms: 1_000_000,
        };
        let accounts = keys.iter().map(|(node, _)| node).chain(&clients).map(|node| (node.id(), 10, 1));
        let seats = keys.iter().zip(weights).map(|((node, secret), weight)| (node.id(), secret.public(), *weight));
        let genesis = Genesis {
            name: "simulation".try_into().unwrap(),
            time_ms: GENESIS_MS,
            params,
            accounts: BoundedVec::truncated(accounts),
            seats: BoundedVec::truncated(seats),
        };
        let chain = genesis.chain();
        let possessions = keys.iter().map(|(node, secret)| secret.prove_possession(&chain, &node.id())).collect();
        let start = GenesisFile::new(genesis, possessions).unwrap().start().unwrap();
        Self { start, keys, clients }
    }

    /// The n-th transaction of a client.
    pub fn transaction(&self, client: usize, nonce: u64) -> SignedTransaction {
        let key = &self.clients[client];
        let name = format!("{}/{nonce}", key.id());
        let cid = Cid::of(CidCodec::Raw, name.as_bytes());
        let action = Action::UpdateRef { name: name.as_str().try_into().unwrap(), expected: 0, cid };
        Transaction { chain: self.start.chain, sender: key.id(), nonce, expires: 4000, action }.sign(key)
    }

    pub fn seats(&self) -> usize {
        self.keys.len()
    }

    /// Seats that may lie, as many as the committee bears.
    pub fn liars(&self, wish: &[usize]) -> Vec<usize> {
        let committee = &self.start.committee;
        let mut weight = 0;
        let bearable = |seat: &usize| {
            let more = weight + committee.seats()[*seat].weight;
            let fits = more < committee.blocking();
            weight = if fits { more } else { weight };
            fits
        };
        wish.iter().copied().filter(bearable).collect()
    }
}
