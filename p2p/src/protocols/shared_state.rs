//! State that the handlers of all connections share.

use std::sync::Arc;

use super::notifications::NotificationRouter;
use crate::{budget::Budget, protocol::Protocol};

/// State that all connections share.
#[derive(Debug)]
pub struct SharedState {
    pub protocols: Vec<Protocol>,
    pub inbound_budgets: [Arc<Budget>; Protocol::COUNT],
    pub response_budget: Arc<Budget>,
    pub notifications: Arc<NotificationRouter>,
}
