//! The Rust workloads of the instruction counts: fixed work for the codec and the sans-IO core.
//!
//! `bench/instructions.py` runs this program under callgrind. Run by itself it only checks that every workload does what it
//! says.

#![allow(clippy::print_stdout, reason = "it reports")]

mod codec;
mod link;
mod message;
mod publish;
mod receive;

use std::env;

use ferromqtt_proto::{ProtocolVersion, QoS};

/// Messages before the measured ones, so that buffers and tables have their final size.
const WARM_UP: usize = 2_000;
const MESSAGES: usize = 10_000;

fn main() {
    for (name, version) in [("311", ProtocolVersion::V311), ("5", ProtocolVersion::V5)] {
        let mut codec = codec::Codec::new(version);
        measure(&format!("codec_encode_{name}"), |count| codec.encode(count));
        measure(&format!("codec_decode_{name}"), |count| codec.decode(count));
    }
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut publisher = publish::Publisher::new(qos);
        let name = format!("core_publish_qos{}", qos.value());
        measure(&name, |count| publisher.publish(count));
    }
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut receiver = receive::Receiver::new(qos);
        let name = format!("core_receive_qos{}", qos.value());
        measure(&name, |count| receiver.receive(count));
    }
}

/// Runs a workload between two marks, and prints its name and its number of messages. An argument leaves out all workloads but
/// the one that it names.
fn measure(name: &str, mut work: impl FnMut(usize)) {
    if env::args().nth(1).is_some_and(|only| only != name) {
        return;
    }
    work(WARM_UP);
    mark();
    work(MESSAGES);
    mark();
    println!("{name} {MESSAGES}");
}

/// Ends a section of the count: callgrind writes what it has counted whenever `getppid` is entered, which nothing else calls.
fn mark() {
    std::hint::black_box(std::os::unix::process::parent_id());
}
