//! Counters of the relay service: reservations and circuits, open now and since the start.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use libp2p::PeerId;

/// A relay's counters. All are zero on a host that relays nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayStats {
    /// Peers that hold a reservation now.
    pub reservations_open: u64,
    /// Reservations granted; renewals are not counted.
    pub reservations: u64,
    /// Circuits open now.
    pub circuits_open: u64,
    /// Circuits granted.
    pub circuits: u64,
    /// Reservations refused because a number or a rate of [`crate::RelayLimits`] is reached.
    pub reservations_refused: u64,
    /// Circuits refused for the same reason.
    pub circuits_refused_limit: u64,
    /// Circuits refused because the target has no reservation at this relay.
    pub circuits_refused_no_reservation: u64,
    /// Circuits refused because the target has a reservation but did not accept the circuit.
    pub circuits_refused_target: u64,
}

#[derive(Debug, Default)]
struct AtomicStats {
    /// Peers with a reservation; the relay bounds their number.
    reserved: Mutex<BTreeSet<PeerId>>,
    reservations: AtomicU64,
    circuits_open: AtomicU64,
    circuits: AtomicU64,
    reservations_refused: AtomicU64,
    circuits_refused_limit: AtomicU64,
    circuits_refused_no_reservation: AtomicU64,
    circuits_refused_target: AtomicU64,
}

/// The shared counters: written by the task that owns the swarm, read by the handles.
#[derive(Clone, Debug, Default)]
pub(crate) struct RelayMetrics(Arc<AtomicStats>);

impl RelayMetrics {
    pub fn read(&self) -> RelayStats {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        RelayStats {
            reservations_open: self.0.reserved.lock().unwrap_or_else(PoisonError::into_inner).len()
                as u64,
            reservations: of(&self.0.reservations),
            circuits_open: of(&self.0.circuits_open),
            circuits: of(&self.0.circuits),
            reservations_refused: of(&self.0.reservations_refused),
            circuits_refused_limit: of(&self.0.circuits_refused_limit),
            circuits_refused_no_reservation: of(&self.0.circuits_refused_no_reservation),
            circuits_refused_target: of(&self.0.circuits_refused_target),
        }
    }

    /// Updates the counters from a relay event.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn record(&self, event: &libp2p::relay::Event) {
        use libp2p::relay::{Event, StatusCode};
        let more = |count: &AtomicU64| {
            count.fetch_add(1, Ordering::Relaxed);
        };
        let less = |count: &AtomicU64| {
            // An end without a reported start must not underflow the count.
            let _ = count
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| open.checked_sub(1));
        };
        let stats = &self.0;
        match event {
            Event::ReservationReqAccepted { src_peer_id, renewed } => {
                stats.reserved.lock().unwrap_or_else(PoisonError::into_inner).insert(*src_peer_id);
                if !renewed {
                    more(&stats.reservations);
                }
            }
            // `ReservationClosed` is ignored: it is emitted with each closed connection, also of
            // peers without a reservation.
            Event::ReservationTimedOut { src_peer_id } => self.peer_disconnected(src_peer_id),
            Event::CircuitReqAccepted { .. } => {
                more(&stats.circuits_open);
                more(&stats.circuits);
            }
            Event::CircuitClosed { .. } => less(&stats.circuits_open),
            Event::ReservationReqDenied { .. } => more(&stats.reservations_refused),
            Event::CircuitReqDenied { status, .. } => more(match status {
                StatusCode::ResourceLimitExceeded => &stats.circuits_refused_limit,
                StatusCode::NoReservation => &stats.circuits_refused_no_reservation,
                // The target's refusal, or its missing answer.
                _ => &stats.circuits_refused_target,
            }),
            _ => {}
        }
    }

    /// Handles the end of a peer's last connection, which ends its reservation.
    pub fn peer_disconnected(&self, peer: &PeerId) {
        self.0.reserved.lock().unwrap_or_else(PoisonError::into_inner).remove(peer);
    }
}
