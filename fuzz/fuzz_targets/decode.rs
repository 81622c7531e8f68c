//! Any bytes, read as packets of one version.
//!
//! Checked are: no panic; no more memory than the bytes account for; what can be read is written in no more bytes, and is
//! then read as the same packet; what a strict reader takes, a tolerant one reads as the same.
#![no_main]

use bytes::{Bytes, BytesMut};
use ferromqtt_fuzz::client_options::version;
use ferromqtt_fuzz::source::Source;
use ferromqtt_proto::ProtocolVersion;
use ferromqtt_proto::packet::{self, Packet, Properties, ReasonCode};
use libfuzzer_sys::fuzz_target;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Memory that a packet may take while it is read: for each of its bytes, beside the bytes themselves, and for a packet as
/// such.
const MEMORY_PER_BYTE: usize = 3;
const MEMORY_PER_PACKET: usize = 2_048;

fuzz_target!(|input: &[u8]| {
    let mut source = Source::new(input);
    let version = version(&mut source);
    let input = source.rest();
    let whole = match packet::whole_packets(input, usize::MAX) {
        Ok(whole) => {
            assert!(whole.bytes <= input.len() && whole.missing > 0);
            whole.bytes
        }
        Err((bytes, _)) => bytes,
    };
    let packets = Bytes::copy_from_slice(&input[..whole]);
    let mut at = 0;
    while at < packets.len() {
        let start = at;
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        let result = packet::decode(&packets, &mut at, version);
        let used = MEMORY.peak_usage().saturating_sub(before);
        let length = at - start;
        assert!(length >= 2, "decoding does not move on");
        assert!(
            used <= MEMORY_PER_PACKET + MEMORY_PER_BYTE * length,
            "{used} bytes of memory for a packet of {length}"
        );
        let mut end = start;
        let tolerant = packet::decode_tolerantly(&packets, &mut end, version);
        assert_eq!(end, at);
        if let Ok(packet) = result {
            assert_eq!(tolerant.as_ref(), Ok(&packet));
            check_round_trip(&packet, length, version);
        }
    }
});

fn check_round_trip(packet: &Packet, length: usize, version: ProtocolVersion) {
    let mut encoded = BytesMut::new();
    packet.encode(version, &mut encoded);
    let encoded = encoded.freeze();
    // AUTH and a CONNACK that refuses may come without their Property Length, and are written with it.
    let growth = usize::from(matches!(packet, Packet::Auth(_) | Packet::ConnAck(_)));
    assert!(
        encoded.len() <= length + growth,
        "was read from {length} bytes, and is written as {}: {packet:?}",
        encoded.len()
    );
    if let Packet::Publish(publish) = packet {
        assert_eq!(publish.borrowed().packet_len(version), encoded.len());
    }
    let mut at = 0;
    let again = packet::decode(&encoded, &mut at, version);
    assert_eq!(at, encoded.len());
    assert_eq!(
        again.as_ref(),
        Ok(&as_written(packet, version)),
        "{encoded:02x?}"
    );
}

/// What the wire cannot carry: Return Codes that 3.x reserves are read as a failure without a name, and written as the
/// nearest that has one.
fn as_written(packet: &Packet, version: ProtocolVersion) -> Packet {
    let mut packet = packet.clone();
    if let Packet::ConnAck(connack) = &mut packet
        && connack.reason == ReasonCode::UnspecifiedError
        && !version.is_v5()
    {
        connack.reason = ReasonCode::ServerUnavailable;
        connack.properties = Properties::default(); // the number of a reserved Return Code stands there
    }
    packet
}
