//! The configuration that the page passes at the start.

use crate::error::NodeError;
use serde::Deserialize;
use tequio_p2p::{IceServer, Multiaddr};

/// Number of relays to which the node stays connected.
const RELAYS_MAX: usize = 8;

#[derive(Deserialize)]
pub struct StartConfig {
    #[serde(with = "serde_bytes_js")]
    pub checkpoint: Vec<u8>,
    pub relays: Vec<String>,
    #[serde(default)]
    pub store: Option<String>,
    #[serde(default)]
    pub agent: Option<String>,
    #[serde(default, rename = "iceServers")]
    pub ice_servers: Vec<IceServerConfig>,
}

/// An `RTCIceServer`, always with a list of URLs.
#[derive(Deserialize)]
pub struct IceServerConfig {
    urls: Vec<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    credential: Option<String>,
}

impl From<IceServerConfig> for IceServer {
    fn from(server: IceServerConfig) -> Self {
        Self { urls: server.urls, username: server.username, credential: server.credential }
    }
}

pub fn relays(texts: &[String]) -> Result<Vec<Multiaddr>, NodeError> {
    if texts.is_empty() {
        return Err(NodeError::Config("at least one relay address is needed".into()));
    }
    let parse = |text: &String| {
        let address: Multiaddr =
            text.parse().map_err(|e| NodeError::Config(format!("relay address {text}: {e}")))?;
        match tequio_p2p::identity::node_of(&address) {
            Some(_) => Ok(address),
            None => {
                Err(NodeError::Config(format!("relay address {text} does not end in /p2p/<id>")))
            }
        }
    };
    texts.iter().take(RELAYS_MAX).map(parse).collect()
}

/// Converts a `Uint8Array` of the page.
mod serde_bytes_js {
    use serde::{Deserializer, de};

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl de::Visitor<'_> for Bytes {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a Uint8Array")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }

            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
                Ok(bytes)
            }
        }
        deserializer.deserialize_byte_buf(Bytes)
    }
}
