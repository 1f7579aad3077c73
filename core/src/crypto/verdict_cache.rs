//! A bounded cache of recent verdicts. Exists only with feature `simulation`: a simulation checks
//! the same bytes once for each host, and runs for weeks.

use std::{cell::RefCell, collections::BTreeMap, mem};

/// Entries per generation: when one is full, the generation before it is dropped.
const GENERATION_LEN: usize = 1 << 14;

/// The newest entries: between one and two generations of them.
#[derive(Debug)]
pub(super) struct GenerationalCache<K, V> {
    young: BTreeMap<K, V>,
    old: BTreeMap<K, V>,
}

impl<K, V> Default for GenerationalCache<K, V> {
    fn default() -> Self {
        Self { young: BTreeMap::new(), old: BTreeMap::new() }
    }
}

impl<K: Ord, V: Copy> GenerationalCache<K, V> {
    pub(super) fn get(&self, key: &K) -> Option<V> {
        self.young.get(key).or_else(|| self.old.get(key)).copied()
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= GENERATION_LEN {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

type Verdicts = GenerationalCache<[u8; 32], bool>;

thread_local! {
    static VERDICTS: RefCell<Option<Verdicts>> = const { RefCell::new(None) };
}

/// Switches the cache of this thread on or off.
pub(super) fn set_enabled(is_on: bool) {
    VERDICTS.set(is_on.then(GenerationalCache::default));
}

/// The verdict of a check that is a pure function of these parts. The first part names the check.
pub(super) fn cached_verdict(of: &[&[u8]], check: impl FnOnce() -> bool) -> bool {
    let mut hasher = blake3::Hasher::new();
    for part in of {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    let of = *hasher.finalize().as_bytes();
    let known = VERDICTS.with_borrow(|verdicts| verdicts.as_ref()?.get(&of));
    known.unwrap_or_else(|| {
        let verdict = check();
        VERDICTS.with_borrow_mut(|verdicts| {
            if let Some(verdicts) = verdicts {
                verdicts.insert(of, verdict);
            }
        });
        verdict
    })
}
