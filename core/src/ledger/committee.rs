//! The committee of an epoch, and the certificates of its votes.
//!
//! A vote signs chain, epoch, height, view, phase and digest, and nothing else; all votes of a
//! phase sign identical bytes. A quorum is `floor(2W/3) + 1` of the weight that is frozen for the
//! epoch, never a count of seats. Refused: seats that share a node or a BLS or VRF key, keys
//! without a proof of possession, more than [`SEATS_MAX`] seats, bitmaps with bits outside the
//! committee.

use crate::{
    codec::{self, BoundedVec},
    crypto::{
        bls,
        hash::{HashContext, hash_of},
        vrf,
    },
    types::{ChainId, Digest, Epoch, Height, NodeId, TimeMs, Unverified, Verified, View, Weight},
};
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

/// Most seats of a committee.
pub const SEATS_MAX: usize = 256;
/// With fewer seats no fault is tolerated: no member may leave such a committee.
pub const SEATS_MIN: usize = 4;
const BITMAP_LEN: usize = SEATS_MAX / 8;
/// Largest weight of one seat; 256 of them stay far below 2^64.
pub const SEAT_WEIGHT_MAX: Weight = 1 << 48;

/// One member and its voting key.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Seat {
    /// The member.
    pub node: NodeId,
    /// The member's BLS key.
    pub key: bls::PublicKeyBytes,
    /// Proof that the member holds the BLS key.
    pub possession: bls::Signature,
    /// Its VRF key. If the member proposes the last block of a leader term, this key derives the
    /// next seed from the current one.
    pub vrf_key: vrf::PublicKeyBytes,
    /// The voting weight.
    pub weight: Weight,
}

/// The seats of an epoch, as they are encoded and committed to.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct CommitteeRecord {
    /// The epoch.
    pub epoch: Epoch,
    /// Time of the block before the epoch boundary that formed this committee. The previous
    /// committee decided until then.
    pub formed_ms: TimeMs,
    /// The seats; a certificate's bits follow this order.
    pub seats: BoundedVec<Seat, SEATS_MAX>,
}

/// A committee with decoded keys and checked proofs of possession.
#[derive(Clone, Debug)]
pub struct Committee {
    record: CommitteeRecord,
    keys: Vec<bls::PublicKey>,
    vrf_keys: Vec<vrf::PublicKey>,
    weight: Weight,
}

/// The two voting phases of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = false)]
pub enum Phase {
    /// The block is the only one this member prepares in this view.
    Prepare,
    /// A quorum has prepared the block.
    Commit,
}

/// The content of a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct Vote {
    /// The chain.
    pub chain: ChainId,
    /// The epoch.
    pub epoch: Epoch,
    /// The height being decided.
    pub height: Height,
    /// The view.
    pub view: View,
    /// The phase.
    pub phase: Phase,
    /// Digest of the block's header.
    pub digest: Digest,
}

/// The aggregated votes of a quorum. With phase commit it makes the block final.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Certificate {
    /// The vote that all signers cast.
    pub vote: Vote,
    /// The seats that signed: bit `i % 8` of byte `i / 8` is seat `i`.
    pub signers: [u8; BITMAP_LEN],
    /// Sum of their signatures.
    pub signature: bls::Signature,
}

/// The reason why a committee is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitteeError {
    /// No seats.
    #[error("a committee needs a seat")]
    Empty,
    /// A node or key appears twice.
    #[error("seat {0} repeats a node or key")]
    Duplicate(usize),
    /// The weight is zero or too large.
    #[error("seat {0} has a weight outside the limits")]
    Weight(usize),
    /// The VRF key is not on the curve, or has small order, so that anyone could make proofs for
    /// it.
    #[error("seat {0} has an invalid VRF key")]
    VrfKey(usize),
    /// The BLS key does not decode, or its proof of possession is invalid.
    #[error("seat {0} has not proved that it holds its BLS key")]
    Possession(usize),
}

/// The reason why a certificate is refused. The sender is always at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The certificate is of another chain.
    #[error("the certificate is of another chain")]
    WrongChain,
    /// The certificate is of another epoch.
    #[error("the certificate is of epoch {0}, the committee of another")]
    WrongEpoch(Epoch),
    /// The phase is prepare instead of commit, or the other way round.
    #[error("the certificate is of the other phase")]
    WrongPhase,
    /// The certificate is of another block.
    #[error("the certificate is of another block")]
    WrongBlock,
    /// Bits beyond the last seat.
    #[error("the certificate names seats that do not exist")]
    UnknownSeat,
    /// The signers weigh less than a quorum.
    #[error("the signers weigh {weight}, a quorum needs {quorum}")]
    NoQuorum {
        /// Weight of the signers.
        weight: Weight,
        /// Weight needed.
        quorum: Weight,
    },
    /// The aggregate signature does not verify.
    #[error("the aggregate signature is not valid")]
    BadSignature,
}

impl Committee {
    /// Checks every seat. Costs one pairing per seat; done once per epoch.
    pub fn new(record: CommitteeRecord, chain: &ChainId) -> Result<Self, CommitteeError> {
        Self::with_keys(record, |seat| {
            seat.key.verify_possession(chain, &seat.node, &seat.possession)
        })
    }

    /// The next committee. Costs one pairing for each seat that is new or has new keys. An
    /// unchanged seat is already checked and costs a comparison.
    pub fn successor(
        &self,
        record: CommitteeRecord,
        chain: &ChainId,
    ) -> Result<Self, CommitteeError> {
        if record.seats == self.record.seats {
            return Ok(Self { record, ..self.clone() });
        }
        let known = |seat: &Seat| {
            let same = |old: &Seat| {
                (old.node, old.key, old.possession) == (seat.node, seat.key, seat.possession)
            };
            self.seats().iter().position(same).and_then(|at| self.key(at)).cloned()
        };
        Self::with_keys(record, |seat| {
            known(seat)
                .map_or_else(|| seat.key.verify_possession(chain, &seat.node, &seat.possession), Ok)
        })
    }

    /// The committee of a local state, whose ledger checked every proof of possession at
    /// registration.
    pub(crate) fn from_state(record: CommitteeRecord) -> Result<Self, CommitteeError> {
        Self::with_keys(record, |seat| seat.key.decode())
    }

    /// The next committee of a local state. Seats that stay keep their decoded keys.
    pub(crate) fn successor_from_state(
        &self,
        record: CommitteeRecord,
    ) -> Result<Self, CommitteeError> {
        let known = |seat: &Seat| {
            self.seats().iter().position(|old| old.key == seat.key).and_then(|at| self.key(at))
        };
        Self::with_keys(record, |seat| known(seat).cloned().map_or_else(|| seat.key.decode(), Ok))
    }

    fn with_keys(
        record: CommitteeRecord,
        decode: impl Fn(&Seat) -> Result<bls::PublicKey, bls::BlsError>,
    ) -> Result<Self, CommitteeError> {
        if record.seats.is_empty() {
            return Err(CommitteeError::Empty);
        }
        let mut keys = Vec::with_capacity(record.seats.len());
        let mut vrf_keys = Vec::with_capacity(record.seats.len());
        let mut weight: Weight = 0;
        for (i, seat) in record.seats.iter().enumerate() {
            let repeats =
                |s: &Seat| s.node == seat.node || s.key == seat.key || s.vrf_key == seat.vrf_key;
            if record.seats.iter().take(i).any(repeats) {
                return Err(CommitteeError::Duplicate(i));
            }
            if !(1..=SEAT_WEIGHT_MAX).contains(&seat.weight) {
                return Err(CommitteeError::Weight(i));
            }
            keys.push(decode(seat).map_err(|_| CommitteeError::Possession(i))?);
            vrf_keys.push(seat.vrf_key.decode().map_err(|_| CommitteeError::VrfKey(i))?);
            weight = weight.saturating_add(seat.weight);
        }
        Ok(Self { record, keys, vrf_keys, weight })
    }

    /// The seats.
    pub fn seats(&self) -> &[Seat] {
        &self.record.seats
    }

    /// The checked record.
    pub fn record(&self) -> &CommitteeRecord {
        &self.record
    }

    /// The epoch.
    pub fn epoch(&self) -> Epoch {
        self.record.epoch
    }

    /// The seat of a node.
    pub fn seat_of(&self, node: &NodeId) -> Option<usize> {
        self.seats().iter().position(|s| s.node == *node)
    }

    /// The decoded key of a seat.
    pub fn key(&self, seat: usize) -> Option<&bls::PublicKey> {
        self.keys.get(seat)
    }

    /// The decoded VRF key of a seat.
    pub fn vrf_key(&self, seat: usize) -> Option<&vrf::PublicKey> {
        self.vrf_keys.get(seat)
    }

    /// Weight of all seats.
    pub fn weight(&self) -> Weight {
        self.weight
    }

    /// Weight of a quorum: any two quorums share a correct member while less than a third is
    /// faulty.
    pub fn quorum(&self) -> Weight {
        quorum_of(self.weight)
    }

    /// Weight that contains at least one correct member while less than a third is faulty.
    pub fn blocking_weight(&self) -> Weight {
        self.weight - self.quorum() + 1
    }

    /// Aggregates votes of one message, each received from the seat that it names. The result is
    /// unverified: one bad vote invalidates it.
    pub fn aggregate_votes(
        &self,
        vote: Vote,
        parts: &[(usize, bls::Signature)],
    ) -> Result<Certificate, bls::BlsError> {
        let mut signers = [0; BITMAP_LEN];
        for (seat, _) in parts {
            if let Some(byte) = signers.get_mut(seat / 8) {
                *byte |= 1 << (seat % 8);
            }
        }
        let signatures: Vec<_> = parts.iter().map(|(_, s)| *s).collect();
        Ok(Certificate { vote, signers, signature: bls::aggregate(&signatures)? })
    }
}

/// The quorum of this weight: more than two thirds.
pub const fn quorum_of(weight: Weight) -> Weight {
    weight / 3 * 2 + weight % 3 * 2 / 3 + 1
}

impl CommitteeRecord {
    /// The seat of a node.
    pub fn seat_of(&self, node: &NodeId) -> Option<usize> {
        self.seats.iter().position(|seat| seat.node == *node)
    }

    /// The digest that headers commit to.
    pub fn digest(&self) -> Digest {
        hash_of(HashContext::Committee, self)
    }
}

impl Vote {
    /// The signed bytes.
    pub fn message(&self) -> Vec<u8> {
        codec::encode(&(HashContext::Vote.name(), self))
    }
}

impl Certificate {
    /// The seats that signed.
    pub fn seats(&self) -> impl Iterator<Item = usize> + '_ {
        (0..SEATS_MAX)
            .filter(|i| self.signers.get(i / 8).is_some_and(|byte| byte >> (i % 8) & 1 == 1))
    }
}

impl Unverified<Certificate> {
    /// Checks that a quorum of `committee` cast this vote.
    pub fn verify(
        self,
        chain: &ChainId,
        phase: Phase,
        committee: &Committee,
    ) -> Result<Verified<Certificate>, CertificateError> {
        let certificate = self.unverified();
        let vote = &certificate.vote;
        if vote.chain != *chain {
            return Err(CertificateError::WrongChain);
        }
        if vote.epoch != committee.epoch() {
            return Err(CertificateError::WrongEpoch(vote.epoch));
        }
        if vote.phase != phase {
            return Err(CertificateError::WrongPhase);
        }
        let mut weight: Weight = 0;
        let mut keys = Vec::new();
        for seat in certificate.seats() {
            let (Some(s), Some(key)) = (committee.seats().get(seat), committee.key(seat)) else {
                return Err(CertificateError::UnknownSeat);
            };
            weight = weight.saturating_add(s.weight);
            keys.push(key);
        }
        if weight < committee.quorum() {
            return Err(CertificateError::NoQuorum { weight, quorum: committee.quorum() });
        }
        bls::verify_aggregate(keys, &vote.message(), &certificate.signature)
            .map_err(|_| CertificateError::BadSignature)?;
        Ok(self.into_verified())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::crypto::NodeKey;

    pub(crate) const CHAIN: ChainId = ChainId([7; 32]);

    /// A VRF key of its own for each member of a test.
    pub(crate) fn vrf_of(node: &NodeId) -> vrf::SecretKey {
        vrf::SecretKey::from_bytes(&node.0)
    }

    pub(crate) fn members(weights: &[Weight]) -> (Vec<(NodeKey, bls::SecretKey)>, Committee) {
        let keys: Vec<_> = (1..=weights.len() as u8)
            .map(|n| (NodeKey::from_bytes(&[n; 32]), bls::SecretKey::from_seed(&[n; 32])))
            .collect();
        let seats = keys.iter().zip(weights).map(|((node, secret), weight)| Seat {
            node: node.id(),
            key: secret.public(),
            possession: secret.prove_possession(&CHAIN, &node.id()),
            vrf_key: vrf_of(&node.id()).public(),
            weight: *weight,
        });
        let record =
            CommitteeRecord { epoch: 0, formed_ms: 0, seats: BoundedVec::truncated(seats) };
        let committee = Committee::new(record, &CHAIN).unwrap();
        (keys, committee)
    }

    fn vote() -> Vote {
        Vote {
            chain: CHAIN,
            epoch: 0,
            height: 3,
            view: 1,
            phase: Phase::Commit,
            digest: Digest([5; 32]),
        }
    }

    fn certificate(
        keys: &[(NodeKey, bls::SecretKey)],
        committee: &Committee,
        seats: &[usize],
    ) -> Certificate {
        let parts: Vec<_> =
            seats.iter().map(|i| (*i, keys[*i].1.sign(&vote().message()))).collect();
        committee.aggregate_votes(vote(), &parts).unwrap()
    }

    #[test]
    fn a_quorum_counts_weight_and_not_seats() {
        let (keys, committee) = members(&[1, 1, 1, 10]);
        assert_eq!(
            (committee.weight(), committee.quorum(), committee.blocking_weight()),
            (13, 9, 5)
        );
        let three = certificate(&keys, &committee, &[0, 1, 2]);
        assert_eq!(
            Unverified::new(three).verify(&CHAIN, Phase::Commit, &committee),
            Err(CertificateError::NoQuorum { weight: 3, quorum: 9 })
        );
        let one = certificate(&keys, &committee, &[3]);
        assert!(Unverified::new(one).verify(&CHAIN, Phase::Commit, &committee).is_ok());
    }

    #[test]
    fn certificates_of_other_chain_phase_epoch_or_seats_are_refused() {
        let (keys, committee) = members(&[1; 4]);
        assert_eq!((committee.quorum(), committee.blocking_weight()), (3, 2));
        let good = certificate(&keys, &committee, &[0, 2, 3]);
        let verify = |c: &Certificate, chain, phase| {
            Unverified::new(c.clone()).verify(chain, phase, &committee).err()
        };
        assert_eq!(verify(&good, &CHAIN, Phase::Commit), None);
        assert_eq!(
            verify(&good, &ChainId([8; 32]), Phase::Commit),
            Some(CertificateError::WrongChain)
        );
        assert_eq!(verify(&good, &CHAIN, Phase::Prepare), Some(CertificateError::WrongPhase));
        let mut other = good.clone();
        other.vote.epoch = 1;
        assert_eq!(verify(&other, &CHAIN, Phase::Commit), Some(CertificateError::WrongEpoch(1)));
        let mut other = good.clone();
        other.signers[0] |= 2; // claims a signer that did not sign
        assert_eq!(verify(&other, &CHAIN, Phase::Commit), Some(CertificateError::BadSignature));
        let mut other = good.clone();
        other.signers[1] |= 1;
        assert_eq!(verify(&other, &CHAIN, Phase::Commit), Some(CertificateError::UnknownSeat));
        let mut other = good;
        other.vote.digest.0[0] ^= 1;
        assert_eq!(verify(&other, &CHAIN, Phase::Commit), Some(CertificateError::BadSignature));
    }

    #[test]
    fn seats_must_be_distinct_and_have_a_weight_and_a_proof_of_possession() {
        let (_, committee) = members(&[1; 3]);
        let with = |change: &dyn Fn(&mut Vec<Seat>)| {
            let mut seats = committee.seats().to_vec();
            change(&mut seats);
            Committee::new(
                CommitteeRecord { epoch: 0, formed_ms: 0, seats: seats.try_into().unwrap() },
                &CHAIN,
            )
            .err()
        };
        assert_eq!(with(&|_| ()), None);
        assert_eq!(with(&|s| s.clear()), Some(CommitteeError::Empty));
        assert_eq!(with(&|s| s[2] = s[0].clone()), Some(CommitteeError::Duplicate(2)));
        assert_eq!(with(&|s| s[1].weight = 0), Some(CommitteeError::Weight(1)));
        assert_eq!(with(&|s| s[2].vrf_key = s[1].vrf_key), Some(CommitteeError::Duplicate(2)));
        // The neutral element: of small order.
        let neutral = vrf::PublicKeyBytes(core::array::from_fn(|i| u8::from(i == 0)));
        assert_eq!(with(&|s| s[1].vrf_key = neutral), Some(CommitteeError::VrfKey(1)));
        assert_eq!(
            with(&|s| s[1].possession = s[0].possession),
            Some(CommitteeError::Possession(1))
        );
        // A rogue key copied from another node has a proof for that node only.
        assert_eq!(with(&|s| s[1].node = NodeId([9; 32])), Some(CommitteeError::Possession(1)));
    }
}
