//! A chain to simulate: keys, genesis, clients. Made once for each size, because proofs of
//! possession are slow.

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
    types::{Height, NodeId, TimeMs, View},
};

/// When the simulated chains begin, by a clock that is right.
pub const GENESIS_MS: TimeMs = 1_000_000;
/// How far a proposal's time may be from a voter's clock.
pub const CLOCK_SKEW_MS_MAX: u64 = 2000;
const CLIENTS: u8 = 3;
/// Terms of an epoch.
const EPOCH_TERMS: Height = 2;
/// What a seat of weight one has bonded.
pub const BOND: u64 = 100;
/// What those who have no seat at first can bond: two of them are more than one turn takes in.
pub const RESERVE: u64 = 150;
/// Members who have no seat at first.
pub const RESERVES: usize = 2;
/// Sets of keys that a member has: the first, and those that it may register later.
pub const GENERATIONS: usize = 4;
/// Blocks for which a transaction lives.
const LIFE: Height = 4000;

/// The constants of a chain that differ between campaigns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pace {
    /// A block at least this often.
    pub block_interval_ms_max: u64,
    /// First patience with a view.
    pub view_timeout_ms: u64,
    /// Seven seats have unequal weights.
    pub is_weighted: bool,
    /// Blocks of a term.
    pub term_blocks: Height,
}

impl Pace {
    /// Blocks of an epoch.
    pub fn epoch_blocks(self) -> Height {
        EPOCH_TERMS * self.term_blocks
    }
}

/// Keys and genesis.
#[derive(Debug)]
pub struct World {
    /// The first block, state and committee.
    pub start: Start,
    /// By member: those of the first committee in the order of its seats, then the reserves.
    pub keys: Vec<(NodeKey, bls::SecretKey)>,
    /// By member, likewise.
    pub vrf_keys: Vec<vrf::SecretKey>,
    /// By member: all its sets of keys, the first one first.
    pub seat_keys: Vec<Vec<SeatKeys>>,
    members: BTreeMap<NodeId, usize>,
    seats: usize,
    /// Those who send transactions.
    pub clients: Vec<NodeKey>,
    /// Its constants.
    pub pace: Pace,
}

impl World {
    /// The world of this size and pace. All weights are equal but for those of seven seats, where
    /// asked for.
    pub fn of(seats: usize, pace: Pace) -> &'static Self {
        static WORLDS: Mutex<BTreeMap<(usize, Pace), &'static World>> = Mutex::new(BTreeMap::new());
        let mut worlds = WORLDS.lock().unwrap_or_else(PoisonError::into_inner);
        worlds.entry((seats, pace)).or_insert_with(|| {
            let weights = if seats == 7 && pace.is_weighted {
                vec![2, 1, 1, 3, 1, 1, 1]
            } else {
                vec![1; seats]
            };
            Box::leak(Box::new(Self::new(&weights, pace)))
        })
    }

    fn new(weights: &[u64], pace: Pace) -> Self {
        let members = weights.len() + RESERVES;
        let keys: Vec<_> = (1..=members as u8)
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
            term_blocks: pace.term_blocks,
            epoch_blocks: pace.epoch_blocks(),
            bond_min: BOND,
            reputation_min: 0,
            unbonding_ms: 1_000_000_000_001,
        };
        let bonds = weights.iter().map(|weight| weight * BOND).chain([0; RESERVES]);
        let accounts = keys.iter().zip(bonds).map(|((node, _), bond)| (node.id(), RESERVE, bond));
        let accounts = accounts.chain(clients.iter().map(|node| (node.id(), 10, 0)));
        let vrf_keys: Vec<_> =
            (1..=members as u8).map(|n| vrf::SecretKey::from_bytes(&[n + 100; 32])).collect();
        let seats =
            keys.iter().zip(&vrf_keys).zip(weights).map(|(((node, secret), vrf), weight)| {
                GenesisSeat {
                    node: node.id(),
                    key: secret.public(),
                    vrf_key: vrf.public(),
                    weight: *weight * BOND,
                }
            });
        let genesis = Genesis {
            name: "simulation".try_into().unwrap(),
            time_ms: GENESIS_MS,
            params,
            accounts: BoundedVec::truncated(accounts),
            seats: BoundedVec::truncated(seats),
        };
        // The schedules made by hand are for four seats of which the last one leads first, then the
        // one before it: the name is changed until the first seed, which follows from it,
        // gives that order.
        let start = (0..)
            .map(|n| {
                start(
                    Genesis {
                        name: format!("simulation {n}").as_str().try_into().unwrap(),
                        ..genesis.clone()
                    },
                    &keys[..weights.len()],
                )
            })
            .find(|start| {
                let leads = |view| leader(&start.committee, &start.header.seed, 1, view);
                weights.len() != 4 || (0..4).all(|view| leads(view) == 3 - view as usize)
            })
            .unwrap();
        let seat_keys = (0..members).map(|member| {
            let first = SeatKeys { vote: keys[member].1.clone(), vrf: vrf_keys[member].clone() };
            let later = (1..GENERATIONS as u8).map(|generation| later_keys(member, generation));
            std::iter::once(first).chain(later).collect()
        });
        let (seat_keys, seats) = (seat_keys.collect(), weights.len());
        let members =
            keys.iter().enumerate().map(|(member, (node, _))| (node.id(), member)).collect();
        Self { start, keys, vrf_keys, seat_keys, members, seats, clients, pace }
    }

    /// The number of a member.
    pub fn member(&self, node: &NodeId) -> Option<usize> {
        self.members.get(node).copied()
    }

    /// The secret of a key for votes, whoever has it.
    pub fn secret(&self, key: &bls::PublicKeyBytes) -> Option<&bls::SecretKey> {
        self.seat_keys
            .iter()
            .flatten()
            .map(|keys| &keys.vote)
            .find(|secret| secret.public() == *key)
    }

    /// Who leads a view of the first height.
    pub fn first_leader(&self, view: View) -> usize {
        self.leader_of(1, view)
    }

    /// Who leads a view of a height of the first term.
    pub fn leader_of(&self, height: Height, view: View) -> usize {
        leader(&self.start.committee, &self.start.header.seed, height, view)
    }

    /// The n-th transaction of a client, made at a height.
    pub fn transaction(&self, client: usize, nonce: u64, height: Height) -> SignedTransaction {
        let key = &self.clients[client];
        let name = format!("{}/{}", key.id(), nonce % 512);
        let cid = Cid::of(CidCodec::Raw, format!("{name} {nonce}").as_bytes());
        let action = Action::UpdateRef {
            name: name.as_str().try_into().unwrap(),
            expected: nonce / 512,
            cid,
        };
        Transaction {
            chain: self.start.chain,
            sender: key.id(),
            nonce,
            expires: height + LIFE,
            action,
        }
        .sign(key)
    }

    /// How many seats the first committee has.
    pub fn seats(&self) -> usize {
        self.seats
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

fn later_keys(member: usize, generation: u8) -> SeatKeys {
    let mut seed = [generation; 32];
    seed[0] = member as u8;
    seed[1] = 0xee;
    SeatKeys { vote: bls::SecretKey::from_seed(&seed), vrf: vrf::SecretKey::from_bytes(&seed) }
}

fn start(genesis: Genesis, keys: &[(NodeKey, bls::SecretKey)]) -> Start {
    let chain = genesis.chain();
    let possessions =
        keys.iter().map(|(node, secret)| secret.prove_possession(&chain, &node.id())).collect();
    GenesisFile::new(genesis, possessions).unwrap().start().unwrap()
}
