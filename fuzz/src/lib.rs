//! What the fuzz targets share: how the fuzzer's bytes become packets and options, and what is checked of both peers.
//!
//! An input is read from front to back, a few bytes for each step, so that the fuzzer can insert, remove and repeat steps,
//! and so that an input can be written by hand. Bytes that are missing read as 0.
//!
//! | Module | What it holds |
//! | --- | --- |
//! | `source` | reading numbers, choices and strings off an input |
//! | `properties`, `packets`, `client_options`, `broker_options` | what is made of them |
//! | `answers` | the right answer to a packet |
//! | `stream` | the packets in what a peer writes |
//! | `in_flight` | which Packet Identifiers are in use on a connection |
//! | `client_output`, `broker_output` | what each side may write |
//! | `acknowledgements` | which messages a client has still to acknowledge |
//! | `store` | what a client's journal has put on record |
//! | `queues` | what an application is told of received messages |
//! | `operations` | that each accepted operation completes once |
//! | `cuts` | cutting what a peer sends into pieces |
//! | `frames` | the frames that a WebSocket client writes |

pub mod acknowledgements;
pub mod answers;
pub mod broker_options;
pub mod broker_output;
pub mod client_options;
pub mod client_output;
pub mod cuts;
pub mod frames;
pub mod in_flight;
pub mod operations;
pub mod packets;
pub mod properties;
pub mod queues;
pub mod source;
pub mod store;
pub mod stream;
