//! Counters in the OpenMetrics text format. They identify no client.

use crate::TurnServer;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};
use std::{fmt, sync::atomic::Ordering};
use tequio_p2p::{Network, RelayStats, TransportKind};

/// Outcome of a light node's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Outcome {
    /// A full node answered.
    Answered,
    /// The relay answered by itself.
    Local,
    /// No full node answered.
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ForwardLabels {
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HttpLabels {
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TransportLabels {
    transport: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TrafficLabels {
    transport: &'static str,
    direction: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DirectionLabels {
    direction: &'static str,
}

/// Metrics of the STUN and TURN server.
#[derive(Default)]
struct TurnMetrics {
    bindings: Counter,
    open: Gauge,
    made: Counter,
    refused: Family<ReasonLabels, Counter>,
    bytes: Family<DirectionLabels, Counter>,
    dropped: Counter,
}

impl TurnMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register("stun_bindings", "STUN binding requests answered", self.bindings.clone());
        registry.register("turn_allocations_open", "Open TURN allocations", self.open.clone());
        registry.register("turn_allocations", "TURN allocations made", self.made.clone());
        registry.register("turn_refused", "TURN requests refused", self.refused.clone());
        registry.register_with_unit(
            "turn_relayed",
            "Payload relayed by TURN",
            Unit::Bytes,
            self.bytes.clone(),
        );
        registry.register(
            "turn_dropped",
            "Packets dropped by the rate limits of TURN",
            self.dropped.clone(),
        );
    }

    fn set(&self, turn: &TurnServer) {
        let (open, counts) = turn.counts();
        let set = |counter: &Counter, value| counter.inner().store(value, Ordering::Relaxed);
        self.open.set(i64::try_from(open).unwrap_or(i64::MAX));
        set(&self.bindings, counts.bindings);
        set(&self.made, counts.allocated);
        set(&self.dropped, counts.dropped);
        for (reason, value) in [
            ("credential", counts.refused_credential),
            ("limit", counts.refused_limit),
            ("target", counts.refused_target),
        ] {
            set(&self.refused.get_or_create(&ReasonLabels { reason }), value);
        }
        for (direction, value) in
            [("to_peer", counts.bytes_to_peers), ("to_client", counts.bytes_to_clients)]
        {
            set(&self.bytes.get_or_create(&DirectionLabels { direction }), value);
        }
    }
}

/// Metrics of the circuit relay.
#[derive(Default)]
struct CircuitMetrics {
    reservations_open: Gauge,
    reservations: Counter,
    circuits_open: Gauge,
    circuits: Counter,
    reservations_refused: Counter,
    circuits_refused: Family<ReasonLabels, Counter>,
}

impl CircuitMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register(
            "reservations_open",
            "Peers with an open reservation at this relay",
            self.reservations_open.clone(),
        );
        registry.register("reservations", "Reservations made", self.reservations.clone());
        registry.register("circuits_open", "Open circuits", self.circuits_open.clone());
        registry.register("circuits", "Circuits opened", self.circuits.clone());
        let (reservations, circuits) =
            (self.reservations_refused.clone(), self.circuits_refused.clone());
        registry.register("reservations_refused", "Reservations refused by a limit", reservations);
        registry.register("circuits_refused", "Circuits refused", circuits);
    }

    fn set(&self, counts: RelayStats) {
        let set = |counter: &Counter, value| counter.inner().store(value, Ordering::Relaxed);
        set(&self.reservations, counts.reservations);
        set(&self.circuits, counts.circuits);
        set(&self.reservations_refused, counts.reservations_refused);
        for (reason, value) in [
            ("limit", counts.circuits_refused_limit),
            ("no_reservation", counts.circuits_refused_no_reservation),
            ("target", counts.circuits_refused_target),
        ] {
            set(&self.circuits_refused.get_or_create(&ReasonLabels { reason }), value);
        }
        self.reservations_open.set(i64::try_from(counts.reservations_open).unwrap_or(i64::MAX));
        self.circuits_open.set(i64::try_from(counts.circuits_open).unwrap_or(i64::MAX));
    }
}

/// All metrics of a relay.
pub struct Metrics {
    registry: Registry,
    forwarded: Family<ForwardLabels, Counter>,
    http: Family<HttpLabels, Counter>,
    peers: Family<TransportLabels, Gauge>,
    bytes: Family<TrafficLabels, Counter>,
    upstreams: Gauge,
    cut_off: Counter,
    turn: TurnMetrics,
    circuits: CircuitMetrics,
}

impl Metrics {
    /// All metrics at zero.
    pub fn new() -> Self {
        let (forwarded, http, peers, bytes, upstreams, cut_off, turn, circuits) =
            Default::default();
        let registry = Registry::with_prefix("tequio_relay");
        let mut metrics =
            Self { registry, forwarded, http, peers, bytes, upstreams, cut_off, turn, circuits };
        let registry = &mut metrics.registry;
        registry.register("light_requests", "Requests of light nodes", metrics.forwarded.clone());
        registry.register("http_requests", "HTTP requests", metrics.http.clone());
        registry.register("peers", "Connected peers", metrics.peers.clone());
        registry.register_with_unit(
            "transferred",
            "Bytes sent and received",
            Unit::Bytes,
            metrics.bytes.clone(),
        );
        registry.register(
            "nodes_healthy",
            "Configured full nodes that answer",
            metrics.upstreams.clone(),
        );
        registry.register(
            "peers_rate_limited",
            "Peers disconnected because they exceeded their rate limit",
            metrics.cut_off.clone(),
        );
        metrics.turn.register(registry);
        metrics.circuits.register(registry);
        metrics
    }

    /// Counts a light node's finished request.
    pub fn count_forwarded(&self, outcome: Outcome) {
        self.forwarded.get_or_create(&ForwardLabels { outcome }).inc();
    }

    /// Counts an answered HTTP request.
    pub fn count_http(&self, status: u16) {
        self.http.get_or_create(&HttpLabels { status }).inc();
    }

    /// Counts a peer that was disconnected for exceeding its rate by far.
    pub fn count_rate_limited(&self) {
        self.cut_off.inc();
    }

    /// Renders the text for a scraper, with the current numbers of the network.
    pub fn render(&self, network: &Network, turn: Option<&TurnServer>, healthy: usize) -> String {
        let peers = network.peers();
        let traffic = network.traffic();
        for kind in TransportKind::ALL {
            let transport = kind.as_str();
            let count = peers.iter().filter(|p| p.path.transport() == kind).count();
            self.peers
                .get_or_create(&TransportLabels { transport })
                .set(i64::try_from(count).unwrap_or(i64::MAX));
            let counters = traffic.of(kind);
            for (direction, value) in [("in", counters.received), ("out", counters.sent)] {
                let bytes = self.bytes.get_or_create(&TrafficLabels { transport, direction });
                bytes.inner().store(value, Ordering::Relaxed);
            }
        }
        self.circuits.set(network.relay_stats());
        turn.into_iter().for_each(|turn| self.turn.set(turn));
        self.upstreams.set(i64::try_from(healthy).unwrap_or(i64::MAX));
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut out, &self.registry);
        out
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
