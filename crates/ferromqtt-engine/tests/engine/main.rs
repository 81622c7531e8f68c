//! The engine in virtual time, with numbers as tokens, against the test broker in memory.

mod authentication;
mod calls;
mod capacity;
mod distant_queue;
mod failures;
mod held;
mod lasting;
mod lasting_filters;
mod leaving;
mod lines;
mod links;
mod observer;
mod outgoing_queue;
mod queue_policies;
mod random;
mod random_restarts;
mod readers;
mod responding;
mod restarting;
mod store;
mod stored;
mod unsubscribing;
mod versions;
mod world;
