//! Counters and gauges, served as OpenMetrics text.

use prometheus_client::{
    encoding::text,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// The metrics of a node.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Metrics {
    registry: Registry,
    pub height: Gauge,
    pub view: Gauge,
    pub peers: Gauge,
    pub mempool: Gauge,
    pub reduced: Gauge,
    pub queued: Gauge,
    pub blocks: Counter,
    pub transactions: Counter,
    pub submitted: Counter,
    pub submit_batches: Counter,
    pub submit_verifications: Counter,
    pub peer_transactions: Counter,
    pub peer_verifications: Counter,
    pub units_computed: Counter,
    pub units_accepted: Counter,
    pub results_rejected: Counter,
    pub audits: Counter,
    pub http_requests: Counter,
    pub http_limited: Counter,
    pub misbehaviour: Counter,
    pub path_changes: Family<[(&'static str, &'static str); 1], Counter>,
    pub collector_fallbacks: Counter,
    pub pipelined_votes: Counter,
    pub sequential_block_ms: Gauge,
    pub pipelined_block_ms: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("tequio"),
            height: Gauge::default(),
            view: Gauge::default(),
            peers: Gauge::default(),
            mempool: Gauge::default(),
            reduced: Gauge::default(),
            queued: Gauge::default(),
            blocks: Counter::default(),
            transactions: Counter::default(),
            submitted: Counter::default(),
            submit_batches: Counter::default(),
            submit_verifications: Counter::default(),
            peer_transactions: Counter::default(),
            peer_verifications: Counter::default(),
            units_computed: Counter::default(),
            units_accepted: Counter::default(),
            results_rejected: Counter::default(),
            audits: Counter::default(),
            http_requests: Counter::default(),
            http_limited: Counter::default(),
            misbehaviour: Counter::default(),
            path_changes: Family::default(),
            collector_fallbacks: Counter::default(),
            pipelined_votes: Counter::default(),
            sequential_block_ms: Gauge::default(),
            pipelined_block_ms: Gauge::default(),
        };
        let m = &metrics;
        let mut registry = Registry::with_prefix("tequio");
        registry.register("height", "Height of the newest final block", m.height.clone());
        registry.register("view", "View of the height being decided", m.view.clone());
        registry.register("peers", "Connected peers", m.peers.clone());
        registry.register(
            "mempool_transactions",
            "Transactions waiting for a block",
            m.mempool.clone(),
        );
        registry.register("reduced_mode", "1 while no block becomes final", m.reduced.clone());
        registry.register("queued_writes", "Local writes that are not final yet", m.queued.clone());
        registry.register("blocks", "Blocks finalised since the start", m.blocks.clone());
        registry.register(
            "transactions",
            "Transactions in finalised blocks since the start",
            m.transactions.clone(),
        );
        registry.register(
            "transactions_submitted",
            "Transactions submitted by clients",
            m.submitted.clone(),
        );
        registry.register(
            "submission_batches",
            "Batches in which submitted transactions were verified",
            m.submit_batches.clone(),
        );
        registry.register(
            "submission_signature_checks",
            "Signature verifications of submitted transactions; a batch of signatures counts as \
             one",
            m.submit_verifications.clone(),
        );
        registry.register(
            "transactions_received",
            "New transactions received from other full nodes",
            m.peer_transactions.clone(),
        );
        registry.register(
            "received_signature_checks",
            "Signature verifications of received transactions; a batch of signatures counts as one",
            m.peer_verifications.clone(),
        );
        registry.register(
            "units_computed",
            "Work units computed by this node",
            m.units_computed.clone(),
        );
        registry.register(
            "units_accepted",
            "Work units accepted by this node's jobs",
            m.units_accepted.clone(),
        );
        registry.register(
            "results_rejected",
            "Results rejected by this node's jobs",
            m.results_rejected.clone(),
        );
        registry.register("audits", "Jobs recomputed as an auditor", m.audits.clone());
        registry.register("http_requests", "Requests to the HTTP API", m.http_requests.clone());
        registry.register(
            "http_limited",
            "Requests to the HTTP API refused by the rate limit",
            m.http_limited.clone(),
        );
        registry.register("misbehaviour", "Protocol violations by peers", m.misbehaviour.clone());
        registry.register(
            "path_changes",
            "Changes of the path to a connected peer",
            m.path_changes.clone(),
        );
        registry.register(
            "collector_fallbacks",
            "Heights at which this node sent its votes to all members, because the collector did \
             not answer in time",
            m.collector_fallbacks.clone(),
        );
        registry.register(
            "pipelined_votes",
            "Heights at which this node voted before the previous height was final",
            m.pipelined_votes.clone(),
        );
        registry.register(
            "block_unpipelined_ms",
            "Mean time from vote to finality of blocks without pipelining, milliseconds",
            m.sequential_block_ms.clone(),
        );
        registry.register(
            "block_pipelined_ms",
            "Mean time from vote to finality of pipelined blocks, milliseconds",
            m.pipelined_block_ms.clone(),
        );
        metrics.registry = registry;
        metrics
    }
}

impl Metrics {
    /// Records a change of the path to a connected peer.
    pub fn path_changed(&self, reason: &tequio_p2p::PathReason) {
        self.path_changes.get_or_create(&[("reason", reason.as_str())]).inc();
    }

    /// The metrics as OpenMetrics text.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        // Writing into a String does not fail.
        let _ = text::encode(&mut out, &self.registry);
        out
    }
}
