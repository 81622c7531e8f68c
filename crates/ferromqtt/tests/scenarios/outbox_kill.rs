//! A program with an outbox is killed again and again, on mosquitto: no stored message is lost, and none of QoS 2 comes twice.
//!
//! The program is this test program, which finds its orders in its environment. `FERROMQTT_KILLS=100` is the long version.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ferromqtt::{Connection, Options, Outbox, QoS, Reconnect};
use tokio::time::sleep;

use crate::mosquitto_process::{Mosquitto, free_port};

const ORDERS: &str = "FERROMQTT_OUTBOX_KILL";

fn options(port: u16) -> Options {
    let at_once = Reconnect {
        initial: true,
        initial_delay: Duration::from_millis(50),
        max_delay: Duration::from_millis(200),
        ..Reconnect::default()
    };
    Options::new("127.0.0.1", port).reconnect(at_once)
}

/// The program: enqueues numbers in its first life and the next ones, and says which of them are stored. In life 0 it sends what
/// is left, and ends.
#[tokio::test]
async fn the_program_that_is_killed() {
    let Ok(orders) = std::env::var(ORDERS) else {
        return; // nobody has called for it
    };
    let orders: Vec<_> = orders.split(' ').collect();
    let [port, folder, qos, life] = orders[..] else {
        panic!("{orders:?}");
    };
    let qos = match qos {
        "1" => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    };
    let options = options(port.parse().unwrap());
    let options = options.client_identifier("worker");
    let connection = Connection::start(options.outbox(Outbox::new(folder)))
        .await
        .unwrap();
    let client = connection.client();
    if life == "0" {
        while client.outbox_stats().unwrap().messages > 0 {
            sleep(Duration::from_millis(10)).await;
        }
        return connection.disconnect().await.unwrap();
    }
    for number in 0.. {
        let text = format!("{life}:{number}");
        let publish = client.publish("numbers", text.clone()).qos(qos);
        let receipt = publish.enqueue().await.unwrap();
        receipt.stored().await.unwrap();
        eprintln!("stored {text}");
    }
}

fn start(port: u16, folder: &Path, qos: u8, life: u32) -> Child {
    let orders = format!("{port} {} {qos} {life}", folder.display());
    Command::new(std::env::current_exe().unwrap())
        .args([
            "outbox_kill::the_program_that_is_killed",
            "--exact",
            "--nocapture",
        ])
        .env(ORDERS, orders)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Runs the program, and kills it when it has stored so many messages. Returns those.
fn run(mut program: Child, kill_after: usize) -> Vec<String> {
    let mut lines = BufReader::new(program.stderr.take().unwrap()).lines();
    let mut stored = Vec::new();
    let stored_in = |line: &str| line.strip_prefix("stored ").map(str::to_owned);
    while stored.len() < kill_after {
        let line = lines.next().expect("it does not end by itself").unwrap();
        stored.extend(stored_in(&line));
    }
    program.kill().unwrap();
    program.wait().unwrap();
    // What it has said before that counts too. The last line may be cut off.
    let rest: Vec<_> = lines.map_while(Result::ok).collect();
    stored.extend(rest.iter().filter_map(|line| stored_in(line)));
    stored
}

async fn kill(qos: u8) {
    let kills: u32 = std::env::var("FERROMQTT_KILLS").map_or(10, |it| it.parse().unwrap());
    let port = free_port();
    let name = format!("ferromqtt-outbox-kill-{}-{qos}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    let broker = Mosquitto::start(
        folder.join("mosquitto"),
        &format!("listener {port} 127.0.0.1\nmax_queued_messages 0\n"),
    );
    let listening = Connection::open(options(port)).await.unwrap();
    let mut messages = (listening
        .client()
        .subscribe("numbers")
        .qos(QoS::ExactlyOnce))
    .await
    .unwrap();
    let outbox = folder.join("outbox");
    let mut stored = Vec::new();
    for life in 1..=kills {
        let program = start(port, &outbox, qos, life);
        let kill_after = 1 + (life as usize * 7) % 40;
        let run = tokio::task::spawn_blocking(move || run(program, kill_after));
        stored.extend(run.await.unwrap());
    }
    let mut last = start(port, &outbox, qos, 0);
    let ended = tokio::task::spawn_blocking(move || last.wait())
        .await
        .unwrap();
    assert!(ended.unwrap().success());
    (listening
        .client()
        .publish("numbers", "end")
        .qos(QoS::AtLeastOnce))
    .await
    .unwrap();
    let mut received = Vec::new();
    while let Some(message) = messages.next().await {
        match message.text().unwrap() {
            "end" => break,
            text => received.push(text.to_owned()),
        }
    }
    let unique: HashSet<_> = received.iter().collect();
    let lost: Vec<_> = stored.iter().filter(|it| !unique.contains(it)).collect();
    assert!(lost.is_empty(), "stored and lost: {lost:?}");
    if qos == 2 {
        assert_eq!(received.len(), unique.len(), "a message came twice");
    }
    listening.disconnect().await.unwrap();
    drop(broker);
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn what_is_stored_at_least_once_survives_a_killed_program() {
    kill(1).await;
}

#[tokio::test]
async fn what_is_stored_exactly_once_survives_a_killed_program() {
    kill(2).await;
}
