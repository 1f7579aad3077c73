//! A node around a replica: a disk, a mempool, a clock that is a little wrong, and one core whose
//! time signatures take.

use crate::{
    disk::{Disk, Write},
    random::Rng,
    world::{GENESIS_MS, World},
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tequio_core::{
    consensus::{Config, Input, Pipeline, Replica, VotesTo, WalRecord},
    crypto::meter::Operations,
    ledger::{Block, Checked, SignedTransaction, State},
    types::{Height, NodeId, TimeMs, Verified},
};

/// Clocks are ahead of the world's by up to this.
pub const CLOCK_OFFSET_MS_MAX: u64 = 200;
/// And drift by up to this, either way.
const CLOCK_DRIFT_PPM_MAX: u64 = 200;

/// One node.
#[derive(Debug)]
pub struct Host {
    /// The member whose keys it has; twins share one.
    pub seat: usize,
    /// Its keys.
    pub config: Config,
    /// Its disk.
    pub disk: Disk,
    /// What is being written, if anything.
    pub writing: Option<Write>,
    /// None while crashed.
    pub replica: Option<Replica>,
    /// Counts restarts: what was meant for an earlier life is dropped.
    pub life: u32,
    /// When it will be called even if nothing happens.
    pub wake_at_us: Option<u64>,
    /// By sender and nonce, so that a block takes them in order.
    pub mempool: BTreeMap<(NodeId, u64), Verified<SignedTransaction>>,
    /// The newest block whose transactions have left the mempool.
    pub emptied: Height,
    /// What came while its core was busy.
    pub inbox: VecDeque<Input>,
    /// Its core works until then.
    pub busy_until_us: u64,
    /// Its disk is damaged: it stays down.
    pub is_dead: bool,
    /// What it has said in this life, where a bug asks for it.
    pub said: BTreeSet<Vec<u8>>,
    /// How far its clock is ahead, microseconds.
    pub clock_offset_us: u64,
    /// The height at which it last looked whether others are further.
    pub looked_at: Height,
    clock_drift_ppm: i64,
}

impl Host {
    /// A node that has not been started.
    pub fn new(world: &'static World, seat: usize, rng: &mut Rng) -> Self {
        let node_key = world.keys[seat].0.clone();
        let drift = rng.range(0, 2 * CLOCK_DRIFT_PPM_MAX) as i64 - CLOCK_DRIFT_PPM_MAX as i64;
        Self {
            seat,
            config: Config {
                node_key,
                seat_keys: world.seat_keys[seat].clone(),
                votes_to: VotesTo::All,
                pipeline: Pipeline::Auto,
            },
            disk: Disk::new(world),
            writing: None,
            replica: None,
            life: 0,
            wake_at_us: None,
            mempool: BTreeMap::new(),
            emptied: 0,
            inbox: VecDeque::new(),
            busy_until_us: 0,
            is_dead: false,
            said: BTreeSet::new(),
            clock_offset_us: rng.range(0, CLOCK_OFFSET_MS_MAX * 1000),
            looked_at: 0,
            clock_drift_ppm: drift,
        }
    }

    /// What its clock shows. Drift counts from the beginning, and is set right by an operator each
    /// virtual hour.
    pub fn clock_ms(&self, now_us: u64) -> TimeMs {
        (now_us as i64 + self.clock_offset_us as i64 + self.drift_us(now_us)) as u64 / 1000
    }

    /// When the world's clock will show what this host's clock shows at `local_ms`.
    pub fn world_us(&self, local_ms: TimeMs) -> u64 {
        let about_us = (local_ms * 1000).saturating_sub(self.clock_offset_us);
        about_us.saturating_add_signed(-self.drift_us(about_us))
    }

    fn drift_us(&self, now_us: u64) -> i64 {
        const HOUR_US: u64 = 3_600_000_000;
        let since_us = now_us.saturating_sub(GENESIS_MS * 1000) % HOUR_US;
        since_us as i64 * self.clock_drift_ppm / 1_000_000
    }

    /// Starts from the disk and these records of it.
    pub fn start(&mut self, now_us: u64, records: Vec<WalRecord>) -> Result<(), String> {
        let restored = Replica::restore(
            self.config.clone(),
            self.disk.head.clone(),
            records,
            self.clock_ms(now_us),
        );
        self.replica = Some(restored.map_err(|error| error.to_string())?);
        self.emptied = self.disk.height();
        self.life += 1;
        self.wake_at_us = None;
        self.busy_until_us = now_us;
        Ok(())
    }

    /// Loses memory; what was being written is the caller's to settle.
    pub fn crash(&mut self) -> Option<Write> {
        self.replica = None;
        self.life += 1;
        self.inbox.clear();
        self.said.clear();
        self.writing.take()
    }

    /// The mempool's choice for a block upon this state.
    pub fn choice(&self, state: &State) -> Vec<Verified<SignedTransaction>> {
        let mut next = BTreeMap::new();
        let fits = |((sender, nonce), _): &(&(NodeId, u64), &Verified<SignedTransaction>)| {
            let expected =
                next.entry(*sender).or_insert_with(|| state.account(sender).map_or(0, |a| a.nonce));
            let fits = nonce == expected;
            *expected += u64::from(fits);
            fits
        };
        self.mempool.iter().filter(fits).map(|(_, transaction)| transaction.clone()).collect()
    }

    /// Those of a block's transactions that its mempool has verified, signature and all.
    pub fn checked(&self, transactions: &[SignedTransaction]) -> Vec<Checked> {
        let waiting =
            |t: &SignedTransaction| self.mempool.get(&(t.transaction.sender, t.transaction.nonce));
        let same = |t: &SignedTransaction| waiting(t).filter(|w| ***w == *t).map(Checked::of);
        transactions.iter().filter_map(same).collect()
    }

    /// A block took these.
    pub fn forget_included(&mut self, block: &Block) {
        self.emptied = block.header.height;
        for signed in block.transactions.iter() {
            self.mempool.remove(&(signed.transaction.sender, signed.transaction.nonce));
        }
    }
}

/// What handling an input costs besides its signatures: decoding, maps, a state transition of a few
/// entries.
const INPUT_US: u64 = 15;
/// Medians on one core of an EPYC Zen 3 at 3.2 GHz with blst; verification with decoded keys.
const BLS_SIGN_US: u64 = 185;
const BLS_VERIFY_US: u64 = 1068;
const BLS_KEY_US: u64 = 3;
const BLS_AGGREGATE_US: u64 = 69;
const ED25519_SIGN_US: u64 = 20;
const ED25519_VERIFY_US: u64 = 42;
const VRF_PROVE_US: u64 = 150;
const VRF_VERIFY_US: u64 = 180;

/// What the two signatures of a decision, and the two checks of a quorum's sum, take on one host:
/// no machine that decides by such signatures is faster.
pub fn floor_us(quorum: u64) -> u64 {
    2 * (BLS_SIGN_US + BLS_VERIFY_US + quorum * (BLS_KEY_US + BLS_AGGREGATE_US))
}

/// The time of one core that handling an input with these operations takes.
pub fn cost_us(operations: &Operations) -> u64 {
    INPUT_US
        + operations.bls_signed * BLS_SIGN_US
        + operations.bls_verified * BLS_VERIFY_US
        + operations.bls_keys * BLS_KEY_US
        + operations.bls_aggregated * BLS_AGGREGATE_US
        + operations.ed25519_signed * ED25519_SIGN_US
        + operations.ed25519_verified * ED25519_VERIFY_US
        + operations.vrf_proved * VRF_PROVE_US
        + operations.vrf_verified * VRF_VERIFY_US
}
