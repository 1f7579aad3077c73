//! A node around a replica: a disk, a mempool, a clock with a small error, and one core that
//! signature operations keep busy.

use crate::{
    chain_fixture::{ChainFixture, GENESIS_MS},
    disk::{Disk, Write},
    random::Rng,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tequio_core::{
    consensus::{Config, Input, Pipeline, Replica, VoteRouting, WalRecord},
    crypto::meter::Operations,
    ledger::{Block, SignedTransaction, State, VerifiedSignature},
    types::{Height, NodeId, TimeMs, Verified},
};

/// Largest lead of a host's clock over the true time.
pub const CLOCK_OFFSET_MS_MAX: u64 = 200;
/// Largest drift of a host's clock, in either direction.
const CLOCK_DRIFT_PPM_MAX: u64 = 200;

/// A simulated node.
#[derive(Debug)]
pub struct Host {
    /// The member whose keys the host has. Twins share one member.
    pub seat: usize,
    /// Keys of the host.
    pub config: Config,
    /// The host's disk.
    pub disk: Disk,
    /// The write in progress.
    pub writing: Option<Write>,
    /// The consensus machine; none while crashed.
    pub replica: Option<Replica>,
    /// Number of restarts: events of an earlier life are dropped.
    pub life: u32,
    /// Time of the next timer call.
    pub wake_at_us: Option<u64>,
    /// Verified transactions by sender and nonce, so that a block takes them in order.
    pub mempool: BTreeMap<(NodeId, u64), Verified<SignedTransaction>>,
    /// The newest block whose transactions have left the mempool.
    pub included_height: Height,
    /// Inputs that arrived while the core was busy.
    pub inbox: VecDeque<Input>,
    /// Time until which the core is busy.
    pub busy_until_us: u64,
    /// Whether the disk is damaged; the host then stays down.
    pub is_dead: bool,
    /// Messages sent since the last restart, kept for mutants that need them.
    pub sent: BTreeSet<Vec<u8>>,
    /// Lead of the host's clock, microseconds.
    pub clock_offset_us: u64,
    /// The height at which the host last looked for newer blocks at a peer.
    pub polled_height: Height,
    clock_drift_ppm: i64,
}

impl Host {
    /// Creates a host that has not been started.
    pub fn new(fixture: &'static ChainFixture, seat: usize, rng: &mut Rng) -> Self {
        let node_key = fixture.keys[seat].0.clone();
        let drift = rng.range(0, 2 * CLOCK_DRIFT_PPM_MAX) as i64 - CLOCK_DRIFT_PPM_MAX as i64;
        Self {
            seat,
            config: Config {
                node_key,
                seat_keys: fixture.seat_keys[seat].clone(),
                vote_routing: VoteRouting::All,
                pipeline: Pipeline::Auto,
            },
            disk: Disk::new(fixture),
            writing: None,
            replica: None,
            life: 0,
            wake_at_us: None,
            mempool: BTreeMap::new(),
            included_height: 0,
            inbox: VecDeque::new(),
            busy_until_us: 0,
            is_dead: false,
            sent: BTreeSet::new(),
            clock_offset_us: rng.range(0, CLOCK_OFFSET_MS_MAX * 1000),
            polled_height: 0,
            clock_drift_ppm: drift,
        }
    }

    /// Returns the time of the host's clock. Drift accumulates from the beginning, and an operator
    /// corrects it each virtual hour.
    pub fn clock_ms(&self, now_us: u64) -> TimeMs {
        (now_us as i64 + self.clock_offset_us as i64 + self.drift_us(now_us)) as u64 / 1000
    }

    /// Returns the true time at which the host's clock shows `local_ms`.
    pub fn true_us(&self, local_ms: TimeMs) -> u64 {
        let about_us = (local_ms * 1000).saturating_sub(self.clock_offset_us);
        about_us.saturating_add_signed(-self.drift_us(about_us))
    }

    fn drift_us(&self, now_us: u64) -> i64 {
        const HOUR_US: u64 = 3_600_000_000;
        let since_us = now_us.saturating_sub(GENESIS_MS * 1000) % HOUR_US;
        since_us as i64 * self.clock_drift_ppm / 1_000_000
    }

    /// Starts from the disk and these of its records.
    pub fn start(&mut self, now_us: u64, records: Vec<WalRecord>) -> Result<(), String> {
        let restored = Replica::restore(
            self.config.clone(),
            self.disk.head.clone(),
            records,
            self.clock_ms(now_us),
        );
        self.replica = Some(restored.map_err(|error| error.to_string())?);
        self.included_height = self.disk.height();
        self.life += 1;
        self.wake_at_us = None;
        self.busy_until_us = now_us;
        Ok(())
    }

    /// Loses memory. The caller decides the fate of the write in progress.
    pub fn crash(&mut self) -> Option<Write> {
        self.replica = None;
        self.life += 1;
        self.inbox.clear();
        self.sent.clear();
        self.writing.take()
    }

    /// Returns the mempool's transactions for a block on top of this state.
    pub fn select_transactions(&self, state: &State) -> Vec<Verified<SignedTransaction>> {
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

    /// Returns those of a block's transactions that the mempool has verified with their signatures.
    pub fn verified_signatures(
        &self,
        transactions: &[SignedTransaction],
    ) -> Vec<VerifiedSignature> {
        let waiting =
            |t: &SignedTransaction| self.mempool.get(&(t.transaction.sender, t.transaction.nonce));
        let same =
            |t: &SignedTransaction| waiting(t).filter(|w| ***w == *t).map(VerifiedSignature::of);
        transactions.iter().filter_map(same).collect()
    }

    /// Removes the transactions of a block.
    pub fn remove_included(&mut self, block: &Block) {
        self.included_height = block.header.height;
        for signed in block.transactions.iter() {
            self.mempool.remove(&(signed.transaction.sender, signed.transaction.nonce));
        }
    }
}

/// Processor time of an input besides its signatures: decoding, maps, a state transition of a few
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

/// Processor time of the two signatures of a decision and the two checks of a quorum's sum on one
/// host. No machine that decides by such signatures is faster.
pub fn signature_floor_us(quorum: u64) -> u64 {
    2 * (BLS_SIGN_US + BLS_VERIFY_US + quorum * (BLS_KEY_US + BLS_AGGREGATE_US))
}

/// Returns the processor time of an input with these operations on one core.
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
