//! What was worked out lately, within a bound. Exists only with feature `simulation`: a simulation
//! checks the same bytes once for each host, and runs for weeks.

use std::{cell::RefCell, collections::BTreeMap, mem};

/// Entries after which those that were there before are let go.
const GENERATION_LEN: usize = 1 << 14;

/// The newest entries, between one generation and two of them.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    young: BTreeMap<K, V>,
    old: BTreeMap<K, V>,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self { young: BTreeMap::new(), old: BTreeMap::new() }
    }
}

impl<K: Ord, V: Copy> Recent<K, V> {
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

thread_local! {
    static VERDICTS: RefCell<Option<Recent<[u8; 32], bool>>> = const { RefCell::new(None) };
}

/// From now on this thread remembers verdicts, or not.
pub(super) fn remember(is_on: bool) {
    VERDICTS.set(is_on.then(Recent::default));
}

/// The verdict of a check that is a pure function of these parts, the first of which names the
/// check.
pub(super) fn verdict(of: &[&[u8]], check: impl FnOnce() -> bool) -> bool {
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
