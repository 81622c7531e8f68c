//! The log on a disk in memory, and the store on real files.

mod beside;
mod check;
mod counters;
mod crashes;
mod damage;
mod disk;
mod files;
mod folder;
mod kill;
#[path = "../../../ferromqtt-proto/tests/scenarios/support/markers.rs"]
mod markers;
mod model;
mod secrets;
mod sessions;
mod world;
