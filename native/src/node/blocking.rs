//! Store calls from asynchronous code.

use crate::store::StoreError;
use tokio::task::JoinError;

/// Runs a closure with a handle on a thread that may block. While the node stops, the runtime
/// starts no more of them, and the result is [`StoreError::Stopping`] instead of a panic.
pub async fn blocking<H, T, E>(
    handle: &H,
    action: impl FnOnce(&H) -> Result<T, E> + Send + 'static,
) -> Result<T, E>
where
    H: Clone + Send + 'static,
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    let handle = handle.clone();
    flatten(tokio::task::spawn_blocking(move || action(&handle)).await)
}

/// The result of a task. A panic is resumed in the caller.
fn flatten<T, E: From<StoreError>>(joined: Result<Result<T, E>, JoinError>) -> Result<T, E> {
    match joined {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(StoreError::Stopping.into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Regression: a node that stopped right after its start panicked, because the runtime had
    /// cancelled the task.
    #[tokio::test]
    async fn a_task_cancelled_by_the_runtime_means_that_the_node_stops() {
        let task = tokio::spawn(std::future::pending::<Result<(), StoreError>>());
        task.abort();
        assert!(matches!(flatten(task.await), Err(StoreError::Stopping)));
    }
}
