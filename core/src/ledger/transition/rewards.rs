//! Rewards: the reputation that a final job mints for its contributors.

use super::executor::BlockExecutor;
use crate::{
    ledger::{
        job::Contributor,
        state::{Account, Entry},
    },
    types::{Height, NodeId},
};

/// Blocks over which [`Params::mint_max`](crate::ledger::Params::mint_max) counts.
pub const MINT_WINDOW: Height = 10_000;
/// Multiply-accumulates that earn one point of reputation.
pub const MACS_PER_POINT: u64 = 1_000_000;

impl BlockExecutor<'_> {
    /// Credits contributors. Work that a member gives to itself is recorded, but mints nothing.
    pub(super) fn mint(&mut self, coordinator: &NodeId, contributors: &[Contributor]) -> u64 {
        let window = self.height / MINT_WINDOW;
        let used = self
            .state
            .account(coordinator)
            .filter(|a| a.minted.0 == window)
            .map_or(0, |a| a.minted.1);
        let mut left = self.params.mint_max.saturating_sub(used);
        let mut minted = 0;
        for c in contributors {
            let points =
                if c.node == *coordinator { 0 } else { (c.macs / MACS_PER_POINT).min(left) };
            left -= points;
            minted += points;
            let account = self.state.account(&c.node).cloned();
            let account =
                account.unwrap_or(Account { registered: false, ..Account::new(c.node, 0) });
            self.put(Entry::Account(Account {
                reputation: account.reputation.saturating_add(points),
                units: account.units.saturating_add(c.units.into()),
                checks: account.checks.saturating_add(c.checks.into()),
                macs: account.macs.saturating_add(c.macs),
                ..account
            }));
        }
        if let Some(account) = self.state.account(coordinator).cloned() {
            self.put(Entry::Account(Account { minted: (window, used + minted), ..account }));
        }
        minted
    }
}
