//! A chain for simulations: keys, genesis, clients. Each size is made once, because proofs of
//! possession are slow.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};
use tequio_core::{
    codec::BoundedVec,
    consensus::SeatKeys,
    content::{Cid, CidCodec},
    crypto::{NodeKey, bls, vrf},
    ledger::{
        Action, Genesis, Params, SignedTransaction, Transaction,
        genesis::{GenesisFile, GenesisSeat, GenesisState},
        leader,
    },
    types::{Height, NodeId, TimeMs, View},
};

/// Start of the simulated chains, by a correct clock.
pub const GENESIS_MS: TimeMs = 1_000_000;
/// Largest difference between a proposal's time and a voter's clock.
pub const CLOCK_SKEW_MS_MAX: u64 = 2000;
const CLIENTS: u8 = 3;
/// Terms of an epoch.
const EPOCH_TERMS: Height = 2;
/// Bond of a seat of weight one.
pub const BOND: u64 = 100;
/// Balance that a reserve member can bond. Two such bonds are more than one epoch boundary admits.
pub const RESERVE_BALANCE: u64 = 150;
/// Members without a seat at first.
pub const RESERVE_MEMBERS: usize = 2;
/// Sets of keys of a member: the first, and those that it may register later.
pub const KEY_SETS: usize = 4;
/// Lifetime of a transaction, in blocks.
const VALIDITY_BLOCKS: Height = 4000;

/// The constants of a chain that differ between campaigns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChainConfig {
    /// Longest interval between two blocks.
    pub block_interval_ms_max: u64,
    /// Timeout of the first view.
    pub view_timeout_ms: u64,
    /// Whether seven seats have unequal weights.
    pub is_weighted: bool,
    /// Blocks of a term.
    pub leader_term_blocks: Height,
}

impl ChainConfig {
    /// Blocks of an epoch.
    pub fn epoch_blocks(self) -> Height {
        EPOCH_TERMS * self.leader_term_blocks
    }
}

/// Keys and genesis of a simulated chain.
#[derive(Debug)]
pub struct ChainFixture {
    /// The first block, state and committee.
    pub genesis: GenesisState,
    /// Keys by member: the first committee in the order of its seats, then the reserve members.
    pub keys: Vec<(NodeKey, bls::SecretKey)>,
    /// VRF keys by member, in the same order.
    pub vrf_keys: Vec<vrf::SecretKey>,
    /// All sets of seat keys by member, the first one first.
    pub seat_keys: Vec<Vec<SeatKeys>>,
    members: BTreeMap<NodeId, usize>,
    seats: usize,
    /// Keys of the clients, which send transactions.
    pub clients: Vec<NodeKey>,
    /// The constants of the chain.
    pub config: ChainConfig,
}

impl ChainFixture {
    /// Returns the chain with this number of seats and these constants. All weights are equal,
    /// except those of seven seats if the constants require it.
    pub fn of(seats: usize, config: ChainConfig) -> &'static Self {
        static FIXTURES: Mutex<BTreeMap<(usize, ChainConfig), &'static ChainFixture>> =
            Mutex::new(BTreeMap::new());
        let mut fixtures = FIXTURES.lock().unwrap_or_else(PoisonError::into_inner);
        fixtures.entry((seats, config)).or_insert_with(|| {
            let weights = if seats == 7 && config.is_weighted {
                vec![2, 1, 1, 3, 1, 1, 1]
            } else {
                vec![1; seats]
            };
            Box::leak(Box::new(Self::new(&weights, config)))
        })
    }

    fn new(weights: &[u64], config: ChainConfig) -> Self {
        let members = weights.len() + RESERVE_MEMBERS;
        let keys: Vec<_> = (1..=members as u8)
            .map(|n| (NodeKey::from_bytes(&[n; 32]), bls::SecretKey::from_seed(&[n; 32])))
            .collect();
        let clients: Vec<_> = (0..CLIENTS).map(|n| NodeKey::from_bytes(&[200 + n; 32])).collect();
        let params = Params {
            block_interval_ms_max: config.block_interval_ms_max,
            block_interval_ms_min: 20,
            view_timeout_ms: config.view_timeout_ms,
            clock_skew_ms_max: CLOCK_SKEW_MS_MAX,
            audit_blocks_min: 3,
            audit_blocks_max: 100,
            admission_bits: 1,
            mint_max: 1000,
            trust_period_ms: 1_000_000_000_000,
            leader_term_blocks: config.leader_term_blocks,
            epoch_blocks: config.epoch_blocks(),
            bond_min: BOND,
            reputation_min: 0,
            unbonding_ms: 1_000_000_000_001,
        };
        let bonds = weights.iter().map(|weight| weight * BOND).chain([0; RESERVE_MEMBERS]);
        let accounts =
            keys.iter().zip(bonds).map(|((node, _), bond)| (node.id(), RESERVE_BALANCE, bond));
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
        // The scenarios need four seats of which the last one leads first, then the one before it.
        // The first seed follows from the chain's name, so the name changes until the seed gives
        // that order.
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
            let later = (1..KEY_SETS as u8).map(|generation| later_keys(member, generation));
            std::iter::once(first).chain(later).collect()
        });
        let (seat_keys, seats) = (seat_keys.collect(), weights.len());
        let members =
            keys.iter().enumerate().map(|(member, (node, _))| (node.id(), member)).collect();
        Self { genesis: start, keys, vrf_keys, seat_keys, members, seats, clients, config }
    }

    /// Returns the number of a member.
    pub fn member(&self, node: &NodeId) -> Option<usize> {
        self.members.get(node).copied()
    }

    /// Returns the secret key of a vote key, whichever member has it.
    pub fn secret(&self, key: &bls::PublicKeyBytes) -> Option<&bls::SecretKey> {
        self.seat_keys
            .iter()
            .flatten()
            .map(|keys| &keys.vote)
            .find(|secret| secret.public() == *key)
    }

    /// Returns the leader of a view of the first height.
    pub fn first_leader(&self, view: View) -> usize {
        self.leader_of(1, view)
    }

    /// Returns the leader of a view of a height of the first term.
    pub fn leader_of(&self, height: Height, view: View) -> usize {
        leader(&self.genesis.committee, &self.genesis.header.seed, height, view)
    }

    /// Makes the n-th transaction of a client, at a given height.
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
            chain: self.genesis.chain,
            sender: key.id(),
            nonce,
            expires: height + VALIDITY_BLOCKS,
            action,
        }
        .sign(key)
    }

    /// Returns the number of seats of the first committee.
    pub fn seats(&self) -> usize {
        self.seats
    }

    /// Limits these seats to as many as the committee tolerates together.
    pub fn within_fault_bound(&self, candidates: &[usize]) -> Vec<usize> {
        let committee = &self.genesis.committee;
        let mut weight = 0;
        let mut seats: Vec<usize> = Vec::new();
        for seat in candidates {
            let more = weight + committee.seats()[*seat].weight;
            if more < committee.blocking_weight() && !seats.contains(seat) {
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

fn start(genesis: Genesis, keys: &[(NodeKey, bls::SecretKey)]) -> GenesisState {
    let chain = genesis.chain();
    let possessions =
        keys.iter().map(|(node, secret)| secret.prove_possession(&chain, &node.id())).collect();
    GenesisFile::new(genesis, possessions).unwrap().build_state().unwrap()
}
