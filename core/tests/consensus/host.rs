//! A node around a replica: a disk that loses what was not synced, a mempool, a clock that is a little wrong.

use crate::world::{CLOCK_OFFSET_MS, World};
use std::collections::BTreeMap;
use tequio_core::{
    codec,
    consensus::{Config, Finalised, Head, Replica, WalRecord},
    ledger::{Block, Certificate, SignedTransaction},
    types::{NodeId, TimeMs, Verified},
};

pub struct Host {
    pub config: Config,
    pub disk: Disk,
    /// What is being written, if anything.
    pub writing: Option<Write>,
    /// None while crashed.
    pub replica: Option<Replica>,
    /// Counts restarts: what was meant for an earlier life is dropped.
    pub life: u32,
    pub wake_at_ms: Option<TimeMs>,
    clock_offset_ms: u64,
    /// By sender and nonce, so that a block takes them in order.
    pub mempool: BTreeMap<(NodeId, u64), Verified<SignedTransaction>>,
}

/// What survives a crash.
pub struct Disk {
    pub head: Head,
    pub blocks: Vec<(Block, Certificate)>,
    pub wal: Vec<Vec<u8>>,
}

pub enum Write {
    Record(Vec<u8>),
    Block(Box<Finalised>),
}

impl Host {
    pub fn new(world: &World, seat: usize, clock_offset_ms: u64) -> Self {
        let (node_key, vote_key) = world.keys[seat].clone();
        Self {
            config: Config { node_key, vote_key: Some(vote_key) },
            disk: Disk { head: Head::genesis(&world.start), blocks: Vec::new(), wal: Vec::new() },
            writing: None,
            replica: None,
            life: 0,
            wake_at_ms: None,
            clock_offset_ms,
            mempool: BTreeMap::new(),
        }
    }

    pub fn clock_ms(&self, now_ms: TimeMs) -> TimeMs {
        now_ms + self.clock_offset_ms
    }

    /// When the world's clock will show what this host's clock shows at `local_ms`.
    pub fn world_ms(&self, local_ms: TimeMs) -> TimeMs {
        local_ms.saturating_sub(self.clock_offset_ms)
    }

    /// Starts from the disk. `amnesia`: forgets the log, which is a bug.
    pub fn start(&mut self, now_ms: TimeMs, amnesia: bool) {
        let wal: Vec<WalRecord> = match amnesia {
            true => Vec::new(),
            false => self.disk.wal.iter().map(|r| codec::decode(r, WalRecord::LEN_MAX).unwrap()).collect(),
        };
        let replica = Replica::restore(self.config.clone(), self.disk.head.clone(), wal, self.clock_ms(now_ms));
        self.replica = Some(replica.unwrap_or_else(|e| panic!("does not start: {e}")));
        self.life += 1;
        self.wake_at_ms = None;
    }

    /// Loses memory. What was being written is on the disk or not.
    pub fn crash(&mut self, written: bool) {
        self.replica = None;
        self.life += 1;
        match self.writing.take() {
            Some(write) if written => self.disk.apply(write),
            _ => {}
        }
    }

    /// The mempool's choice for a block.
    pub fn choice(&self) -> Vec<Verified<SignedTransaction>> {
        let state = &self.replica.as_ref().unwrap().head().state;
        let mut next = BTreeMap::new();
        let fits = |((sender, nonce), _): &(&(NodeId, u64), &Verified<SignedTransaction>)| {
            let expected = next.entry(*sender).or_insert_with(|| state.account(sender).map_or(0, |a| a.nonce));
            let fits = nonce == expected;
            *expected += u64::from(fits);
            fits
        };
        self.mempool.iter().filter(fits).map(|(_, transaction)| transaction.clone()).collect()
    }

    pub fn forget_included(&mut self, block: &Block) {
        for signed in block.transactions.iter() {
            self.mempool.remove(&(signed.transaction.sender, signed.transaction.nonce));
        }
    }
}

impl Disk {
    pub fn apply(&mut self, write: Write) {
        match write {
            Write::Record(record) => self.wal.push(record),
            Write::Block(finalised) => {
                let Finalised { block, certificate, outcome } = *finalised;
                let committee = self.head.committee.clone();
                self.head = Head::new(block.header.clone(), Some(certificate.clone()), outcome.state, committee);
                self.blocks.push((block, certificate));
                let height = self.head.header.height;
                self.wal.retain(|r| codec::decode::<WalRecord>(r, WalRecord::LEN_MAX).unwrap().height() > height);
            }
        }
    }
}

pub fn clock_offset(rng: &mut crate::random::Rng) -> u64 {
    rng.range(0, 2 * CLOCK_OFFSET_MS)
}
