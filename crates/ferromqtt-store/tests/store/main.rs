//! The log on a disk in memory, and the store on real files.

mod crashes;
mod disk;
mod model;
mod world;
