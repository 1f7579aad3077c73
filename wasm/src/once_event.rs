//! A flag that is set once and can be awaited by any number of callers.

use futures::{FutureExt, channel::oneshot, future::Shared};
use std::cell::RefCell;

/// A one-time event, not set at first.
pub struct OnceEvent {
    sender: RefCell<Option<oneshot::Sender<()>>>,
    receiver: Shared<oneshot::Receiver<()>>,
}

impl Default for OnceEvent {
    fn default() -> Self {
        let (sender, receiver) = oneshot::channel();
        Self { sender: RefCell::new(Some(sender)), receiver: receiver.shared() }
    }
}

impl OnceEvent {
    /// Sets the event; a second call changes nothing.
    pub fn set(&self) {
        if let Some(sender) = self.sender.borrow_mut().take() {
            // Cannot fail, because this object holds a receiver.
            let _ = sender.send(());
        }
    }

    /// Cancels the event: all waiting callers return, with the result that it is not set.
    pub fn cancel(&self) {
        self.sender.borrow_mut().take();
    }

    /// Waits until the event is set or cancelled, and returns whether it was set.
    pub async fn wait(&self) -> bool {
        self.receiver.clone().await.is_ok()
    }
}
