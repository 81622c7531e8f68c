//! The client: enqueues with 4,000 messages not stored at most and 100 in flight. The far side acknowledges a message once it is
//! stored, so each is written.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use bytes::Bytes;
use ferromqtt::{
    Client, Connection, Options, Outbox, OutgoingLimits, OutgoingPolicy, ProtocolVersion, QoS,
    Receipt, TopicName,
};

use crate::Failure;
use crate::figures::{Meter, frames};

/// How many messages are enqueued and not stored, at most.
pub(crate) const AHEAD: u64 = 4_000;
pub(crate) const IN_FLIGHT: u16 = 100;
pub(crate) const TOPIC: &str = "site/7/level";

/// One in so many messages is awaited until it is stored, and all before it are too then.
const BLOCK: usize = 100;
const WARM_UP: usize = 20_000;

/// The far side (peer/src/sequence.rs) expects these numbers in front of payloads.
const CYCLE: u32 = 4_096;

pub(crate) struct Plan {
    pub(crate) has_outbox: bool,
    pub(crate) folder: PathBuf,
    pub(crate) size: usize,
    pub(crate) messages: usize,
    pub(crate) peer: PathBuf,
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run(plan: Plan) -> Result<String, Failure> {
    let mut peer = Peer::start(&plan.peer)?;
    let options = Options::new("127.0.0.1", peer.port)
        .protocol(ProtocolVersion::V311)
        .max_in_flight(IN_FLIGHT);
    let options = match plan.has_outbox {
        true => options.outbox(outbox(&plan.folder)),
        false => options.outgoing_queue(OutgoingLimits::NONE, OutgoingPolicy::Wait),
    };
    let connection = Connection::open(options).await?;
    let mut flow = Flow {
        client: connection.client(),
        topic: TOPIC.try_into()?,
        payloads: payloads(plan.size),
        blocks: VecDeque::new(),
        enqueued: 0,
    };
    flow.pass(&plan, WARM_UP, &mut peer).await?;
    let frames_before = count_frames(&plan)?;
    let meter = Meter::start()?;
    flow.pass(&plan, plan.messages, &mut peer).await?;
    let cost = meter.stop()?;
    connection.disconnect().await?;
    peer.check(WARM_UP + plan.messages)?;
    let frames = count_frames(&plan)? - frames_before;
    Ok(format!("{{{cost}, \"frames\": {frames}}}"))
}

pub(crate) fn outbox(folder: &Path) -> Outbox {
    Outbox::new(folder).max_messages(None).max_bytes(None)
}

fn count_frames(plan: &Plan) -> Result<u64, Failure> {
    match plan.has_outbox {
        true => frames(&plan.folder),
        false => Ok(0),
    }
}

fn payloads(size: usize) -> Vec<Bytes> {
    let payload = |number: u32| {
        let mut payload = number.to_be_bytes().to_vec();
        payload.resize(size, b'.');
        payload.into()
    };
    (0..CYCLE).map(payload).collect()
}

/// The program.
struct Flow {
    client: Client,
    topic: TopicName,
    payloads: Vec<Bytes>,
    /// Receipts of messages that are not known to be stored, in order.
    blocks: VecDeque<Vec<Receipt>>,
    enqueued: usize,
}

impl Flow {
    /// Enqueues so many messages, and ends when all are acknowledged.
    async fn pass(&mut self, plan: &Plan, messages: usize, peer: &mut Peer) -> Result<(), Failure> {
        let mut pending = VecDeque::new();
        for _ in 0..messages / BLOCK {
            if self.blocks.len() * BLOCK >= AHEAD as usize {
                pending.extend(self.store_block(plan, peer).await?);
            }
            let block = self.enqueue_block().await?;
            self.blocks.push_back(block);
        }
        while !self.blocks.is_empty() {
            pending.extend(self.store_block(plan, peer).await?);
        }
        for receipt in pending {
            receipt.await?;
        }
        Ok(())
    }

    async fn enqueue_block(&mut self) -> Result<Vec<Receipt>, Failure> {
        let mut block = Vec::with_capacity(BLOCK);
        for _ in 0..BLOCK {
            let payload = self.payloads[self.enqueued % self.payloads.len()].clone();
            self.enqueued += 1;
            let publish = self.client.publish(self.topic.clone(), payload);
            block.push(publish.qos(QoS::AtLeastOnce).enqueue().await?);
        }
        Ok(block)
    }

    /// Waits until the oldest messages are stored, and has the far side acknowledge them.
    async fn store_block(&mut self, plan: &Plan, peer: &mut Peer) -> Result<Vec<Receipt>, Failure> {
        let block = self.blocks.pop_front().unwrap_or_default();
        if plan.has_outbox
            && let Some(last) = block.last()
        {
            last.stored().await?;
        }
        peer.let_through(block.len())?;
        Ok(block)
    }
}

/// `ferromqtt-bench-peer gate`: acknowledges as many messages as it is allowed to.
struct Peer {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    port: u16,
    allowed: u64,
}

impl Peer {
    fn start(program: &Path) -> Result<Self, Failure> {
        let mut process = Command::new(program)
            .arg("gate")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = process.stdin.take().ok_or("no standard input")?;
        let output = process.stdout.take().ok_or("no standard output")?;
        let mut output = BufReader::new(output);
        let mut line = String::new();
        output.read_line(&mut line)?;
        Ok(Self {
            port: line.trim().parse()?,
            process,
            input,
            output,
            allowed: 0,
        })
    }

    fn let_through(&mut self, messages: usize) -> Result<(), Failure> {
        self.allowed += messages as u64;
        self.input.write_all(&self.allowed.to_be_bytes())?;
        Ok(())
    }

    /// Every message has arrived once, in order.
    fn check(mut self, messages: usize) -> Result<(), Failure> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        drop(self.input);
        self.process.wait()?;
        let expected =
            format!("{{\"messages\":{messages},\"lost\":0,\"reordered\":0,\"duplicates\":0}}");
        match line.trim() == expected {
            true => Ok(()),
            false => Err(format!("the far side reports {line}").into()),
        }
    }
}
