//! What a relay does for others: reservations and circuits, open and since the start.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use libp2p::PeerId;

/// A relay's counts. All are zero for a host that relays nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Circuits {
    /// Peers that can be reached through us now.
    pub reservations_open: u64,
    /// Reservations made; renewals are not counted.
    pub reservations: u64,
    /// Circuits at this time.
    pub circuits_open: u64,
    /// Circuits made.
    pub circuits: u64,
    /// Reservations refused: a number or a rate of [`crate::RelayLimits`] is reached.
    pub reservations_refused: u64,
    /// Circuits refused for the same reason.
    pub circuits_refused_limit: u64,
    /// Circuits refused because the target has no reservation here.
    pub circuits_refused_absent: u64,
    /// Circuits refused because the target has one but did not take the circuit.
    pub circuits_refused_target: u64,
}

#[derive(Debug, Default)]
struct Tally {
    /// Those who have reserved; the relay bounds their number.
    reserved: Mutex<BTreeSet<PeerId>>,
    reservations: AtomicU64,
    circuits_open: AtomicU64,
    circuits: AtomicU64,
    reservations_refused: AtomicU64,
    circuits_refused_limit: AtomicU64,
    circuits_refused_absent: AtomicU64,
    circuits_refused_target: AtomicU64,
}

/// The running counts: written by the one task that owns the swarm, read by the handles.
#[derive(Clone, Debug, Default)]
pub(crate) struct CircuitMeter(Arc<Tally>);

impl CircuitMeter {
    pub fn read(&self) -> Circuits {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Circuits {
            reservations_open: self.0.reserved.lock().unwrap_or_else(PoisonError::into_inner).len()
                as u64,
            reservations: of(&self.0.reservations),
            circuits_open: of(&self.0.circuits_open),
            circuits: of(&self.0.circuits),
            reservations_refused: of(&self.0.reservations_refused),
            circuits_refused_limit: of(&self.0.circuits_refused_limit),
            circuits_refused_absent: of(&self.0.circuits_refused_absent),
            circuits_refused_target: of(&self.0.circuits_refused_target),
        }
    }

    /// Follows what the relay reports.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn note(&self, event: &libp2p::relay::Event) {
        use libp2p::relay::{Event, StatusCode};
        let more = |count: &AtomicU64| {
            count.fetch_add(1, Ordering::Relaxed);
        };
        let less = |count: &AtomicU64| {
            // What ends without a report of its beginning does not count below nothing.
            let _ = count
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| open.checked_sub(1));
        };
        let tally = &self.0;
        match event {
            Event::ReservationReqAccepted { src_peer_id, renewed } => {
                tally.reserved.lock().unwrap_or_else(PoisonError::into_inner).insert(*src_peer_id);
                if !renewed {
                    more(&tally.reservations);
                }
            }
            // `ReservationClosed` tells nothing: it comes with each connection that closes, also of
            // peers without one.
            Event::ReservationTimedOut { src_peer_id } => self.gone(src_peer_id),
            Event::CircuitReqAccepted { .. } => {
                more(&tally.circuits_open);
                more(&tally.circuits);
            }
            Event::CircuitClosed { .. } => less(&tally.circuits_open),
            Event::ReservationReqDenied { .. } => more(&tally.reservations_refused),
            Event::CircuitReqDenied { status, .. } => more(match status {
                StatusCode::ResourceLimitExceeded => &tally.circuits_refused_limit,
                StatusCode::NoReservation => &tally.circuits_refused_absent,
                // What the target has answered, or that it has not.
                _ => &tally.circuits_refused_target,
            }),
            _ => {}
        }
    }

    /// The last connection of a peer has closed, and his reservation with it.
    pub fn gone(&self, peer: &PeerId) {
        self.0.reserved.lock().unwrap_or_else(PoisonError::into_inner).remove(peer);
    }
}
