//! Crashes and restarts of hosts.

use super::state::{Cluster, SimulationEvent};
use crate::{adversary::ByzantineFault, disk::WriteFate};

impl Cluster {
    /// Crashes a host: it loses its memory, and perhaps the write in progress.
    pub fn crash(&mut self, host: usize) {
        let fate = self.rng.pick(&[WriteFate::Lost, WriteFate::Kept, WriteFate::Torn]);
        self.crash_with(host, fate);
    }

    /// Crashes a host, with a given fate for the write in progress.
    pub fn crash_with(&mut self, host: usize, fate: WriteFate) {
        if self.hosts[host].replica.is_none() {
            return;
        }
        self.count_fault("crash");
        if let Some(write) = self.hosts[host].crash() {
            self.count_fault(match fate {
                WriteFate::Lost => "lost_write",
                WriteFate::Kept => "unacknowledged_write",
                WriteFate::Torn => "torn_write",
            });
            let Self { hosts, rng, .. } = self;
            hosts[host].disk.crash_during_write(write, fate, rng);
        }
    }

    /// Restarts a host, if it is down and its disk is sound.
    pub fn restart(&mut self, host: usize) {
        if self.hosts[host].replica.is_some() || self.hosts[host].is_dead {
            return;
        }
        if self.byzantine_fault(host) == Some(ByzantineFault::Amnesia) {
            self.hosts[host].disk.clear_log();
        }
        let (is_correct, disk) = (self.is_correct(host), &mut self.hosts[host].disk);
        if is_correct {
            self.checkers.restarted(host, disk.height(), disk.head.digest());
        }
        let started = match disk.recover() {
            Ok(records) => {
                let records = self
                    .mutant
                    .map_or(records.clone(), |mutant| mutant.on_read_log(disk.height(), records));
                self.hosts[host].start(self.now_us, records)
            }
            Err(_) => Err("its log is damaged".into()),
        };
        if let Err(error) = started {
            self.hosts[host].is_dead = true;
            if is_correct {
                self.checkers.fail(format!("start: host {host}: {error}"));
            }
            return;
        }
        if self.hosts[host].life > 1 {
            self.count_fault("restart");
        }
        // Clients repeat transactions that are not final yet.
        for transaction in self.pending.clone() {
            if !self.checkers.included.contains(&transaction.id()) {
                self.schedule(self.now_us + 1000, SimulationEvent::Submitted { host, transaction });
            }
        }
        self.drain_outputs(host);
    }
}
