//! Two cores joined back to back, and one core against arbitrary input.

use super::core::{Core, LEGACY_CAP, RECV_WINDOW, Read, Write};
use crate::{
    budget::{Budget, Pool},
    frame::{self, Decoder, Flag},
};
use bytes::Bytes;
use futures::task::noop_waker_ref;
use proptest::prelude::*;
use std::{
    sync::Arc,
    task::{Context, Poll},
};

fn cx() -> Context<'static> {
    Context::from_waker(noop_waker_ref())
}

fn budget(max: usize) -> (Arc<Pool>, Arc<Budget>) {
    let pool = Pool::new(max);
    let budget = Budget::new(pool.clone());
    budget.authenticated(usize::MAX);
    (pool, budget)
}

fn core(peer_window: Option<u64>) -> Core {
    Core::new(peer_window, budget(usize::MAX).1)
}

/// Delivers all messages of `from` to `to`.
fn deliver(from: &mut Core, to: &mut Core) {
    while let Some(message) = from.next_message() {
        let message = Bytes::copy_from_slice(message);
        from.sent();
        to.receive(message);
    }
}

/// Writes and delivers until the writer must wait; returns the number of bytes written.
fn fill(from: &mut Core, to: &mut Core, at_most: usize) -> usize {
    let mut n = 0;
    while n < at_most
        && let Poll::Ready(k) = from.poll_write(&mut cx(), &[1; 50_000])
    {
        n += k.unwrap();
        deliver(from, to);
    }
    n
}

fn pair() -> (Core, Core) {
    (core(Some(RECV_WINDOW)), core(Some(RECV_WINDOW)))
}

#[test]
fn a_slow_reader_holds_at_most_one_window() {
    let (mut a, mut b) = pair();
    assert_eq!(fill(&mut a, &mut b, usize::MAX), RECV_WINDOW as usize);
    assert_eq!(b.unread, RECV_WINDOW as usize);
    let mut buf = vec![0; RECV_WINDOW as usize / 2];
    let (n, must_wake) = b.poll_read(&mut cx(), &mut buf);
    assert!(matches!(n, Poll::Ready(Ok(n)) if n == buf.len()) && must_wake);
    deliver(&mut b, &mut a);
    assert_eq!(fill(&mut a, &mut b, usize::MAX), buf.len());
}

/// SCTP retransmits a lost message at once when three later ones are acknowledged, and otherwise
/// after a second. So when one raise of the window is lost, the writer's window must last for three
/// more raises and the repair.
#[test]
fn window_updates_are_frequent_enough_to_survive_a_lost_one() {
    let (mut a, mut b) = pair();
    fill(&mut a, &mut b, usize::MAX);
    let (mut buf, mut raises) = ([0; 4096], 0);
    while b.unread > 0 {
        assert!(matches!(b.poll_read(&mut cx(), &mut buf).0, Poll::Ready(Ok(_))));
        while b.next_message().is_some() {
            b.sent();
            raises += 1;
        }
    }
    assert!(raises > 2 * 4, "{raises} raises of a window");
}

/// A message costs a browser's thread far more than its bytes.
#[test]
fn an_exchange_written_in_parts_is_sent_in_one_message() {
    let (mut a, mut b) = pair();
    for part in [&b"negotiation"[..], b"length", b"body"] {
        assert!(a.poll_write(&mut cx(), part).is_ready());
    }
    a.start_close();
    let message = Bytes::copy_from_slice(a.next_message().unwrap());
    a.sent();
    assert!(a.next_message().is_none());
    b.receive(message);
    let mut read = [0; 64];
    assert!(matches!(b.poll_read(&mut cx(), &mut read).0, Poll::Ready(Ok(21))));
    assert_eq!(&read[..21], b"negotiationlengthbody");
    assert!(matches!(b.poll_read(&mut cx(), &mut read).0, Poll::Ready(Ok(0))));
}

#[test]
fn frames_are_joined_only_up_to_the_largest_message() {
    let mut core = core(Some(RECV_WINDOW));
    for _ in 0..20 {
        assert!(core.poll_write(&mut cx(), &[7; 5_000]).is_ready());
    }
    let mut messages = 0;
    while let Some(message) = core.next_message() {
        assert!(message.len() <= frame::MAX_MESSAGE);
        core.sent();
        messages += 1;
    }
    assert_eq!(messages, 7, "three frames in each but the last");
}

#[test]
fn a_peer_that_overruns_is_reset() {
    let (_, mut b) = pair();
    for _ in 0..RECV_WINDOW / 10_000 + 1 {
        b.receive(frame::encode(None, &[0; 10_000], None).into());
    }
    assert_eq!((b.unread, b.read, b.write), (0, Read::Reset, Write::Reset));
    // Without flow control the cap is higher, but it exists.
    let (mut a, mut b) = (core(None), core(None));
    let n = fill(&mut a, &mut b, 2 * LEGACY_CAP);
    assert!(n < 2 * LEGACY_CAP || b.read == Read::Reset);
    assert_eq!(b.unread, 0);
}

#[test]
fn streams_of_all_connections_share_one_bound() {
    let (pool, first) = budget(100_000);
    let second = Budget::new(pool.clone());
    let message = || frame::encode(None, &[0; 10_000], None).into();
    let mut a = Core::new(None, first);
    for _ in 0..9 {
        a.receive(message());
    }
    let mut b = Core::new(None, second);
    b.receive(message());
    assert_eq!((a.read, b.read), (Read::Open, Read::Reset));
    // Bytes that are read, and bytes that are dropped, free memory.
    assert!(matches!(a.poll_read(&mut cx(), &mut [0; 25_000]).0, Poll::Ready(Ok(25_000))));
    a.receive(message());
    assert_eq!(a.read, Read::Open);
    drop((a, b));
    assert_eq!(pool.held(), 0);
}

#[test]
fn half_close_then_close() {
    let (mut a, mut b) = pair();
    assert!(matches!(a.poll_write(&mut cx(), b"question"), Poll::Ready(Ok(8))));
    assert!(a.start_close());
    deliver(&mut a, &mut b);
    let mut buf = [0; 99];
    assert!(matches!(b.poll_read(&mut cx(), &mut buf).0, Poll::Ready(Ok(8))));
    assert!(matches!(b.poll_read(&mut cx(), &mut buf).0, Poll::Ready(Ok(0))));
    assert!(matches!(b.poll_write(&mut cx(), b"answer"), Poll::Ready(Ok(6))));
    b.start_close();
    b.drop_handle();
    deliver(&mut b, &mut a);
    assert!(!b.is_finished(), "waits for FIN_ACK");
    // The remote may close the channel from here on without a loss of data.
    a.channel_closed();
    assert!(matches!(a.poll_flush(&mut cx()), Poll::Ready(Err(_))), "our FIN_ACK was not sent");
    assert!(matches!(a.poll_read(&mut cx(), &mut buf).0, Poll::Ready(Ok(6))));
    assert!(matches!(a.poll_read(&mut cx(), &mut buf).0, Poll::Ready(Ok(0))));
}

#[test]
fn dropping_resets_both_directions() {
    let (mut a, mut b) = pair();
    a.drop_handle();
    deliver(&mut a, &mut b);
    assert!(!a.is_finished(), "the remote has not ended its side");
    assert!(matches!(b.poll_read(&mut cx(), &mut [0; 9]).0, Poll::Ready(Err(_))));
    assert!(matches!(b.poll_write(&mut cx(), b"x"), Poll::Ready(Err(_))));
    b.drop_handle();
    deliver(&mut b, &mut a);
    deliver(&mut a, &mut b);
    assert!(a.is_finished() && b.is_finished());
}

#[test]
fn channel_0_announces_the_window_once() {
    let handshake = || Core::handshake(budget(usize::MAX).1);
    let (mut a, mut b) = (handshake(), handshake());
    for _ in 0..2 {
        assert!(matches!(a.poll_write(&mut cx(), b"noise"), Poll::Ready(Ok(5))));
    }
    let mut decoder = Decoder::default();
    decoder.push(a.outbox[0].clone().into());
    assert_eq!(decoder.next().unwrap().unwrap().window, Some(RECV_WINDOW));
    assert!(a.outbox[1].len() < a.outbox[0].len());
    deliver(&mut a, &mut b);
    assert_eq!(b.peer_window(), Some(RECV_WINDOW));
}

#[test]
fn repeated_fins_are_answered_once() {
    let (_, mut b) = pair();
    for _ in 0..1000 {
        b.receive(frame::encode(Some(Flag::Fin), b"", None).into());
    }
    assert_eq!(b.outbox.len(), 1);
}

/// One event of a core.
#[derive(Clone, Debug)]
enum Step {
    Bytes(Vec<u8>),
    Frame(u8, u16, Option<u64>),
    Read(u16),
    Write(u16),
    Close,
    Drop,
    Send,
    Gone,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => prop::collection::vec(any::<u8>(), 0..100).prop_map(Step::Bytes),
        4 => (0..5u8, 0..16_000u16, any::<Option<u64>>())
            .prop_map(|(f, n, w)| Step::Frame(f, n, w)),
        2 => any::<u16>().prop_map(Step::Read),
        2 => any::<u16>().prop_map(Step::Write),
        1 => Just(Step::Close),
        1 => Just(Step::Drop),
        3 => Just(Step::Send),
        1 => Just(Step::Gone),
    ]
}

proptest! {
    /// For any behaviour of the remote and the application: no panic, the bounds hold, and all
    /// memory is accounted for at the end.
    #[test]
    fn any_sequence_of_calls_keeps_the_accounting_exact(
        steps in prop::collection::vec(step(), 0..200),
        grants in any::<bool>(),
    ) {
        let (pool, budget) = budget(4 * RECV_WINDOW as usize);
        let mut core = Core::new(grants.then_some(1000), budget);
        for step in steps {
            match step {
                Step::Bytes(bytes) => core.receive(bytes.into()),
                Step::Frame(flag, len, window) => {
                    let flags = [Flag::Fin, Flag::StopSending, Flag::Reset, Flag::FinAck];
                    let flag = flags.get(usize::from(flag)).copied();
                    core.receive(frame::encode(flag, &vec![0; len.into()], window).into());
                }
                Step::Read(n) => drop(core.poll_read(&mut cx(), &mut vec![0; n.into()])),
                Step::Write(n) => drop(core.poll_write(&mut cx(), &vec![0; n.into()])),
                Step::Close => drop(core.start_close()),
                Step::Drop => core.drop_handle(),
                Step::Send => {
                    let _ = core.next_message();
                    core.sent();
                }
                Step::Gone => core.channel_closed(),
            }
            prop_assert!(core.unread <= pool.held());
            prop_assert!(pool.held() <= 4 * RECV_WINDOW as usize);
            prop_assert!(!grants || core.unread <= RECV_WINDOW as usize);
        }
        drop(core);
        prop_assert_eq!(pool.held(), 0);
    }

    /// Bytes arrive as written, for any interleaving of the two sides.
    #[test]
    fn bytes_arrive_in_order(
        sizes in prop::collection::vec((1usize..60_000, 1usize..60_000), 1..60),
    ) {
        let (mut a, mut b) = pair();
        let (mut next_out, mut next_in) = (0u8, 0u8);
        for (write, read) in sizes {
            let data: Vec<u8> = (0..write).map(|i| next_out.wrapping_add(i as u8)).collect();
            if let Poll::Ready(n) = a.poll_write(&mut cx(), &data) {
                next_out = next_out.wrapping_add(n.unwrap() as u8);
            }
            deliver(&mut a, &mut b);
            let mut buf = vec![0; read];
            if let (Poll::Ready(n), _) = b.poll_read(&mut cx(), &mut buf) {
                for byte in &buf[..n.unwrap()] {
                    prop_assert_eq!(*byte, next_in);
                    next_in = next_in.wrapping_add(1);
                }
            }
            deliver(&mut b, &mut a);
        }
    }
}
