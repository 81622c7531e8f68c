//! How long a client takes to open an outbox with messages that wait, and how much memory they take.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use ferromqtt::{Connection, Options, Outbox, QoS, Reconnect, StoreSync};

use crate::Failure;
use crate::client::{TOPIC, outbox};
use crate::figures::line_of;

/// Nobody listens there.
const NOWHERE: u16 = 9;

/// Fills an outbox that has no server, and copies its files before it is closed: what a killed process leaves.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn fill(
    folder: &Path,
    size: usize,
    messages: usize,
    copy: &Path,
) -> Result<String, Failure> {
    let connection = start(outbox(folder).sync(StoreSync::Never)).await?;
    let client = connection.client();
    let payload = bytes::Bytes::from(vec![b'x'; size]);
    let mut last = None;
    for number in 1..=messages {
        let publish = client.publish(TOPIC, payload.clone());
        let receipt = publish.qos(QoS::AtLeastOnce).enqueue().await?;
        if number % 1_000 == 0 {
            receipt.stored().await?;
        }
        last = Some(receipt);
    }
    if let Some(last) = last {
        last.stored().await?;
    }
    fs::create_dir_all(copy)?;
    for file in fs::read_dir(folder)? {
        let file = file?;
        fs::copy(file.path(), copy.join(file.file_name()))?;
    }
    connection.disconnect().await?;
    Ok("{}".to_owned())
}

/// Opens an outbox that holds so many messages, and says how long that took, how long the loop stood still, and how much more
/// memory there is than before.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn open(folder: &Path, messages: usize) -> Result<String, Failure> {
    let memory_before = memory()?;
    let most_stalled = tokio::spawn(async {
        let mut most = Duration::ZERO;
        let mut last = Instant::now();
        for _ in 0..2_000 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            most = most.max(last.elapsed());
            last = Instant::now();
        }
        most
    });
    tokio::task::yield_now().await;
    let begun = Instant::now();
    let connection = start(outbox(folder)).await?;
    let opened = begun.elapsed().as_secs_f64();
    let found = connection
        .client()
        .outbox_stats()
        .map_or(0, |it| it.messages);
    if found != messages {
        return Err(format!("{found} messages instead of {messages}").into());
    }
    let stalled = most_stalled.await?.as_secs_f64();
    let memory = memory()?.saturating_sub(memory_before);
    connection.disconnect().await?;
    Ok(format!(
        "{{\"opened\": {opened}, \"stalled\": {stalled}, \"memory_kib\": {memory}}}"
    ))
}

async fn start(outbox: Outbox) -> Result<Connection, Failure> {
    let patient = Reconnect {
        initial: true,
        ..Reconnect::default()
    };
    let options = Options::new("127.0.0.1", NOWHERE).reconnect(patient);
    Ok(Connection::start(options.outbox(outbox)).await?)
}

fn memory() -> Result<u64, Failure> {
    line_of("/proc/self/status", "VmRSS:")
}
