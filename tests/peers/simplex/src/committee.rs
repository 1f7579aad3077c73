//! The validators' keys and signature schemes.

use anyhow::{Context as _, anyhow};
use commonware_consensus::simplex::scheme::{bls12381_multisig, ed25519};
use commonware_cryptography::{
    Signer as _,
    bls12381::primitives::{
        group::Private,
        ops,
        variant::{MinSig, Variant},
    },
    ed25519::{PrivateKey, PublicKey},
};
use commonware_math::algebra::Random as _;
use commonware_runtime::tokio;
use commonware_utils::{
    TryCollect as _,
    ordered::{BiMap, Set},
};

/// Separates these signatures from all others.
pub const NAMESPACE: &[u8] = b"simplex-peer";

/// Signatures in G1 and keys in G2, as ours.
type Group = MinSig;
type Voting = <Group as Variant>::Public;

/// Keys of all validators, in the order in which simplex numbers them: that of their identities.
pub struct Committee {
    pub identities: Vec<PrivateKey>,
    voting: Vec<Private>,
}

impl Committee {
    /// New keys. The process has made all of them itself, so none has to prove that its owner has
    /// it.
    pub fn generate(context: &mut tokio::Context, nodes: u16) -> Self {
        let mut identities: Vec<_> =
            (0..nodes).map(|_| PrivateKey::random(&mut *context)).collect();
        identities.sort_by_key(PrivateKey::public_key);
        let voting = identities.iter().map(|_| Private::random(&mut *context)).collect();
        Self { identities, voting }
    }

    /// The public keys of the validators.
    pub fn keys(&self) -> impl Iterator<Item = PublicKey> {
        self.identities.iter().map(PrivateKey::public_key)
    }

    /// Signature schemes whose certificates are one signature and a list of signers.
    pub fn bls(&self) -> anyhow::Result<Vec<bls12381_multisig::Scheme<PublicKey, Group>>> {
        let voting = self.voting.iter().map(ops::compute_public::<Group>);
        let members: BiMap<PublicKey, Voting> =
            self.keys().zip(voting).try_collect().map_err(|error| {
                anyhow!("two validators share a key: {error:?}")
            })?;
        let seat = |key: &Private| {
            bls12381_multisig::Scheme::signer(NAMESPACE, members.clone(), key.clone())
        };
        self.voting.iter().map(seat).collect::<Option<_>>().context("a validator is no member")
    }

    /// Signature schemes whose certificates are lists of votes.
    pub fn ed25519(&self) -> anyhow::Result<Vec<ed25519::Scheme>> {
        let members: Set<PublicKey> = self.keys().try_collect().map_err(|error| {
            anyhow!("two validators share a key: {error:?}")
        })?;
        let seat =
            |key: &PrivateKey| ed25519::Scheme::signer(NAMESPACE, members.clone(), key.clone());
        self.identities.iter().map(seat).collect::<Option<_>>().context("a validator is no member")
    }
}
