//! Torn writes and damage of the simulated disk.

use crate::support::run_fault_free;
use tequio_simulation::{
    chain_fixture::ChainFixture,
    disk::{Disk, Entry, Write, WriteFate},
    fault_profile::CHAIN_CONFIG,
    random::Rng,
};

#[test]
fn a_torn_write_is_dropped_and_damage_is_detected() {
    let (fixture, mut rng) = (ChainFixture::of(4, CHAIN_CONFIG), Rng::new(1));
    let source = run_fault_free(4, 9, &[], 3);
    let (block, certificate) = source.hosts[0].disk.blocks[0].clone();
    let write = |block: &_, certificate: &_| Write {
        entry: Entry::Block(Clone::clone(block), Clone::clone(certificate)),
        finalised: None,
    };
    for _ in 0..200 {
        let mut disk = Disk::new(fixture);
        disk.blocks.push((block.clone(), certificate.clone()));
        disk.apply(write(&block, &certificate));
        disk.crash_during_write(write(&block, &certificate), WriteFate::Torn, &mut rng);
        assert!(disk.recover().is_ok_and(|records| records.is_empty()));
        disk.apply(write(&block, &certificate));
        assert!(disk.recover().is_ok());
        // A flipped bit in a frame with others behind it: an error, or (in a length) taken for a
        // write that never finished.
        let before = disk.log_len();
        assert!(disk.flip_bit(&mut rng));
        assert!(disk.recover().is_err() || disk.log_len() < before);
    }
}
