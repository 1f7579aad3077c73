//! Where a chain starts, and where a light node may start later.

use super::{
    block::{Header, transactions_root},
    committee::{Certificate, Committee, CommitteeError, CommitteeRecord, Phase, SEATS_MAX, Seat},
    epoch::largest_share,
    membership::{Member, MemberKeys, MemberStatus},
    seed,
    state::{Account, Entry, Key, State},
};
use crate::{
    codec::{self, BoundedString, BoundedVec, DecodeError},
    crypto::{
        bls,
        hash::{Context, hash_of},
        vrf,
    },
    types::{ChainId, Digest, Height, NodeId, TimeMs, Unverified, View, Weight},
};
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

/// Largest genesis or checkpoint file, bytes.
pub const FILE_LEN_MAX: usize = 256 * 1024;
const MAGIC_GENESIS: [u8; 8] = *b"TEQUIOG3";
const MAGIC_CHECKPOINT: [u8; 8] = *b"TEQUIOC3";

/// Constants of a chain.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Params {
    /// A block is proposed at least this often, empty if need be.
    pub block_interval_ms_max: u64,
    /// And at most this often.
    pub block_interval_ms_min: u64,
    /// How long a view may take before its leader is given up; doubles with each view.
    pub view_timeout_ms: u64,
    /// How far a fresh proposal's time may be from the voter's clock.
    pub clock_skew_ms_max: u64,
    /// A result stays pending for at least so many blocks.
    pub audit_blocks_min: Height,
    /// And fails after so many.
    pub audit_blocks_max: Height,
    /// Leading zero bits of the admission puzzle.
    pub admission_bits: u8,
    /// Reputation that one submitter's jobs may mint in [`super::state::MINT_WINDOW`] blocks.
    pub mint_max: u64,
    /// How long a light node may trust a checkpoint.
    pub trust_period_ms: u64,
    /// Blocks of a term: one seed fixes the order of its leaders.
    pub term_blocks: Height,
    /// Blocks of an epoch, a multiple of those of a term: one committee decides them.
    pub epoch_blocks: Height,
    /// Least bond of a seat.
    pub bond_min: u64,
    /// Least reputation of whoever asks for a seat.
    pub reputation_min: u64,
    /// How long a bond is bound after its seat has gone: longer than anybody trusts the committee
    /// that it had.
    pub unbonding_ms: u64,
}

impl Params {
    /// Those of no chain: they admit nothing.
    pub(crate) const EMPTY: Self = Self {
        block_interval_ms_max: 0,
        block_interval_ms_min: 0,
        view_timeout_ms: 0,
        clock_skew_ms_max: 0,
        audit_blocks_min: 0,
        audit_blocks_max: 0,
        admission_bits: u8::MAX,
        mint_max: 0,
        trust_period_ms: 0,
        term_blocks: 1,
        epoch_blocks: Height::MAX,
        bond_min: u64::MAX,
        reputation_min: u64::MAX,
        unbonding_ms: u64::MAX,
    };

    fn is_consistent(&self) -> bool {
        let terms = self.term_blocks > 0 && self.epoch_blocks.is_multiple_of(self.term_blocks);
        terms
            && self.epoch_blocks > 1
            && self.bond_min > 0
            && self.unbonding_ms > self.trust_period_ms
    }
}

/// A seat of the first committee.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct GenesisSeat {
    /// Who.
    pub node: NodeId,
    /// Its BLS key, for votes.
    pub key: bls::PublicKeyBytes,
    /// Its VRF key, for seeds.
    pub vrf_key: vrf::PublicKeyBytes,
    /// Its share of decisions.
    pub weight: Weight,
}

/// What a chain starts from. Its digest is the chain's id, so it holds no proofs bound to that id.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Genesis {
    /// For people.
    pub name: BoundedString<64>,
    /// When.
    pub time_ms: TimeMs,
    /// Constants.
    pub params: Params,
    /// First accounts: who, balance, bond.
    pub accounts: BoundedVec<(NodeId, u64, u64), 1024>,
    /// First seats.
    pub seats: BoundedVec<GenesisSeat, SEATS_MAX>,
}

/// A genesis with its seats' proofs of possession, as in the file `genesis.bin`.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct GenesisFile {
    magic: [u8; 8],
    /// What the chain starts from.
    pub genesis: Genesis,
    /// One for each seat.
    pub possessions: BoundedVec<bls::Signature, SEATS_MAX>,
}

/// A block that a light node takes as given: its hash comes by a trusted way.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Checkpoint {
    magic: [u8; 8],
    /// The header.
    pub header: Header,
    /// Shows that it is final; genesis has none.
    pub certificate: Option<Certificate>,
    /// Decides the blocks that follow.
    pub committee: CommitteeRecord,
    /// How long it may be trusted, from its header's time on.
    pub trust_period_ms: u64,
}

/// Why a genesis or checkpoint is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// Not such a file.
    #[error("not a Tequio {0} file")]
    Magic(&'static str),
    /// Malformed.
    #[error("{0}")]
    Decode(#[from] DecodeError),
    /// A seat is wrong.
    #[error("{0}")]
    Committee(#[from] CommitteeError),
    /// Counts or certificates that do not fit together.
    #[error("the file contradicts itself")]
    Inconsistent,
    /// One seat alone could stop the others.
    #[error("a seat weighs more than a third of all four or more")]
    TooHeavy,
    /// The pinned hash is another.
    #[error(
        "the checkpoint's hash is {found}, expected {expected}: it is not the one you were given"
    )]
    WrongHash {
        /// Of the file.
        found: Digest,
        /// Pinned.
        expected: Digest,
    },
    /// Older than its trust period.
    #[error(
        "the checkpoint is {age_ms} ms old and may be trusted for {trust_ms} ms: take a newer one from a source you trust"
    )]
    Stale {
        /// Its age.
        age_ms: u64,
        /// Longest age.
        trust_ms: u64,
    },
}

/// A chain's first block and everything that follows from it.
#[derive(Clone, Debug)]
pub struct Start {
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
    /// Puts proofs beside a genesis.
    pub fn new(genesis: Genesis, possessions: Vec<bls::Signature>) -> Result<Self, DecodeError> {
        Ok(Self { magic: MAGIC_GENESIS, genesis, possessions: possessions.try_into()? })
    }

    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads the file's bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, StartError> {
        if !bytes.starts_with(&MAGIC_GENESIS) {
            return Err(StartError::Magic("genesis"));
        }
        Ok(codec::decode(bytes, FILE_LEN_MAX)?)
    }

    /// Checks the seats and makes the first block and state.
    pub fn start(&self) -> Result<Start, StartError> {
        let Genesis { time_ms, params, accounts, seats, .. } = &self.genesis;
        let chain = self.genesis.chain();
        if seats.len() != self.possessions.len() || !params.is_consistent() {
            return Err(StartError::Inconsistent);
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
        if weights.iter().any(|weight| *weight > largest_share(&weights)) {
            return Err(StartError::TooHeavy);
        }
        let mut state = State::default();
        state.insert(Entry::Params(params.clone()));
        state.insert(Entry::Committee(record.clone()));
        for (node, balance, bond) in accounts.iter() {
            if state.entry(&Key::Account(*node)).is_some() {
                return Err(StartError::Inconsistent);
            }
            state.insert(Entry::Account(Account {
                balance: *balance,
                bond: *bond,
                ..Account::new(*node, 0)
            }));
        }
        state.insert(Entry::Roster(BoundedVec::truncated(seats.iter().map(|seat| seat.node))));
        for Seat { node, key, possession, vrf_key, weight } in record.seats.iter().cloned() {
            // Weight follows bond, from the first block on.
            if state
                .account(&node)
                .is_none_or(|account| account.bond != weight || weight < params.bond_min)
            {
                return Err(StartError::Inconsistent);
            }
            state.insert(Entry::VotingKey(key));
            state.insert(Entry::VrfKey(vrf_key));
            let keys = MemberKeys { key, possession, vrf_key };
            let member = Member {
                node,
                keys,
                next: None,
                more: None,
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
            seed: seed::first(&chain),
            proof: None,
        };
        Ok(Start { chain, header, state, committee, params: params.clone() })
    }
}

impl Genesis {
    /// The chain's id.
    pub fn chain(&self) -> ChainId {
        ChainId(hash_of(Context::Genesis, self).0)
    }
}

impl Checkpoint {
    /// Of a final block.
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

    /// Reads a file and checks that it fits together; whether it is the right one, only its hash
    /// can say.
    pub fn open(
        bytes: &[u8],
        expected: Option<&Digest>,
        now_ms: TimeMs,
    ) -> Result<(Self, Committee), StartError> {
        let found = Self::hash(bytes);
        if let Some(expected) = expected.filter(|e| **e != found) {
            return Err(StartError::WrongHash { found, expected: *expected });
        }
        if !bytes.starts_with(&MAGIC_CHECKPOINT) {
            return Err(StartError::Magic("checkpoint"));
        }
        let checkpoint: Self = codec::decode(bytes, FILE_LEN_MAX)?;
        let Self { header, certificate, committee, trust_period_ms, .. } = &checkpoint;
        if committee.digest() != header.next_committee || seed::after(header).is_err() {
            return Err(StartError::Inconsistent);
        }
        let committee = Committee::new(committee.clone(), &header.chain)?;
        match certificate {
            None if header.height == 0 => {}
            Some(certificate)
                if certificate.vote.digest == header.digest()
                    && certificate.vote.height == header.height =>
            {
                // At a turn the committee of the file is the one that follows; the one that decided
                // is not in it, and would show nothing: whoever makes up a file
                // makes up the committee too.
                if header.epoch == committee.epoch() {
                    Unverified::new(certificate.clone())
                        .verify(&header.chain, Phase::Commit, &committee)
                        .map_err(|_| StartError::Inconsistent)?;
                } else if header.epoch.checked_add(1) != Some(committee.epoch()) {
                    return Err(StartError::Inconsistent);
                }
            }
            _ => return Err(StartError::Inconsistent),
        }
        let age_ms = now_ms.saturating_sub(header.time_ms);
        if age_ms > *trust_period_ms {
            return Err(StartError::Stale { age_ms, trust_ms: *trust_period_ms });
        }
        Ok((checkpoint, committee))
    }
}
