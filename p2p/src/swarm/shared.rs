//! State that the driver shares with the handles of the network.

use std::sync::Arc;

use crate::{
    connections::{peers::PeerSnapshot, relay_metrics::RelayMetrics},
    protocols::notifications::NotificationRouter,
    transport::traffic::TrafficMeter,
};

/// State that the driver shares with the handles of the network.
#[derive(Clone)]
pub struct Shared {
    pub peers: PeerSnapshot,
    pub meter: TrafficMeter,
    pub relay_metrics: RelayMetrics,
    pub notifications: Arc<NotificationRouter>,
    pub ice_servers: tequio_webrtc::IceServers,
    #[cfg(target_arch = "wasm32")]
    pub signaller: tequio_webrtc::Signaller,
}
