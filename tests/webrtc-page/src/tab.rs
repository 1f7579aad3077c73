//! A whole node of `tequio-p2p` in a tab, without a chain, for tests between two tabs.

use crate::pattern::bytes;
use js_sys::Function;
use std::time::Duration;
use tequio_p2p::{Config, Event, IceServer, Multiaddr, Network, Path, Protocol, identity::circuit};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::spawn_local;

const ANSWER_WAIT: Duration = Duration::from_secs(60);

fn js(error: impl std::fmt::Display) -> JsError {
    JsError::new(&error.to_string())
}

fn words(path: &Path) -> String {
    format!("{} {}", if path.is_direct() { "direct" } else { "relayed" }, path.transport())
}

/// Makes a server from a URL, a user name and a credential.
fn ice_servers(ice: &[String]) -> Vec<IceServer> {
    let [url, username, credential] = ice else { return Vec::new() };
    let (username, credential) = (Some(username.clone()), Some(credential.clone()));
    vec![IceServer { urls: vec![url.clone()], username, credential }]
}

/// A node that echoes everything.
#[wasm_bindgen]
pub struct Tab {
    network: Network,
    relay: Multiaddr,
}

#[wasm_bindgen]
impl Tab {
    /// Connects to a relay. `ice` is empty, or the URL, user name and credential of a server.
    /// `on_change` is called for every change with its kind, the peer, and the path or reason.
    pub async fn start(
        relay: String,
        ice: Vec<String>,
        relay_only: bool,
        on_change: Function,
    ) -> Result<Tab, JsError> {
        let relay: Multiaddr = relay.parse().map_err(js)?;
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(js)?;
        let mut config = Config::new(secret);
        config.serve = vec![Protocol::Work];
        // So that a test can observe its end.
        config.standby_timeout = Duration::from_secs(1);
        config.ice_relay_only = relay_only;
        config.ice_servers = ice_servers(&ice);
        let (network, mut events) = tequio_p2p::spawn(config).map_err(js)?;
        spawn_local(async move {
            while let Some(event) = events.next().await {
                let (kind, peer, text) = match event {
                    Event::InboundRequest { body, reply, .. } => {
                        reply.send(body);
                        continue;
                    }
                    Event::Connected { peer, path, .. } => ("connected", peer, words(&path)),
                    Event::PathChanged { peer, path, .. } => ("path", peer, words(&path)),
                    Event::Disconnected { peer, reason } => {
                        ("disconnected", peer, format!("{reason:?}"))
                    }
                    _ => continue,
                };
                let _ = on_change.call3(
                    &JsValue::NULL,
                    &kind.into(),
                    &peer.to_string().into(),
                    &text.into(),
                );
            }
        });
        network.dial(relay.clone()).await.map_err(js)?;
        Ok(Self { network, relay })
    }

    /// Replaces the ICE server, or removes it.
    #[wasm_bindgen(js_name = setIce)]
    pub fn set_ice(&self, ice: Vec<String>) -> Result<(), JsError> {
        self.network.set_ice_servers(ice_servers(&ice)).map_err(js)
    }

    /// Stays connected to the peer at this address.
    pub async fn keep(&self, addr: String) -> Result<(), JsError> {
        self.network.add_persistent_peer(addr.parse().map_err(js)?).await;
        Ok(())
    }

    /// Makes a reservation and returns the address at which others reach this tab.
    pub async fn listen(&self) -> Result<String, JsError> {
        let relayed = circuit(&self.relay, self.network.local_id())
            .ok_or_else(|| js("the relay has no name"))?;
        let mut reservation = relayed.clone();
        reservation.pop();
        self.network.listen(reservation).await.map_err(js)?;
        Ok(relayed.to_string())
    }

    /// Connects and returns the path: `relayed websocket`, `direct webrtc`.
    pub async fn dial(&self, addr: String) -> Result<Vec<String>, JsError> {
        let (peer, path) = self.network.dial(addr.parse().map_err(js)?).await.map_err(js)?;
        Ok(vec![peer.to_string(), words(&path)])
    }

    /// Sends bytes to a peer and receives them back. Fails if one differs.
    pub async fn echo(&self, peer: String, len: usize) -> Result<(), JsError> {
        let body = bytes(len);
        let peer = peer.parse().map_err(js)?;
        let answer = self
            .network
            .request(peer, Protocol::Work, body.clone(), ANSWER_WAIT)
            .await
            .map_err(js)?;
        if answer == body {
            Ok(())
        } else {
            Err(js(format!("{} other bytes came back", answer.len())))
        }
    }

    /// Returns the current path to a peer.
    pub fn path(&self, peer: String) -> Result<Option<String>, JsError> {
        Ok(self.network.peer(peer.parse().map_err(js)?).map(|peer| words(&peer.path)))
    }

    /// Returns the kinds of the candidates in use, ours and the peer's: `host host`, `relay relay`.
    pub async fn route(&self, peer: String) -> Result<Option<String>, JsError> {
        let route = self.network.route(peer.parse().map_err(js)?).await;
        Ok(route.map(|route| format!("{} {}", route.local, route.remote)))
    }

    /// Returns our peer id.
    pub fn id(&self) -> String {
        self.network.local_id().to_string()
    }

    /// Ends the node.
    pub async fn close(&self) {
        self.network.clone().close().await;
    }
}
