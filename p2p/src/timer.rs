//! Timers: tokio's where there is a tokio, because libp2p's own wake a thread that all of them
//! share each time one is set, moved or dropped, which was a tenth of what messages cost. These
//! cost next to nothing until somebody waits.

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

    /// Ready once its time is over. It is made and polled inside a tokio runtime.
    pub struct Delay(Pin<Box<Sleep>>);

    impl Delay {
        pub fn new(duration: Duration) -> Self {
            Self(Box::pin(sleep(duration)))
        }

        /// Begins again.
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
