//! The process's limit of open files: raised to the node's need, as far as the system allows.

use tequio_p2p::Limits;

/// Descriptors for HTTP connections, the store, the log and the runtime.
const RESERVED: u64 = 512;

/// Descriptors of a node that holds every connection it may have.
pub fn required() -> u64 {
    let limits = Limits::default();
    let connections =
        [limits.inbound, limits.outbound, limits.pending_inbound, limits.pending_outbound];
    connections.iter().map(|n| u64::from(*n)).sum::<u64>() + RESERVED
}

/// The warning for the operator if the limit is too low.
pub fn advice(limit: u64, wanted: u64) -> Option<String> {
    (limit < wanted).then(|| {
        format!(
            "this process may open {limit} files, and a node with all its connections needs \
             {wanted}: above the limit it refuses connections. Raise it with `ulimit -n {wanted}` \
             before the start, LimitNOFILE={wanted} in a systemd unit, or --ulimit \
             nofile={wanted} for a container"
        )
    })
}

/// Raises the limit as far as the system allows, and logs a warning if that is not enough.
#[cfg(unix)]
pub fn raise() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let wanted = required();
    let (soft, hard) = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok(limits) => limits,
        Err(error) => return tracing::warn!(%error, "the limit of open files cannot be read"),
    };
    let raised = wanted.min(hard);
    let limit = if soft < raised && setrlimit(Resource::RLIMIT_NOFILE, raised, hard).is_ok() {
        raised
    } else {
        soft
    };
    if let Some(advice) = advice(limit, wanted) {
        tracing::warn!("{advice}");
    }
}

/// Does nothing: other systems have no such limit.
#[cfg(not(unix))]
pub fn raise() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_a_low_limit_explains_how_to_raise_it() {
        assert_eq!(advice(required(), required()), None);
        let advice = advice(256, 1000).unwrap();
        for part in ["256", "ulimit -n 1000", "LimitNOFILE=1000"] {
            assert!(advice.contains(part), "{advice}");
        }
    }
}
