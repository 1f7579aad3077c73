//! Environment variables of the programs.

use std::env;

/// Removes variables whose name starts with `prefix` and whose value is empty. Service managers and
/// container files set a variable to an empty value to mean "not set".
///
/// # Safety
///
/// No other thread may run: the environment of a process is not synchronized.
pub unsafe fn remove_empty_variables(prefix: &str) {
    let empty = env::vars_os().filter(|(name, value)| {
        value.is_empty() && name.to_str().is_some_and(|name| name.starts_with(prefix))
    });
    for (name, _) in empty.collect::<Vec<_>>() {
        // SAFETY: the caller guarantees that there is no other thread.
        unsafe { env::remove_var(name) };
    }
}

/// Sets each variable that is not set to the value of its old name, if there is one. `names` has
/// pairs of an old and a new name.
///
/// # Safety
///
/// No other thread may run: the environment of a process is not synchronized.
pub unsafe fn copy_renamed_variables(
    names: impl IntoIterator<Item = (&'static str, &'static str)>,
) {
    for (old, new) in names {
        if let (Some(value), None) = (env::var_os(old), env::var_os(new)) {
            // SAFETY: the caller guarantees that there is no other thread.
            unsafe { env::set_var(new, value) };
        }
    }
}
