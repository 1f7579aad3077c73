//! The limits of one exchange.

use std::time::Duration;

/// Time limit from the first byte of signalling to a connection.
pub const SIGNALLING_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest session description in bytes. Chromium's has some 500; with 32 candidates of usual
/// length inside, some 4,000.
pub const SDP_LEN_MAX: usize = 8 * 1024;
/// Longest candidate in bytes; usual ones have 200.
pub const CANDIDATE_LEN_MAX: usize = 1024;
/// Candidates of one side, including those inside its description.
pub const CANDIDATES_MAX: usize = 32;
/// Longest message without its length: a description, its tags, and room for unknown fields.
pub const MESSAGE_LEN_MAX: usize = SDP_LEN_MAX + 64;
