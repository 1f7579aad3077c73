//! Gives the page its turn between two slices of work.

use futures_timer::Delay;
use js_sys::Reflect;
use std::time::Duration;
use wasm_bindgen::JsValue;

/// Lets the page do its own work. A hidden page shows nothing, and its browser lets a timer fire once a
/// second at most, later once a minute: it goes on at once.
pub async fn give_way() {
    if !is_hidden() {
        Delay::new(Duration::ZERO).await;
    }
}

/// Workers have no document and are never hidden.
fn is_hidden() -> bool {
    let document = Reflect::get(&js_sys::global(), &"document".into()).unwrap_or(JsValue::UNDEFINED);
    Reflect::get(&document, &"hidden".into()).is_ok_and(|hidden| hidden.is_truthy())
}
