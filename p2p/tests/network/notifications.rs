//! One-way messages over real sockets: order, bounds, slow readers, ends and hostile bytes.

use std::{sync::Arc, time::Duration};

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::{StreamProtocol, Swarm, SwarmBuilder, noise, swarm::SwarmEvent, tcp, yamux};
use tequio_core::types::NodeId;
use tequio_p2p::{
    Event, Events, Multiaddr, Network, NotificationProtocol, NotificationStream, Protocol,
    RequestError, spawn,
};

use crate::{config, within};

const NAME: StreamProtocol = StreamProtocol::new(Protocol::Consensus.name());
const LEN_MAX: usize = NotificationProtocol::Consensus.len_max();

struct Member {
    net: Network,
    consensus: NotificationStream,
    /// The stream of mempool notifications, open to all peers.
    mempool: NotificationStream,
    _events: tokio::task::JoinHandle<()>,
}

async fn drain(mut events: Events, seen: tokio::sync::mpsc::UnboundedSender<Event>) {
    while let Some(event) = events.next().await {
        let _ = seen.send(event);
    }
}

impl Member {
    fn new() -> (Self, tokio::sync::mpsc::UnboundedReceiver<Event>) {
        let (net, mut events) = spawn(config()).unwrap();
        let consensus = events.take_notifications(NotificationProtocol::Consensus).unwrap();
        let mempool = events.take_notifications(NotificationProtocol::Mempool).unwrap();
        assert!(events.take_notifications(NotificationProtocol::Consensus).is_none());
        let (seen, receiver) = tokio::sync::mpsc::unbounded_channel();
        (Self { net, consensus, mempool, _events: tokio::spawn(drain(events, seen)) }, receiver)
    }

    fn id(&self) -> NodeId {
        self.net.local_id()
    }

    async fn listen(&self) -> Multiaddr {
        let addr = within(self.net.listen("/ip4/127.0.0.1/tcp/0".parse().unwrap())).await.unwrap();
        tequio_p2p::identity::with_peer(addr, self.id())
    }

    fn notify(&self, peer: NodeId, body: Vec<u8>) {
        self.net.notify(NotificationProtocol::Consensus, [peer], &Arc::from(body));
    }

    async fn next_notification(&mut self) -> (NodeId, Vec<u8>) {
        let notification = within(self.consensus.next()).await.unwrap();
        (notification.peer, notification.body)
    }
}

/// A body that starts with a number, so that the order is checked.
fn body(n: u32, len: usize) -> Vec<u8> {
    let mut body = crate::pattern(len);
    body[..4].copy_from_slice(&n.to_le_bytes());
    body
}

fn number(body: &[u8]) -> u32 {
    u32::from_le_bytes(body[..4].try_into().unwrap())
}

async fn connected() -> (Member, Member) {
    let ((a, _), (b, _)) = (Member::new(), Member::new());
    a.net.set_consensus_peers([b.id()]);
    b.net.set_consensus_peers([a.id()]);
    let addr = b.listen().await;
    within(a.net.dial(addr)).await.unwrap();
    (a, b)
}

#[tokio::test]
async fn messages_arrive_complete_and_in_order_in_both_directions() {
    let (mut a, mut b) = connected().await;
    let lens = [4, 200, 16 * 1024, 5, 300_000, 4, LEN_MAX, 17];
    for (n, len) in lens.into_iter().enumerate() {
        a.notify(b.id(), body(n as u32, len));
    }
    for (n, len) in lens.into_iter().enumerate() {
        assert_eq!(b.next_notification().await, (a.id(), body(n as u32, len)), "message {n}");
    }
    // The other direction, once b has the connection: it has, because it has received messages over
    // it.
    for n in 0..400 {
        b.notify(a.id(), body(n, 200));
    }
    for n in 0..400 {
        assert_eq!(a.next_notification().await, (b.id(), body(n, 200)));
    }
    // To a peer that is not connected: no effect.
    a.notify(NodeId([7; 32]), vec![1]);
}

#[tokio::test]
async fn a_stalled_reader_loses_the_oldest_and_costs_bounded_memory() {
    let (a, mut b) = connected().await;
    // At b the application takes nothing. Send until more messages are missing than the queue
    // holds.
    let (mut count, len) = (0, 500_000);
    while u64::from(count) * len as u64 <= a.net.traffic().total().sent + 40_000_000 {
        assert!(count < 2000, "the reader does not stop");
        a.notify(b.id(), body(count, len));
        count += 1;
        tokio::task::yield_now().await;
    }
    let mut received = Vec::new();
    while received.last() != Some(&(count - 1)) {
        let (from, message) = b.next_notification().await;
        assert_eq!((from, message.len()), (a.id(), len));
        received.push(number(&message));
    }
    assert!(received.is_sorted(), "{received:?}");
    assert!(received.len() < count as usize - 40, "{} of {count} were kept", received.len());
    let last: Vec<u32> = (count - 20..count).collect();
    assert!(received.ends_with(&last), "the newest are all there: {received:?}");
    // The stream continues afterwards.
    a.notify(b.id(), body(7, 50));
    assert_eq!(b.next_notification().await.1, body(7, 50));
}

#[tokio::test]
async fn protocols_are_separate_and_carry_no_requests() {
    // Neither node has consensus peers, and the protocols do not block each other: the mempool is
    // open to all.
    let ((a, _), (mut b, _)) = (Member::new(), Member::new());
    let addr = b.listen().await;
    within(a.net.dial(addr)).await.unwrap();
    let long = body(1, NotificationProtocol::Mempool.len_max());
    for message in
        [&long, &body(2, 10), &vec![0; NotificationProtocol::Mempool.len_max() + 1], &body(3, 10)]
    {
        a.net.notify(NotificationProtocol::Mempool, [b.id()], &Arc::from(message.clone()));
    }
    for message in [long, body(2, 10), body(3, 10)] {
        let notification = within(b.mempool.next()).await.unwrap();
        assert_eq!((notification.peer, notification.body), (a.id(), message));
    }
    for channel in NotificationProtocol::ALL {
        let result =
            a.net.request(b.id(), channel.protocol(), b"x".to_vec(), Duration::from_secs(5)).await;
        assert_eq!(result, Err(RequestError::Unsupported));
    }
}

#[tokio::test]
async fn a_new_connection_carries_on() {
    let ((a, mut seen), (mut b, _)) = (Member::new(), Member::new());
    b.net.set_consensus_peers([a.id()]);
    let addr = b.listen().await;
    for n in 0..3 {
        within(a.net.dial(addr.clone())).await.unwrap();
        a.notify(b.id(), body(n, 100));
        assert_eq!(b.next_notification().await, (a.id(), body(n, 100)));
        within(a.net.disconnect(b.id())).await;
        within(async {
            while !matches!(seen.recv().await.unwrap(), Event::Disconnected { .. }) {}
        })
        .await;
        a.notify(b.id(), body(99, 100)); // Not connected.
    }
}

fn raw() -> Swarm<libp2p_stream::Behaviour> {
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| libp2p_stream::Behaviour::new())
        .unwrap()
        .with_swarm_config(|c| c.with_idle_connection_timeout(Duration::from_secs(600)))
        .build()
}

#[tokio::test]
async fn a_stream_that_ends_is_opened_again() {
    let mut swarm = raw();
    let mut incoming = swarm.behaviour().new_control().accept(NAME).unwrap();
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
    let addr = within(async {
        loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                return address;
            }
        }
    })
    .await;
    tokio::spawn(async move { while swarm.next().await.is_some() {} });
    let (a, _) = Member::new();
    let (peer, _) = within(a.net.dial(addr)).await.unwrap();
    for n in 0..3u8 {
        a.notify(peer, vec![n; 3]);
        let (_, mut stream) = within(incoming.next()).await.unwrap();
        let mut frame = [0; 7];
        within(stream.read_exact(&mut frame)).await.unwrap();
        assert_eq!(frame, [3, 0, 0, 0, n, n, n]);
        // The stream's end arrives once the writer has received ours.
        within(stream.close()).await.unwrap();
        assert_eq!(within(stream.read(&mut frame)).await.unwrap_or(0), 0);
    }
}

#[tokio::test]
async fn invalid_lengths_end_the_stream_and_other_peers_are_not_read() {
    let (mut b, mut seen) = Member::new();
    let addr = b.listen().await;
    let mut swarm = raw();
    let raw_peer = tequio_p2p::identity::node_of(
        &addr.iter().take(2).collect::<Multiaddr>().with_p2p(*swarm.local_peer_id()).unwrap(),
    )
    .unwrap();
    let mut control = swarm.behaviour().new_control();
    let peer = tequio_p2p::identity::peer_id(b.id()).unwrap();
    swarm.dial(addr).unwrap();
    within(async {
        while !matches!(swarm.select_next_some().await, SwarmEvent::ConnectionEstablished { .. }) {}
    })
    .await;
    tokio::spawn(async move { while swarm.next().await.is_some() {} });

    // The peer is not yet a consensus peer: the stream ends, and no message is delivered.
    let mut stream = within(control.open_stream(peer, NAME)).await.unwrap();
    let _ = stream.write_all(b"\x01\0\0\0x").await;
    let _ = stream.flush().await;
    assert_eq!(within(stream.read(&mut [0])).await.unwrap_or(0), 0);

    b.net.set_consensus_peers([raw_peer]);
    for len in [0, LEN_MAX as u32 + 1, u32::MAX] {
        let mut stream = within(control.open_stream(peer, NAME)).await.unwrap();
        stream.write_all(b"\x02\0\0\0ok").await.unwrap();
        stream.write_all(&len.to_le_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(b.next_notification().await, (raw_peer, b"ok".to_vec()));
        assert_eq!(within(stream.read(&mut [0])).await.unwrap_or(0), 0, "length {len}");
    }
    // Truncated inside a length, and inside a body: no message.
    for bytes in [&[3u8, 0][..], &[3, 0, 0, 0, b'y']] {
        let mut stream = within(control.open_stream(peer, NAME)).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.close().await.unwrap();
        assert_eq!(within(stream.read(&mut [0])).await.unwrap_or(0), 0);
    }
    // The connection is unaffected, until the strikes exceed the limit.
    let mut stream = within(control.open_stream(peer, NAME)).await.unwrap();
    stream.write_all(b"\x03\0\0\0yes").await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(b.next_notification().await, (raw_peer, b"yes".to_vec()));
    within(async {
        loop {
            if let Ok(Event::RateLimited { peer, .. }) = seen.try_recv() {
                assert_eq!(peer, raw_peer);
                return;
            }
            if let Ok(mut stream) = control.open_stream(peer, NAME).await {
                let _ = stream.write_all(&u32::MAX.to_le_bytes()).await;
                let _ = stream.flush().await;
                let _ = stream.read(&mut [0]).await;
            }
        }
    })
    .await;
}
