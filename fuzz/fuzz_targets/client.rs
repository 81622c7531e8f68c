//! A `Client` with any options, and any operations, packets, bytes, losses and times in any order. Server, transport,
//! clock, store and application are all the fuzzer's; `World::step` lists what they may do.
//!
//! Checked are: no panic; the client comes to rest after each step; each operation completes once, or never when it was
//! abandoned, and all have when the client has left; what it writes are a client's packets, within the server's limits,
//! between CONNECT and DISCONNECT of an open transport (`client_output`), with Packet Identifiers that are free
//! (`in_flight`), acknowledgements in order (`acknowledgements`) and nothing that the store does not have (`store`);
//! no message lies in a queue, and none is lost, without the application being told (`queues`); and input takes no more
//! memory than its bytes and packets account for.
#![no_main]

#[path = "client/calls.rs"]
mod calls;

use std::collections::BTreeSet;
use std::mem;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use ferromqtt_fuzz::client_options;
use ferromqtt_fuzz::client_output::ClientOutput;
use ferromqtt_fuzz::operations::Operations;
use ferromqtt_fuzz::packets;
use ferromqtt_fuzz::queues::Queues;
use ferromqtt_fuzz::source::Source;
use ferromqtt_fuzz::store::{DIRECTIONS, Store};
use ferromqtt_proto::codec::FixedHeader;
use ferromqtt_proto::packet::{Disconnect, PacketType};
use ferromqtt_proto::{
    Client, Event, Progress, Publish, Session, TcpProgress, TransportError, TransportRequest,
};
use libfuzzer_sys::{Corpus, fuzz_target};
use peak_alloc::PeakAlloc;

/// Steps of one run.
const STEPS: usize = 300;
/// A client has nothing more to do after so many polls: the longest input holds far fewer packets.
const POLLS: usize = 20_000;
/// Memory that input may take: for each of its bytes, for each packet (an event, a place in a queue), and for what a call
/// does whatever the input is (two chunks to write into, what waits to be sent again).
const MEMORY_PER_BYTE: usize = 4;
const MEMORY_PER_PACKET: usize = 2_048;
const MEMORY_PER_CALL: usize = 160 << 10;
/// What servers send.
const OF_SERVER: [PacketType; 10] = [
    PacketType::Publish,
    PacketType::PubAck,
    PacketType::PubRec,
    PacketType::PubRel,
    PacketType::PubComp,
    PacketType::SubAck,
    PacketType::UnsubAck,
    PacketType::ConnAck,
    PacketType::Disconnect,
    PacketType::Auth,
];

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

fuzz_target!(|input: &[u8]| -> Corpus {
    let mut source = Source::new(input);
    let Some(mut world) = World::new(&mut source) else {
        return Corpus::Reject;
    };
    for _ in 0..STEPS {
        if source.is_empty() {
            break;
        }
        world.step(&mut source);
        world.settle();
    }
    world.finish();
    Corpus::Keep
});

struct World {
    client: Client,
    now: Instant,
    link: Link,
    /// The driver does at once what is asked of its transport, and not only in a step of its own.
    prompt: bool,
    /// Whether the socket takes bytes.
    writable: bool,
    /// Bytes that have arrived and were not taken yet, and bytes that are still to arrive.
    input: BytesMut,
    held_back: BytesMut,
    /// How many bytes and packets have arrived on this connection.
    arrived: usize,
    arrived_packets: usize,
    operations: Operations,
    queues: Queues,
    /// The publish that waits for room.
    refused: Option<Publish>,
    store: Store,
    /// The keys of messages that have ended in this process.
    ended: BTreeSet<u64>,
}

enum Link {
    Down,
    /// The client has asked for a transport.
    Wanted,
    Up(Box<ClientOutput>),
    /// The client has asked to end its side, behind all that was written.
    Finishing,
    /// That is done, and the server has still to end its own.
    Lingering,
    /// The client has asked to close it.
    Closing,
}

impl World {
    fn new(source: &mut Source<'_>) -> Option<Self> {
        let prompt = !source.flag();
        let options = client_options::any(source);
        let queues = Queues::new(options.incoming);
        let mut world = Self {
            client: Client::new(options, Session::default(), 7).ok()?,
            now: Instant::now(),
            link: Link::Down,
            prompt,
            writable: true,
            input: BytesMut::new(),
            held_back: BytesMut::new(),
            arrived: 0,
            arrived_packets: 0,
            operations: Operations::default(),
            queues,
            refused: None,
            store: Store::default(),
            ended: BTreeSet::new(),
        };
        world.client.connect(world.now);
        world.settle();
        Some(world)
    }

    fn step(&mut self, source: &mut Source<'_>) {
        match source.below(24) {
            0 => self.client.connect(self.now),
            1 if self.prompt => self.client.claim_default(), // the transport needs no step of its own
            1 => self.serve_transport(),
            2 => self.transport_fails(),
            3 => self.server_answers(source),
            4 => self.server_sends_packet(source),
            5 => {
                let bytes = source.bytes();
                self.arrive(bytes, source);
            }
            6 => self.publish_any(source),
            7 => self.publish_at_once(source),
            8 => self.subscribe(source),
            9 => self.unsubscribe(source),
            10 => self.abandon(source),
            11 => (self.queues).open_or_close(&mut self.client, self.now, source),
            12 => self.queues.take(&mut self.client, source),
            13 => self.leave(source),
            14 if self.client.options().fresh_credentials => self.renew_credentials(source),
            14 => {
                let _ = self.client.authenticate(self.now, packets::auth(source));
            }
            15 => self.pass_time(source),
            16 => self.writable = !self.writable,
            17 => self.restart(),
            18 => self.queues.acknowledge(&mut self.client, source),
            19 => {
                self.store.lags = !self.store.lags;
                self.store.write(&mut self.client);
            }
            20 => self.crash(),
            21 => self.request(source),
            22 if self.client.options().journal => {
                let direction = source.pick(&DIRECTIONS);
                (self.store).fail_or_begin(direction, &mut self.client, self.now);
            }
            _ => self.publish_recorded(source),
        }
    }

    /// Drains the client, as every driver does after every call.
    fn settle(&mut self) {
        for _ in 0..POLLS {
            if !self.poll() {
                return self.check_at_rest();
            }
        }
        panic!("the client does not come to rest");
    }

    fn poll(&mut self) -> bool {
        if self.poll_journal() {
            return true;
        }
        if self.writable
            && let Some(chunk) = self.client.poll_transmit(self.now)
        {
            let Link::Up(output) = &mut self.link else {
                panic!("bytes, but no open transport: {chunk:02x?}");
            };
            let store = (self.client.options().journal).then_some(&self.store);
            output.wrote(&chunk, store);
            return true;
        }
        if let Some(request) = self.client.poll_transport() {
            self.on_transport_request(request);
            return true;
        }
        if let Some(event) = self.client.poll_event() {
            self.on_event(event);
            return true;
        }
        let due = self.client.poll_timeout();
        if self.client.is_connected() && due.is_some_and(|due| due <= self.now) {
            self.client.handle_timeout(self.now); // what was held back goes on
            return true;
        }
        self.poll_journal() // what it has encoded just now may wait for that
    }

    fn poll_journal(&mut self) -> bool {
        let Some(entry) = self.client.poll_journal() else {
            return false;
        };
        assert!(self.client.options().journal, "nobody wants {entry:?}");
        self.store.take(entry);
        if !self.store.lags {
            self.store.write(&mut self.client);
        }
        true
    }

    fn on_transport_request(&mut self, request: TransportRequest) {
        match request {
            TransportRequest::Open { .. } => {
                assert!(matches!(self.link, Link::Down), "two transports at once");
                self.link = Link::Wanted;
            }
            TransportRequest::Finish => {
                let Link::Up(output) = &self.link else {
                    panic!("there is nothing to end");
                };
                assert_eq!(self.client.pending_transmit(), 0);
                output.check_whole();
                self.link = Link::Finishing;
            }
            TransportRequest::Close => {
                assert!(!matches!(self.link, Link::Closing), "closed twice");
                self.link = Link::Closing;
            }
            TransportRequest::Abort => self.link = Link::Closing,
        }
        if self.prompt {
            self.serve_transport();
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Completed { op, outcome } => self.operations.complete(op, &outcome),
            Event::Ended { key, .. } => assert!(self.ended.insert(key), "{key} has ended before"),
            Event::MessageReady(queue) => self.queues.on_ready(&self.client, queue),
            Event::Lagged(queue) => self.queues.on_lagged(queue),
            Event::OutgoingRoom => {
                let publish = self.refused.take().expect("room for nothing");
                self.publish(publish);
                assert!(self.refused.is_none(), "there is no room");
            }
            _ => {}
        }
    }

    fn check_at_rest(&self) {
        if self.client.is_idle() {
            self.operations.check_all_ended();
        }
        if let Link::Up(output) = &self.link
            && self.writable
            && !self.store.holds_up()
        {
            output.check_whole();
            if self.client.is_connected() && !self.queues.hold_back(&self.client) {
                output.check_acknowledged();
            }
        }
        self.queues.check(&self.client);
    }

    /// The transport does what it was asked to.
    fn serve_transport(&mut self) {
        match self.link {
            Link::Wanted => {
                self.input.clear();
                self.held_back.clear();
                (self.arrived, self.arrived_packets) = (0, 0);
                let version = self.client.options().protocol;
                self.link = Link::Up(Box::new(ClientOutput::new(
                    version,
                    self.client.options().strict,
                )));
                self.client.transport_opened(self.now);
            }
            Link::Finishing => {
                self.link = Link::Lingering;
                self.client.transport_finished(self.now);
            }
            Link::Lingering | Link::Closing => {
                self.link = Link::Down;
                self.client
                    .transport_closed(self.now, TransportError::EndOfStream);
            }
            Link::Down | Link::Up(_) => {}
        }
    }

    fn transport_fails(&mut self) {
        if !matches!(self.link, Link::Down) {
            self.link = Link::Down;
            let cause = TransportError::Failed("broken pipe".into());
            self.client.transport_closed(self.now, cause);
        }
    }

    fn server_answers(&mut self, source: &mut Source<'_>) {
        for _ in 0..=source.below(4) {
            let Link::Up(output) = &mut self.link else {
                return;
            };
            let Some(packet) = output.answer(source) else {
                return;
            };
            let mut encoded = BytesMut::new();
            packet.encode(self.client.options().protocol, &mut encoded);
            self.arrive(&encoded, source);
        }
    }

    fn server_sends_packet(&mut self, source: &mut Source<'_>) {
        let version = self.client.options().protocol;
        let mut encoded = BytesMut::new();
        for _ in 0..=source.below(2) {
            let packet_type = source.pick(&OF_SERVER);
            packets::of_type(packet_type, version, source).encode(version, &mut encoded);
        }
        self.arrive(&encoded, source);
    }

    /// Bytes come from the server: all at once, in pieces, or together with the next ones.
    fn arrive(&mut self, bytes: &[u8], source: &mut Source<'_>) {
        if matches!(self.link, Link::Down | Link::Wanted) {
            return;
        }
        self.held_back.extend_from_slice(bytes);
        let piece = match source.byte() {
            0 => self.held_back.len(),
            u8::MAX => return,
            piece => usize::from(piece).max(self.held_back.len() / 64),
        };
        while !self.held_back.is_empty() {
            let piece = self.held_back.split_to(piece.min(self.held_back.len()));
            if let Link::Up(output) = &mut self.link {
                output.server_sent(&piece);
            }
            self.arrived += piece.len();
            self.input.extend_from_slice(&piece);
            self.handle_input();
            self.settle();
            let missing = self.client.input_hint(&self.input);
            assert!(missing > 0, "a whole packet was left in the input");
        }
    }

    /// Hands over what has arrived, and looks at the memory that it takes.
    fn handle_input(&mut self) {
        let (bytes, packets) = (self.input.len(), count_packets(&self.input));
        self.arrived_packets += packets;
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        self.client.handle_input(self.now, &mut self.input);
        let used = MEMORY.peak_usage().saturating_sub(before);
        // What was held back may go on now, so all that has come on this connection counts.
        let allowed = MEMORY_PER_CALL
            + MEMORY_PER_PACKET * self.arrived_packets
            + MEMORY_PER_BYTE * self.arrived;
        assert!(
            used <= allowed,
            "{used} bytes of memory for {packets} packets of {bytes} bytes, with {} of {} so far",
            self.arrived_packets,
            self.arrived
        );
    }

    fn pass_time(&mut self, source: &mut Source<'_>) {
        let due = self.client.poll_timeout().filter(|due| *due > self.now);
        self.now = match source.byte() {
            0 => due.unwrap_or(self.now),
            u8::MAX => self.now + Duration::from_secs(source.u16().into()),
            tenths => self.now + Duration::from_millis(u64::from(tenths) * 100),
        };
        for _ in 0..8 {
            self.report_progress(source);
            self.client.handle_timeout(self.now);
            self.settle();
            if self.client.poll_timeout().is_none_or(|due| due > self.now) {
                return;
            }
        }
        panic!("something stays due");
    }

    /// A driver that knows how far its bytes have come, or says so.
    fn report_progress(&mut self, source: &mut Source<'_>) {
        let unwritten = u64::from(source.u16());
        if !self.client.wants_progress(self.now, unwritten) {
            return;
        }
        let tcp = source.option(|source| TcpProgress {
            acknowledged: source.u32().into(),
            unacknowledged: source.u32().into(),
        });
        let progress = Progress {
            unwritten,
            held_up: source.flag(),
            tcp,
        };
        self.client.transport_progress(self.now, progress);
    }

    /// The program ends and starts again with the session that it kept.
    fn restart(&mut self) {
        let placeholder = self.successor(Session::default());
        let before = mem::replace(&mut self.client, placeholder);
        self.begin_again(before.into_session());
    }

    /// The program dies and starts again with the session that the store kept.
    fn crash(&mut self) {
        if self.client.options().journal {
            let identifier = self.client.options().client_identifier.clone();
            let session = Session::restore(identifier, 1, self.store.after_crash());
            self.queues.forget();
            self.ended.clear();
            self.begin_again(session);
        }
    }

    fn begin_again(&mut self, session: Session) {
        self.client = self.successor(session);
        self.operations = Operations::default();
        self.refused = None;
        self.link = Link::Down;
    }

    fn successor(&self, session: Session) -> Client {
        let options = self.client.options().clone();
        Client::new(options, session, 8).expect("these options were accepted before")
    }

    /// However it stands, a client that is told to leave comes to its end.
    fn finish(&mut self) {
        self.writable = true;
        self.store.lags = false;
        for direction in DIRECTIONS {
            if self.client.store_has_failed(direction) {
                (self.store).fail_or_begin(direction, &mut self.client, self.now);
            }
        }
        self.store.write(&mut self.client);
        self.settle();
        self.disconnect(Disconnect::normal());
        for _ in 0..2 {
            self.serve_transport(); // its end, and the server's
            self.settle();
        }
        assert!(self.client.is_idle(), "it never ends");
        assert_eq!(self.client.pending_transmit(), 0);
        let _: Option<Bytes> = self.client.poll_transmit(self.now);
        self.restart();
    }
}

/// How many packets are at the front of some input, one that cannot be read included.
fn count_packets(mut input: &[u8]) -> usize {
    let mut packets = 1;
    while let Ok(Some(header)) = FixedHeader::read(input)
        && let Some(rest) = input.get(header.packet_len()..)
    {
        packets += 1;
        input = rest;
    }
    packets
}
