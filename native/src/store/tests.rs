use super::{
    tables::{META, NEXT_REPLAY_BASE, REPLAY_BASE, STAGED, STAGED_REPLAY_BASE},
    *,
};
use std::path::PathBuf;
use tequio_core::{
    codec::BoundedVec,
    content::object,
    crypto::{NodeKey, bls, vrf},
    ledger::{
        Block, Certificate, Genesis, Outcome, Params, Phase, Receipt, State, Vote,
        genesis::{GenesisFile, GenesisSeat, GenesisState},
    },
    types::{ChainId, Digest, Height, Unverified},
    wire::light::FinalHeader,
};

pub(super) fn start() -> GenesisState {
    let (node, voting) = (NodeKey::from_bytes(&[1; 32]).id(), bls::SecretKey::from_seed(&[1; 32]));
    let vrf_key = vrf::SecretKey::from_bytes(&[1; 32]).public();
    let genesis = Genesis {
        name: "test".try_into().unwrap(),
        time_ms: 1,
        params: Params {
            block_interval_ms_max: 1,
            block_interval_ms_min: 1,
            view_timeout_ms: 1,
            clock_skew_ms_max: 1,
            audit_blocks_min: 1,
            audit_blocks_max: 1,
            admission_bits: 0,
            mint_max: 0,
            trust_period_ms: 1,
            leader_term_blocks: 1,
            epoch_blocks: 64,
            bond_min: 1,
            reputation_min: 0,
            unbonding_ms: u64::MAX,
        },
        accounts: vec![(node, 0, 1)].try_into().unwrap(),
        seats: vec![GenesisSeat { node, key: voting.public(), vrf_key, weight: 1 }]
            .try_into()
            .unwrap(),
    };
    let possession = voting.prove_possession(&genesis.chain(), &node);
    GenesisFile::new(genesis, vec![possession]).unwrap().build_state().unwrap()
}

/// An empty block on top of a header, with its changes.
pub(super) fn next(start: &GenesisState, head: &Head) -> (Block, Certificate, Outcome) {
    let context = tequio_core::ledger::BlockContext {
        parent: &head.header.header,
        committee: &start.committee,
    };
    let outcome = head.state.apply(context, &[]);
    let parent = &head.header.header;
    let mut header = parent.clone();
    header.height += 1;
    header.time_ms += 1;
    header.parent = parent.digest();
    header.state = outcome.state.root();
    let voting = bls::SecretKey::from_seed(&[1; 32]);
    let vote = Vote {
        chain: start.chain,
        epoch: 0,
        height: header.height,
        view: 0,
        phase: Phase::Commit,
        digest: header.digest(),
    };
    let certificate =
        start.committee.aggregate_votes(vote, &[(0, voting.sign(&vote.message()))]).unwrap();
    (Block { header, transactions: BoundedVec::new() }, certificate, outcome)
}

/// A store with its chain, to which the tests append blocks.
pub(super) struct Chain {
    pub path: PathBuf,
    pub start: GenesisState,
    pub store: Store,
    pub head: Head,
    _dir: tempfile::TempDir,
}

impl Chain {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (path, start) = (dir.path().join(FILE_NAME), start());
        let store = Store::open(&path, &start.chain).unwrap();
        let head = store.load_head(&start).unwrap();
        Self { path, start, store, head, _dir: dir }
    }

    /// Closes and reopens the store, and checks that its head is the same.
    pub fn reopened(self) -> Self {
        let Self { path, start, store, head, _dir } = self;
        drop(store);
        let store = Store::open(&path, &start.chain).unwrap();
        let again = store.load_head(&start).unwrap();
        assert_eq!((again.header, again.state.root()), (head.header.clone(), head.state.root()));
        Self { path, start, store, head, _dir }
    }

    /// Appends a block after adding contents to it.
    pub fn append_with(
        &mut self,
        receipts: &[Receipt],
        put: impl FnOnce(&mut Block, &mut Outcome),
    ) -> Height {
        let (mut block, certificate, mut outcome) = next(&self.start, &self.head);
        put(&mut block, &mut outcome);
        let last = FinalBlock {
            block: &block,
            certificate: &certificate,
            changes: &outcome.changes,
            receipts,
        };
        self.store.append(last).unwrap();
        let header = FinalHeader { header: block.header, certificate: Some(certificate) };
        self.head = Head { header, state: outcome.state };
        self.height()
    }

    pub fn height(&self) -> Height {
        self.head.header.header.height
    }
}

#[test]
fn a_block_and_its_state_come_back_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    let start = start();
    let store = Store::open(&path, &start.chain).unwrap();
    let head = store.load_head(&start).unwrap();
    let (block, certificate, outcome) = next(&start, &head);
    let last = FinalBlock {
        block: &block,
        certificate: &certificate,
        changes: &outcome.changes,
        receipts: &[],
    };
    store.append(last).unwrap();
    assert!(matches!(store.append(last), Err(StoreError::NotNext { head: 1, found: 1 })));
    drop(store);

    let store = Store::open(&path, &start.chain).unwrap();
    let again = store.load_head(&start).unwrap();
    assert_eq!(again.header.header, block.header);
    assert_eq!(again.state.root(), outcome.state.root());
    assert_eq!(store.block(1).unwrap(), Some((block, certificate)));
    assert_eq!(store.block(2).unwrap(), None);
}

#[test]
fn a_state_that_does_not_belong_to_its_head_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let start = start();
    let store = Store::open(&dir.path().join(FILE_NAME), &start.chain).unwrap();
    let head = store.load_head(&start).unwrap();
    let (block, certificate, _) = next(&start, &head);
    // The entries that the block changes are missing.
    store
        .append(FinalBlock {
            block: &block,
            certificate: &certificate,
            changes: &[],
            receipts: &[],
        })
        .unwrap();
    assert!(matches!(store.load_head(&start), Err(StoreError::WrongRoot)));
}

#[test]
fn newer_versions_and_other_chains_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    drop(Store::open(&path, &ChainId([1; 32])).unwrap());
    assert!(matches!(Store::open(&path, &ChainId([2; 32])), Err(StoreError::OtherChain)));
    let store = Store::open(&path, &ChainId([1; 32])).unwrap();
    let write = store.write().unwrap();
    write
        .open_table(META)
        .unwrap()
        .insert(tables::VERSION_KEY, (VERSION + 1).to_le_bytes().as_slice())
        .unwrap();
    write.commit().unwrap();
    drop(store);
    let error = Store::open(&path, &ChainId([1; 32])).unwrap_err();
    assert!(error.to_string().contains("version 5, this tequio reads version 4"), "{error}");
}

/// Regression: a validator took an emptied store for a new one, and its seat with it.
#[test]
fn an_empty_file_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    std::fs::write(&path, b"").unwrap();
    let error = Store::open(&path, &ChainId([1; 32])).unwrap_err().to_string();
    for part in ["store.redb", "empty", "damaged", "Move store.redb"] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0, "it is left as it was");
}

#[test]
fn the_log_keeps_its_order_until_its_height_is_final() {
    let dir = tempfile::tempdir().unwrap();
    let start = start();
    let store = Store::open(&dir.path().join(FILE_NAME), &start.chain).unwrap();
    let head = store.load_head(&start).unwrap();
    // The next height has a record before this one has all of its records.
    for (height, record) in [(1, b"a"), (1, b"b"), (2, b"c"), (1, b"x"), (1, b"y")] {
        store.wal_append(height, record).unwrap();
    }
    assert_eq!(store.wal_records().unwrap(), [b"a", b"b", b"x", b"y", b"c"]);
    let (block, certificate, outcome) = next(&start, &head);
    let last = FinalBlock {
        block: &block,
        certificate: &certificate,
        changes: &outcome.changes,
        receipts: &[],
    };
    store.append(last).unwrap();
    store.wal_append(2, b"d").unwrap();
    assert_eq!(store.wal_records().unwrap(), [b"c", b"d"]);
}

#[test]
fn a_round_deletes_the_records_of_earlier_rounds() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join(FILE_NAME), &ChainId([1; 32])).unwrap();
    let (job, other) = (Digest([3; 32]), Digest([4; 32]));
    store.append_job_record(&job, true, b"r0").unwrap();
    store.append_job_record(&job, false, b"l0").unwrap();
    store.append_job_record(&other, true, b"r7").unwrap();
    store.append_job_record(&job, true, b"r1").unwrap();
    store.append_job_record(&job, false, b"l1").unwrap();
    assert_eq!(store.job_records(&job).unwrap(), [b"r1", b"l1"]);
    store.delete_job_records(&job).unwrap();
    assert!(store.job_records(&job).unwrap().is_empty());
    assert_eq!(store.job_records(&other).unwrap(), [b"r7"]);
}

#[test]
fn contents_in_parts_are_joined() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join(FILE_NAME), &ChainId([1; 32])).unwrap();
    let bytes: Vec<u8> = (0..object::PART_LEN * 2 + 5).map(|i| (i % 251) as u8).collect();
    let blocks = object::split(&bytes).unwrap();
    let whole = blocks[0].cid;
    assert!(matches!(store.contents(&whole), Err(objects::ReadError::Missing(_))));
    let verified: Vec<_> =
        blocks.into_iter().map(|b| Unverified::new(b).verify().unwrap()).collect();
    store.put_objects(&verified).unwrap();
    assert_eq!(store.contents(&whole).unwrap(), bytes);
    assert_eq!(store.object_count().unwrap(), 4);
}

/// Appends empty blocks to a store, and returns the head after each.
fn grow(store: &Store, start: &GenesisState, count: usize) -> Vec<Head> {
    let mut head = store.load_head(start).unwrap();
    let mut heads = Vec::new();
    for _ in 0..count {
        let (block, certificate, outcome) = next(start, &head);
        let last = FinalBlock {
            block: &block,
            certificate: &certificate,
            changes: &outcome.changes,
            receipts: &[],
        };
        store.append(last).unwrap();
        let header = FinalHeader { header: block.header, certificate: Some(certificate) };
        head = Head { header, state: outcome.state };
        heads.push(head.clone());
    }
    heads
}

fn entries(state: &State) -> Vec<tequio_core::ledger::Entry> {
    state.entries().cloned().collect()
}

#[test]
fn an_incomplete_fetched_state_is_never_used_as_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let (start, path) = (start(), dir.path().join(FILE_NAME));
    let other = Store::open(&dir.path().join("other"), &start.chain).unwrap();
    let target = grow(&other, &start, 5).pop().unwrap();

    let store = Store::open(&path, &start.chain).unwrap();
    grow(&store, &start, 2);
    store.wal_append(4, b"a vote").unwrap();
    store.wal_append(6, b"a later vote").unwrap();
    let all = entries(&target.state);
    let (first, rest) = all.split_at(2);
    let at = store.stage_begin(&target.header).unwrap();
    let at = store.stage(at, first, Some(Digest([128; 32]))).unwrap();
    assert!(
        matches!(store.adopt(&target.header), Err(StoreError::Damaged(_))),
        "only half of it is here"
    );
    drop(store);

    // After a crash: the old head and the staged chunks.
    let store = Store::open(&path, &start.chain).unwrap();
    assert_eq!(store.load_head(&start).unwrap().header.header.height, 2);
    assert_eq!(store.staged().unwrap(), Some(at.clone()));
    store.stage(at, rest, None).unwrap();
    assert_eq!(store.staged_state().unwrap().root(), target.state.root());
    let wrong = FinalHeader { certificate: None, ..target.header.clone() };
    assert!(store.adopt(&wrong).is_err(), "of another header");
    store.adopt(&target.header).unwrap();
    drop(store);

    let store = Store::open(&path, &start.chain).unwrap();
    let head = store.load_head(&start).unwrap();
    assert_eq!(
        (head.header.clone(), head.state.root()),
        (target.header.clone(), target.state.root())
    );
    assert_eq!(store.staged().unwrap(), None);
    assert_eq!(store.wal_records().unwrap(), [b"a later vote"]);
    assert_eq!((store.lowest_block().unwrap(), store.block(2).unwrap()), (6, None));
    let (kept, state) = store.replay_base().unwrap().unwrap();
    assert_eq!((kept, state.root()), (target.header, target.state.root()));
    assert_eq!(
        (
            store.prune_blocks(1).unwrap(),
            store.prune_blocks(9).unwrap(),
            store.prune_blocks(9).unwrap()
        ),
        (1, 1, 0)
    );
    // The chain continues from there.
    assert_eq!(grow(&store, &start, 3).last().unwrap().header.header.height, 8);
    assert_eq!(store.load_head(&start).unwrap().header.header.height, 8);
}

#[test]
fn blocks_are_pruned_once_there_is_a_replay_base() {
    let dir = tempfile::tempdir().unwrap();
    let start = start();
    let store = Store::open(&dir.path().join(FILE_NAME), &start.chain).unwrap();
    let heads = grow(&store, &start, 9);
    store.promote_next_replay_base().unwrap();
    assert_eq!((store.lowest_block().unwrap(), store.replay_base().unwrap().is_none()), (1, true));
    let chosen = &heads[3];
    store.write_next_replay_base(&chosen.header, &chosen.state).unwrap();
    assert_eq!((store.next_replay_base().unwrap(), store.lowest_block().unwrap()), (Some(4), 1));
    assert_eq!(store.prune_blocks(100).unwrap(), 0, "nothing is pruned before the state is stored");
    store.promote_next_replay_base().unwrap();
    assert_eq!((store.next_replay_base().unwrap(), store.lowest_block().unwrap()), (None, 5));
    assert_eq!(
        (store.block(4).unwrap().is_none(), store.block(5).unwrap().is_some()),
        (true, true)
    );
    assert_eq!((store.prune_blocks(3).unwrap(), store.prune_blocks(3).unwrap()), (3, 1));
    let (header, state) = store.replay_base().unwrap().unwrap();
    assert_eq!((header.header.height, state.root()), (4, chosen.state.root()));
    assert!(store.final_header(2).unwrap().is_some(), "headers stay");
    assert_eq!(store.load_head(&start).unwrap().header.header.height, 9);
}

#[test]
fn an_older_store_is_upgraded_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let (start, path) = (start(), dir.path().join(FILE_NAME));
    let store = Store::open(&path, &start.chain).unwrap();
    grow(&store, &start, 2);
    let write = store.write().unwrap();
    write
        .open_table(META)
        .unwrap()
        .insert(tables::VERSION_KEY, 1u32.to_le_bytes().as_slice())
        .unwrap();
    for table in [STAGED, STAGED_REPLAY_BASE, REPLAY_BASE, NEXT_REPLAY_BASE] {
        write.delete_table(table).unwrap();
    }
    write.commit().unwrap();
    drop(store);
    for _ in 0..2 {
        let store = Store::open(&path, &start.chain).unwrap();
        assert_eq!(store.load_head(&start).unwrap().header.header.height, 2);
        assert_eq!((store.lowest_block().unwrap(), store.staged().unwrap()), (1, None));
    }
}
