//! The driver of core's machines on native hosts: a thread that owns a machine, feeds it inputs in
//! the order of arrival, and performs its outputs. A machine that waits for the disk blocks only
//! its own thread.
//!
//! Messages of peers carry a [`MemoryPermit`] of the network. It is released only after the machine
//! has taken the message, so the network's bounds on unread messages also bound this queue.
//! Messages that arrive together are delivered together ([`Inbox::send_from_peers`]), because
//! waking a sleeping thread costs more than most messages.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::JoinHandle,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tequio_core::{machine::Machine, types::TimeMs};
use tequio_p2p::MemoryPermit;

/// Longest sleep of a machine without a deadline. Every input wakes it anyway.
const IDLE_SLEEP_MAX: Duration = Duration::from_secs(60);

/// A message to a machine's thread.
#[derive(Debug)]
enum Envelope<I> {
    /// A local input.
    Local(I),
    /// Messages of peers with their memory permits. Each permit is released when its message is
    /// taken.
    FromPeers(Vec<(I, Option<MemoryPermit>)>),
    /// Ends the thread.
    Stop,
}

/// Sends inputs to a machine's thread.
#[derive(Debug)]
pub struct Inbox<I> {
    sender: Sender<Envelope<I>>,
    /// Inputs that are sent but not taken yet.
    waiting: Arc<AtomicUsize>,
}

impl<I> Clone for Inbox<I> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), waiting: self.waiting.clone() }
    }
}

impl<I> Inbox<I> {
    /// Sends a local input. Does nothing if the thread has ended.
    pub fn send(&self, input: I) {
        self.put(1, Envelope::Local(input));
    }

    /// Sends messages of peers in their order. Each holds its memory permit until the machine has
    /// taken it. Local inputs between them have no permit.
    pub fn send_from_peers(&self, inputs: Vec<(I, Option<MemoryPermit>)>) {
        self.put(inputs.len(), Envelope::FromPeers(inputs));
    }

    /// Ends the thread after the inputs sent so far.
    pub fn stop(&self) {
        self.put(0, Envelope::Stop);
    }

    /// Number of inputs that wait for the machine.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    fn put(&self, inputs: usize, envelope: Envelope<I>) {
        self.waiting.fetch_add(inputs, Ordering::Relaxed);
        let _ = self.sender.send(envelope);
    }
}

/// An inbox, and the receiver for [`spawn`].
pub fn inbox<I>() -> (Inbox<I>, InboxReceiver<I>) {
    let (sender, receiver) = channel();
    let waiting = Arc::<AtomicUsize>::default();
    (Inbox { sender, waiting: waiting.clone() }, InboxReceiver { receiver, waiting })
}

/// The receiving end of an [`Inbox`].
#[derive(Debug)]
pub struct InboxReceiver<I> {
    receiver: Receiver<Envelope<I>>,
    waiting: Arc<AtomicUsize>,
}

#[cfg(test)]
impl<I> InboxReceiver<I> {
    /// The waiting local inputs.
    pub fn waiting(&self) -> Vec<I> {
        let own = |envelope| if let Envelope::Local(input) = envelope { Some(input) } else { None };
        self.receiver.try_iter().filter_map(own).collect()
    }
}

/// Performs a machine's outputs, and decides which of its errors are fatal.
pub trait OutputHandler<M: Machine>: Send + 'static {
    /// Performs an output. A returned input is handled at once, before any other.
    fn handle_output(&mut self, machine: &M, output: M::Output)
    -> anyhow::Result<Option<M::Input>>;

    /// The input that reports the passing of time.
    fn tick() -> M::Input;

    /// Handles the error of a refused input. Returning an error ends the thread.
    fn handle_error(&mut self, error: M::Error) -> anyhow::Result<()>;

    /// Called after all outputs of an input are performed. True ends the thread.
    fn should_stop(&mut self, machine: &M) -> bool {
        let _ = machine;
        false
    }
}

/// Starts the thread. `ended` receives the result; an error is local and fatal.
pub fn spawn<M, H>(
    name: String,
    machine: M,
    receiver: InboxReceiver<M::Input>,
    handler: H,
    ended: impl FnOnce(anyhow::Result<()>) + Send + 'static,
) -> std::io::Result<JoinHandle<()>>
where
    M: Machine + Send + 'static,
    M::Input: Send + 'static,
    H: OutputHandler<M>,
{
    std::thread::Builder::new().name(name).spawn(move || ended(run(machine, &receiver, handler)))
}

fn run<M: Machine, H: OutputHandler<M>>(
    mut machine: M,
    receiver: &InboxReceiver<M::Input>,
    mut handler: H,
) -> anyhow::Result<()>
where
    M::Input: Send,
{
    let mut clock = Clock::default();
    let taken = || receiver.waiting.fetch_sub(1, Ordering::Relaxed);
    let mut feed =
        |machine: &mut M, handler: &mut H, input: Option<M::Input>| -> anyhow::Result<()> {
            let mut next = input;
            loop {
                if let Some(input) = next.take()
                    && let Err(error) = machine.handle(clock.now_ms(), input)
                {
                    handler.handle_error(error)?;
                }
                let Some(output) = machine.poll() else { return Ok(()) };
                next = handler.handle_output(machine, output)?;
            }
        };
    // A restored machine may have outputs before its first input.
    feed(&mut machine, &mut handler, None)?;
    let mut batch = Vec::new().into_iter();
    while !handler.should_stop(&machine) {
        if let Some((input, permit)) = batch.next() {
            taken();
            feed(&mut machine, &mut handler, Some(input))?;
            drop::<Option<MemoryPermit>>(permit);
        } else {
            let wait = machine
                .deadline()
                .map_or(IDLE_SLEEP_MAX, |at| Duration::from_millis(at.saturating_sub(now_ms())));
            match receiver
                .receiver
                .recv_timeout(wait.clamp(Duration::from_millis(1), IDLE_SLEEP_MAX))
            {
                Ok(Envelope::Local(input)) => {
                    taken();
                    feed(&mut machine, &mut handler, Some(input))?;
                }
                Ok(Envelope::FromPeers(inputs)) => batch = inputs.into_iter(),
                Ok(Envelope::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        if machine.deadline().is_some_and(|at| at <= now_ms()) {
            feed(&mut machine, &mut handler, Some(H::tick()))?;
        }
    }
    Ok(())
}

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> TimeMs {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as TimeMs)
}

/// A clock that never goes back, even if the system's clock does.
#[derive(Debug, Default)]
struct Clock(TimeMs);

impl Clock {
    fn now_ms(&mut self) -> TimeMs {
        self.0 = self.0.max(now_ms());
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// Outputs its inputs; its deadline has always passed.
    #[derive(Default)]
    struct Echo(Vec<Option<u8>>);

    impl Machine for Echo {
        type Input = Option<u8>;
        type Output = Option<u8>;
        type Error = Infallible;

        fn handle(&mut self, _: TimeMs, input: Option<u8>) -> Result<(), Infallible> {
            self.0.push(input);
            Ok(())
        }

        fn poll(&mut self) -> Option<Option<u8>> {
            self.0.pop()
        }

        fn deadline(&self) -> Option<TimeMs> {
            Some(0)
        }
    }

    /// Records the machine's outputs, and how many inputs waited at each.
    struct Recorder(Inbox<Option<u8>>, Sender<(Option<u8>, usize)>);

    impl OutputHandler<Echo> for Recorder {
        fn handle_output(
            &mut self,
            _: &Echo,
            input: Option<u8>,
        ) -> anyhow::Result<Option<Option<u8>>> {
            self.1.send((input, self.0.waiting()))?;
            Ok(None)
        }

        fn tick() -> Option<u8> {
            None
        }

        fn handle_error(&mut self, error: Infallible) -> anyhow::Result<()> {
            match error {}
        }
    }

    #[test]
    fn inputs_sent_together_are_taken_in_order_with_ticks_in_between() {
        let (inbox, receiver) = inbox();
        let (sender, recorded) = channel();
        inbox.send(Some(1));
        inbox.send_from_peers((2..5).map(|n| (Some(n), None)).collect());
        inbox.send(Some(5));
        inbox.stop();
        assert_eq!(inbox.waiting(), 5);
        run(Echo::default(), &receiver, Recorder(inbox, sender)).unwrap();
        let recorded: Vec<_> = recorded.into_iter().collect();
        let inputs: Vec<_> =
            recorded.iter().filter(|(input, _)| input.is_some()).copied().collect();
        assert_eq!(inputs, [(Some(1), 4), (Some(2), 3), (Some(3), 2), (Some(4), 1), (Some(5), 0)]);
        let unchecked =
            recorded.windows(2).filter(|pair| pair[0].0.is_some() && pair[1].0.is_some()).count();
        assert_eq!(unchecked, 0, "the deadline is checked after each: {recorded:?}");
    }
}
