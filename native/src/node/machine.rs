//! The one driver of core's machines on native hosts: a thread that owns a machine, feeds it inputs in the order in
//! which they come, and performs its outputs. A machine that waits for the disk waits here and blocks nobody else.
//!
//! What peers tell brings its [`Share`] of the network's memory along. It comes back only once the machine has taken the
//! message, so the network's own bounds on what waits are the bounds of this queue.

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
use tequio_p2p::Share;

/// How long a machine without a deadline sleeps at most; it wakes for every input anyway.
const IDLE: Duration = Duration::from_secs(60);

/// Something for a machine's thread.
#[derive(Debug)]
enum Envelope<I> {
    /// An input of our own.
    Own(I),
    /// What a peer has told; its share of the memory comes back once it is taken.
    Told(I, Share),
    /// The thread ends.
    Stop,
}

/// Hands inputs to a machine's thread.
#[derive(Debug)]
pub struct Inbox<I> {
    sender: Sender<Envelope<I>>,
    /// What has been sent and not taken.
    waiting: Arc<AtomicUsize>,
}

impl<I> Clone for Inbox<I> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), waiting: self.waiting.clone() }
    }
}

impl<I> Inbox<I> {
    /// An input of our own. Nothing happens if the thread has ended.
    pub fn send(&self, input: I) {
        self.put(Envelope::Own(input));
    }

    /// What a peer has told, and the memory that it holds until the machine has taken it.
    pub fn send_told(&self, input: I, share: Share) {
        self.put(Envelope::Told(input, share));
    }

    /// Ends the thread after what it has been sent so far.
    pub fn stop(&self) {
        self.put(Envelope::Stop);
    }

    /// How much waits for the machine.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    fn put(&self, envelope: Envelope<I>) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _ = self.sender.send(envelope);
    }
}

/// An inbox and what to give to [`spawn`].
pub fn inbox<I>() -> (Inbox<I>, Mail<I>) {
    let (sender, receiver) = channel();
    let waiting = Arc::<AtomicUsize>::default();
    (Inbox { sender, waiting: waiting.clone() }, Mail { receiver, waiting })
}

/// The receiving end of an [`Inbox`].
#[derive(Debug)]
pub struct Mail<I> {
    receiver: Receiver<Envelope<I>>,
    waiting: Arc<AtomicUsize>,
}

impl<I> Mail<I> {
    fn take(&self, wait: Duration) -> Result<Envelope<I>, RecvTimeoutError> {
        let taken = self.receiver.recv_timeout(wait)?;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        Ok(taken)
    }
}

/// Performs what a machine asks for, and says what the machine's faults mean.
pub trait Performer<M: Machine>: Send + 'static {
    /// Performs an output. What it returns is handed in at once, before anything else.
    fn perform(&mut self, machine: &M, output: M::Output) -> anyhow::Result<Option<M::Input>>;

    /// The input that says that time has passed.
    fn tick() -> M::Input;

    /// Takes note of a refused input; an error ends the thread.
    fn refused(&mut self, error: M::Error) -> anyhow::Result<()>;

    /// Called when all outputs of an input are performed. True ends the thread.
    fn settled(&mut self, machine: &M) -> bool {
        let _ = machine;
        false
    }
}

/// Starts the thread. `ended` learns why it ended; an error there is ours, and grave.
pub fn spawn<M, P>(
    name: String,
    machine: M,
    mail: Mail<M::Input>,
    performer: P,
    ended: impl FnOnce(anyhow::Result<()>) + Send + 'static,
) -> std::io::Result<JoinHandle<()>>
where
    M: Machine + Send + 'static,
    M::Input: Send + 'static,
    P: Performer<M>,
{
    std::thread::Builder::new().name(name).spawn(move || ended(run(machine, &mail, performer)))
}

fn run<M: Machine, P: Performer<M>>(mut machine: M, mail: &Mail<M::Input>, mut performer: P) -> anyhow::Result<()>
where
    M::Input: Send,
{
    let mut clock = Clock::default();
    let mut feed = |machine: &mut M, performer: &mut P, input: Option<M::Input>| -> anyhow::Result<()> {
        let mut next = input;
        loop {
            if let Some(input) = next.take()
                && let Err(error) = machine.handle(clock.now_ms(), input)
            {
                performer.refused(error)?;
            }
            let Some(output) = machine.poll() else { return Ok(()) };
            next = performer.perform(machine, output)?;
        }
    };
    // A restored machine has things to say before anything comes in.
    feed(&mut machine, &mut performer, None)?;
    while !performer.settled(&machine) {
        let wait = machine.deadline().map_or(IDLE, |at| Duration::from_millis(at.saturating_sub(now_ms())));
        match mail.take(wait.clamp(Duration::from_millis(1), IDLE)) {
            Ok(Envelope::Own(input)) => feed(&mut machine, &mut performer, Some(input))?,
            Ok(Envelope::Told(input, share)) => {
                feed(&mut machine, &mut performer, Some(input))?;
                drop(share);
            }
            Ok(Envelope::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if machine.deadline().is_some_and(|at| at <= now_ms()) {
            feed(&mut machine, &mut performer, Some(P::tick()))?;
        }
    }
    Ok(())
}

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> TimeMs {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as TimeMs)
}

/// A clock that never goes back, whatever the system's does.
#[derive(Debug, Default)]
struct Clock(TimeMs);

impl Clock {
    fn now_ms(&mut self) -> TimeMs {
        self.0 = self.0.max(now_ms());
        self.0
    }
}
