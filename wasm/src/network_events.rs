//! Connections, as events for the page.

use crate::{
    chain::Chain,
    event::{Event, PathView},
};
use futures::channel::oneshot;
use std::{cell::RefCell, rc::Rc};
use tequio_core::types::NodeId;
use tequio_p2p::{Events, Multiaddr, Path};

/// Reports connections to the page.
pub async fn forward_network_events(
    chain: Rc<Chain>,
    mut events: Events,
    mut first: Option<oneshot::Sender<()>>,
    unreached: Rc<RefCell<Option<String>>>,
) {
    use tequio_p2p::Event as Net;
    while let Some(event) = events.next().await {
        match event {
            Net::Connected { peer, path, addr } => {
                chain.emitter.emit(&Event::Peer { id: peer.to_string(), connected: true });
                chain.emitter.emit(&path_event(peer, &path, &addr, "connected"));
                if let Some(first) = first.take() {
                    let _ = first.send(());
                }
            }
            Net::PathChanged { peer, path, addr, reason } => {
                chain.emitter.emit(&path_event(peer, &path, &addr, reason.as_str()));
            }
            Net::Unreachable { peer, error } => {
                let peer = peer.map_or("a relay".into(), |peer| peer.to_string());
                let message = format!("{peer} is not reached and will be tried again: {error}");
                chain.emitter.log("warn", message.clone());
                *unreached.borrow_mut() = Some(message);
            }
            Net::Disconnected { peer, .. } => {
                chain.emitter.emit(&Event::Peer { id: peer.to_string(), connected: false });
            }
            _ => {}
        }
    }
}

fn path_event(peer: NodeId, path: &Path, addr: &Multiaddr, reason: &'static str) -> Event {
    Event::Path {
        peer: peer.to_string(),
        path: PathView::new(path),
        address: addr.to_string(),
        reason,
    }
}
