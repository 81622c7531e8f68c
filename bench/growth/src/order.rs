//! Orders in which what is held is given up.

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

/// The same order each time, which has nothing to do with the one before.
fn shuffle<T>(list: &mut [T]) {
    let mut random = 1_u64;
    for at in (1..list.len()).rev() {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        list.swap(at, (random >> 33) as usize % (at + 1));
    }
}
