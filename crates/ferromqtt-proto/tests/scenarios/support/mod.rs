//! What the scenarios share: the [`Pair`], and short ways to write packets and options.

mod pair;
mod write;

pub(crate) use pair::{Pair, Sent};
pub(crate) use write::*;
