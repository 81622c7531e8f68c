//! Recordings of links whose bytes are written by hand.

mod differences;
mod files;
mod malformed;
#[path = "../../../ferromqtt-proto/tests/scenarios/support/markers.rs"]
mod markers;
mod scene;
mod secrets;
mod writing;
