//! The one driver of core's machines on native hosts: a thread that owns a machine, feeds it inputs
//! in the order in which they come, and performs its outputs. A machine that waits for the disk
//! waits here and blocks nobody else.
//!
//! What peers tell brings its [`Share`] of the network's memory along. It comes back only once the
//! machine has taken the message, so the network's own bounds on what waits are the bounds of this
//! queue. What has come together is handed over together ([`Inbox::send_told`]): to wake a sleeping
//! thread costs more than most messages do.

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
    /// What peers have told, and what goes with it; the share of the memory comes back as each is
    /// taken.
    Told(Vec<(I, Option<Share>)>),
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
        self.put(1, Envelope::Own(input));
    }

    /// What peers have told, in its order, and the memory that each holds until the machine has
    /// taken it. Inputs of our own that belong between them hold none.
    pub fn send_told(&self, inputs: Vec<(I, Option<Share>)>) {
        self.put(inputs.len(), Envelope::Told(inputs));
    }

    /// Ends the thread after what it has been sent so far.
    pub fn stop(&self) {
        self.put(0, Envelope::Stop);
    }

    /// How many inputs wait for the machine.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    fn put(&self, inputs: usize, envelope: Envelope<I>) {
        self.waiting.fetch_add(inputs, Ordering::Relaxed);
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

#[cfg(test)]
impl<I> Mail<I> {
    /// The inputs of our own that wait.
    pub fn waiting(&self) -> Vec<I> {
        let own = |envelope| if let Envelope::Own(input) = envelope { Some(input) } else { None };
        self.receiver.try_iter().filter_map(own).collect()
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

fn run<M: Machine, P: Performer<M>>(
    mut machine: M,
    mail: &Mail<M::Input>,
    mut performer: P,
) -> anyhow::Result<()>
where
    M::Input: Send,
{
    let mut clock = Clock::default();
    let taken = || mail.waiting.fetch_sub(1, Ordering::Relaxed);
    let mut feed =
        |machine: &mut M, performer: &mut P, input: Option<M::Input>| -> anyhow::Result<()> {
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
    let mut together = Vec::new().into_iter();
    while !performer.settled(&machine) {
        if let Some((input, share)) = together.next() {
            taken();
            feed(&mut machine, &mut performer, Some(input))?;
            drop::<Option<Share>>(share);
        } else {
            let wait = machine
                .deadline()
                .map_or(IDLE, |at| Duration::from_millis(at.saturating_sub(now_ms())));
            match mail.receiver.recv_timeout(wait.clamp(Duration::from_millis(1), IDLE)) {
                Ok(Envelope::Own(input)) => {
                    taken();
                    feed(&mut machine, &mut performer, Some(input))?;
                }
                Ok(Envelope::Told(inputs)) => together = inputs.into_iter(),
                Ok(Envelope::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// Says what it is given, and wants to be called at once all the time.
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

    /// Notes what the machine said, and how much waited then.
    struct Notes(Inbox<Option<u8>>, Sender<(Option<u8>, usize)>);

    impl Performer<Echo> for Notes {
        fn perform(&mut self, _: &Echo, said: Option<u8>) -> anyhow::Result<Option<Option<u8>>> {
            self.1.send((said, self.0.waiting()))?;
            Ok(None)
        }

        fn tick() -> Option<u8> {
            None
        }

        fn refused(&mut self, error: Infallible) -> anyhow::Result<()> {
            match error {}
        }
    }

    #[test]
    fn what_is_sent_together_is_taken_one_by_one_in_its_order_with_time_in_between() {
        let (inbox, mail) = inbox();
        let (notes, noted) = channel();
        inbox.send(Some(1));
        inbox.send_told((2..5).map(|n| (Some(n), None)).collect());
        inbox.send(Some(5));
        inbox.stop();
        assert_eq!(inbox.waiting(), 5);
        run(Echo::default(), &mail, Notes(inbox, notes)).unwrap();
        let noted: Vec<_> = noted.into_iter().collect();
        let inputs: Vec<_> = noted.iter().filter(|(said, _)| said.is_some()).copied().collect();
        assert_eq!(inputs, [(Some(1), 4), (Some(2), 3), (Some(3), 2), (Some(4), 1), (Some(5), 0)]);
        let calm =
            noted.windows(2).filter(|pair| pair[0].0.is_some() && pair[1].0.is_some()).count();
        assert_eq!(calm, 0, "the deadline is looked at after each: {noted:?}");
    }
}
