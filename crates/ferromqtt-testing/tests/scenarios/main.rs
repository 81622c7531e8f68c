//! The broker in virtual time: what clients send and get, byte for byte, without a socket and without waiting.

mod access;
mod aliases_out;
mod authentication;
mod bounds;
mod elsewhere;
mod errors;
mod faults;
mod handshake;
mod journal;
mod journal_losses;
mod limits;
mod limits_3x;
mod links;
#[path = "../../../ferromqtt-proto/tests/scenarios/support/markers.rs"]
mod markers;
mod properties;
mod publish;
mod random_faults;
mod recordings;
mod replays;
mod retained;
mod scene;
mod secrets;
mod sessions;
mod shared;
mod shared_left;
mod subscribe;
mod time;
