//! Orders in which what is held is given up.

use crate::measure::shuffle;

/// Puts a list in an order.
pub(crate) type Order<T> = fn(&mut [T]);

/// The orders, with their names.
pub(crate) fn all<T>() -> [(&'static str, Order<T>); 3] {
    [
        ("in order", |_| {}),
        ("from the last", <[T]>::reverse),
        ("in random order", shuffle),
    ]
}
