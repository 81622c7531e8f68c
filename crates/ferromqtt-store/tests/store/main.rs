//! The log on a disk in memory, and the store on real files.

mod crashes;
mod damage;
mod disk;
mod files;
mod folder;
mod kill;
mod model;
mod world;
