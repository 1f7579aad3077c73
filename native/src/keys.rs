//! The node's secret keys and the keystore file that holds them.

use anyhow::{Context as _, bail};
use borsh::{BorshDeserialize, BorshSerialize};
use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};
use tequio_core::{
    codec::{self, BoundedVec},
    consensus::SeatKeys,
    crypto::{NodeKey, bls, vrf},
    keystore::{self, KeystoreError},
    ledger::genesis::GenesisSeat,
    types::{NodeId, Weight},
};
use tequio_host::{
    Passphrase,
    keystore::{KeystoreFileError, open_file, seal_file},
    random,
};
use zeroize::{Zeroize, Zeroizing};

/// Name of the keystore in a node's directory.
pub const FILE_NAME: &str = "keystore";
const SECRETS_VERSION: u8 = 3;
/// Version of secrets without keys for later epochs.
const SECRETS_VERSION_PLAIN: u8 = 2;
/// Most sets of seat keys besides the first. When there are more, the oldest are removed.
const LATER_MAX: usize = 6;

/// The node's identity and its keys for consensus.
#[derive(Clone)]
pub struct Keys {
    /// The key of the node's identity.
    pub node: NodeKey,
    /// The voting key. Every node has one, with or without a seat.
    pub voting: bls::SecretKey,
    /// The VRF key, which every node has too. It is never the voting key.
    pub vrf: vrf::SecretKey,
    /// Keys that the seat got later, or gets at an epoch boundary; the newest last.
    pub later: Vec<SeatKeys>,
    /// The keystore's passphrase, so that keys can be added while the node runs.
    passphrase: Option<Passphrase>,
}

impl std::fmt::Debug for Keys {
    /// Shows the node id, and none of the secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "keys of {:?}", self.id())
    }
}

/// The sealed contents of the keystore.
#[derive(BorshSerialize, BorshDeserialize)]
struct Secrets {
    version: u8,
    node: [u8; 32],
    voting: [u8; 32],
    vrf: [u8; 32],
    later: BoundedVec<[[u8; 32]; 2], LATER_MAX>,
}

/// The sealed contents of a keystore of an older version.
#[derive(BorshSerialize, BorshDeserialize)]
struct PlainSecrets {
    version: u8,
    node: [u8; 32],
    voting: [u8; 32],
    vrf: [u8; 32],
}

impl Drop for PlainSecrets {
    fn drop(&mut self) {
        self.node.zeroize();
        self.voting.zeroize();
        self.vrf.zeroize();
    }
}

impl Drop for Secrets {
    fn drop(&mut self) {
        self.node.zeroize();
        self.voting.zeroize();
        self.vrf.zeroize();
        let mut later = std::mem::take(&mut self.later).into_vec();
        later.iter_mut().for_each(Zeroize::zeroize);
    }
}

impl Keys {
    /// Generates new keys with the operating system's randomness.
    pub fn generate() -> anyhow::Result<Self> {
        let (node, voting, vrf) = (random::<32>()?, random::<32>()?, random::<32>()?);
        Ok(Self {
            node: NodeKey::from_bytes(&node),
            voting: bls::SecretKey::from_seed(&voting),
            vrf: vrf::SecretKey::from_bytes(&vrf),
            later: Vec::new(),
            passphrase: None,
        })
    }

    /// The node id: the public half of the identity.
    pub fn id(&self) -> NodeId {
        self.node.id()
    }

    /// All sets of keys that the seat may need. The committee determines the current set.
    pub fn of_seat(&self) -> Vec<SeatKeys> {
        let first = SeatKeys { vote: self.voting.clone(), vrf: self.vrf.clone() };
        std::iter::once(first).chain(self.later.iter().cloned()).collect()
    }

    /// Generates new keys for the seat and adds them to the keystore before their public halves are
    /// used anywhere. Sets for which `kept` is true stay, whatever their age.
    pub fn add_seat_keys(
        &mut self,
        path: &Path,
        kept: impl Fn(&SeatKeys) -> bool,
    ) -> anyhow::Result<SeatKeys> {
        let passphrase =
            self.passphrase.clone().context("the passphrase of the keystore is unknown")?;
        let (vote, vrf) = (random::<32>()?, random::<32>()?);
        let new = SeatKeys {
            vote: bls::SecretKey::from_seed(&vote),
            vrf: vrf::SecretKey::from_bytes(&vrf),
        };
        let mut changed = self.clone();
        if changed.later.len() >= LATER_MAX
            && let Some(oldest) = changed.later.iter().position(|keys| !kept(keys))
        {
            changed.later.remove(oldest);
        }
        changed.later.push(new.clone());
        changed.save(path, &passphrase)?;
        *self = changed;
        Ok(new)
    }

    /// A genesis seat with these keys in a new chain.
    pub fn genesis_seat(&self, weight: Weight) -> GenesisSeat {
        GenesisSeat {
            node: self.id(),
            key: self.voting.public(),
            vrf_key: self.vrf.public(),
            weight,
        }
    }

    /// Writes the keystore, readable by its owner only.
    pub fn save(&self, path: &Path, passphrase: &Passphrase) -> anyhow::Result<()> {
        let secrets = Secrets {
            version: SECRETS_VERSION,
            node: *self.node.to_bytes(),
            voting: *self.voting.to_bytes(),
            vrf: *self.vrf.to_bytes(),
            later: self
                .later
                .iter()
                .map(|keys| [*keys.vote.to_bytes(), *keys.vrf.to_bytes()])
                .collect::<Vec<_>>()
                .try_into()?,
        };
        let bytes = Zeroizing::new(codec::encode(&secrets));
        seal_file(path, &bytes, passphrase)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Opens a keystore.
    pub fn open(path: &Path, passphrase: &Passphrase) -> anyhow::Result<Self> {
        let location = || format!("cannot open the keystore {}", path.display());
        let bytes = open_file(path, passphrase).map_err(|error| {
            let remedy = match &error {
                KeystoreFileError::Io(error) => match error.kind() {
                    ErrorKind::NotFound => {
                        ": check the path, or bring the keys back from a backup (`tequio keys \
                         import`)"
                    }
                    ErrorKind::PermissionDenied => ": run the command as the user that owns it",
                    _ => "",
                },
                KeystoreFileError::Keystore(KeystoreError::WrongPassphrase) => {
                    ": give the passphrase with which it was sealed, in --passphrase-file or \
                     TEQUIO_PASSPHRASE"
                }
                KeystoreFileError::Keystore(
                    KeystoreError::NotAKeystore | KeystoreError::Parameters,
                ) => {
                    ": name another file, or bring the keys back from a backup (`tequio keys \
                     import`)"
                }
                KeystoreFileError::Keystore(_) | KeystoreFileError::Random(_) => "",
            };
            anyhow::Error::new(error).context(format!("{}{remedy}", location()))
        })?;
        match bytes.first() {
            Some(&SECRETS_VERSION | &SECRETS_VERSION_PLAIN) | None => {}
            Some(version) if *version < SECRETS_VERSION => {
                bail!(
                    "{}: made by an older tequio, without the key of a VRF; make new keys",
                    path.display()
                )
            }
            Some(version) => {
                bail!("{}: its contents have version {version}; upgrade tequio", path.display())
            }
        }
        let secrets = if bytes.first() == Some(&SECRETS_VERSION_PLAIN) {
            let plain: PlainSecrets =
                codec::decode(&bytes, keystore::SECRET_LEN_MAX).with_context(location)?;
            let later = BoundedVec::new();
            Secrets {
                version: SECRETS_VERSION,
                node: plain.node,
                voting: plain.voting,
                vrf: plain.vrf,
                later,
            }
        } else {
            codec::decode(&bytes, keystore::SECRET_LEN_MAX).with_context(location)?
        };
        let later = secrets.later.iter().map(|[vote, vrf]| {
            Ok(SeatKeys {
                vote: bls::SecretKey::from_bytes(vote)?,
                vrf: vrf::SecretKey::from_bytes(vrf),
            })
        });
        let later: Result<Vec<SeatKeys>, bls::BlsError> = later.collect();
        Ok(Self {
            later: later.with_context(location)?,
            passphrase: Some(passphrase.clone()),
            node: NodeKey::from_bytes(&secrets.node),
            voting: bls::SecretKey::from_bytes(&secrets.voting).with_context(location)?,
            vrf: vrf::SecretKey::from_bytes(&secrets.vrf),
        })
    }
}

/// The keystore of a running node: the keys in the file. Rotation adds keys of the seat.
#[derive(Debug)]
pub struct StoredKeys {
    keys: Mutex<Keys>,
    path: PathBuf,
}

impl StoredKeys {
    /// The keys of this file.
    pub fn new(keys: Keys, path: PathBuf) -> Self {
        Self { keys: Mutex::new(keys), path }
    }

    /// The newest stored keys of the seat for which `is_new` is true, or else newly generated and
    /// stored ones, see [`Keys::add_seat_keys`].
    pub fn fresh_seat_keys(
        &self,
        is_new: impl Fn(&SeatKeys) -> bool,
        kept: impl Fn(&SeatKeys) -> bool,
    ) -> anyhow::Result<SeatKeys> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        match keys.of_seat().into_iter().rev().find(is_new) {
            Some(found) => Ok(found),
            None => keys.add_seat_keys(&self.path, kept),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_open_only_with_their_passphrase() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        let keys = Keys::generate().unwrap();
        let passphrase = Zeroizing::new("correct horse".to_owned());
        keys.save(&path, &passphrase).unwrap();
        let again = Keys::open(&path, &passphrase).unwrap();
        assert_eq!((again.id(), again.voting.public()), (keys.id(), keys.voting.public()));
        assert_eq!(again.vrf.public(), keys.vrf.public());
        assert!(Keys::open(&path, &Zeroizing::new("wrong".to_owned())).is_err());
        // The keystore has keys of later epochs first, and keeps a limited number of them.
        let mut again = again;
        let first = again.add_seat_keys(&path, |_| false).unwrap();
        for _ in 0..LATER_MAX {
            let newest = again
                .add_seat_keys(&path, |keys| keys.vote.public() == first.vote.public())
                .unwrap();
            let read = Keys::open(&path, &passphrase).unwrap();
            assert_eq!(read.later.last().unwrap().vrf.public(), newest.vrf.public());
            assert_eq!(read.of_seat().len(), again.of_seat().len());
        }
        assert_eq!(
            (again.later.len(), again.later[0].vote.public()),
            (LATER_MAX, first.vote.public())
        );
    }
}
