//! Exactly-once handlers over SQLite. A program of its own, since it runs itself as the program that is killed.
#![allow(clippy::print_stdout, reason = "figures for those who ask for them")]

mod failures;
mod identifiers;
mod kill;
mod lives;
mod lost_sessions;
#[path = "../scenarios/mosquitto_process.rs"]
#[allow(dead_code, reason = "of the other test program")]
mod mosquitto_process;
mod store;
mod worker;
mod world;
