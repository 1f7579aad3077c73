//! Reads of the disk from asynchronous handlers.

use super::error::ApiError;

/// Runs a function that reads the disk on a thread that may block.
pub async fn reading<H: Clone + Send + 'static, T: Send + 'static>(
    handle: &H,
    read: impl FnOnce(&H) -> T + Send + 'static,
) -> Result<T, ApiError> {
    let handle = handle.clone();
    tokio::task::spawn_blocking(move || read(&handle)).await.map_err(ApiError::internal)
}
