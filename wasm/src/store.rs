//! Data that outlives the page, in IndexedDB: the light client's head, and the identity under a key
//! that scripts can use but not read.
//!
//! Storage is optional. If the browser forbids it, or cannot store the key, the values stay in
//! memory for this visit. A database that the browser closes in mid-session is opened again. An
//! event reports each of these to the page.

use crate::{
    error::{NodeError, describe},
    event::{Emitter, Event},
};
use indexed_db_futures::{
    database::Database,
    error::{DomException, Error},
    prelude::*,
    transaction::TransactionMode,
};
use js_sys::Uint8Array;
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};
use wasm_bindgen::{JsCast, JsValue};

const TABLE: &str = "node";
const VERSION: u8 = 1;

/// The database of one node, or memory in its place.
pub struct Store {
    name: String,
    database: RefCell<Option<Rc<Database>>>,
    memory: RefCell<BTreeMap<String, JsValue>>,
    emitter: Emitter,
    /// Number of times that the database was opened again.
    reopened: Cell<u32>,
}

impl Store {
    /// Opens the database of this name. Without a name, or if it cannot be opened, all values stay
    /// in memory for the visit.
    pub async fn open(name: Option<String>, emitter: Emitter) -> Self {
        let store = Self {
            name: name.clone().unwrap_or_default(),
            database: RefCell::new(None),
            memory: RefCell::default(),
            emitter,
            reopened: Cell::new(0),
        };
        match name {
            None => {
                store.fall_back_to_memory("there is no storage here, or it is forbidden".into())
            }
            Some(_) => match connect(&store.name).await {
                Ok(database) => *store.database.borrow_mut() = Some(Rc::new(database)),
                Err(e) => store.fall_back_to_memory(e),
            },
        }
        store
    }

    /// Returns whether values outlive the visit.
    pub fn is_kept(&self) -> bool {
        self.database.borrow().is_some()
    }

    /// Returns how often the database was opened again. After a change, callers check whether their
    /// values are still there.
    pub fn reopened(&self) -> u32 {
        self.reopened.get()
    }

    /// Keeps values in memory from now on.
    pub fn fall_back_to_memory(&self, detail: String) {
        *self.database.borrow_mut() = None;
        self.emitter.emit(&Event::Storage { state: "visit", detail });
    }

    /// Returns a value, which may be any JavaScript value that can be cloned.
    pub async fn value(&self, key: &str) -> Option<JsValue> {
        let database = self.database.borrow().clone();
        let Some(database) = database else { return self.memory.borrow().get(key).cloned() };
        let value = match read(&database, key).await {
            Ok(value) => value,
            Err(e) => {
                let database = self.reopen(e).await?;
                match read(&database, key).await {
                    Ok(value) => value,
                    Err(e) => {
                        self.fall_back_to_memory(e.to_string());
                        None
                    }
                }
            }
        };
        value.filter(|v| !v.is_undefined())
    }

    pub async fn bytes(&self, key: &str) -> Option<Vec<u8>> {
        let value = self.value(key).await?;
        value.dyn_into::<Uint8Array>().ok().map(|array| array.to_vec())
    }

    /// Writes values together: all or none. Values that cannot be stored stay in memory for the
    /// visit.
    pub async fn put(&self, values: &[(&str, JsValue)]) {
        let database = self.database.borrow().clone();
        if let Some(database) = database {
            let Err(e) = write(&database, values).await else { return };
            if let Some(database) = self.reopen(e).await {
                match write(&database, values).await {
                    Ok(()) => return,
                    Err(e) => self.fall_back_to_memory(e.to_string()),
                }
            }
        }
        let mut memory = self.memory.borrow_mut();
        memory.extend(values.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    }

    pub async fn put_bytes(&self, key: &str, bytes: &[u8]) {
        self.put(&[(key, Uint8Array::from(bytes).into())]).await;
    }

    /// Opens the database again after a failure, if the browser has closed it. Otherwise, or if
    /// that fails too, values stay in memory for the visit.
    async fn reopen(&self, failure: Error) -> Option<Rc<Database>> {
        if !is_closed(&failure) {
            self.fall_back_to_memory(failure.to_string());
            return None;
        }
        match connect(&self.name).await {
            Ok(database) => {
                let database = Rc::new(database);
                *self.database.borrow_mut() = Some(Rc::clone(&database));
                self.reopened.set(self.reopened.get().saturating_add(1));
                self.emitter
                    .emit(&Event::Storage { state: "reopened", detail: failure.to_string() });
                Some(database)
            }
            Err(e) => {
                self.fall_back_to_memory(e);
                None
            }
        }
    }

    /// Reports that the stored identity is gone.
    pub fn identity_lost(&self, detail: &str) {
        self.emitter.emit(&Event::Storage { state: "identityLost", detail: detail.into() });
    }
}

async fn connect(name: &str) -> Result<Database, String> {
    Database::open(name)
        .with_version(VERSION)
        .with_on_upgrade_needed(|_, database| {
            database.create_object_store(TABLE).build()?;
            Ok(())
        })
        .await
        .map_err(|e| e.to_string())
}

async fn read(database: &Database, key: &str) -> Result<Option<JsValue>, Error> {
    let transaction = database.transaction(TABLE).build()?;
    let table = transaction.object_store(TABLE)?;
    table.get::<JsValue, _, _>(key).primitive()?.await
}

async fn write(database: &Database, values: &[(&str, JsValue)]) -> Result<(), Error> {
    let transaction = database.transaction(TABLE).with_mode(TransactionMode::Readwrite).build()?;
    let table = transaction.object_store(TABLE)?;
    for (key, value) in values {
        table.put(value).with_key(*key).primitive()?.await?;
    }
    transaction.commit().await
}

/// Whether the browser has closed the database: its site data were cleared, or another page
/// required that.
fn is_closed(error: &Error) -> bool {
    match error {
        Error::DomException(DomException::InvalidStateError(_) | DomException::AbortError(_)) => {
            true
        }
        // Safari's name for a lost connection to its storage process.
        Error::DomException(DomException::Other(e)) => e.name() == "UnknownError",
        _ => false,
    }
}

/// A failed call into the browser.
pub fn storage(value: JsValue) -> NodeError {
    NodeError::Storage(describe(&value))
}
