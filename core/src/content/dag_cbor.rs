//! DAG-CBOR, accepted only in its canonical form: equal values have equal bytes.

use super::{
    block::{BLOCK_LEN_MAX, Block, ObjectError},
    cid::{Cid, CidCodec},
};
use serde::{Deserialize, Serialize};

/// A DAG-CBOR block of a value.
pub fn encode<T: Serialize>(value: &T) -> Result<Block, ObjectError> {
    let bytes =
        serde_ipld_dagcbor::to_vec(value).map_err(|_| ObjectError::WrongForm("encodable value"))?;
    if bytes.len() > BLOCK_LEN_MAX {
        return Err(ObjectError::TooLarge { len: bytes.len(), len_max: BLOCK_LEN_MAX });
    }
    Ok(Block { cid: Cid::of(CidCodec::DagCbor, &bytes), bytes })
}

/// Reads a value from DAG-CBOR in its canonical form only: encoding it again gives the same bytes.
pub fn decode<T: Serialize + for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T, ObjectError> {
    if bytes.len() > BLOCK_LEN_MAX {
        return Err(ObjectError::TooLarge { len: bytes.len(), len_max: BLOCK_LEN_MAX });
    }
    let value: T = serde_ipld_dagcbor::from_slice(bytes)
        .map_err(|_| ObjectError::WrongForm("DAG-CBOR object of this kind"))?;
    match serde_ipld_dagcbor::to_vec(&value) {
        Ok(again) if again == bytes => Ok(value),
        _ => Err(ObjectError::WrongForm("canonical DAG-CBOR object")),
    }
}

/// CBOR byte strings for vectors of bytes.
pub(crate) mod bytes {
    use alloc::vec::Vec;
    use core::fmt;
    use serde::{Deserializer, Serializer, de};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub fn deserialize<'a, D: Deserializer<'a>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl de::Visitor<'_> for Bytes {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a byte string")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }

            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
                Ok(bytes)
            }
        }
        deserializer.deserialize_byte_buf(Bytes)
    }
}

/// The 32 bytes of a digest, or the error `wrong`.
pub(crate) fn digest(bytes: &[u8], wrong: &ObjectError) -> Result<[u8; 32], ObjectError> {
    bytes.try_into().map_err(|_| wrong.clone())
}
