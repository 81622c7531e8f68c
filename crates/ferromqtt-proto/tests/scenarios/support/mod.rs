//! What the scenarios share: the [`Pair`], and short ways to write packets and options.

mod pair;
mod write;

pub(crate) use pair::Pair;
pub(crate) use write::*;
