//! Recordings of the client, and of the test broker, that are replayed.

use std::path::PathBuf;
use std::time::Duration;

use ferromqtt::recording::{ComparedTimes, RecordedPayloads, Recorder, Recording, diff};
use ferromqtt::testing::{ReplayError, TestBroker};
use ferromqtt::{Client, Error, Options, QoS};
use tokio::time::{Instant, sleep};

use crate::in_time;

/// A file of this test's own, which is removed with it.
struct TestFile(PathBuf);

impl TestFile {
    fn new(name: &str) -> Self {
        let name = format!("{}-{name}.mqttlog", std::process::id());
        Self(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name))
    }

    fn recorder(&self) -> Recorder {
        Recorder::to_file(&self.0, RecordedPayloads::Whole).unwrap()
    }

    fn recording(&self) -> Recording {
        Recording::read(&self.0).unwrap()
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn program(client: Client) -> Result<(), Error> {
    let mut messages = client.subscribe("own/#").await?;
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        client.publish("own/level", "28.4").qos(qos).await?;
        messages.next().await.expect("the client's own message");
    }
    sleep(Duration::from_secs(3_600)).await;
    client.publish("done", "").qos(QoS::AtLeastOnce).await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_replayed_program_gets_the_same_again_in_no_time() {
    let [first, again, of_client] = ["first", "again", "client"].map(TestFile::new);
    in_time_of(7_300, async {
        let broker = TestBroker::new();
        broker.record(first.recorder());
        let options = Options::test(&broker).client_identifier("pump-7");
        let options = options.record(of_client.recorder());
        ferromqtt::scope(options, program).await.unwrap();
        broker.stop().await;

        let broker = TestBroker::from_recording(&first.recording()).unwrap();
        broker.record(again.recorder());
        let begin = Instant::now();
        let options = Options::test(&broker).client_identifier("pump-7");
        ferromqtt::scope(options, program).await.unwrap();
        assert!(begin.elapsed() >= Duration::from_secs(3_600));
        broker.check_replay().unwrap();
        broker.stop().await;
    })
    .await;
    let (first, again) = (first.recording(), again.recording());
    assert_eq!(diff(&first, &again, ComparedTimes::Milliseconds), "");
    // Both sides saw the same packets; which of them closed first is a matter of view.
    let of_client = of_client.recording();
    let difference = diff(&first, &of_client, ComparedTimes::Ignored);
    assert!(
        !difference.contains("<-") && !difference.contains("->"),
        "{difference}"
    );
    assert!(of_client.show().contains("payload 4 bytes \"28.4\""));
}

#[tokio::test(start_paused = true)]
async fn another_program_fails_at_its_first_difference() {
    let file = TestFile::new("mismatch");
    in_time(async {
        let broker = TestBroker::new();
        broker.record(file.recorder());
        let publish = async |options: Options, topic: &str| {
            let options = options.client_identifier("a").reconnect(None);
            ferromqtt::scope(options, async |client| {
                client.publish(topic, "1").qos(QoS::AtLeastOnce).await?;
                Ok::<_, Error>(())
            })
            .await
        };
        publish(Options::test(&broker), "level").await.unwrap();
        broker.stop().await;
        let broker = TestBroker::from_recording(&file.recording()).unwrap();
        assert!(matches!(
            broker.check_replay(),
            Err(ReplayError::Unfinished { .. })
        ));
        publish(Options::test(&broker), "lewel").await.unwrap_err();
        let error = broker.check_replay().unwrap_err().to_string();
        assert!(
            error.contains("lewel") && error.contains("expected: line 5"),
            "{error}"
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn two_clients_can_share_a_recording() {
    let file = TestFile::new("shared");
    let recorder = file.recorder();
    in_time(async {
        let broker = TestBroker::new();
        for name in ["a", "b"] {
            let options = Options::test(&broker).client_identifier(name);
            let nothing = async |_: Client| Ok::<_, Error>(());
            ferromqtt::scope(options.record(recorder.clone()), nothing)
                .await
                .unwrap();
        }
    })
    .await;
    recorder.finish().unwrap();
    let shown = file.recording().show();
    assert!(
        shown.contains("link 1 (a)") && shown.contains("link 2 (b)"),
        "{shown}"
    );
}

/// As [`in_time`], for a test in paused time that is this many seconds long.
async fn in_time_of<T>(seconds: u64, test: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(seconds), test)
        .await
        .expect("the test ends in time")
}
