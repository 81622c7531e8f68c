//! What every client shares: the payloads, the check of what arrives, and the clock.

use std::time::Instant;

use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};

pub(crate) const HOST: &str = "127.0.0.1";
pub(crate) const TOPIC: &str = "bench/topic";
/// Publishes in flight in `pub_qos1_w100`.
pub(crate) const IN_FLIGHT: u16 = 100;

// The far side (peer/src/sequence.rs) uses the same cycle and the same filler.
const CYCLE: u32 = 4096;
const PAYLOAD_SIZE: usize = 64;

/// Why a run says nothing about speed. It can leave the task it comes from.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What to do, and with which far side.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) scenario: Scenario,
    pub(crate) port: u16,
    pub(crate) warm_up: usize,
    pub(crate) messages: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    PublishQos0,
    PublishQos1,
    ReceiveQos0,
    ReceiveQos1,
}

/// CPU and wall clock time of the measured part, in seconds.
pub(crate) struct Cost {
    pub(crate) cpu: f64,
    pub(crate) wall: f64,
}

pub(crate) struct Meter {
    cpu: f64,
    wall: Instant,
}

impl Meter {
    pub(crate) fn start() -> Self {
        Self {
            cpu: cpu_seconds(),
            wall: Instant::now(),
        }
    }

    pub(crate) fn stop(&self) -> Cost {
        Cost {
            cpu: cpu_seconds() - self.cpu,
            wall: self.wall.elapsed().as_secs_f64(),
        }
    }
}

/// User and system time of all threads of this process.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// All payloads of the cycle, built before the clock starts.
pub(crate) fn payloads() -> Vec<Bytes> {
    let payload = |number: u32| {
        let mut payload = number.to_be_bytes().to_vec();
        payload.resize(PAYLOAD_SIZE, b'.');
        payload.into()
    };
    (0..CYCLE).map(payload).collect()
}

/// Compares one batch with what the far side sends.
pub(crate) struct Batch {
    payloads: Vec<Bytes>,
    expected: usize,
    begun: usize,
    taken: usize,
    ended: bool,
}

impl Batch {
    pub(crate) fn new(expected: usize) -> Self {
        Self {
            payloads: payloads(),
            expected,
            begun: 0,
            taken: 0,
            ended: false,
        }
    }

    /// Takes the next message, whole. True when the batch is complete.
    pub(crate) fn take(&mut self, topic: &str, payload: &[u8]) -> Result<bool, String> {
        let number = self.begin();
        self.finish(number, topic, payload)
    }

    /// The number of the next message, for a client that hands out a message before all of it is there.
    pub(crate) fn begin(&mut self) -> usize {
        self.begun += 1;
        self.begun - 1
    }

    /// Checks the message of that number. True when the batch is complete.
    pub(crate) fn finish(
        &mut self,
        number: usize,
        topic: &str,
        payload: &[u8],
    ) -> Result<bool, String> {
        if topic != TOPIC {
            return Err(format!("message {number} has topic {topic:?}"));
        }
        if payload.is_empty() {
            if number != self.expected {
                return Err(format!(
                    "the batch ends after {number} of {}",
                    self.expected
                ));
            }
            self.ended = true;
        } else {
            if number >= self.expected || payload != self.payloads[number % self.payloads.len()] {
                return Err(format!(
                    "message {number} is lost, repeated or out of order"
                ));
            }
            self.taken += 1;
        }
        Ok(self.ended && self.taken == self.expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complete_batch_in_order_is_accepted() {
        let mut batch = Batch::new(2);
        let payloads = payloads();
        assert_eq!(batch.take(TOPIC, &payloads[0]), Ok(false));
        assert_eq!(batch.take(TOPIC, &payloads[1]), Ok(false));
        assert_eq!(batch.take(TOPIC, b""), Ok(true));
    }

    #[test]
    fn a_message_that_is_finished_after_the_end_marker_completes_the_batch() {
        let mut batch = Batch::new(1);
        let (first, end) = (batch.begin(), batch.begin());
        assert_eq!(batch.finish(end, TOPIC, b""), Ok(false));
        assert_eq!(batch.finish(first, TOPIC, &payloads()[0]), Ok(true));
    }

    #[test]
    fn what_is_missing_repeated_or_elsewhere_is_an_error() {
        let payloads = payloads();
        assert!(Batch::new(2).take(TOPIC, &payloads[1]).is_err());
        assert!(Batch::new(2).take(TOPIC, b"").is_err());
        assert!(Batch::new(0).take(TOPIC, &payloads[0]).is_err());
        assert!(Batch::new(1).take("other", &payloads[0]).is_err());
    }
}
