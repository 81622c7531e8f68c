//! The broker in virtual time: what clients send and get, byte for byte, without a socket and without waiting.

mod errors;
mod handshake;
mod properties;
mod publish;
mod retained;
mod scene;
mod sessions;
mod subscribe;
mod time;
