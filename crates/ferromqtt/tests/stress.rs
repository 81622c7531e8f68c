//! Many tasks on one client whose connection is cut again and again: each message has one outcome, the order holds, and
//! nothing is left behind. The long run, in a release build:
//!
//! ```sh
//! cargo test --release -p ferromqtt --test stress -- --ignored --nocapture
//! ```

#[path = "scenarios/cable.rs"]
mod cable;

use std::collections::VecDeque;
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ferromqtt::{
    Client, Connection, Error, Message, Messages, Options, Overflow, QoS, QueueOptions, Receipt,
    Reconnect,
};
use ferromqtt_testing::{BrokerOptions, TestBroker};
use peak_alloc::PeakAlloc;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::{JoinSet, yield_now};
use tokio::time::timeout;

use cable::Cable;

/// Counts the bytes on the heap.
#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const TASKS: usize = 64;

/// How many receipts a task holds before it awaits the oldest.
const IN_FLIGHT: usize = 32;

/// What the runtime and the libraries may keep for later.
const HEAP_MARGIN: usize = 16 * 1024;

struct Run {
    /// Messages of all tasks.
    messages: usize,
    /// Outcomes between two cuts, at most.
    between_cuts: u64,
    /// For everything, so that a hang is a failure.
    limit: Duration,
}

/// What all tasks have seen, and the cable that they cut as they go: by their progress, not by a clock, which would leave a
/// slow machine no time to connect.
struct Totals {
    cable: Cable,
    between_cuts: u64,
    next_cut: AtomicU64,
    outcomes: AtomicU64,
    received: AtomicU64,
    again: AtomicU64,
    lost_at_qos_0: AtomicU64,
}

#[test]
fn twenty_thousand_messages_over_a_connection_that_is_cut() {
    stress(&Run {
        messages: 20_000,
        between_cuts: 2_000,
        limit: Duration::from_secs(120),
    });
}

#[test]
#[ignore = "a million messages take half a minute"]
fn a_million_messages_over_a_connection_that_is_cut() {
    stress(&Run {
        messages: 1_000_000,
        between_cuts: 20_000,
        limit: Duration::from_secs(1_200),
    });
}

fn stress(run: &Run) {
    let runtime = Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap();
    // What is allocated once and kept is allocated by a first round.
    let first = Run {
        messages: 6_400,
        between_cuts: 1_000,
        ..*run
    };
    play(&runtime, &first);
    let before = at_rest(&runtime);
    play(&runtime, run);
    let after = at_rest(&runtime);
    eprintln!(
        "heap {before} -> {after} bytes, {} at most",
        HEAP.peak_usage()
    );
    assert!(
        after <= before + HEAP_MARGIN,
        "{before} bytes before, {after} after"
    );
}

/// Bytes on the heap when every task has ended.
fn at_rest(runtime: &Runtime) -> usize {
    runtime.block_on(async {
        let resting = async {
            while Handle::current().metrics().num_alive_tasks() > 0 {
                yield_now().await;
            }
        };
        timeout(Duration::from_secs(20), resting)
            .await
            .expect("every task ends");
    });
    HEAP.current_usage()
}

fn play(runtime: &Runtime, run: &Run) {
    let start = Instant::now();
    runtime
        .block_on(async { timeout(run.limit, round(run)).await })
        .expect("it ends in time");
    eprintln!("{} messages in {:?}", run.messages, start.elapsed());
}

async fn round(run: &Run) {
    let mut options = BrokerOptions::default();
    options.journal_packets = Some(0); // of a million messages it would hold the last ones
    let any_port = (Ipv4Addr::LOCALHOST, 0).into();
    let broker = TestBroker::bind(any_port, options).await.unwrap();
    let cable = Cable::to((broker.host(), broker.port()).into()).await;
    let reconnect = Reconnect {
        initial_delay: Duration::from_millis(4),
        max_delay: Duration::from_millis(50),
        ..Reconnect::default()
    };
    let options = Options::new("127.0.0.1", cable.port()).reconnect(reconnect);
    let connection = Connection::open(options).await.unwrap();
    let totals = Arc::new(Totals::new(cable, run.between_cuts));
    let each = run.messages / TASKS;
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        tasks.spawn(work(connection.client(), task, each, Arc::clone(&totals)));
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap().unwrap();
    }
    let stats = connection.client().stats();
    eprintln!("{stats:?}");
    assert!(stats.connections > 1, "it was cut");
    assert_eq!(
        totals.outcomes.load(Ordering::Relaxed),
        (each * TASKS) as u64
    );
    connection.disconnect().await.unwrap();
    eprintln!("{totals}");
    drop(totals);
    broker.stop().await;
}

impl Totals {
    fn new(cable: Cable, between_cuts: u64) -> Self {
        Self {
            cable,
            between_cuts,
            next_cut: AtomicU64::new(between_cuts / 2),
            outcomes: AtomicU64::new(0),
            received: AtomicU64::new(0),
            again: AtomicU64::new(0),
            lost_at_qos_0: AtomicU64::new(0),
        }
    }

    /// One more outcome; now and then, at a pseudo-random distance, the connection is cut.
    fn count_outcome(&self) {
        let outcomes = self.outcomes.fetch_add(1, Ordering::Relaxed) + 1;
        if outcomes == self.next_cut.load(Ordering::Relaxed) {
            let distance = 1 + outcomes.wrapping_mul(2_654_435_761) % self.between_cuts;
            self.next_cut.fetch_add(distance, Ordering::Relaxed);
            self.cable.cut();
        }
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        write!(
            f,
            "{} outcomes, {} received, {} of them again, {} lost at QoS 0",
            number(&self.outcomes),
            number(&self.received),
            number(&self.again),
            number(&self.lost_at_qos_0)
        )
    }
}

/// One task: publishes from inside its loop over what it receives of its own messages.
async fn work(client: Client, task: usize, each: usize, totals: Arc<Totals>) -> Result<(), Error> {
    let topic = ferromqtt::TopicName::new(format!("stress/{task}")).unwrap();
    let bounds = QueueOptions {
        limit: Some(10_000),
        overflow: Overflow::Fail,
        ..QueueOptions::default()
    };
    let mut messages = client
        .subscribe(topic.as_str())
        .qos(QoS::ExactlyOnce)
        .queue(bounds)
        .await?;
    let mut seen = Seen::new(each);
    let mut receipts = VecDeque::new();
    for number in 0..each {
        let payload = (number as u32).to_be_bytes().to_vec();
        let publish = client.publish(topic.clone(), payload).qos(qos_of(number));
        receipts.push_back(publish.enqueue().await?);
        seen.take_all(&mut messages);
        if receipts.len() >= IN_FLIGHT {
            settle(receipts.pop_front(), &totals).await?;
        }
    }
    while !receipts.is_empty() {
        settle(receipts.pop_front(), &totals).await?;
    }
    while seen.owed > 0 {
        let message = messages.next().await.expect("a message that is owed");
        seen.take(&message);
    }
    seen.take_all(&mut messages);
    assert_eq!(messages.take_lost(), 0);
    seen.report(&totals);
    messages.unsubscribe().await?;
    Ok(())
}

/// A receipt ends once by its type; that it ends at all, and well, is seen here.
async fn settle(receipt: Option<Receipt>, totals: &Totals) -> Result<(), Error> {
    if let Some(receipt) = receipt {
        receipt.await?;
        totals.count_outcome();
    }
    Ok(())
}

fn qos_of(number: usize) -> QoS {
    QoS::from_value((number % 3) as u8).unwrap_or_default()
}

/// What one task has received.
struct Seen {
    times: Vec<u32>,
    /// The last new number at each QoS.
    last: [Option<usize>; 3],
    /// Messages of QoS 1 and 2 that have not come yet.
    owed: usize,
}

impl Seen {
    fn new(each: usize) -> Self {
        Self {
            times: vec![0; each],
            last: [None; 3],
            owed: (0..each)
                .filter(|&it| qos_of(it) != QoS::AtMostOnce)
                .count(),
        }
    }

    fn take_all(&mut self, messages: &mut Messages) {
        while let Some(message) = messages.try_next() {
            self.take(&message);
        }
    }

    /// MQTT-4.6.0-5, MQTT-4.6.0-6: in order at each QoS, but for what comes again at QoS 1; MQTT-4.3.3-10: at QoS 2 once.
    fn take(&mut self, message: &Message) {
        let number = u32::from_be_bytes(message.payload[..].try_into().unwrap()) as usize;
        let qos = qos_of(number);
        assert_eq!(message.qos, qos);
        self.times[number] += 1;
        if self.times[number] > 1 {
            assert_eq!(qos, QoS::AtLeastOnce, "{number} came again");
            return;
        }
        let last = &mut self.last[usize::from(qos.value())];
        assert!(
            last.is_none_or(|last| last < number),
            "{number} after {last:?}"
        );
        *last = Some(number);
        self.owed -= usize::from(qos != QoS::AtMostOnce);
    }

    fn report(&self, totals: &Totals) {
        let received: u64 = self.times.iter().map(|&times| u64::from(times)).sum();
        let different = self.times.iter().filter(|&&times| times > 0).count() as u64;
        totals.received.fetch_add(received, Ordering::Relaxed);
        (totals.again).fetch_add(received - different, Ordering::Relaxed);
        (totals.lost_at_qos_0).fetch_add(self.times.len() as u64 - different, Ordering::Relaxed);
    }
}
