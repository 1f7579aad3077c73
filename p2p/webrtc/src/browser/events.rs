//! An event listener on a browser object. It is removed before its closure is dropped, so that no
//! event can reach a dropped closure.

use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use web_sys::EventTarget;

/// An event listener, removed when dropped.
pub struct EventListener {
    target: EventTarget,
    kind: &'static str,
    closure: Closure<dyn FnMut(JsValue)>,
}

impl EventListener {
    /// Calls `on_event` with every event of one kind.
    pub fn new(
        target: &EventTarget,
        kind: &'static str,
        on_event: impl FnMut(JsValue) + 'static,
    ) -> Self {
        let closure = Closure::<dyn FnMut(JsValue)>::new(on_event);
        // Fails only if the kind is not a string.
        let _ = target.add_event_listener_with_callback(kind, closure.as_ref().unchecked_ref());
        Self { target: target.clone(), kind, closure }
    }
}

impl Drop for EventListener {
    fn drop(&mut self) {
        let callback = self.closure.as_ref().unchecked_ref();
        let _ = self.target.remove_event_listener_with_callback(self.kind, callback);
    }
}
