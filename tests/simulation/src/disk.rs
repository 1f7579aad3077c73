//! A host's disk: an append-only log of frames, each with its length and checksum. A crash may
//! lose, keep or tear unsynced data; any bit may rot; the disk may be full or slow.
//!
//! A frame that is cut off at the end is a write that never finished: recovery drops it. A bad
//! frame with others behind it is damage: the host refuses to start, because votes may be missing.

use crate::{chain_fixture::ChainFixture, random::Rng};
use borsh::{BorshDeserialize, BorshSerialize};
use tequio_core::{
    codec,
    consensus::{Finalised, Head, WalRecord},
    ledger::{Block, BlockContext, Certificate, block::BLOCK_LEN_MAX, genesis::GenesisState},
    types::{Height, Unverified},
};

const FRAME_HEAD_LEN: usize = 12;
/// The log drops frames of final heights once it is this long.
const LOG_LEN_MAX: usize = 64 * 1024;
const ENTRY_LEN_MAX: usize = BLOCK_LEN_MAX + WalRecord::LEN_MAX;

/// Contents of one write.
#[derive(Clone, Debug, BorshSerialize, BorshDeserialize)]
#[allow(clippy::large_enum_variant)]
pub enum Entry {
    /// A record of the machine's log.
    Record(Vec<u8>),
    /// A final block; records of its height and below are void.
    Block(Block, Certificate),
}

/// A write in progress.
#[derive(Debug)]
pub struct Write {
    /// The entry for the log.
    pub entry: Entry,
    /// The effects of the block, if the entry is a block.
    pub finalised: Option<Box<Finalised>>,
}

/// What a crash leaves of the write in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteFate {
    /// Nothing is written.
    Lost,
    /// Everything is written.
    Kept,
    /// A part is written.
    Torn,
}

/// The data that survive a crash.
#[derive(Debug)]
pub struct Disk {
    log: Vec<u8>,
    /// The newest block that is stored, with its state.
    pub head: Head,
    /// The final blocks after [`Disk::base`].
    pub blocks: Vec<(Block, Certificate)>,
    /// The block before the oldest stored one, with its state: genesis, unless older blocks were
    /// dropped.
    pub base: Head,
    /// Whether writes fail.
    pub is_full: bool,
    /// How long a sync takes.
    pub sync_us: (u64, u64),
    /// Mutant: a restart always reads the first committee.
    pub keeps_first_committee: bool,
    /// Mutant: a final block drops all records, as if none could be of a later height.
    pub clears_log_at_block: bool,
    start: &'static GenesisState,
}

/// The error of an unusable log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

impl Disk {
    /// Creates a disk that contains only the genesis block.
    pub fn new(fixture: &'static ChainFixture) -> Self {
        Self {
            log: Vec::new(),
            head: Head::genesis(&fixture.genesis),
            blocks: Vec::new(),
            base: Head::genesis(&fixture.genesis),
            is_full: false,
            sync_us: (500, 8_000),
            keeps_first_committee: false,
            clears_log_at_block: false,
            start: &fixture.genesis,
        }
    }

    /// Makes a write durable.
    pub fn apply(&mut self, write: Write) {
        self.log.extend(frame(&write.entry));
        if let Some(finalised) = write.finalised {
            let Finalised { block, certificate, outcome } = *finalised;
            let head = self.head.after(&block, certificate.clone(), outcome.state);
            self.head = head.unwrap();
            if self.keeps_first_committee {
                self.head.committee = Head::genesis(self.start).committee;
            }
            self.blocks.push((block, certificate));
            if self.clears_log_at_block {
                self.log.clear();
            } else if self.log.len() > LOG_LEN_MAX {
                self.compact_log();
            }
        }
    }

    /// Drops records that final blocks have made void. Records of the height after the next one may
    /// be there already.
    fn compact_log(&mut self) {
        let Ok(records) = self.recover() else { return };
        self.log.clear();
        for record in records {
            self.log.extend(frame(&Entry::Record(codec::encode(&record))));
        }
    }

    /// Crashes in the middle of a write.
    pub fn crash_during_write(&mut self, write: Write, fate: WriteFate, rng: &mut Rng) {
        match fate {
            WriteFate::Lost => {}
            WriteFate::Kept => self.apply(write),
            WriteFate::Torn => {
                let frame = frame(&write.entry);
                let kept = rng.below(frame.len());
                self.log.extend(&frame[..kept]);
            }
        }
    }

    /// Flips one random bit of the log, if there is one.
    pub fn flip_bit(&mut self, rng: &mut Rng) -> bool {
        if self.log.is_empty() {
            return false;
        }
        let at = rng.below(self.log.len());
        self.log[at] ^= 1 << rng.below(8);
        true
    }

    /// Deletes the records of the machine's log, as a mutant or an operator's mistake does.
    pub fn clear_log(&mut self) {
        self.log.clear();
    }

    /// Reads the log after a crash: the records of heights that are not final.
    pub fn recover(&mut self) -> Result<Vec<WalRecord>, Damaged> {
        let mut records = Vec::new();
        let mut at = 0;
        while at < self.log.len() {
            match read_frame(&self.log[at..]) {
                Frame::Good(entry, len) => {
                    at += len;
                    match entry {
                        Entry::Record(bytes) => {
                            records.push(
                                codec::decode::<WalRecord>(&bytes, WalRecord::LEN_MAX)
                                    .map_err(|_| Damaged)?,
                            );
                        }
                        Entry::Block(block, _) => self.check_block(&block)?,
                    }
                }
                Frame::CutOff => {
                    self.log.truncate(at);
                    break;
                }
                Frame::Bad => return Err(Damaged),
            }
        }
        let height = self.head.header.height;
        records.retain(|record| record.height() > height);
        // Some stores keep the order of writes, others sort by height.
        if self.log.len().is_multiple_of(2) {
            records.sort_by_key(WalRecord::height);
        }
        Ok(records)
    }

    /// Checks that a block of the log equals the one in the store.
    fn check_block(&self, block: &Block) -> Result<(), Damaged> {
        let height = block.header.height;
        let stored = self.blocks_from(height).first();
        let is_stored = height <= self.base.header.height
            || stored.is_some_and(|(s, _)| s.header == block.header);
        if is_stored { Ok(()) } else { Err(Damaged) }
    }

    /// Returns the stored blocks from this height on.
    pub fn blocks_from(&self, height: Height) -> &[(Block, Certificate)] {
        let skipped = height.saturating_sub(self.base.header.height + 1) as usize;
        self.blocks.get(skipped..).unwrap_or_default()
    }

    /// Applies all blocks again from genesis, and checks that the state root is the same.
    pub fn replay_matches(&self, fixture: &ChainFixture) -> bool {
        self.replay(fixture, self.height())
            .is_some_and(|head| head.state.root() == self.head.header.state)
    }

    /// Applies the blocks up to this height again and returns the result, or nothing if a block is
    /// invalid.
    pub fn replay(&self, fixture: &ChainFixture, height: Height) -> Option<Head> {
        let start = &fixture.genesis;
        let mut head = self.base.clone();
        for (block, certificate) in
            self.blocks.iter().take_while(|(block, _)| block.header.height <= height)
        {
            let verified =
                block.transactions.iter().map(|t| Unverified::new(t.clone()).verify(&start.chain));
            let transactions = verified.collect::<Result<Vec<_>, _>>().ok()?;
            let context = BlockContext { parent: &head.header, committee: &head.committee };
            let state = head.state.apply(context, &transactions).state;
            if state.root() != block.header.state {
                return None;
            }
            head = head.after(block, certificate.clone(), state).ok()?;
        }
        Some(head)
    }

    /// Drops the blocks up to this height.
    pub fn prune_to(&mut self, base: &Head) {
        let dropped = base.header.height.saturating_sub(self.base.header.height) as usize;
        self.blocks.drain(..dropped.min(self.blocks.len()));
        self.base = base.clone();
    }

    /// Returns the length of the log in bytes.
    pub fn log_len(&self) -> usize {
        self.log.len()
    }

    /// Returns the height of the newest stored block.
    pub fn height(&self) -> Height {
        self.head.header.height
    }
}

enum Frame {
    Good(Entry, usize),
    /// The file ends in the middle of the frame.
    CutOff,
    Bad,
}

fn frame(entry: &Entry) -> Vec<u8> {
    let body = codec::encode(entry);
    let mut frame = Vec::with_capacity(FRAME_HEAD_LEN + body.len());
    frame.extend((body.len() as u32).to_le_bytes());
    frame.extend(checksum(&body));
    frame.extend(body);
    frame
}

fn read_frame(bytes: &[u8]) -> Frame {
    let Some((head, rest)) = bytes.split_at_checked(FRAME_HEAD_LEN) else { return Frame::CutOff };
    let len = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
    let Some(body) = rest.get(..len) else { return Frame::CutOff };
    if head[4..] != checksum(body) {
        return Frame::Bad;
    }
    codec::decode(body, ENTRY_LEN_MAX)
        .map_or(Frame::Bad, |entry| Frame::Good(entry, FRAME_HEAD_LEN + len))
}

fn checksum(body: &[u8]) -> [u8; 8] {
    let digest = tequio_core::crypto::hash(tequio_core::crypto::HashContext::StateValue, body).0;
    [digest[0], digest[1], digest[2], digest[3], digest[4], digest[5], digest[6], digest[7]]
}
