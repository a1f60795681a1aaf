//! [`caught`]: other people's code, whose panics become errors.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls `f`; a panic in it becomes an error with its message.
pub(crate) fn caught<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|panic| {
        let message = panic.downcast_ref::<String>().map(String::as_str);
        let message = message.or_else(|| panic.downcast_ref::<&str>().copied());
        message.unwrap_or("no message").to_string()
    })
}
