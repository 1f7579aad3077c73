//! One-way messages, over one long-lived substream per peer, protocol and direction.
//!
//! [`NotificationRouter::notify`] puts a message into the queue of each recipient, without waiting
//! for the swarm's loop. The task of the peer's best connection sends the queued messages
//! ([`writer`]). Nothing is acknowledged, and lost messages stay lost: the sender retransmits what
//! matters. A full queue drops its oldest message, because newer ones replace it.
//!
//! Consensus messages are read only from the consensus peers
//! ([`NotificationRouter::set_consensus_peers`]), mempool messages from all peers, and each peer
//! has a share of memory ([`reader`]). Other peers have a separate memory budget, so that they
//! cannot use up what committee members need.

pub mod reader;
mod router;
mod send_queue;
pub mod writer;

pub use router::NotificationRouter;
pub use send_queue::SendQueues;
