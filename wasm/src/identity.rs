//! The browser's identity: an Ed25519 key made once, sealed with AES-GCM under a WebCrypto key that
//! is not extractable, both in IndexedDB. A copy of the database reveals neither.

use crate::{
    error::NodeError,
    store::{Store, storage},
};
use js_sys::{Array, Object, Reflect, Uint8Array};
use tequio_core::crypto::NodeKey;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{CryptoKey, SubtleCrypto};
use zeroize::Zeroizing;

const WRAPPING_KEY: &str = "identity wrapping key";
const SEALED: &str = "identity sealed";
const NONCE_LEN: usize = 12;

/// Returns the identity of this browser profile, made at the first call. A lost identity is
/// replaced, because an error would not restore it; an event reports the loss.
pub async fn load_or_create(store: &Store, visited: bool) -> Result<NodeKey, NodeError> {
    let subtle = subtle()?;
    let wrapping = store.value(WRAPPING_KEY).await.and_then(|v| v.dyn_into::<CryptoKey>().ok());
    match (wrapping, store.bytes(SEALED).await) {
        (Some(wrapping), Some(sealed)) => {
            if let Ok(key) = open(&subtle, &wrapping, &sealed).await {
                return Ok(key);
            }
            store.identity_lost("the stored identity is damaged");
        }
        (None, None) if !visited => {}
        _ => store.identity_lost("the stored identity is gone"),
    }
    create(&subtle, store).await
}

/// Returns whether the identity is still in the store.
pub async fn is_stored(store: &Store) -> bool {
    store.value(WRAPPING_KEY).await.is_some() && store.value(SEALED).await.is_some()
}

async fn create(subtle: &SubtleCrypto, store: &Store) -> Result<NodeKey, NodeError> {
    let mut secret = Zeroizing::new([0; 32]);
    let mut nonce = [0; NONCE_LEN];
    fill(secret.as_mut())?;
    fill(&mut nonce)?;
    let usages = Array::of2(&"encrypt".into(), &"decrypt".into());
    let algorithm = object(&[("name", "AES-GCM".into()), ("length", 256.into())])?;
    let key = subtle.generate_key_with_object(&algorithm, false, &usages).map_err(storage)?;
    let wrapping: CryptoKey = JsFuture::from(key).await.map_err(storage)?.unchecked_into();
    let cipher = subtle
        .encrypt_with_object_and_u8_array(&gcm(&nonce)?, &wrapping, secret.as_ref())
        .map_err(storage)?;
    let cipher = Uint8Array::new(&JsFuture::from(cipher).await.map_err(storage)?).to_vec();
    let sealed = [nonce.as_slice(), &cipher].concat();
    store
        .put(&[
            (WRAPPING_KEY, wrapping.into()),
            (SEALED, Uint8Array::from(sealed.as_slice()).into()),
        ])
        .await;
    Ok(NodeKey::from_bytes(&secret))
}

async fn open(
    subtle: &SubtleCrypto,
    wrapping: &CryptoKey,
    sealed: &[u8],
) -> Result<NodeKey, NodeError> {
    let broken = || {
        NodeError::Storage(
            "the stored identity is damaged: clear this site's data to make a new one".into(),
        )
    };
    let (nonce, cipher) = sealed.split_at_checked(NONCE_LEN).ok_or_else(broken)?;
    let plain =
        subtle.decrypt_with_object_and_u8_array(&gcm(nonce)?, wrapping, cipher).map_err(storage)?;
    let plain = JsFuture::from(plain).await.map_err(|_| broken())?;
    let bytes = Zeroizing::new(Uint8Array::new(&plain).to_vec());
    let secret: Zeroizing<[u8; 32]> =
        Zeroizing::new(bytes.as_slice().try_into().map_err(|_| broken())?);
    Ok(NodeKey::from_bytes(&secret))
}

/// Random bytes from the browser.
pub fn fill(bytes: &mut [u8]) -> Result<(), NodeError> {
    getrandom::fill(bytes).map_err(|e| NodeError::Internal(e.to_string()))
}

fn subtle() -> Result<SubtleCrypto, NodeError> {
    let crypto = Reflect::get(&js_sys::global(), &"crypto".into()).unwrap_or(JsValue::UNDEFINED);
    let subtle = Reflect::get(&crypto, &"subtle".into()).unwrap_or(JsValue::UNDEFINED);
    match subtle.is_object() {
        true => Ok(subtle.unchecked_into()),
        false => Err(NodeError::InsecureOrigin),
    }
}

fn gcm(nonce: &[u8]) -> Result<Object, NodeError> {
    object(&[("name", "AES-GCM".into()), ("iv", Uint8Array::from(nonce).into())])
}

fn object(fields: &[(&str, JsValue)]) -> Result<Object, NodeError> {
    let object = Object::new();
    for (name, value) in fields {
        Reflect::set(&object, &(*name).into(), value).map_err(storage)?;
    }
    Ok(object)
}
