//! Notices that others are ahead, and decides whom to ask for the blocks that are missing here.
//!
//! A claim to be ahead costs nothing, so it is worth one question: the claimant is asked, and
//! forgotten until it claims again. One question is under way at a time. A peer one height ahead is
//! usually just faster, and is asked only after some patience.

use crate::types::{Height, NodeId, TimeMs};
use alloc::collections::BTreeMap;

#[derive(Debug, Default)]
pub(super) struct CatchUp {
    /// By peer: the height that it works on, and since when it is known to be ahead.
    ahead: BTreeMap<NodeId, (Height, TimeMs)>,
    /// The question under way is given up then.
    asked_until_ms: Option<TimeMs>,
    /// Who was asked last: the next one in order is asked next.
    last: Option<NodeId>,
}

impl CatchUp {
    /// A seat speaks of this height; `current` is ours. Seats are few, so the map is small.
    pub(super) fn note(&mut self, peer: NodeId, height: Height, current: Height, now_ms: TimeMs) {
        if height > current {
            let (highest, _) = self.ahead.entry(peer).or_insert((height, now_ms));
            *highest = height.max(*highest);
        }
    }

    /// A question was answered, or a block became final otherwise.
    pub(super) fn progress(&mut self, current: Height) {
        self.asked_until_ms = None;
        self.ahead.retain(|_, (height, _)| *height > current);
    }

    /// The peer to ask now, if any.
    pub(super) fn ask(
        &mut self,
        current: Height,
        now_ms: TimeMs,
        patience_ms: u64,
    ) -> Option<NodeId> {
        if self.asked_until_ms.is_some_and(|until| now_ms < until) {
            return None;
        }
        let due = || {
            self.claims(current, patience_ms).filter(|(_, at)| *at <= now_ms).map(|(peer, _)| *peer)
        };
        let after_last = due().find(|peer| self.last.is_none_or(|last| *peer > last));
        let peer = after_last.or_else(|| due().next())?;
        self.ahead.remove(&peer);
        self.last = Some(peer);
        self.asked_until_ms = Some(now_ms.saturating_add(patience_ms));
        Some(peer)
    }

    /// When to look again.
    pub(super) fn deadline(&self, current: Height, patience_ms: u64) -> Option<TimeMs> {
        let earliest = self.claims(current, patience_ms).map(|(_, at)| at).min()?;
        Some(earliest.max(self.asked_until_ms.unwrap_or_default()))
    }

    fn claims(&self, current: Height, patience_ms: u64) -> impl Iterator<Item = (&NodeId, TimeMs)> {
        self.ahead.iter().map(move |(peer, (height, since_ms))| {
            let wait_ms = if *height > current.saturating_add(1) { 0 } else { patience_ms };
            (peer, since_ms.saturating_add(wait_ms))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId([1; 32]);
    const B: NodeId = NodeId([2; 32]);

    #[test]
    fn asks_at_once_who_is_far_ahead_and_later_who_is_one_ahead() {
        let mut ahead = CatchUp::default();
        ahead.note(A, 6, 5, 100);
        assert_eq!((ahead.ask(5, 100, 50), ahead.deadline(5, 50)), (None, Some(150)));
        ahead.note(B, 7, 5, 110);
        assert_eq!((ahead.deadline(5, 50), ahead.ask(5, 110, 50)), (Some(110), Some(B)));
        // One question at a time.
        assert_eq!((ahead.ask(5, 155, 50), ahead.deadline(5, 50)), (None, Some(160)));
        ahead.progress(5);
        assert_eq!(ahead.ask(5, 155, 50), Some(A));
        assert_eq!(ahead.deadline(5, 50), None);
    }

    #[test]
    fn nobody_can_keep_being_asked_alone() {
        let mut ahead = CatchUp::default();
        let mut asked = alloc::vec::Vec::new();
        for round in 0..4 {
            ahead.note(A, u64::MAX, 5, round * 100);
            ahead.note(B, 9, 5, round * 100);
            asked.extend(ahead.ask(5, round * 100, 50));
        }
        assert_eq!(asked, [A, B, A, B]);
    }
}
