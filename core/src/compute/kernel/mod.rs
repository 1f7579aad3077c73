//! The one expensive operation: the product of two int8 matrices, exact in int32.
//!
//! Every kernel gives the same bits. `scalar` is the reference and defines a product. The others
//! pack both operands into panels of int16 pairs and use the pair multiply-add of their instruction
//! set (`pmaddwd`, `i32x4.dot_i16x8_s`). Instructions that saturate (`pmaddubsw`) are never used.
//!
//! Sums wrap modulo 2^32. They cannot wrap up to a depth of 65,536, since operands are at most 2^7
//! in magnitude.

#[cfg(all(target_arch = "x86_64", any(feature = "std", target_feature = "avx2")))]
#[allow(unsafe_code)]
mod avx2;
mod bench;
mod blocked;
mod pack;
mod product;
mod scalar;
mod select;
mod shape;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[allow(unsafe_code)]
mod simd128;

pub use bench::{Bench, SIZE_MAX, bench_once};
pub use pack::{Scratch, View, a_b, a_bt, at_b};
pub use product::Kernel;
pub use select::{all, best};
pub use shape::ShapeError;

#[cfg(test)]
mod tests;
