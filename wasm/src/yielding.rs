//! Yields to the page between two slices of work.

use futures_timer::Delay;
use js_sys::Reflect;
use std::time::Duration;
use wasm_bindgen::JsValue;

/// Lets a visible page do its own work, and returns at once in a hidden one. A hidden page draws
/// nothing, and its browser fires timers at most once a second, later once a minute.
pub async fn yield_to_page() {
    if !is_hidden() {
        Delay::new(Duration::ZERO).await;
    }
}

/// Whether the page is hidden; a worker has no document and is never hidden.
fn is_hidden() -> bool {
    let document =
        Reflect::get(&js_sys::global(), &"document".into()).unwrap_or(JsValue::UNDEFINED);
    Reflect::get(&document, &"hidden".into()).is_ok_and(|hidden| hidden.is_truthy())
}
