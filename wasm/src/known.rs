//! A flag that is set once and can be awaited by any number of callers.

use futures::{FutureExt, channel::oneshot, future::Shared};
use std::cell::RefCell;

/// Unset at first.
pub struct Known {
    sender: RefCell<Option<oneshot::Sender<()>>>,
    receiver: Shared<oneshot::Receiver<()>>,
}

impl Default for Known {
    fn default() -> Self {
        let (sender, receiver) = oneshot::channel();
        Self { sender: RefCell::new(Some(sender)), receiver: receiver.shared() }
    }
}

impl Known {
    /// Sets it; a second call changes nothing.
    pub fn set(&self) {
        if let Some(sender) = self.sender.borrow_mut().take() {
            // This object holds a receiver.
            let _ = sender.send(());
        }
    }

    /// Gives up: all waiting callers return, with the result that it is not set.
    pub fn give_up(&self) {
        self.sender.borrow_mut().take();
    }

    /// Waits until it is set, and returns whether it was.
    pub async fn wait(&self) -> bool {
        self.receiver.clone().await.is_ok()
    }
}
