use super::{
    super::{receipt_index::Prefix, tables::VERSION_KEY, tests::Chain, upgrade::RECEIPTS_2},
    *,
};
use redb::TableHandle;
use tequio_core::{
    content::{Cid, CidCodec},
    crypto::NodeKey,
    ledger::{
        Action, SignedTransaction, Transaction, TransactionError, genesis::GenesisState,
        transaction::RefName,
    },
    types::Digest,
};

impl Chain {
    fn append(&mut self, receipts: &[Receipt]) -> Height {
        self.append_block(Vec::new(), receipts)
    }

    fn append_block(
        &mut self,
        transactions: Vec<SignedTransaction>,
        receipts: &[Receipt],
    ) -> Height {
        self.append_with(receipts, |block, _| block.transactions = transactions.try_into().unwrap())
    }

    fn append_empty(&mut self, count: Height) {
        for _ in 0..count {
            self.append(&[]);
        }
    }

    fn found(&self, id: &TransactionId) -> Option<(Height, bool)> {
        let found = self.store.receipt(id).unwrap();
        found.map(|(height, receipt)| {
            assert_eq!(receipt.transaction, *id);
            (height, receipt.result.is_ok())
        })
    }

    fn index(&self) -> Vec<(Prefix, Height)> {
        let index = self.store.read().unwrap().open_table(RECEIPT_INDEX).unwrap();
        index.iter().unwrap().map(|item| item.unwrap().0.value()).collect()
    }
}

/// Ids spread over the whole range, the same ones each time.
fn id(number: u64) -> TransactionId {
    Digest(Cid::of(CidCodec::Raw, &number.to_le_bytes()).digest)
}

/// Ids with the same prefix.
fn alike(number: u8) -> TransactionId {
    let mut id = id(0);
    id.0[31] = number;
    id.0[8] = number;
    id
}

fn ok(transaction: TransactionId) -> Receipt {
    Receipt { transaction, result: Ok(()) }
}

fn failed(transaction: TransactionId) -> Receipt {
    Receipt { transaction, result: Err(TransactionError::UnknownSender) }
}

#[test]
fn the_slices_are_the_whole_range_and_do_not_overlap() {
    let slices: Vec<_> = (0..SLICES).map(slice_at).collect();
    assert_eq!((*slices[0].start(), *slices[255].end()), (0, Prefix::MAX));
    assert!(slices.windows(2).all(|pair| pair[0].end() + 1 == *pair[1].start()));
    assert_eq!(slice_at(SLICES + 7), slices[7]);
}

#[test]
fn every_transaction_is_found_at_every_height_and_after_every_reopening() {
    const BLOCKS: Height = 2 * SLICES + 70;
    const EACH: u64 = 3;
    let mut chain = Chain::new();
    let receipts = |height| {
        (height * EACH..(height + 1) * EACH)
            .map(|n| if n % 5 == 0 { failed(id(n)) } else { ok(id(n)) })
    };
    for height in 1..=BLOCKS {
        let all: Vec<_> = receipts(height).collect();
        chain.append(&all);
        assert_eq!(chain.store.receipts(height).unwrap(), all);
        // The newest ones, those of half a cycle ago, and those that have just left memory.
        for height in [
            height,
            height.saturating_sub(128),
            height.saturating_sub(254),
            height.saturating_sub(255),
        ] {
            for receipt in receipts(height).filter(|_| height > 0) {
                assert_eq!(
                    chain.store.receipt(&receipt.transaction).unwrap(),
                    Some((height, receipt))
                );
            }
        }
        if height % 97 == 0 {
            let before: Vec<_> = chain.store.unindexed().blocks.keys().copied().collect();
            chain = chain.reopened();
            assert!(
                chain.store.unindexed().blocks.keys().copied().eq(before),
                "the head determines which blocks are unindexed"
            );
            for of in 1..=height {
                let found = |receipt: Receipt| {
                    chain.store.receipt(&receipt.transaction).unwrap() == Some((of, receipt))
                };
                assert!(receipts(of).all(found), "block {of} at height {height}");
            }
        }
    }
    assert_eq!(chain.found(&id(0)), None);
    assert_eq!(chain.store.receipts(BLOCKS + 1).unwrap(), []);
    assert_eq!(chain.store.unindexed().blocks.len() as Height, SLICES - 1);
    chain.append_empty(SLICES);
    assert!(chain.store.unindexed().blocks.is_empty());
    assert_eq!(chain.index().len() as u64, BLOCKS * EACH);
}

#[test]
fn a_receipt_names_the_applying_block_or_else_the_first_failure() {
    let mut chain = Chain::new();
    let (before, after, never, both) = (id(1), id(2), id(3), id(4));
    chain.append(&[failed(before), ok(after), failed(never), ok(both), failed(both)]);
    assert_eq!((chain.found(&before), chain.found(&both)), (Some((1, false)), Some((1, true))));
    let expected =
        [(before, (2, true)), (after, (1, true)), (never, (1, false)), (both, (1, true))];
    chain.append(&[ok(before), failed(after), failed(never), failed(both)]);
    let check = |chain: &Chain| expected.iter().all(|(id, at)| chain.found(id) == Some(*at));
    assert!(check(&chain));
    // Repeated while the first ones are unindexed, and after they are indexed.
    for _ in 0..2 * SLICES {
        chain.append(&[failed(before), failed(after), failed(never), failed(both)]);
        assert!(check(&chain));
    }
    let chain = chain.reopened();
    assert!(check(&chain));
    // A failure is indexed only if its prefix has no entry.
    let of =
        |id: &TransactionId| chain.index().iter().filter(|entry| entry.0 == prefix(id)).count();
    assert_eq!([before, after, never, both].map(|id| of(&id)), [1, 1, 1, 1]);
}

#[test]
fn a_transaction_applied_long_after_it_failed_is_found_as_applied() {
    let mut chain = Chain::new();
    chain.append(&[failed(id(1))]);
    chain.append_empty(SLICES);
    assert_eq!(chain.found(&id(1)), Some((1, false)));
    let height = chain.append(&[ok(id(1))]);
    assert_eq!(chain.found(&id(1)), Some((height, true)));
    chain.append_empty(SLICES);
    assert_eq!(chain.found(&id(1)), Some((height, true)));
    assert_eq!(chain.index(), [(prefix(&id(1)), 1), (prefix(&id(1)), height)]);
}

#[test]
fn ids_with_equal_prefixes_are_distinguished() {
    let mut chain = Chain::new();
    chain.append(&[failed(alike(1)), ok(alike(2)), ok(alike(3))]);
    chain.append(&[ok(alike(4))]);
    chain.append_empty(100);
    chain.append(&[ok(alike(5))]);
    for _ in 0..2 {
        let found = (2..=5).map(|n| chain.found(&alike(n)));
        assert!(found.eq([1, 1, 2, 103].map(|height| Some((height, true)))));
        assert_eq!(chain.found(&alike(6)), None);
        chain.append_empty(SLICES);
    }
    assert_eq!(chain.index(), [1, 2, 103].map(|height| (prefix(&alike(0)), height)));
}

#[test]
fn pruned_blocks_leave_nothing_in_the_index() {
    let mut chain = Chain::new();
    let append = |chain: &mut Chain| chain.append(&[ok(id(chain.height() + 1))]);
    while append(&mut chain) < 280 {}
    let kept = chain.head.clone();
    while append(&mut chain) < 300 {}
    chain.store.write_next_replay_base(&kept.header, &kept.state).unwrap();
    chain.store.promote_next_replay_base().unwrap();
    assert_eq!(chain.store.prune_blocks(1000).unwrap(), 280);
    let check = |chain: &Chain| {
        (1..=300).all(|h| chain.found(&id(h)) == Some((h, true)).filter(|_| h > 280))
    };
    assert!(check(&chain));
    chain.append_empty(100);
    let mut chain = chain.reopened();
    chain.append_empty(SLICES - 100);
    assert!(check(&chain));
    assert!(chain.index().iter().all(|(_, height)| *height > 280));
    assert_eq!(chain.index().len(), 20);
}

#[test]
fn a_fetched_state_leaves_no_receipts_and_the_chain_continues() {
    let mut other = Chain::new();
    other.append_empty(40);
    let mut chain = Chain::new();
    for n in 1..=20 {
        chain.append(&[ok(id(n))]);
    }
    let at = chain.store.stage_begin(&other.head.header).unwrap();
    let entries: Vec<_> = other.head.state.entries().cloned().collect();
    chain.store.stage(at, &entries, None).unwrap();
    chain.store.adopt(&other.head.header).unwrap();
    chain.head = other.head;
    assert_eq!(chain.store.prune_blocks(100).unwrap(), 20);
    let height = chain.append(&[ok(id(100))]);
    for _ in 0..2 {
        assert_eq!(chain.found(&id(100)), Some((height, true)));
        assert!((1..=20).all(|n| chain.found(&id(n)).is_none()));
        chain.append_empty(SLICES);
    }
    assert_eq!(chain.index(), [(prefix(&id(100)), height)]);
}

fn transaction(start: &GenesisState, nonce: u64) -> SignedTransaction {
    let key = NodeKey::from_bytes(&[1; 32]);
    let name = RefName::try_from(format!("{}/a", key.id())).unwrap();
    let action = Action::UpdateRef { name, expected: nonce, cid: Cid::of(CidCodec::Raw, b"a") };
    Transaction { chain: start.chain, sender: key.id(), nonce, expires: 1000, action }.sign(&key)
}

/// Changes a store back to version 2: a row for each transaction, under its id.
fn downgrade(chain: &Chain) {
    let write = chain.store.write().unwrap();
    {
        let mut old = write.open_table(RECEIPTS_2).unwrap();
        for height in 1..=chain.height() {
            for receipt in chain.store.receipts(height).unwrap() {
                let id = receipt.transaction.0;
                if receipt.result.is_ok() || old.get(&id).unwrap().is_none() {
                    old.insert(&id, (height, codec::encode(&receipt).as_slice())).unwrap();
                }
            }
        }
    }
    write.delete_table(BLOCK_RECEIPTS).unwrap();
    write.delete_table(RECEIPT_INDEX).unwrap();
    write.open_table(META).unwrap().insert(VERSION_KEY, 2u32.to_le_bytes().as_slice()).unwrap();
    write.commit().unwrap();
}

#[test]
fn a_store_of_version_2_gives_the_same_answers() {
    let mut chain = Chain::new();
    let all: Vec<_> = (0..30).map(|nonce| transaction(&chain.start, nonce)).collect();
    let ids: Vec<_> = all.iter().map(SignedTransaction::id).collect();
    chain.append_block(
        all[..20].to_vec(),
        &ids[..20].iter().map(|id| failed(*id)).collect::<Vec<_>>(),
    );
    chain.append(&[]);
    let receipts: Vec<_> = ids[10..].iter().map(|id| ok(*id)).chain([failed(ids[10])]).collect();
    let again = all[10..].iter().chain([&all[10]]).cloned().collect();
    chain.append_block(again, &receipts);
    chain.append_block(
        all[5..15].to_vec(),
        &ids[5..15].iter().map(|id| failed(*id)).collect::<Vec<_>>(),
    );
    let answers =
        |chain: &Chain| ids.iter().map(|id| chain.store.receipt(id).unwrap()).collect::<Vec<_>>();
    let before = answers(&chain);
    assert!(before.iter().all(Option::is_some));
    downgrade(&chain);
    let mut chain = chain.reopened();
    assert_eq!(answers(&chain), before);
    assert_eq!(chain.index().len(), 30, "all are in the index at once");
    assert_eq!(chain.found(&id(1)), None);
    assert!(
        !chain.store.read().unwrap().list_tables().unwrap().any(|table| table.name() == "receipts")
    );
    chain.append_empty(SLICES);
    let chain = chain.reopened();
    assert_eq!((answers(&chain), chain.index().len()), (before, 30));
}

#[test]
fn an_upgrade_skips_blocks_that_will_be_pruned() {
    let mut chain = Chain::new();
    let all: Vec<_> = (0..4).map(|nonce| transaction(&chain.start, nonce)).collect();
    let mut kept = None;
    for one in &all {
        chain.append_block(vec![one.clone()], &[ok(one.id())]);
        kept = kept.or(Some(chain.head.clone()));
    }
    let kept = kept.unwrap();
    chain.store.write_next_replay_base(&kept.header, &kept.state).unwrap();
    chain.store.promote_next_replay_base().unwrap();
    downgrade(&chain);
    let chain = chain.reopened();
    assert_eq!(chain.found(&all[0].id()), None);
    assert!((1..4).all(|n| chain.found(&all[n].id()) == Some((n as Height + 1, true))));
    assert_eq!((chain.store.prune_blocks(9).unwrap(), chain.index().len()), (1, 3));
}
