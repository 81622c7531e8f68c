//! Publishes numbers at a steady rate and receives them again, with the tokio client: what `tests/steady/steady.py` does with
//! the asyncio client. The comment there says what the settings are, and which lines are written.

#![allow(clippy::print_stdout, reason = "it is what the harness reads")]

use std::error::Error as StdError;
use std::io::{self, BufRead, Write};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use ferromqtt::{
    CleanStart, Client, Connection, ConnectionEvent, Error, Messages, Options, OutgoingLimits,
    OutgoingPolicy, ProtocolVersion, QoS, Receipt, Reconnect, Server,
};
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::{interval, sleep};

/// Between two bursts of messages, and between two writes to standard output.
const TICK: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Command {
    Go,
    Stop,
    Quit,
}

/// Lines that are not written yet.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<String>>);

impl Lines {
    fn add(&self, line: &str) {
        let mut lines = self
            .0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        lines.push_str(line);
        lines.push('\n');
    }

    fn flush(&self) {
        let mut lines = self
            .0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let text = std::mem::take(&mut *lines);
        drop(lines);
        let mut output = io::stdout().lock();
        let _ = output.write_all(text.as_bytes()); // a harness that is gone reads nothing
        let _ = output.flush();
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    let settings = std::env::args().nth(1).ok_or("the settings are missing")?;
    let settings: Value = serde_json::from_str(&settings)?;
    let (commands, mut command) = watch::channel(Command::Go);
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            let command = match line.as_str() {
                "quit" => Command::Quit,
                _ => Command::Stop,
            };
            commands.send_replace(command);
        }
    });
    let lines = Lines::default();
    let writing = tokio::spawn(write(lines.clone()));

    let topic = text(&settings["topic"])?;
    let qos = qualities(&settings["qos"])?;
    let highest = qos.iter().copied().max().ok_or("no QoS is given")?;
    let connection = Connection::start(options(&settings)?).await?;
    let client = connection.client();
    let watching = tokio::spawn(follow_events(client.clone(), lines.clone()));
    client.connected().await.map_err(Error::from)?;
    let subscribing = client.subscribe(topic).qos(highest).await;
    let messages = subscribing.map_err(Error::from)?;
    let reading = tokio::spawn(receive(messages, lines.clone()));
    let (accepted, receipts) = mpsc::unbounded_channel();
    let following = tokio::spawn(follow_receipts(receipts, lines.clone()));

    let rate = settings["rate"].as_f64().ok_or("the rate is missing")?;
    let begin = Instant::now();
    let mut number = 0;
    while *command.borrow() == Command::Go {
        let due = begin.elapsed().as_secs_f64() * rate;
        while f64::from(number) < due {
            lines.add(&format!("sent {number}"));
            let message = client.publish(topic, number.to_string());
            let message = message.qos(qos[number as usize % qos.len()]);
            let receipt = message.enqueue().await.map_err(Error::from)?;
            accepted.send((number, receipt))?;
            number += 1;
        }
        sleep(TICK).await;
    }
    command
        .wait_for(|command| *command == Command::Quit)
        .await?;
    drop(accepted);
    following.await?;
    reading.abort();
    connection.disconnect().await?;
    watching.await?;
    writing.abort();
    lines.flush();
    Ok(())
}

fn options(settings: &Value) -> Result<Options, Box<dyn StdError>> {
    let servers = settings["servers"].as_array().ok_or("no servers")?;
    let servers: Result<Vec<Server>, Box<dyn StdError>> = (servers.iter())
        .map(|server| Ok(format!("mqtt://{}", text(server)?).parse()?))
        .collect();
    let reconnect = Reconnect {
        initial_delay: Duration::from_millis(200),
        max_delay: Duration::from_secs(1),
        initial: true,
        ..Reconnect::default()
    };
    let limits = OutgoingLimits {
        messages: Some(100_000),
        bytes: None,
    };
    let options = Options::new("replaced", 1883)
        .servers(servers?)
        .client_identifier(text(&settings["identifier"])?)
        .clean_start(CleanStart::Never)
        .connect_timeout(Duration::from_secs_f64(
            settings["timeout"].as_f64().unwrap_or(5.0),
        ))
        .reconnect(reconnect)
        .outgoing_queue(limits, OutgoingPolicy::Wait);
    Ok(match settings["version"].as_u64() {
        Some(4) => options.protocol(ProtocolVersion::V311),
        Some(5) => options
            .protocol(ProtocolVersion::V5)
            .session_expiry_interval(Duration::from_secs(3600)),
        _ => return Err("the version is neither 4 nor 5".into()),
    })
}

fn text(value: &Value) -> Result<&str, &'static str> {
    value.as_str().ok_or("a text is missing in the settings")
}

fn qualities(value: &Value) -> Result<Vec<QoS>, &'static str> {
    let numbers = value.as_array().ok_or("no QoS is given")?.iter();
    let qualities = numbers.map(|number| match number.as_u64() {
        Some(1) => Ok(QoS::AtLeastOnce),
        Some(2) => Ok(QoS::ExactlyOnce),
        _ => Err("each QoS is 1 or 2"),
    });
    qualities.collect()
}

/// Tells what became of each message.
async fn follow_receipts(mut receipts: mpsc::UnboundedReceiver<(u32, Receipt)>, lines: Lines) {
    while let Some((number, receipt)) = receipts.recv().await {
        match receipt.await {
            Ok(_) => lines.add(&format!("acknowledged {number}")),
            Err(error) => lines.add(&format!("failed {number} {error}")),
        }
    }
}

async fn receive(mut messages: Messages, lines: Lines) {
    while let Some(message) = messages.next().await {
        lines.add(&format!(
            "received {}",
            String::from_utf8_lossy(&message.payload)
        ));
    }
}

async fn follow_events(client: Client, lines: Lines) {
    let mut events = client.events();
    while let Some(event) = events.next().await {
        match event {
            ConnectionEvent::Connected { .. } => lines.add("connected"),
            ConnectionEvent::Disconnected { cause, .. } => lines.add(&format!("lost {cause}")),
            _ => {}
        }
    }
}

async fn write(lines: Lines) {
    let mut tick = interval(TICK);
    let mut told = Instant::now();
    loop {
        tick.tick().await;
        if told.elapsed() >= Duration::from_secs(1) {
            told = Instant::now();
            let tasks = Handle::current().metrics().num_alive_tasks();
            lines.add(&format!("tasks {tasks}"));
        }
        lines.flush();
    }
}
