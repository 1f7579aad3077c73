//! A chain to simulate: keys, genesis, clients. Made once for each size, because proofs of possession are slow.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};
use tequio_core::{
    codec::BoundedVec,
    consensus::SeatKeys,
    crypto::{NodeKey, bls, vrf},
    knowledge::{Cid, CidCodec},
    ledger::{
        Action, Genesis, Params, SignedTransaction, Transaction,
        genesis::{GenesisFile, GenesisSeat, Start},
        leader,
    },
    types::{Height, TimeMs, View},
};

/// When the simulated chains begin, by a clock that is right.
pub const GENESIS_MS: TimeMs = 1_000_000;
/// How far a proposal's time may be from a voter's clock.
pub const CLOCK_SKEW_MS_MAX: u64 = 2000;
const CLIENTS: u8 = 3;
/// Short, so that every run sees seeds change.
const TERM_BLOCKS: Height = 4;
/// Blocks for which a transaction lives.
const LIFE: Height = 4000;

/// The constants of a chain that differ between campaigns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pace {
    /// A block at least this often.
    pub block_interval_ms_max: u64,
    /// First patience with a view.
    pub view_timeout_ms: u64,
}

/// Keys and genesis.
#[derive(Debug)]
pub struct World {
    /// The first block, state and committee.
    pub start: Start,
    /// By seat.
    pub keys: Vec<(NodeKey, bls::SecretKey)>,
    /// By seat, likewise.
    pub vrf_keys: Vec<vrf::SecretKey>,
    /// Those who send transactions.
    pub clients: Vec<NodeKey>,
    /// Its constants.
    pub pace: Pace,
}

impl World {
    /// The world of this size and pace. Seven seats have unequal weights, all others equal ones.
    pub fn of(seats: usize, pace: Pace) -> &'static Self {
        static WORLDS: Mutex<BTreeMap<(usize, Pace), &'static World>> = Mutex::new(BTreeMap::new());
        let mut worlds = WORLDS.lock().unwrap_or_else(PoisonError::into_inner);
        worlds.entry((seats, pace)).or_insert_with(|| {
            let weights = if seats == 7 { vec![2, 1, 1, 3, 1, 1, 1] } else { vec![1; seats] };
            Box::leak(Box::new(Self::new(&weights, pace)))
        })
    }

    fn new(weights: &[u64], pace: Pace) -> Self {
        let keys: Vec<_> = (1..=weights.len() as u8)
            .map(|n| (NodeKey::from_bytes(&[n; 32]), bls::SecretKey::from_seed(&[n; 32])))
            .collect();
        let clients: Vec<_> = (0..CLIENTS).map(|n| NodeKey::from_bytes(&[200 + n; 32])).collect();
        let params = Params {
            block_interval_ms_max: pace.block_interval_ms_max,
            block_interval_ms_min: 20,
            view_timeout_ms: pace.view_timeout_ms,
            clock_skew_ms_max: CLOCK_SKEW_MS_MAX,
            audit_blocks_min: 3,
            audit_blocks_max: 100,
            admission_bits: 1,
            mint_max: 1000,
            trust_period_ms: 1_000_000_000_000,
            term_blocks: TERM_BLOCKS,
        };
        let accounts = keys.iter().map(|(node, _)| node).chain(&clients).map(|node| (node.id(), 10, 1));
        let vrf_keys: Vec<_> = (1..=weights.len() as u8).map(|n| vrf::SecretKey::from_bytes(&[n + 100; 32])).collect();
        let seats = keys.iter().zip(&vrf_keys).zip(weights).map(|(((node, secret), vrf), weight)| GenesisSeat {
            node: node.id(),
            key: secret.public(),
            vrf_key: vrf.public(),
            weight: *weight,
        });
        let genesis = Genesis {
            name: "simulation".try_into().unwrap(),
            time_ms: GENESIS_MS,
            params,
            accounts: BoundedVec::truncated(accounts),
            seats: BoundedVec::truncated(seats),
        };
        // The schedules made by hand are for four seats of which the last one leads first, then the one before it: the
        // name is changed until the first seed, which follows from it, gives that order.
        let start = (0..)
            .map(|n| {
                start(
                    Genesis { name: format!("simulation {n}").as_str().try_into().unwrap(), ..genesis.clone() },
                    &keys,
                )
            })
            .find(|start| {
                let leads = |view| leader(&start.committee, &start.header.seed, 1, view);
                keys.len() != 4 || (0..4).all(|view| leads(view) == 3 - view as usize)
            })
            .unwrap();
        Self { start, keys, vrf_keys, clients, pace }
    }

    /// What a seat signs and draws with.
    pub fn seat_keys(&self, seat: usize) -> SeatKeys {
        SeatKeys { vote: self.keys[seat].1.clone(), vrf: self.vrf_keys[seat].clone() }
    }

    /// Who leads a view of the first height.
    pub fn first_leader(&self, view: View) -> usize {
        leader(&self.start.committee, &self.start.header.seed, 1, view)
    }

    /// The n-th transaction of a client, made at a height.
    pub fn transaction(&self, client: usize, nonce: u64, height: Height) -> SignedTransaction {
        let key = &self.clients[client];
        let name = format!("{}/{}", key.id(), nonce % 512);
        let cid = Cid::of(CidCodec::Raw, format!("{name} {nonce}").as_bytes());
        let action = Action::UpdateRef { name: name.as_str().try_into().unwrap(), expected: nonce / 512, cid };
        Transaction { chain: self.start.chain, sender: key.id(), nonce, expires: height + LIFE, action }.sign(key)
    }

    /// How many seats there are.
    pub fn seats(&self) -> usize {
        self.keys.len()
    }

    /// Of these seats as many as the committee bears together.
    pub fn bearable(&self, wish: &[usize]) -> Vec<usize> {
        let committee = &self.start.committee;
        let mut weight = 0;
        let mut seats: Vec<usize> = Vec::new();
        for seat in wish {
            let more = weight + committee.seats()[*seat].weight;
            if more < committee.blocking() && !seats.contains(seat) {
                weight = more;
                seats.push(*seat);
            }
        }
        seats
    }
}

fn start(genesis: Genesis, keys: &[(NodeKey, bls::SecretKey)]) -> Start {
    let chain = genesis.chain();
    let possessions = keys.iter().map(|(node, secret)| secret.prove_possession(&chain, &node.id())).collect();
    GenesisFile::new(genesis, possessions).unwrap().start().unwrap()
}
