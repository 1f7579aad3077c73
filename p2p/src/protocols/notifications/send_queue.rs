//! The queue of messages to one peer, bounded in messages and in bytes. Only the active connection
//! takes from it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use libp2p::swarm::ConnectionId;

use crate::protocol::NotificationProtocol;

const MIB: usize = 1024 * 1024;
/// Queued messages are sent together, up to this many bytes.
pub const BATCH_BYTES: usize = 16 * 1024;
/// Length of the prefix of a message, in bytes.
pub const HEADER_LEN: usize = 4;

impl NotificationProtocol {
    /// Limits of one peer's send queue, in messages and bytes; beyond them the oldest message is
    /// dropped.
    const fn send_queue_max(self) -> (usize, usize) {
        match self {
            NotificationProtocol::Consensus => (512, 12 * MIB),
            NotificationProtocol::Mempool => (128, 2 * MIB),
        }
    }
}

/// The send queues of one peer, by protocol.
#[derive(Debug)]
pub struct SendQueues([Arc<SendQueue>; NotificationProtocol::COUNT]);

impl SendQueues {
    pub fn of(&self, channel: NotificationProtocol) -> &Arc<SendQueue> {
        &self.0[channel.index()]
    }

    /// Sets the connection that carries the peer's messages.
    pub fn route(&self, connection: Option<ConnectionId>) {
        self.0.iter().for_each(|queue| queue.route(connection));
    }

    /// Drops the queued messages; no connection carries them any more.
    pub fn clear(&self) {
        self.0.iter().for_each(|queue| queue.clear());
    }
}

impl Default for SendQueues {
    fn default() -> Self {
        Self(NotificationProtocol::ALL.map(|channel| Arc::new(SendQueue::new(channel))))
    }
}

/// The send queue of one peer and protocol.
#[derive(Debug)]
pub struct SendQueue {
    channel: NotificationProtocol,
    queue: Mutex<QueueState>,
}

#[derive(Debug, Default)]
struct QueueState {
    messages: VecDeque<Arc<[u8]>>,
    bytes: usize,
    active_connection: Option<ConnectionId>,
    /// Wakers of connections that wait for messages, or to become the active connection.
    wakers: Vec<(ConnectionId, Waker)>,
}

impl SendQueue {
    pub fn new(channel: NotificationProtocol) -> Self {
        Self { channel, queue: Mutex::default() }
    }

    /// Queues a message; drops the oldest ones if the queue is full.
    pub fn push(&self, body: Arc<[u8]>) {
        let (items_max, bytes_max) = self.channel.send_queue_max();
        let waker = {
            let mut queue = self.queue();
            if body.is_empty() || body.len() > self.channel.len_max() {
                tracing::warn!(len = body.len(), "a message above the length limit is not sent");
                return;
            }
            while queue.messages.len() >= items_max || queue.bytes + body.len() > bytes_max {
                queue.pop();
            }
            queue.bytes += body.len();
            queue.messages.push_back(body);
            let carrier = queue.active_connection;
            let position = queue.wakers.iter().position(|(id, _)| Some(*id) == carrier);
            position.map(|position| queue.wakers.swap_remove(position).1)
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn route(&self, connection: Option<ConnectionId>) {
        let wakers = {
            let mut queue = self.queue();
            if queue.active_connection == connection {
                return;
            }
            queue.active_connection = connection;
            std::mem::take(&mut queue.wakers)
        };
        wakers.into_iter().for_each(|(_, waker)| waker.wake());
    }

    fn clear(&self) {
        self.route(None);
        let mut queue = self.queue();
        (queue.messages, queue.bytes) = (VecDeque::new(), 0);
    }

    /// Whether this connection has messages to send; it is woken when that changes.
    pub fn poll_has_messages(&self, connection: ConnectionId, cx: &mut Context<'_>) -> bool {
        let mut queue = self.queue();
        let wanted = queue.active_connection == Some(connection) && !queue.messages.is_empty();
        if !wanted {
            queue.register_waker(connection, cx);
        }
        wanted
    }

    /// Returns the next batch of queued messages; `None` if another connection is the active one.
    pub fn poll_batch(
        &self,
        connection: ConnectionId,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Vec<Arc<[u8]>>>> {
        let mut queue = self.queue();
        if queue.active_connection != Some(connection) {
            return Poll::Ready(None);
        }
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some(next) = queue.messages.front() {
            bytes += next.len() + HEADER_LEN;
            if bytes > BATCH_BYTES && !batch.is_empty() {
                break;
            }
            batch.extend(queue.pop());
        }
        if batch.is_empty() {
            queue.register_waker(connection, cx);
            return Poll::Pending;
        }
        Poll::Ready(Some(batch))
    }

    fn queue(&self) -> MutexGuard<'_, QueueState> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueueState {
    fn pop(&mut self) -> Option<Arc<[u8]>> {
        let body = self.messages.pop_front()?;
        self.bytes -= body.len();
        Some(body)
    }

    fn register_waker(&mut self, connection: ConnectionId, cx: &mut Context<'_>) {
        match self.wakers.iter_mut().find(|(id, _)| *id == connection) {
            Some((_, waker)) => waker.clone_from(cx.waker()),
            None => self.wakers.push((connection, cx.waker().clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN_MAX: usize = NotificationProtocol::Consensus.len_max();
    const QUEUE_ITEMS_MAX: usize = NotificationProtocol::Consensus.send_queue_max().0;
    const QUEUE_BYTES_MAX: usize = NotificationProtocol::Consensus.send_queue_max().1;

    fn consensus() -> SendQueue {
        SendQueue::new(NotificationProtocol::Consensus)
    }

    fn body(n: usize, len: usize) -> Arc<[u8]> {
        let mut body = vec![0; len];
        body[..8].copy_from_slice(&(n as u64).to_le_bytes());
        body.into()
    }

    fn take(send_queue: &SendQueue, connection: ConnectionId) -> Poll<Option<Vec<Arc<[u8]>>>> {
        send_queue.poll_batch(connection, &mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn both_bounds_drop_the_oldest() {
        let (send_queue, id) = (consensus(), ConnectionId::new_unchecked(1));
        send_queue.route(Some(id));
        (0..QUEUE_ITEMS_MAX + 3).for_each(|n| send_queue.push(body(n, 8)));
        assert_eq!(send_queue.queue().messages.len(), QUEUE_ITEMS_MAX);
        assert_eq!(send_queue.queue().messages.front(), Some(&body(3, 8)));
        let large = QUEUE_BYTES_MAX / 6 + 1;
        (0..9).for_each(|n| send_queue.push(body(n, large)));
        let queue = send_queue.queue();
        assert_eq!((queue.messages.len(), queue.bytes), (5, 5 * large));
        assert_eq!(queue.messages.front(), Some(&body(4, large)));
    }

    #[test]
    fn messages_without_a_receiver_are_not_queued() {
        let send_queue = consensus();
        send_queue.push(Arc::from([]));
        send_queue.push(body(0, LEN_MAX + 1));
        assert!(send_queue.queue().messages.is_empty());
        send_queue.push(body(0, LEN_MAX));
        assert_eq!(send_queue.queue().messages.len(), 1);
    }

    #[test]
    fn small_messages_are_batched_and_only_for_the_routed_connection() {
        let send_queue = consensus();
        let (first, second) = (ConnectionId::new_unchecked(1), ConnectionId::new_unchecked(2));
        send_queue.route(Some(first));
        assert!(take(&send_queue, first).is_pending());
        (0..5).for_each(|n| send_queue.push(body(n, 5000)));
        assert_eq!(take(&send_queue, second), Poll::Ready(None));
        assert_eq!(
            take(&send_queue, first),
            Poll::Ready(Some((0..3).map(|n| body(n, 5000)).collect()))
        );
        send_queue.route(Some(second));
        assert_eq!(take(&send_queue, first), Poll::Ready(None));
        assert_eq!(
            take(&send_queue, second),
            Poll::Ready(Some(vec![body(3, 5000), body(4, 5000)]))
        );
        send_queue.push(body(9, 5000));
        send_queue.clear();
        assert_eq!(take(&send_queue, second), Poll::Ready(None));
        assert_eq!(send_queue.queue().bytes, 0);
    }
}
