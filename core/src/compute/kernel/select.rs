//! The kernels that this machine can run.

#[cfg(all(target_arch = "x86_64", any(feature = "std", target_feature = "avx2")))]
use super::avx2;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use super::simd128;
use super::{blocked, product::Kernel, scalar};
use alloc::vec::Vec;

/// The fastest kernel of this machine.
pub fn best() -> &'static dyn Kernel {
    #[cfg(all(target_arch = "x86_64", any(feature = "std", target_feature = "avx2")))]
    if let Some(kernel) = avx2::detect() {
        return kernel;
    }
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    return &simd128::KERNEL;
    #[allow(unreachable_code)]
    &blocked::PORTABLE
}

/// Every kernel that this machine can run, the reference first.
pub fn all() -> Vec<&'static dyn Kernel> {
    let mut kernels: Vec<&'static dyn Kernel> = alloc::vec![&scalar::REFERENCE, &blocked::PORTABLE];
    if !kernels.iter().any(|k| k.name() == best().name()) {
        kernels.push(best());
    }
    kernels
}
