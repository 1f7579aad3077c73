//! Turns panics of libraries that read damaged files into errors.

use std::{
    any::Any,
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Once,
};

thread_local! {
    static IS_CAUGHT: Cell<bool> = const { Cell::new(false) };
}

static HOOK: Once = Once::new();

/// Runs an action that may panic on damaged input. Returns a panic as its message, and prints
/// nothing.
pub fn catch<T>(action: impl FnOnce() -> T) -> Result<T, String> {
    HOOK.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !IS_CAUGHT.get() {
                hook(info);
            }
        }));
    });
    let before = IS_CAUGHT.replace(true);
    // The action's incomplete state is dropped with the closure.
    let result = catch_unwind(AssertUnwindSafe(action));
    IS_CAUGHT.set(before);
    result.map_err(|panic| text(panic.as_ref()))
}

fn text(panic: &(dyn Any + Send)) -> String {
    let literal = panic.downcast_ref::<&str>().map(ToString::to_string);
    literal
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "it cannot be read".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message() {
        assert_eq!(catch(|| 7), Ok(7));
        assert_eq!(catch(|| panic!("page {} is wrong", 3)), Err::<(), _>("page 3 is wrong".into()));
        assert_eq!(catch(|| panic!("wrong")), Err::<(), _>("wrong".into()));
    }
}
