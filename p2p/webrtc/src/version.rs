//! The two handshakes of `webrtc-direct.md`, distinguished by their ICE credentials.

/// Prefix of a v1 credential; random characters follow.
pub const V1: &str = "libp2p+webrtc+v1/";
/// Prefix of a v2 credential; the dialer's ICE password follows.
pub const V2: &str = "libp2p+webrtc+v2/";

/// The handshake to dial with. A listener accepts both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DialVersion {
    /// The dialer's ICE password travels in the STUN USERNAME: a browser need not change its offer.
    #[default]
    V2,
    /// One string serves both sides as user name and password. A browser must munge its offer for
    /// it, which Chrome is about to forbid. For listeners that support nothing else.
    V1,
}
