//! Errors as JavaScript errors with a stable `code`.

use js_sys::{Error, Reflect};
use tequio_core::{ledger::genesis::BootstrapError, light::LightError};
use wasm_bindgen::JsValue;

/// Every failure that reaches the page. The texts name the remedy, if there is one.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error("bad configuration: {0}")]
    Config(String),
    #[error("{0}")]
    Checkpoint(BootstrapError),
    #[error("no relay could be reached: {0}. Check the connection, or name another relay")]
    NoRelay(String),
    #[error("every connected source has sent invalid data: add another relay")]
    VerificationFailed,
    #[error("no peer could answer: {0}")]
    Unavailable(String),
    #[error("{0}")]
    Timeout(String),
    #[error("{0}")]
    Outdated(LightError),
    #[error("{0}")]
    OtherNetwork(String),
    #[error("{0} was not found")]
    NotFound(String),
    #[error("{0}")]
    Forked(LightError),
    #[error("the object is not what its name promises: {0}")]
    BadObject(String),
    #[error("the input does not fit the model: {0}")]
    BadInput(String),
    #[error("the unit could not be computed: {0}")]
    Unit(String),
    #[error("the browser's storage failed: {0}")]
    Storage(String),
    #[error(
        "this page has no secure context, so the browser disables cryptography: open it by https \
         or on localhost"
    )]
    InsecureOrigin,
    #[error("the node is closed")]
    Closed,
    #[error("{0}")]
    Internal(String),
}

impl NodeError {
    /// Part of the package's interface: never changes meaning.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config(_) => "BAD_CONFIG",
            Self::Checkpoint(BootstrapError::Stale { .. }) => "STALE_CHECKPOINT",
            Self::Checkpoint(_) => "BAD_CHECKPOINT",
            Self::NoRelay(_) => "NO_RELAY",
            Self::VerificationFailed => "VERIFICATION_FAILED",
            Self::Unavailable(_) => "UNAVAILABLE",
            Self::Timeout(_) => "TIMEOUT",
            Self::Outdated(_) => "STALE_CHECKPOINT",
            Self::OtherNetwork(_) => "OTHER_NETWORK",
            Self::NotFound(_) => "NOT_FOUND",
            Self::Forked(_) => "FORKED",
            Self::BadObject(_) => "BAD_OBJECT",
            Self::BadInput(_) => "BAD_INPUT",
            Self::Unit(_) => "UNIT_FAILED",
            Self::Storage(_) => "STORAGE",
            Self::InsecureOrigin => "INSECURE_ORIGIN",
            Self::Closed => "CLOSED",
            Self::Internal(_) => "INTERNAL",
        }
    }
}

impl From<NodeError> for JsValue {
    fn from(e: NodeError) -> Self {
        let error = Error::new(&e.to_string());
        // Setting a field of a fresh object cannot fail.
        let _ = Reflect::set(&error, &"code".into(), &e.code().into());
        if let NodeError::Checkpoint(BootstrapError::Stale { age_ms, trust_ms }) = e {
            let _ = Reflect::set(&error, &"ageMs".into(), &(age_ms as f64).into());
            let _ = Reflect::set(&error, &"trustMs".into(), &(trust_ms as f64).into());
        }
        error.into()
    }
}

impl From<serde_wasm_bindgen::Error> for NodeError {
    fn from(e: serde_wasm_bindgen::Error) -> Self {
        Self::Internal(e.to_string())
    }
}

impl From<BootstrapError> for NodeError {
    fn from(e: BootstrapError) -> Self {
        Self::Checkpoint(e)
    }
}

/// The text of a JavaScript exception.
pub fn describe(value: &JsValue) -> String {
    match value.dyn_ref::<Error>() {
        Some(error) => String::from(error.message()),
        None => format!("{value:?}"),
    }
}

use wasm_bindgen::JsCast as _;
