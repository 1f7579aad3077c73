//! ECVRF-EDWARDS25519-SHA512-TAI of RFC 9381. The holder of a key turns an input into an output
//! that no one else can predict, and proves that it is the only one. Section numbers below are the
//! RFC's.
//!
//! No adopted crate has this suite without `std` and with its checks (ADR 17), so the construction
//! is implemented here; the curve and the hash are those of adopted crates. Refused: keys of small
//! order (5.4.5), points that are not canonically encoded, and scalars at or above the order
//! (5.4.4). Secrets are used in constant time and erased. Inputs are public, as section 7.1
//! requires of the suites that try and increment.

use borsh::{BorshDeserialize, BorshSerialize};
use curve25519_dalek::{
    EdwardsPoint, Scalar, edwards::CompressedEdwardsY, scalar::clamp_integer, traits::IsIdentity,
    traits::VartimeMultiscalarMul,
};
use sha2::{Digest as _, Sha512};
use zeroize::Zeroizing;

/// Length of an encoded proof, bytes: a point, 16 bytes of challenge, a scalar.
pub const PROOF_LEN: usize = 80;
/// Length of an output, bytes.
pub const OUTPUT_LEN: usize = 64;
/// `suite_string` of this suite (5.5).
const SUITE: u8 = 0x03;
/// Domain separators (5.4.1.1, 5.4.3, 5.2), each closed by [`DOMAIN_SEPARATOR_BACK`].
const ENCODE_TO_CURVE: u8 = 0x01;
const CHALLENGE: u8 = 0x02;
const PROOF_TO_HASH: u8 = 0x03;
const DOMAIN_SEPARATOR_BACK: u8 = 0x00;
/// `cLen`.
const CHALLENGE_LEN: usize = 16;

/// A secret key: 32 bytes drawn from the operating system. Erased when dropped.
#[derive(Clone)]
pub struct SecretKey(Zeroizing<[u8; 32]>);

/// A public key as it travels, unchecked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct PublicKeyBytes(pub [u8; 32]);

/// A public key that is a canonically encoded point and not of small order.
#[derive(Clone, Copy)]
pub struct PublicKey {
    bytes: PublicKeyBytes,
    point: EdwardsPoint,
}

/// Proves that an output belongs to a key and an input.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct Proof(pub [u8; PROOF_LEN]);

/// The output of the VRF: indistinguishable from chance for anyone without the key, until the proof
/// is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Output(pub [u8; OUTPUT_LEN]);

/// The reason why a key or proof is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VrfError {
    /// Not a point of the curve, not canonical, or of small order.
    #[error("not a valid VRF public key")]
    BadKey,
    /// Malformed, or made for another key or input.
    #[error("the VRF proof is not valid")]
    BadProof,
}

/// A decoded proof (5.4.4).
struct DecodedProof {
    gamma: EdwardsPoint,
    challenge: Scalar,
    response: Scalar,
}

impl SecretKey {
    /// The key with these 32 secret bytes.
    pub fn from_bytes(secret: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*secret))
    }

    /// The secret itself, for the keystore.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        self.0.clone()
    }

    /// The public half.
    pub fn public(&self) -> PublicKeyBytes {
        let (x, _) = self.expand();
        PublicKeyBytes(EdwardsPoint::mul_base(&x).compress().0)
    }

    /// Proves the output for an input (5.1). Fails only for an input that no counter maps to the
    /// curve, which has a chance of about 2^-256.
    pub fn prove(&self, input: &[u8]) -> Result<Proof, VrfError> {
        #[cfg(feature = "simulation")]
        super::meter::count(|operations| operations.vrf_proved += 1);
        let (x, prefix) = self.expand();
        let key = EdwardsPoint::mul_base(&x);
        let h = encode_to_curve(&key.compress(), input).ok_or(VrfError::BadProof)?;
        let gamma = h * *x;
        // The nonce of RFC 8032 (5.4.2.2): fixed by key and input, so it can never be used for two
        // inputs.
        let mut wide = Zeroizing::new([0; 64]);
        Sha512::new()
            .chain_update(prefix.as_ref())
            .chain_update(h.compress().0)
            .finalize_into((&mut *wide).into());
        let nonce = Zeroizing::new(Scalar::from_bytes_mod_order_wide(&wide));
        let challenge =
            challenge([&key, &h, &gamma, &EdwardsPoint::mul_base(&nonce), &(h * *nonce)]);
        let response = *nonce + scalar(&challenge) * *x;
        let mut proof = [0; PROOF_LEN];
        let (point, rest) = proof.split_at_mut(32);
        let (c, s) = rest.split_at_mut(CHALLENGE_LEN);
        point.copy_from_slice(&gamma.compress().0);
        c.copy_from_slice(&challenge);
        s.copy_from_slice(response.as_bytes());
        Ok(Proof(proof))
    }

    /// The secret scalar, and the prefix that nonces are derived from (RFC 8032, 5.1.5).
    fn expand(&self) -> (Zeroizing<Scalar>, Zeroizing<[u8; 32]>) {
        let mut hashed = Zeroizing::new([0; 64]);
        Sha512::new().chain_update(self.0.as_ref()).finalize_into((&mut *hashed).into());
        let (mut low, mut prefix) = (Zeroizing::new([0; 32]), Zeroizing::new([0; 32]));
        let (first, second) = hashed.split_at(32);
        low.copy_from_slice(first);
        prefix.copy_from_slice(second);
        let clamped = Zeroizing::new(clamp_integer(*low));
        // Every point that the scalar multiplies is in the subgroup, so reducing it changes
        // nothing.
        (Zeroizing::new(Scalar::from_bytes_mod_order(*clamped)), prefix)
    }
}

impl PublicKeyBytes {
    /// Decodes and validates the key (5.4.5).
    pub fn decode(self) -> Result<PublicKey, VrfError> {
        let point = decode_point(&self.0)
            .filter(|point| !point.is_small_order())
            .ok_or(VrfError::BadKey)?;
        Ok(PublicKey { bytes: self, point })
    }
}

impl PublicKey {
    /// The encoded form.
    pub fn bytes(&self) -> PublicKeyBytes {
        self.bytes
    }

    /// The output for an input, if the proof is valid (5.3).
    pub fn verify(&self, input: &[u8], proof: &Proof) -> Result<Output, VrfError> {
        #[cfg(feature = "simulation")]
        super::meter::count(|operations| operations.vrf_verified += 1);
        let parts = proof.decode()?;
        let check = || self.is_valid(input, &parts);
        #[cfg(feature = "simulation")]
        let check = || {
            super::verdict_cache::cached_verdict(&[b"vrf", &self.bytes.0, &proof.0, input], check)
        };
        if check() { Ok(proof_to_hash(&parts.gamma)) } else { Err(VrfError::BadProof) }
    }

    fn is_valid(&self, input: &[u8], parts: &DecodedProof) -> bool {
        let DecodedProof { gamma, challenge: c, response: s } = parts;
        let Some(h) = encode_to_curve(&CompressedEdwardsY(self.bytes.0), input) else {
            return false;
        };
        let u = EdwardsPoint::vartime_double_scalar_mul_basepoint(&-c, &self.point, s);
        let v = EdwardsPoint::vartime_multiscalar_mul([*s, -c], [h, *gamma]);
        scalar(&challenge([&self.point, &h, gamma, &u, &v])) == *c
    }
}

impl Proof {
    /// The output of a verified proof (5.2). For any other proof it is meaningless.
    pub fn output(&self) -> Result<Output, VrfError> {
        Ok(proof_to_hash(&self.decode()?.gamma))
    }

    fn decode(&self) -> Result<DecodedProof, VrfError> {
        let (point, rest) = self.0.split_first_chunk().ok_or(VrfError::BadProof)?;
        let (c, s) = rest.split_first_chunk().ok_or(VrfError::BadProof)?;
        let s = <[u8; 32]>::try_from(s).map_err(|_| VrfError::BadProof)?;
        Ok(DecodedProof {
            gamma: decode_point(point).ok_or(VrfError::BadProof)?,
            challenge: scalar(c),
            response: Option::from(Scalar::from_canonical_bytes(s)).ok_or(VrfError::BadProof)?,
        })
    }
}

/// RFC 8032, 5.1.3: decodes the only encoding of a point.
fn decode_point(bytes: &[u8; 32]) -> Option<EdwardsPoint> {
    CompressedEdwardsY(*bytes).decompress().filter(|point| point.compress().0 == *bytes)
}

/// Try and increment (5.4.1.1), with the public key as salt.
fn encode_to_curve(key: &CompressedEdwardsY, input: &[u8]) -> Option<EdwardsPoint> {
    let start = Sha512::new()
        .chain_update([SUITE, ENCODE_TO_CURVE])
        .chain_update(key.0)
        .chain_update(input);
    (0..=u8::MAX).find_map(|counter| {
        let hashed = start.clone().chain_update([counter, DOMAIN_SEPARATOR_BACK]).finalize();
        let candidate = hashed.first_chunk().and_then(decode_point)?.mul_by_cofactor();
        (!candidate.is_identity()).then_some(candidate)
    })
}

/// Challenge generation (5.4.3).
fn challenge(points: [&EdwardsPoint; 5]) -> [u8; CHALLENGE_LEN] {
    let start = Sha512::new().chain_update([SUITE, CHALLENGE]);
    let hashed = points.iter().fold(start, |hash, point| hash.chain_update(point.compress().0));
    let mut challenge = [0; CHALLENGE_LEN];
    hashed
        .chain_update([DOMAIN_SEPARATOR_BACK])
        .finalize()
        .iter()
        .zip(&mut challenge)
        .for_each(|(byte, to)| *to = *byte);
    challenge
}

fn scalar(challenge: &[u8; CHALLENGE_LEN]) -> Scalar {
    Scalar::from(u128::from_le_bytes(*challenge))
}

fn proof_to_hash(gamma: &EdwardsPoint) -> Output {
    let point = gamma.mul_by_cofactor().compress();
    let hashed = Sha512::new()
        .chain_update([SUITE, PROOF_TO_HASH])
        .chain_update(point.0)
        .chain_update([DOMAIN_SEPARATOR_BACK]);
    Output(hashed.finalize().into())
}

impl core::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("vrf::SecretKey")
    }
}

impl core::fmt::Debug for PublicKeyBytes {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "vrf {a:02x}{b:02x}{c:02x}{d:02x}…")
    }
}

impl core::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.bytes.fmt(f)
    }
}

impl core::fmt::Debug for Proof {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("vrf::Proof")
    }
}

#[cfg(test)]
mod tests;
