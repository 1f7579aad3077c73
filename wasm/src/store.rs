//! What outlives the page, in IndexedDB: the light client's head, and the identity under a key that
//! scripts can use but not read.

use crate::error::{NodeError, describe};
use indexed_db_futures::{database::Database, prelude::*, transaction::TransactionMode};
use js_sys::Uint8Array;
use wasm_bindgen::{JsCast, JsValue};

const TABLE: &str = "node";
const VERSION: u8 = 1;

/// The data base of one node.
pub struct Store(Database);

impl Store {
    pub async fn open(name: &str) -> Result<Self, NodeError> {
        let database = Database::open(name)
            .with_version(VERSION)
            .with_on_upgrade_needed(|_, database| {
                database.create_object_store(TABLE).build()?;
                Ok(())
            })
            .await
            .map_err(|e| NodeError::Storage(e.to_string()))?;
        Ok(Self(database))
    }

    /// A value, as any JavaScript value that can be cloned.
    pub async fn value(&self, key: &str) -> Result<Option<JsValue>, NodeError> {
        let read = async {
            let transaction = self.0.transaction(TABLE).build()?;
            let table = transaction.object_store(TABLE)?;
            table.get::<JsValue, _, _>(key).primitive()?.await
        };
        let value: Option<JsValue> = read.await.map_err(|e| NodeError::Storage(e.to_string()))?;
        Ok(value.filter(|v| !v.is_undefined()))
    }

    pub async fn bytes(&self, key: &str) -> Result<Option<Vec<u8>>, NodeError> {
        let value = self.value(key).await?;
        Ok(value.and_then(|v| v.dyn_into::<Uint8Array>().ok()).map(|array| array.to_vec()))
    }

    /// Writes values together: all or none.
    pub async fn put(&self, values: &[(&str, JsValue)]) -> Result<(), NodeError> {
        let write = async {
            let transaction = self.0.transaction(TABLE).with_mode(TransactionMode::Readwrite).build()?;
            let table = transaction.object_store(TABLE)?;
            for (key, value) in values {
                table.put(value).with_key(*key).primitive()?.await?;
            }
            transaction.commit().await
        };
        write.await.map_err(|e: indexed_db_futures::error::Error| NodeError::Storage(e.to_string()))
    }

    pub async fn put_bytes(&self, key: &str, bytes: &[u8]) -> Result<(), NodeError> {
        self.put(&[(key, Uint8Array::from(bytes).into())]).await
    }
}

/// A failed call into the browser.
pub fn storage(value: JsValue) -> NodeError {
    NodeError::Storage(describe(&value))
}
