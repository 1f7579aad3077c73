//! Timers. Where tokio runs, its timers are used: libp2p's own wake one shared thread each time a
//! timer is set, moved or dropped, which took a tenth of the cost of messages. Tokio's timers cost
//! next to nothing until a task waits.

#[cfg(target_arch = "wasm32")]
pub use futures_timer::Delay;
#[cfg(not(target_arch = "wasm32"))]
pub use native::Delay;

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use std::{
        pin::Pin,
        task::{Context, Poll},
        time::Duration,
    };

    use tokio::time::{Instant, Sleep, sleep};

    /// Ready once its time is over. Must be created and polled inside a tokio runtime.
    pub struct Delay(Pin<Box<Sleep>>);

    impl Delay {
        pub fn new(duration: Duration) -> Self {
            Self(Box::pin(sleep(duration)))
        }

        /// Restarts the timer.
        pub fn reset(&mut self, duration: Duration) {
            self.0.as_mut().reset(Instant::now() + duration);
        }
    }

    impl Future for Delay {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            self.0.as_mut().poll(cx)
        }
    }
}
