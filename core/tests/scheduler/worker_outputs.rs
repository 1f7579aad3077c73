//! The outputs of the workers: requests, which faults withhold, delay or rewrite, and computations.

use crate::{
    byzantine::{ByzantineFault, compute},
    sim::{Event, Profile, Sim},
};
use tequio_core::{scheduler::worker, wire::work::Request};

impl Sim {
    pub fn perform_worker_output(&mut self, n: usize, output: worker::Output) {
        let Profile { fault, latency_ms, unit_ms, .. } = self.nodes[n].profile;
        match output {
            worker::Output::Request { id, to: _, request } => {
                let (request, delay) = self.rewrite(n, request);
                let Some(request) = request else { return };
                let time = self.now + latency_ms + delay;
                if fault == ByzantineFault::Duplicates {
                    // The answer to the copy is discarded.
                    self.at(
                        time,
                        Event::Arrives { node: n, id: u64::MAX, request: request.clone() },
                    );
                }
                self.at(time, Event::Arrives { node: n, id, request });
            }
            worker::Output::Compute { compute_id, task } => {
                let output = compute(fault, &task);
                self.at(self.now + unit_ms, Event::Computed { node: n, compute_id, output });
            }
            worker::Output::Event(event) => self.nodes[n].events.push(event),
        }
    }

    fn rewrite(&mut self, n: usize, request: Request) -> (Option<Request>, u64) {
        match (self.nodes[n].profile.fault, request) {
            (
                ByzantineFault::NeverReveals,
                Request::Reveal { .. } | Request::RevealDigest { .. },
            ) => (None, 0),
            (
                ByzantineFault::RevealsLate(ms),
                request @ (Request::Reveal { .. } | Request::RevealDigest { .. }),
            ) => (Some(request), ms),
            (ByzantineFault::WrongSalt, Request::RevealDigest { lease, mut salt, digest }) => {
                salt[0] ^= 1;
                (Some(Request::RevealDigest { lease, salt, digest }), 0)
            }
            (ByzantineFault::WrongSalt, Request::Reveal { lease, mut salt, output }) => {
                salt[0] ^= 1;
                (Some(Request::Reveal { lease, salt, output }), 0)
            }
            (ByzantineFault::WithholdsState(_), Request::State { lease, step, .. }) => {
                // The first time the worker admits that it has no state, then it stays silent.
                let admits = self.withheld.insert(n);
                (admits.then_some(Request::State { lease, step, state: None }), 0)
            }
            (_, request) => (Some(request), 0),
        }
    }
}
