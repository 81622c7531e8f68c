//! Keep Alive over a slow link: one that moves lives, one that has fallen silent is noticed, whatever the operating system
//! takes for it.

use std::time::Duration;

use ferromqtt_proto::{ConnectionError, Options, OutgoingLimits};

use crate::support::*;

const MB: usize = 1_000_000;

/// What operating systems take for a connection: little, and what Linux takes at most.
const SYSTEM_BUFFERS: [usize; 2] = [64 * 1024, 4 * 1024 * 1024];

fn keep_alive(seconds: u16) -> Options {
    let mut options = options(V5);
    options.keep_alive = seconds;
    options.outgoing = OutgoingLimits::NONE;
    options
}

/// Each kind of link there is: what the system takes for it, and whether it tells what the peer has acknowledged.
fn links(keep_alive_seconds: u16, rate: usize) -> impl Iterator<Item = SlowLink> {
    let kinds = SYSTEM_BUFFERS
        .into_iter()
        .flat_map(|buffer| [true, false].map(|tells| (buffer, tells)));
    kinds.map(move |(buffer, tells)| {
        let mut link = SlowLink::connected(keep_alive(keep_alive_seconds), rate, buffer);
        link.tells = tells;
        link
    })
}

/// MQTT-3.1.2-20: the PINGREQ waits behind the payload, and its answer behind both.
#[test]
fn an_upload_of_many_keep_alives_completes() {
    for seconds in [5, 10] {
        for mut link in links(seconds, MB) {
            link.publish(20 * MB, AtLeastOnce);
            link.pass(30 * SECOND, |_| {});
            assert!(link.is_connected(), "{:?}", link.pair.cause());
            assert_eq!(link.publishes, 1);
            assert!(link.pings > 0);
            assert!(link.pair.client.stats().acknowledged == 1);
        }
    }
}

/// A flood of small messages at QoS 0, faster than the link: the same.
#[test]
fn a_flood_over_a_slow_link_is_no_silence() {
    for mut link in links(5, MB) {
        link.pass(60 * SECOND, |link| {
            for _ in 0..20 {
                link.publish(60_000, AtMostOnce); // 1.2 MB
            }
        });
        assert!(link.is_connected(), "{:?}", link.pair.cause());
        assert!(link.pings > 0);
    }
}

/// The operating system takes what it has room for; that is no sign of life.
#[test]
fn a_link_that_falls_silent_is_noticed_within_one_and_a_half_keep_alives() {
    for silent_after in [0, 3_000, 9_950, 10_050, 11_000, 19_990, 25_000] {
        for upload in [0, 20 * MB] {
            for trickle in [false, true] {
                for mut link in links(10, MB) {
                    if upload > 0 {
                        link.publish(upload, AtLeastOnce);
                    }
                    let trickles = |link: &mut SlowLink| {
                        if trickle {
                            link.publish(10, AtMostOnce);
                        }
                    };
                    link.pass(Duration::from_millis(silent_after), trickles);
                    assert!(link.is_connected());
                    link.silent = true;
                    let began = link.pair.now;
                    link.pass(60 * SECOND, trickles);
                    let took = link.pair.now - began;
                    let what = (silent_after, upload, trickle, link.tells, took);
                    assert!(took <= 15 * SECOND, "{what:?}");
                    assert_eq!(
                        link.pair.cause(),
                        ConnectionError::KeepAliveTimeout,
                        "{what:?}"
                    );
                }
            }
        }
    }
}

/// A server that stands still while its TCP goes on is dead too: it has the PINGREQ.
#[test]
fn a_server_that_hangs_is_noticed_although_its_tcp_acknowledges() {
    for mut link in links(10, MB) {
        link.hung = true;
        let began = link.pair.now;
        link.pass(60 * SECOND, |link| link.publish(10, AtMostOnce));
        assert_eq!(link.pair.now - began, 15 * SECOND);
        assert_eq!(link.pair.cause(), ConnectionError::KeepAliveTimeout);
    }
}

/// The time to answer counts from when the PINGREQ has left, behind a payload that takes 20 seconds, and no longer.
#[test]
fn the_answer_is_due_half_a_keep_alive_after_the_ping_has_left() {
    let mut link = SlowLink::connected(keep_alive(10), MB, 64 * 1024);
    let began = link.pair.now;
    link.publish(20 * MB, AtMostOnce);
    link.pass(19 * SECOND, |_| {});
    link.hung = true;
    link.pass(60 * SECOND, |_| {});
    assert_eq!(link.pair.cause(), ConnectionError::KeepAliveTimeout);
    let ended = (link.pair.now - began).as_millis();
    assert!((24_900..25_200).contains(&ended), "{ended}");
}
