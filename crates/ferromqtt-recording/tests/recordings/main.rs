//! Recordings of links whose bytes are written by hand.

mod differences;
mod malformed;
mod scene;
mod secrets;
mod writing;
