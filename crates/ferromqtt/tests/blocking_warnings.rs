//! What a blocking client writes to `tracing`. A program of its own: its thread needs a global subscriber.
#![cfg(all(feature = "blocking", feature = "tracing"))]

#[path = "scenarios/noted.rs"]
mod noted;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::thread;

use ferromqtt::blocking::Client;
use ferromqtt::{Options, QoS};

use noted::Warnings;

/// A server that accepts one connection after another, and acknowledges nothing.
fn serve(listener: &TcpListener, connections: usize) {
    for _ in 0..connections {
        let (mut stream, _) = listener.accept().unwrap();
        let mut input = [0; 4096];
        assert!(stream.read(&mut input).unwrap() > 0); // CONNECT
        stream.write_all(b"\x20\x03\0\0\0").unwrap();
        while stream.read(&mut input).is_ok_and(|length| length > 0) {}
    }
}

#[test]
fn messages_whose_receipts_were_dropped_are_counted_when_a_blocking_client_ends() {
    let noted = Warnings::default();
    tracing::subscriber::set_global_default(noted.clone()).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = thread::spawn(move || serve(&listener, 2));
    for disconnects in [true, false] {
        let options = Options::new("127.0.0.1", port).max_in_flight(2);
        let client = Client::connect(options).unwrap();
        for _ in 0..5 {
            let publish = client.publish("t", "x").qos(QoS::AtLeastOnce);
            drop(publish.enqueue().unwrap());
        }
        if disconnects {
            client.disconnect().unwrap();
        }
        drop(client); // its thread has ended then
        let reported = std::mem::take(&mut *noted.0.lock().unwrap());
        let [line] = &reported[..] else {
            panic!("{reported:?}");
        };
        assert!(line.contains("nobody waited for"), "{line}");
        let counts = match disconnects {
            true => ["not_sent=3 ", "unknown=2 "],
            // It may be dropped before its thread has sent any of them.
            false => ["not_sent=", "unknown="],
        };
        for part in counts {
            assert!(line.contains(part), "{part:?} in {line}");
        }
    }
    serving.join().unwrap();
}
