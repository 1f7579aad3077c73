//! The start of a chain (genesis), and later starts for light nodes (checkpoints).

use super::{
    block::{Header, transactions_root},
    committee::{Certificate, Committee, CommitteeError, CommitteeRecord, Phase, SEATS_MAX, Seat},
    epoch::weight_cap,
    leader_seed,
    membership::{Member, MemberKeys, MemberStatus},
    params::Params,
    state::{Account, Entry, Key, State},
};
use crate::{
    codec::{self, BoundedString, BoundedVec, DecodeError},
    crypto::{
        bls,
        hash::{HashContext, hash_of},
        vrf,
    },
    types::{ChainId, Digest, NodeId, TimeMs, Unverified, View, Weight},
};
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

/// Largest genesis or checkpoint file, bytes.
pub const FILE_LEN_MAX: usize = 256 * 1024;
const MAGIC_GENESIS: [u8; 8] = *b"TEQUIOG3";
const MAGIC_CHECKPOINT: [u8; 8] = *b"TEQUIOC3";

/// A seat of the first committee.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct GenesisSeat {
    /// The member.
    pub node: NodeId,
    /// The member's BLS key, for votes.
    pub key: bls::PublicKeyBytes,
    /// The member's VRF key, for seeds.
    pub vrf_key: vrf::PublicKeyBytes,
    /// The voting weight.
    pub weight: Weight,
}

/// The start of a chain. Its digest is the chain's id, so it holds no proofs bound to that id.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Genesis {
    /// Name for people.
    pub name: BoundedString<64>,
    /// Time of the first header.
    pub time_ms: TimeMs,
    /// Constants of the chain.
    pub params: Params,
    /// First accounts: node, balance, bond.
    pub accounts: BoundedVec<(NodeId, u64, u64), 1024>,
    /// First seats.
    pub seats: BoundedVec<GenesisSeat, SEATS_MAX>,
}

/// A genesis with its seats' proofs of possession, as in the file `genesis.bin`.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct GenesisFile {
    magic: [u8; 8],
    /// The genesis.
    pub genesis: Genesis,
    /// BLS proofs of possession, one for each seat.
    pub possessions: BoundedVec<bls::Signature, SEATS_MAX>,
}

/// A block that a light node accepts without proof: its hash comes from a trusted source.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Checkpoint {
    magic: [u8; 8],
    /// The header.
    pub header: Header,
    /// Proves that the header is final; genesis has none.
    pub certificate: Option<Certificate>,
    /// The committee that decides the following blocks.
    pub committee: CommitteeRecord,
    /// How long the checkpoint may be trusted, from its header's time on.
    pub trust_period_ms: u64,
}

/// The reason why a genesis or checkpoint is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BootstrapError {
    /// Not a file of this kind.
    #[error("not a Tequio {0} file")]
    Magic(&'static str),
    /// Malformed.
    #[error("{0}")]
    Decode(#[from] DecodeError),
    /// A seat is invalid.
    #[error("{0}")]
    Committee(#[from] CommitteeError),
    /// Counts or certificates are inconsistent.
    #[error("the file contradicts itself")]
    Inconsistent,
    /// One seat alone could block the others.
    #[error("a seat has more than a third of the weight of a committee of four or more seats")]
    TooHeavy,
    /// The hash differs from the pinned one.
    #[error(
        "the checkpoint's hash is {found}, expected {expected}: it is not the one you were given"
    )]
    WrongHash {
        /// Hash of the file.
        found: Digest,
        /// Pinned hash.
        expected: Digest,
    },
    /// Older than its trust period.
    #[error(
        "the checkpoint is {age_ms} ms old and may be trusted for {trust_ms} ms: take a newer one \
         from a source you trust"
    )]
    Stale {
        /// Age of the checkpoint.
        age_ms: u64,
        /// Longest age.
        trust_ms: u64,
    },
}

/// A chain's first block and everything derived from it.
#[derive(Clone, Debug)]
pub struct GenesisState {
    /// The chain.
    pub chain: ChainId,
    /// The first header.
    pub header: Header,
    /// The first state.
    pub state: State,
    /// The first committee.
    pub committee: Committee,
    /// Constants.
    pub params: Params,
}

impl GenesisFile {
    /// Combines a genesis with its proofs of possession.
    pub fn new(genesis: Genesis, possessions: Vec<bls::Signature>) -> Result<Self, DecodeError> {
        Ok(Self { magic: MAGIC_GENESIS, genesis, possessions: possessions.try_into()? })
    }

    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads the file's bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, BootstrapError> {
        if !bytes.starts_with(&MAGIC_GENESIS) {
            return Err(BootstrapError::Magic("genesis"));
        }
        Ok(codec::decode(bytes, FILE_LEN_MAX)?)
    }

    /// Checks the seats and builds the first block and state.
    pub fn build_state(&self) -> Result<GenesisState, BootstrapError> {
        let Genesis { time_ms, params, accounts, seats, .. } = &self.genesis;
        let chain = self.genesis.chain();
        if seats.len() != self.possessions.len() || !params.is_consistent() {
            return Err(BootstrapError::Inconsistent);
        }
        let record = CommitteeRecord {
            epoch: 0,
            formed_ms: *time_ms,
            seats: BoundedVec::truncated(seats.iter().zip(self.possessions.iter()).map(
                |(seat, possession)| {
                    let GenesisSeat { node, key, vrf_key, weight } = *seat;
                    Seat { node, key, possession: *possession, vrf_key, weight }
                },
            )),
        };
        let committee = Committee::new(record.clone(), &chain)?;
        let weights: Vec<Weight> = seats.iter().map(|seat| seat.weight).collect();
        if weights.iter().any(|weight| *weight > weight_cap(&weights)) {
            return Err(BootstrapError::TooHeavy);
        }
        let mut state = State::default();
        state.insert(Entry::Params(params.clone()));
        state.insert(Entry::Committee(record.clone()));
        for (node, balance, bond) in accounts.iter() {
            if state.entry(&Key::Account(*node)).is_some() {
                return Err(BootstrapError::Inconsistent);
            }
            state.insert(Entry::Account(Account {
                balance: *balance,
                bond: *bond,
                ..Account::new(*node, 0)
            }));
        }
        state.insert(Entry::MemberSet(BoundedVec::truncated(seats.iter().map(|seat| seat.node))));
        for Seat { node, key, possession, vrf_key, weight } in record.seats.iter().cloned() {
            // Weight follows bond, from the first block on.
            if state
                .account(&node)
                .is_none_or(|account| account.bond != weight || weight < params.bond_min)
            {
                return Err(BootstrapError::Inconsistent);
            }
            state.insert(Entry::VotingKey(key));
            state.insert(Entry::VrfKey(vrf_key));
            let keys = MemberKeys { key, possession, vrf_key };
            let member = Member {
                node,
                keys,
                pending_keys: None,
                pending_bond: None,
                since: 0,
                status: MemberStatus::Active,
            };
            state.insert(Entry::Member(member.into()));
        }
        let header = Header {
            chain,
            height: 0,
            view: View::default(),
            epoch: 0,
            parent: Digest::default(),
            time_ms: *time_ms,
            proposer: NodeId([0; 32]),
            transactions: transactions_root(&[]),
            state: state.root(),
            next_committee: record.digest(),
            seed: leader_seed::initial(&chain),
            proof: None,
        };
        Ok(GenesisState { chain, header, state, committee, params: params.clone() })
    }
}

impl Genesis {
    /// The chain's id.
    pub fn chain(&self) -> ChainId {
        ChainId(hash_of(HashContext::Genesis, self).0)
    }
}

impl Checkpoint {
    /// The checkpoint of a final block.
    pub fn new(
        header: Header,
        certificate: Option<Certificate>,
        committee: CommitteeRecord,
        trust_period_ms: u64,
    ) -> Self {
        Self { magic: MAGIC_CHECKPOINT, header, certificate, committee, trust_period_ms }
    }

    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// The hash by which a file is pinned: plain BLAKE3, so that any tool can print it.
    pub fn hash(bytes: &[u8]) -> Digest {
        Digest(*blake3::hash(bytes).as_bytes())
    }

    /// Reads a file and checks that it is consistent. Only its hash shows whether it is the right
    /// one.
    pub fn open(
        bytes: &[u8],
        expected: Option<&Digest>,
        now_ms: TimeMs,
    ) -> Result<(Self, Committee), BootstrapError> {
        let found = Self::hash(bytes);
        if let Some(expected) = expected.filter(|e| **e != found) {
            return Err(BootstrapError::WrongHash { found, expected: *expected });
        }
        if !bytes.starts_with(&MAGIC_CHECKPOINT) {
            return Err(BootstrapError::Magic("checkpoint"));
        }
        let checkpoint: Self = codec::decode(bytes, FILE_LEN_MAX)?;
        let Self { header, certificate, committee, trust_period_ms, .. } = &checkpoint;
        if committee.digest() != header.next_committee || leader_seed::next(header).is_err() {
            return Err(BootstrapError::Inconsistent);
        }
        let committee = Committee::new(committee.clone(), &header.chain)?;
        match certificate {
            None if header.height == 0 => {}
            Some(certificate)
                if certificate.vote.digest == header.digest()
                    && certificate.vote.height == header.height =>
            {
                // At an epoch boundary the file holds the next committee. The committee that
                // decided is not in it and would prove nothing: a forger of the file forges the
                // committee too.
                if header.epoch == committee.epoch() {
                    Unverified::new(certificate.clone())
                        .verify(&header.chain, Phase::Commit, &committee)
                        .map_err(|_| BootstrapError::Inconsistent)?;
                } else if header.epoch.checked_add(1) != Some(committee.epoch()) {
                    return Err(BootstrapError::Inconsistent);
                }
            }
            _ => return Err(BootstrapError::Inconsistent),
        }
        let age_ms = now_ms.saturating_sub(header.time_ms);
        if age_ms > *trust_period_ms {
            return Err(BootstrapError::Stale { age_ms, trust_ms: *trust_period_ms });
        }
        Ok((checkpoint, committee))
    }
}
