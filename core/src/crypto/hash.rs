//! BLAKE3 in `derive_key` mode: a digest made for one purpose can never be taken for another.

use crate::{codec, types::Digest};
use blake3::hazmat::HasherExt;
use borsh::{BorshSerialize, io};

/// The purpose of a digest or signature. The strings are part of the protocol and never change
/// their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum HashContext {
    Genesis,
    Checkpoint,
    Committee,
    BlockHeader,
    Transaction,
    TransactionLeaf,
    TransactionNode,
    StateKey,
    StateValue,
    StateLeaf,
    StateNode,
    Vote,
    BlsPossession,
    BlsSecret,
    ViewChange,
    Proposal,
    AuditDraw,
    Admission,
    Job,
    UnitStep,
    UnitResult,
    UnitCommitment,
    ProductCheck,
    CheckerDraw,
    Weights,
    Dataset,
    Keystore,
    SignatureBatch,
    Seed,
    SeedProof,
    Leader,
    VrfPossession,
}

impl HashContext {
    /// The BLAKE3 context string.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Genesis => "tequio 2026 genesis",
            Self::Checkpoint => "tequio 2026 checkpoint",
            Self::Committee => "tequio 2026 committee",
            Self::BlockHeader => "tequio 2026 block header",
            Self::Transaction => "tequio 2026 transaction",
            Self::TransactionLeaf => "tequio 2026 transaction tree leaf",
            Self::TransactionNode => "tequio 2026 transaction tree node",
            Self::StateKey => "tequio 2026 state key",
            Self::StateValue => "tequio 2026 state value",
            Self::StateLeaf => "tequio 2026 state tree leaf",
            Self::StateNode => "tequio 2026 state tree node",
            Self::Vote => "tequio 2026 vote",
            Self::BlsPossession => "tequio 2026 bls proof of possession",
            Self::BlsSecret => "tequio 2026 bls secret key",
            Self::ViewChange => "tequio 2026 view change",
            Self::Proposal => "tequio 2026 proposal",
            Self::AuditDraw => "tequio 2026 draw of auditors",
            Self::Admission => "tequio 2026 admission puzzle",
            Self::Job => "tequio 2026 job",
            Self::UnitStep => "tequio 2026 lane step",
            Self::UnitResult => "tequio 2026 lane result",
            Self::UnitCommitment => "tequio 2026 lane commitment",
            Self::ProductCheck => "tequio 2026 product check",
            Self::CheckerDraw => "tequio 2026 draw of checkers",
            Self::Weights => "tequio 2026 weights",
            Self::Dataset => "tequio 2026 dataset",
            Self::Keystore => "tequio 2026 keystore",
            Self::SignatureBatch => "tequio 2026 batch of signatures",
            Self::Seed => "tequio 2026 seed of leaders",
            Self::SeedProof => "tequio 2026 vrf input",
            Self::Leader => "tequio 2026 order of leaders",
            Self::VrfPossession => "tequio 2026 vrf proof of possession",
        }
    }

    /// The key that BLAKE3 derives from the name. It is a constant, because most hashed inputs are
    /// hardly longer than the name, and the tree of the state consists of such digests.
    const fn key(self) -> blake3::hazmat::ContextKey {
        match self {
            Self::Genesis => {
                key(b"66092b424c7e4aa99e63d5862d94b4aacd65265af7b77193c10b4a982396b317")
            }
            Self::Checkpoint => {
                key(b"4f1c39500a0a534724fe9efa39895bbc1ed3dcd54f6edfe1568fd01a906c3566")
            }
            Self::Committee => {
                key(b"61a0e5085a0c78f54ceea478f0645117f3ce0fa14bd72d2d0e6115ba3e9395d6")
            }
            Self::BlockHeader => {
                key(b"fb20a55f9a9483a79aadf15c3279af742d24ff43c5e02adac96628099d20b8af")
            }
            Self::Transaction => {
                key(b"84896e8b44da67566235505b00c49b21234d68c23e60eb528b63d7b563a56f55")
            }
            Self::TransactionLeaf => {
                key(b"8244720e5ae44a64b3c72d71374eb68a3b8b4dba1309e7ed446f476d52cf81a1")
            }
            Self::TransactionNode => {
                key(b"7a34f0b1fa6ee5c76dbbb225af4e11a157c7c9320a866daef9bf9d072df5e6e3")
            }
            Self::StateKey => {
                key(b"c65d836bdcff0c64593ae881f2d9b1dd052ef4147119e60be83a01257037f0f3")
            }
            Self::StateValue => {
                key(b"300b4fbcde95666dae091ca662e17eecbbbab20eacb9d18ce815a6c17dbf144f")
            }
            Self::StateLeaf => {
                key(b"ba27a737db1811221d275edc90ab18ec844cf2eea8a93996b9b71301b0a36896")
            }
            Self::StateNode => {
                key(b"a474f02385fcdb3147fc7a92f57bf4e15639af189eea1e28a76516e3244c3810")
            }
            Self::Vote => key(b"d37687ff1c01e243b53fc1ba3d7d94da442e1789256e75d0851c2a16c81d6a07"),
            Self::BlsPossession => {
                key(b"10c5d0c99baa745c161ef6ad780d2ab7641130d93cd9eb3b695ecef694da387f")
            }
            Self::BlsSecret => {
                key(b"45e3ce71a18eac1b819794404798339af01efb4a6926ae582a6055434341e2d2")
            }
            Self::ViewChange => {
                key(b"dd460ffc01ff92b3a54c57149f1f9be9e4fe149bca6718c51e46bbfc46f19bbf")
            }
            Self::Proposal => {
                key(b"f9b3e6e521381dae9c03a535f6e62d585c83558b532d739c9402bacb3dd954c5")
            }
            Self::AuditDraw => {
                key(b"c77c034d56d5c910cdcd7cebd7aba5b50a95c527a84463dadb8229b91aa00ac2")
            }
            Self::Admission => {
                key(b"17460cc490242081ffaf6d1f75c9262f4cec59da9ee7adc063751d7adfbecbe4")
            }
            Self::Job => key(b"fe0c324ffec50a780b1ab8f06e6ed6b1247b79b87935485641204e5fffdb2754"),
            Self::UnitStep => {
                key(b"eae4580d17387a7afecb0c8351205c9d4da94cd33623e9fe2223d8dbce27146c")
            }
            Self::UnitResult => {
                key(b"b1e6e55c409a511b78a6d247a58fb3c24851ee520d9b87789bb2b3f6d56582c3")
            }
            Self::UnitCommitment => {
                key(b"8e50090cc9c2646bdd7e97bd0fadea2e0b7f9c0260991777f970a53b444c7e41")
            }
            Self::ProductCheck => {
                key(b"d0fa372efa402c9f330bc131dfa669980a0beeee82c8263d0dab42fba089ca81")
            }
            Self::CheckerDraw => {
                key(b"a57a1cb5d6d932366944b16006f016151bde1021d8bf5f94de2c4694adad03b9")
            }
            Self::Weights => {
                key(b"152a93edee5bbb9dcc9cb47fe6a55646a1f2593e5f15d7ebb738921826236065")
            }
            Self::Dataset => {
                key(b"fb59439366bf547258d1330973530a21394f27a564197c399f0dd17d559dbbb1")
            }
            Self::Keystore => {
                key(b"347778283cb0c244a271dbd92435a4798432454ac6a44c479d1909a36d6829fb")
            }
            Self::SignatureBatch => {
                key(b"25eeabe602e085c7ee9c837396865a364d2869a5243ea805af5c9fc2619197be")
            }
            Self::Seed => key(b"87c185140bc9fe3853b105578a3961b4c40652dbffa2192d9040ee3752f766ca"),
            Self::SeedProof => {
                key(b"59c9aa3faeb2e37722ab558c992240dd0b65002eb09b9d3617056496c011f846")
            }
            Self::Leader => {
                key(b"6a6144ac5ceafd48afe541d013b484b1b7fb6548c3e5127dc7b415847d808ebc")
            }
            Self::VrfPossession => {
                key(b"da1618fc9b1186ac98d5306c9c1375bb31f46e404c1acaf4ba1a5d0317ccab2e")
            }
        }
    }

    /// A hasher for data that comes in pieces.
    pub fn hasher(self) -> blake3::Hasher {
        blake3::Hasher::new_from_context_key(&self.key())
    }
}

const fn key(hex: &[u8; 64]) -> [u8; 32] {
    const fn digit(byte: u8) -> u8 {
        if byte <= b'9' { byte - b'0' } else { byte - b'a' + 10 }
    }
    let (mut bytes, mut rest, mut at) = ([0; 32], hex.as_slice(), 0);
    while let ([high, low, tail @ ..], true) = (rest, at < 32) {
        bytes[at] = digit(*high) << 4 | digit(*low);
        (rest, at) = (tail, at + 1);
    }
    bytes
}

/// The digest of some bytes.
pub fn hash(context: HashContext, bytes: &[u8]) -> Digest {
    Digest(*context.hasher().update(bytes).finalize().as_bytes())
}

/// The digest of a value's canonical encoding.
pub fn hash_of<T: BorshSerialize + ?Sized>(context: HashContext, value: &T) -> Digest {
    struct Sink(blake3::Hasher);
    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.update(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut sink = Sink(context.hasher());
    match value.serialize(&mut sink) {
        Ok(()) => Digest(*sink.0.finalize().as_bytes()),
        Err(_) => hash(context, &codec::encode(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_keys_match_the_context_names() {
        let all = [
            HashContext::Genesis,
            HashContext::Checkpoint,
            HashContext::Committee,
            HashContext::BlockHeader,
            HashContext::Transaction,
            HashContext::TransactionLeaf,
            HashContext::TransactionNode,
            HashContext::StateKey,
            HashContext::StateValue,
            HashContext::StateLeaf,
            HashContext::StateNode,
            HashContext::Vote,
            HashContext::BlsPossession,
            HashContext::BlsSecret,
            HashContext::ViewChange,
            HashContext::Proposal,
            HashContext::AuditDraw,
            HashContext::Admission,
            HashContext::Job,
            HashContext::UnitStep,
            HashContext::UnitResult,
            HashContext::UnitCommitment,
            HashContext::ProductCheck,
            HashContext::CheckerDraw,
            HashContext::Weights,
            HashContext::Dataset,
            HashContext::Keystore,
            HashContext::SignatureBatch,
            HashContext::Seed,
            HashContext::SeedProof,
            HashContext::Leader,
            HashContext::VrfPossession,
        ];
        for (number, context) in all.into_iter().enumerate() {
            assert_eq!(context as usize, number, "one is missing before {context:?}");
            assert_eq!(
                context.key(),
                blake3::hazmat::hash_derive_key_context(context.name()),
                "{context:?}"
            );
            assert_eq!(hash(context, b"x").0, blake3::derive_key(context.name(), b"x"));
        }
        assert_eq!(all.last(), Some(&HashContext::VrfPossession));
    }
}
