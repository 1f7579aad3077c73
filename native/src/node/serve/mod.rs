//! What this node serves to its peers.

pub(super) mod light;
pub(super) mod router;
pub(super) mod sync;
