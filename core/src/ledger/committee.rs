//! Who decides, and the certificates that show that enough of them did.
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
        hash::{Context, hash_of},
        vrf,
    },
    types::{ChainId, Digest, Epoch, Height, NodeId, TimeMs, Unverified, Verified, View, Weight},
};
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

/// Most seats of a committee.
pub const SEATS_MAX: usize = 256;
/// Seats below which no fault is borne: nobody leaves such a committee.
pub const SEATS_MIN: usize = 4;
const BITMAP_LEN: usize = SEATS_MAX / 8;
/// Largest weight of one seat; 256 of them stay far below 2^64.
pub const SEAT_WEIGHT_MAX: Weight = 1 << 48;

/// One member and its voting key.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Seat {
    /// The member.
    pub node: NodeId,
    /// Its BLS key.
    pub key: bls::PublicKeyBytes,
    /// Shows that the member holds the key.
    pub possession: bls::Signature,
    /// Its VRF key: what it makes of the seed of a term is the seed of the next, if its turn is
    /// the last.
    pub vrf_key: vrf::PublicKeyBytes,
    /// Its share of the decision.
    pub weight: Weight,
}

/// The seats of an epoch as they travel and are committed to.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct CommitteeRecord {
    /// The period.
    pub epoch: Epoch,
    /// The time of the block before the turn that made it; the committee before it decided until
    /// then.
    pub formed_ms: TimeMs,
    /// The seats; a certificate's bits follow this order.
    pub seats: BoundedVec<Seat, SEATS_MAX>,
}

/// A committee whose keys are decoded and whose proofs are checked.
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

/// What is voted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct Vote {
    /// The network.
    pub chain: ChainId,
    /// The period.
    pub epoch: Epoch,
    /// The height that is being decided.
    pub height: Height,
    /// The attempt.
    pub view: View,
    /// The phase.
    pub phase: Phase,
    /// Digest of the block's header.
    pub digest: Digest,
}

/// A quorum's aggregated votes. With phase commit it makes the block final.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Certificate {
    /// What was voted on.
    pub vote: Vote,
    /// Who voted: bit `i % 8` of byte `i / 8` is seat `i`.
    pub signers: [u8; BITMAP_LEN],
    /// Sum of their signatures.
    pub signature: bls::Signature,
}

/// Why a committee is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitteeError {
    /// No seats.
    #[error("a committee needs a seat")]
    Empty,
    /// A node or key twice.
    #[error("seat {0} repeats a node or key")]
    Duplicate(usize),
    /// Zero or too large.
    #[error("seat {0} has a weight outside the limits")]
    Weight(usize),
    /// The VRF key is no point, or one of small order, for which anybody could make proofs.
    #[error("seat {0} has an invalid VRF key")]
    VrfKey(usize),
    /// The key does not decode or its proof does not hold.
    #[error("seat {0} has not proved that it holds its BLS key")]
    Possession(usize),
}

/// Why a certificate is refused. The fault is always the sender's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Another network.
    #[error("the certificate is of another chain")]
    WrongChain,
    /// Another period's committee.
    #[error("the certificate is of epoch {0}, the committee of another")]
    WrongEpoch(Epoch),
    /// Prepare where commit is needed, or the other way round.
    #[error("the certificate is of the other phase")]
    WrongPhase,
    /// Of another block.
    #[error("the certificate is of another block")]
    WrongBlock,
    /// Bits beyond the last seat.
    #[error("the certificate names seats that do not exist")]
    UnknownSeat,
    /// Not enough.
    #[error("the signers weigh {weight}, a quorum needs {quorum}")]
    NoQuorum {
        /// Weight of the signers.
        weight: Weight,
        /// Weight needed.
        quorum: Weight,
    },
    /// The sum does not verify.
    #[error("the aggregate signature is not valid")]
    BadSignature,
}

impl Committee {
    /// Checks every seat. Costs a pairing a seat: done once an epoch.
    pub fn new(record: CommitteeRecord, chain: &ChainId) -> Result<Self, CommitteeError> {
        Self::checked(record, |seat| {
            seat.key.verify_possession(chain, &seat.node, &seat.possession)
        })
    }

    /// The one after this. Costs a pairing for each seat that is new or has new keys; what was
    /// checked holds on. Equal seats cost a comparison.
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
        Self::checked(record, |seat| {
            known(seat)
                .map_or_else(|| seat.key.verify_possession(chain, &seat.node, &seat.possession), Ok)
        })
    }

    /// Of a state of our own, whose ledger has checked every proof of possession when the key was
    /// registered.
    pub(crate) fn of_state(record: CommitteeRecord) -> Result<Self, CommitteeError> {
        Self::checked(record, |seat| seat.key.decode())
    }

    /// Likewise, with the decoded keys of those who were there before.
    pub(crate) fn next(&self, record: CommitteeRecord) -> Result<Self, CommitteeError> {
        let known = |seat: &Seat| {
            self.seats().iter().position(|old| old.key == seat.key).and_then(|at| self.key(at))
        };
        Self::checked(record, |seat| known(seat).cloned().map_or_else(|| seat.key.decode(), Ok))
    }

    fn checked(
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

    /// What was checked.
    pub fn record(&self) -> &CommitteeRecord {
        &self.record
    }

    /// The period.
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

    /// Weight that decides: any two such sets share a correct member while less than a third is
    /// faulty.
    pub fn quorum(&self) -> Weight {
        quorum_of(self.weight)
    }

    /// Weight that contains at least one correct member while less than a third is faulty.
    pub fn blocking(&self) -> Weight {
        self.weight - self.quorum() + 1
    }

    /// Aggregates votes of one message that were each received from the seat they name.
    /// The result is unverified: one bad part spoils it.
    pub fn certify(
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

    /// What headers commit to.
    pub fn digest(&self) -> Digest {
        hash_of(Context::Committee, self)
    }
}

impl Vote {
    /// The signed bytes.
    pub fn message(&self) -> Vec<u8> {
        codec::encode(&(Context::Vote.name(), self))
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
        let certificate = self.claim();
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
        committee.certify(vote(), &parts).unwrap()
    }

    #[test]
    fn quorum_is_of_weight_never_a_count() {
        let (keys, committee) = members(&[1, 1, 1, 10]);
        assert_eq!((committee.weight(), committee.quorum(), committee.blocking()), (13, 9, 5));
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
        assert_eq!((committee.quorum(), committee.blocking()), (3, 2));
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
    fn seats_must_be_distinct_weighed_and_proved() {
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
