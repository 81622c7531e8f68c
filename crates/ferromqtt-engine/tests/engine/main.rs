//! The engine in virtual time, with numbers as tokens, against the test broker in memory.

mod authentication;
mod calls;
mod capacity;
mod held;
mod leaving;
mod links;
mod random;
mod readers;
mod restarting;
mod world;
