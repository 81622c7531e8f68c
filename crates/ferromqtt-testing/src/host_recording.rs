//! Recording a test broker, and replaying a recording.

use ferromqtt_recording::{Recorder, Recording};

use crate::broker::Broker;
use crate::host::TestBroker;
use crate::replay::ReplayError;

impl TestBroker {
    /// A broker in memory that plays the server's side of a recording again: see [`Broker::from_recording`]. In paused time the
    /// waits of the recording take none.
    ///
    /// What happened can be asked as of any broker: [`published`](Self::published), [`packets`](Self::packets),
    /// [`chart`](Self::chart), [`wait_for`](Self::wait_for), [`check_published`](Self::check_published), [`idle`](Self::idle).
    /// Faults and verbs panic, in words.
    ///
    /// # Errors
    /// As [`Broker::from_recording`].
    pub fn from_recording(recording: &Recording) -> Result<Self, ReplayError> {
        Broker::from_recording(recording).map(Self::serving)
    }

    /// Records the connections that are opened from now on: what the clients see, also where a fault is in the way. The file is
    /// complete when the broker has [stopped](Self::stop); [`Recorder::finish`] says whether all could be written.
    ///
    /// ```
    /// use ferromqtt_testing::TestBroker;
    /// use ferromqtt_testing::recording::{RecordedPayloads, Recorder};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// # let path = std::env::temp_dir().join(format!("doc-broker-{}.mqttlog", std::process::id()));
    /// let recorder = Recorder::to_file(&path, RecordedPayloads::Whole)?;
    /// let broker = TestBroker::new();
    /// broker.record(recorder.clone());
    /// // clients come and go
    /// recorder.finish()
    /// # }
    /// ```
    pub fn record(&self, recorder: Recorder) {
        self.shared.lock().broker.record(recorder);
    }

    /// Whether the replay went as it was recorded, and is finished. Of a broker that replays nothing, always.
    ///
    /// # Errors
    /// The first difference, or what is left.
    pub fn check_replay(&self) -> Result<(), ReplayError> {
        self.shared.lock().broker.check_replay()
    }
}
