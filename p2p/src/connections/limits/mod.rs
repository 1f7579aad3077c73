//! Bounds on the number of connections. Each is a behaviour of the swarm, and denies a connection
//! before its handshake or its handler costs anything.

pub mod ip_limits;
pub mod totals;
