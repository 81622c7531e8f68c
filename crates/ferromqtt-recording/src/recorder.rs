//! Writes a recording.

use std::fmt::{self, Write as _};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use ferromqtt_proto::Utf8String;
use ferromqtt_proto::debug_fields;
use ferromqtt_proto::packet::{self, Packet, PacketType, ProtocolVersion};

use crate::cutter::{Cut, PacketCutter};
use crate::fields::{self, Fields};
use crate::format::{ClosedBy, Receiver, VERSION, kind_name};
use crate::json::JsonValue;
use crate::mask::LinkSecrets;
use crate::recording_file::RecordingFile;

/// What a recording keeps of what belongs to the application: payloads, Correlation Data and User Properties.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RecordedPayloads {
    /// Lengths and hashes, by which two recordings can be compared. The default. A hash does not hide a payload that can be
    /// guessed, such as `on` and `off`.
    #[default]
    Hashed,
    /// All of it, and the bytes of each packet: a recording that can be replayed.
    Whole,
}

/// Writes what goes by links to a file, or whatever else takes text: a line for each packet, and for the beginning and end of
/// each link. Clones write to the same recording, so that several clients can share one.
///
/// User Names, Passwords and Authentication Data are replaced by `***`, always, and so are texts of a server that repeat the
/// latter two. Topics and Client Identifiers are recorded, and payloads when [asked for](RecordedPayloads).
///
/// A line is written when its packet is whole, in the call in which that happens, and blocks that call for as long as the
/// sink takes. At most 16 MiB of a packet are held for each direction of a link; of a longer one only the length is recorded.
/// The first error of the sink ends the recording, is kept for [`finish`](Self::finish), and changes nothing for the links.
///
/// ```
/// use std::time::Instant;
/// use ferromqtt_recording::{ClosedBy, RecordedPayloads, Recorder, Recording};
///
/// let path = std::env::temp_dir().join(format!("doc-{}.mqttlog", std::process::id()));
/// let recorder = Recorder::to_file(&path, RecordedPayloads::Hashed)?;
/// let mut link = recorder.open(Instant::now());
/// link.to_server(Instant::now(), b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a"); // CONNECT
/// link.to_client(Instant::now(), b"\x20\x02\x00\x00"); // CONNACK
/// link.close(Instant::now(), ClosedBy::Client);
/// recorder.finish()?;
///
/// let recording = Recording::read(&path)?;
/// assert!(recording.show().contains("CONNACK"));
/// # std::fs::remove_file(path)?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Recorder {
    payloads: RecordedPayloads,
    shared: Arc<Mutex<Written>>,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("payloads", &self.payloads)
            .finish_non_exhaustive()
    }
}

/// What all clones have in common.
struct Written {
    /// None once it has failed.
    sink: Option<Box<dyn io::Write + Send>>,
    error: Option<io::Error>,
    /// When the first link was opened.
    start: Option<Instant>,
    /// Micros since then, of the last line: times in a file never go back.
    last: u128,
    links: u64,
    /// How many links have not ended.
    open: usize,
}

impl Written {
    fn write(&mut self, text: &str) {
        let Some(sink) = &mut self.sink else {
            return;
        };
        if let Err(error) = sink.write_all(text.as_bytes()) {
            self.error = Some(error);
            self.sink = None;
        }
    }

    /// What can be known by the end of the last link is out, and a file is free for others.
    fn flush(&mut self) {
        if let Some(sink) = &mut self.sink
            && let Err(error) = sink.flush()
        {
            self.error = Some(error);
            self.sink = None;
        }
    }

    fn micros(&mut self, now: Instant) -> u128 {
        let start = *self.start.get_or_insert(now);
        self.last = self
            .last
            .max(now.saturating_duration_since(start).as_micros());
        self.last
    }
}

impl Recorder {
    /// Writes to `sink`, beginning now. Each call of it gets whole lines.
    pub fn new(sink: impl io::Write + Send + 'static, payloads: RecordedPayloads) -> Self {
        let mut written = Written {
            sink: Some(Box::new(sink)),
            error: None,
            start: None,
            last: 0,
            links: 0,
            open: 0,
        };
        let mut header = Fields::default();
        header.put("mqttlog", VERSION);
        header.put("payloads", payloads == RecordedPayloads::Whole);
        written.write(&format!("{}\n", JsonValue::Object(header.members)));
        Self {
            payloads,
            shared: Arc::new(Mutex::new(written)),
        }
    }

    /// Writes to a file, which is made, or emptied if it exists. It is taken from then on, until the last link of the
    /// recorder has ended, and again with the next one: on Unix no other recorder can write to it meanwhile, in this process or
    /// another. Elsewhere that is not noticed.
    ///
    /// # Errors
    /// When the file cannot be made. [`ResourceBusy`](io::ErrorKind::ResourceBusy), before it is emptied, when another recorder
    /// writes to it: give each its own file, or share clones of one.
    pub fn to_file(path: impl AsRef<Path>, payloads: RecordedPayloads) -> io::Result<Self> {
        let file = RecordingFile::create(path.as_ref())?;
        Ok(Self::new(file, payloads))
    }

    /// A transport was opened. Links are numbered in this order, from 1.
    pub fn open(&self, now: Instant) -> RecordedLink {
        let mut written = self.lock();
        written.links += 1;
        written.open += 1;
        let number = written.links;
        drop(written);
        let link = RecordedLink {
            recorder: self.clone(),
            number,
            client: Utf8String::default(),
            version: ProtocolVersion::V311, // CONNECT names its own
            secrets: LinkSecrets::default(),
            cutters: Default::default(),
        };
        link.write(now, [event("opened")]);
        link
    }

    /// Flushes, and reports the first error of the sink. It reports each error once. The recording may go on behind it, if
    /// there was none; a [file](Self::to_file) only if no other recorder has written to it meanwhile.
    ///
    /// # Errors
    /// Of the sink. What was recorded before it is there.
    pub fn finish(&self) -> io::Result<()> {
        let mut written = self.lock();
        if let Some(error) = written.error.take() {
            return Err(error);
        }
        match &mut written.sink {
            Some(sink) => sink.flush(),
            None => Ok(()),
        }
    }

    /// The error of the sink that has ended the recording, until [`finish`](Self::finish) returns it: for whoever reports it at
    /// once.
    pub fn error(&self) -> Option<String> {
        self.lock().error.as_ref().map(ToString::to_string)
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One link of a [`Recorder`], from its beginning to its end.
pub struct RecordedLink {
    recorder: Recorder,
    number: u64,
    /// Empty until it is known.
    client: Utf8String,
    version: ProtocolVersion,
    secrets: LinkSecrets,
    /// To the server, and to the client.
    cutters: [PacketCutter; 2],
}

debug_fields!(RecordedLink {
    recorder,
    number,
    client,
    version,
    secrets,
    cutters
});

impl Drop for RecordedLink {
    fn drop(&mut self) {
        let mut written = self.recorder.lock();
        written.open -= 1;
        if written.open == 0 {
            written.flush();
        }
    }
}

impl RecordedLink {
    /// The client sent these bytes.
    pub fn to_server(&mut self, now: Instant, bytes: &[u8]) {
        self.pass(now, Receiver::Server, bytes);
    }

    /// The server sent these bytes.
    pub fn to_client(&mut self, now: Instant, bytes: &[u8]) {
        self.pass(now, Receiver::Client, bytes);
    }

    /// The link has ended. What was sent of a packet that is not whole has a line of its own.
    pub fn close(mut self, now: Instant, by: ClosedBy) {
        let mut lines = Vec::new();
        for to in [Receiver::Server, Receiver::Client] {
            let rest = self.cutters[to as usize].take_rest();
            if !rest.is_empty() {
                lines.push(self.unread(to, &rest, "incomplete"));
            }
        }
        let name = match by {
            ClosedBy::Client => "closed by client",
            ClosedBy::Server => "closed by server",
        };
        lines.push(event(name));
        self.write(now, lines);
    }

    fn pass(&mut self, now: Instant, to: Receiver, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.cutters[to as usize].feed(bytes);
        let mut lines = Vec::new();
        while let Some(cut) = self.cutters[to as usize].next() {
            lines.push(match cut {
                Cut::Packet(bytes) => self.packet(to, bytes),
                Cut::NoPacket(bytes) => self.unread(to, &bytes, "malformed"),
                Cut::TooLong(first_byte, length) => {
                    let mut fields = begun(to, kind_name(first_byte));
                    fields.put("left_out", length as u64);
                    fields
                }
            });
        }
        self.write(now, lines);
    }

    fn packet(&mut self, to: Receiver, bytes: Bytes) -> Fields {
        let mut at = 0;
        // As tolerantly as a client reads.
        let Ok(mut packet) = packet::decode_tolerantly(&bytes, &mut at, self.version) else {
            return self.unread(to, &bytes, "malformed");
        };
        self.learn(&packet);
        let masked = self.secrets.mask(&mut packet);
        let payloads = self.recorder.payloads == RecordedPayloads::Whole;
        let mut fields = begun(to, packet.packet_type().name());
        let contents = fields::of_packet(&packet, self.version, payloads);
        fields.members.extend(contents.members);
        if payloads {
            let hex = match masked {
                true => {
                    let mut bytes = BytesMut::new();
                    packet.encode(self.version, &mut bytes);
                    hex(&bytes)
                }
                false => hex(&bytes),
            };
            fields.put("bytes", &*hex);
        }
        fields
    }

    /// Learns who speaks which version.
    fn learn(&mut self, packet: &Packet) {
        match packet {
            Packet::Connect(connect) => {
                self.version = connect.protocol;
                self.client = connect.client_identifier.detached();
            }
            Packet::ConnAck(connack) => {
                if let Some(assigned) = &connack.properties.assigned_client_identifier {
                    self.client = assigned.detached();
                }
            }
            _ => {}
        }
    }

    /// Bytes that are no whole packet, or none that can be read. What may hold a secret is not recorded.
    fn unread(&self, to: Receiver, bytes: &Bytes, why: &str) -> Fields {
        let first_byte = bytes.first().copied().unwrap_or_default();
        let mut fields = begun(to, kind_name(first_byte));
        fields.put(why, bytes.len() as u64);
        let authenticates = matches!(
            PacketType::from_first_byte(first_byte),
            Some(PacketType::Connect | PacketType::ConnAck | PacketType::Auth)
        );
        if to == Receiver::Client
            && self.recorder.payloads == RecordedPayloads::Whole
            && !authenticates
            && !self.secrets.are_in(&String::from_utf8_lossy(bytes))
        {
            fields.put("bytes", &*hex(bytes));
        }
        fields
    }

    fn write(&self, now: Instant, lines: impl IntoIterator<Item = Fields>) {
        let mut lines = lines.into_iter().peekable();
        if lines.peek().is_none() {
            return;
        }
        let mut written = self.recorder.lock();
        if written.sink.is_none() {
            return;
        }
        let micros = written.micros(now);
        let mut text = String::new();
        for line in lines {
            let mut fields = Fields::default();
            let at = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
            fields.put("at", JsonValue::Number(at));
            fields.put("link", self.number);
            if !self.client.is_empty() {
                fields.put("client", self.client.as_str());
            }
            fields.members.extend(line.members);
            let _ = writeln!(text, "{}", JsonValue::Object(fields.members)); // a String takes everything
        }
        written.write(&text);
    }
}

fn event(name: &str) -> Fields {
    let mut fields = Fields::default();
    fields.put("event", name);
    fields
}

fn begun(to: Receiver, name: &str) -> Fields {
    let mut fields = Fields::default();
    fields.put("to", to.name());
    fields.put("packet", name);
    fields
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
