//! The path of a connection's packets, from the browser's own statistics
//! (`RTCPeerConnection.getStats`).

use js_sys::{Map, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::RtcPeerConnection;

/// The types of the selected candidate pair; each is `host`, `srflx` or `prflx` (behind a NAT), or
/// `relay` (a TURN server).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Type of the local candidate.
    pub local: String,
    /// Type of the remote candidate.
    pub remote: String,
}

impl Route {
    /// Whether a TURN server carries the packets.
    pub fn is_turn(&self) -> bool {
        [&self.local, &self.remote].into_iter().any(|kind| kind == "relay")
    }
}

/// Returns the pair that the connection uses now.
pub async fn of(pc: &RtcPeerConnection) -> Option<Route> {
    let report: Map = JsFuture::from(pc.get_stats()).await.ok()?.unchecked_into();
    let mut pair = None;
    // Chromium and Safari reference the pair in the transport's statistics; Firefox marks the pair
    // itself.
    report.for_each(&mut |entry, _| match text(&entry, "type").as_deref() {
        Some("transport") => pair = text(&entry, "selectedCandidatePairId").or(pair.take()),
        Some("candidate-pair") if field(&entry, "selected").is_truthy() => {
            pair = text(&entry, "id")
        }
        _ => {}
    });
    let pair = report.get(&pair?.into());
    let kind = |side: &str| text(&report.get(&text(&pair, side)?.into()), "candidateType");
    Some(Route { local: kind("localCandidateId")?, remote: kind("remoteCandidateId")? })
}

fn field(entry: &JsValue, name: &str) -> JsValue {
    Reflect::get(entry, &name.into()).unwrap_or(JsValue::UNDEFINED)
}

fn text(entry: &JsValue, name: &str) -> Option<String> {
    field(entry, name).as_string()
}
