//! What the scenarios share: the [`Pair`], a [`ModelServer`], and short ways to write packets and options.

pub(crate) mod claiming;
pub(crate) mod markers;
mod model;
mod pair;
pub(crate) mod pausing;
mod receiving;
mod seeds;
mod slow_link;
pub(crate) mod store;
pub(crate) mod world;
mod write;

pub(crate) use model::{ModelServer, numbered};
pub(crate) use pair::Pair;
pub(crate) use receiving::*;
pub(crate) use seeds::play_seeds;
pub(crate) use slow_link::SlowLink;
pub(crate) use write::*;
