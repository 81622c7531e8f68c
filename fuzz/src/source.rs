//! Reading an input from front to back.

use arbitrary::Unstructured;
use bytes::Bytes;
use ferromqtt_proto::{QoS, TopicFilter, TopicName, Utf8String};

const TOPICS: [&str; 6] = ["a", "a/b", "a/b/c", "topic/with/alias", "$SYS/a", "/"];
const FILTERS: [&str; 8] = [
    "a",
    "a/b",
    "#",
    "+/b",
    "a/#",
    "$share/g/a",
    "$share/g/#",
    "$SYS/#",
];
/// Around the sizes at which chunks are split and payloads are no longer copied.
const LONG_PAYLOADS: [usize; 4] = [127, 4_095, 4_096, 70_000];

/// An input of the fuzzer. What is read behind its end is 0.
#[derive(Debug)]
pub struct Source<'a>(Unstructured<'a>);

impl<'a> Source<'a> {
    /// Reads `input` from its front.
    pub fn new(input: &'a [u8]) -> Self {
        Self(Unstructured::new(input))
    }

    /// Whether all of it has been read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        self.0.arbitrary().unwrap_or_default()
    }

    /// A yes or no.
    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Two bytes.
    pub fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// Four bytes.
    pub fn u32(&mut self) -> u32 {
        u32::from(self.u16()) << 16 | u32::from(self.u16())
    }

    /// A number below `limit`, which must not be 0.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::from(self.byte()) % limit
    }

    /// One of `choices`.
    pub fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }

    /// Something or nothing.
    pub fn option<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.flag().then(|| value(self))
    }

    /// Up to 255 bytes of the input, behind their length.
    pub fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()).min(self.0.len());
        self.0.bytes(length).unwrap_or_default()
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        let length = self.0.len();
        self.0.bytes(length).unwrap_or_default()
    }

    /// All that is left, as text.
    pub fn text_of_rest(&mut self) -> String {
        String::from_utf8_lossy(self.rest()).into_owned()
    }

    /// A short text: nearly always one of a few, so that names meet again.
    pub fn text(&mut self) -> Utf8String {
        match self.byte() {
            0 => Utf8String::new(),
            choice @ 1..200 => string(TOPICS[usize::from(choice) % TOPICS.len()]),
            _ => string(&String::from_utf8_lossy(self.bytes())),
        }
    }

    /// A Topic Name.
    pub fn topic(&mut self) -> TopicName {
        TopicName::new(self.text().as_str()).unwrap_or_else(|_| valid_topic(self.pick(&TOPICS)))
    }

    /// A Topic Filter.
    pub fn filter(&mut self) -> TopicFilter {
        match self.byte() {
            choice @ ..200 => valid_filter(FILTERS[usize::from(choice) % FILTERS.len()]),
            _ => TopicFilter::new(self.text().as_str()).unwrap_or_else(|_| valid_filter("#")),
        }
    }

    /// A payload: of the input, or a long one.
    pub fn payload(&mut self) -> Bytes {
        match self.byte() {
            choice @ ..240 => Bytes::from(vec![b'x'; usize::from(choice) % 24]),
            _ => Bytes::from(vec![b'x'; self.pick(&LONG_PAYLOADS)]),
        }
    }

    /// A Quality of Service.
    pub fn qos(&mut self) -> QoS {
        self.pick(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])
    }
}

fn string(text: &str) -> Utf8String {
    Utf8String::try_from(text).unwrap_or_default()
}

fn valid_topic(topic: &str) -> TopicName {
    TopicName::new(topic).expect("the table holds Topic Names only")
}

fn valid_filter(filter: &str) -> TopicFilter {
    TopicFilter::new(filter).expect("the table holds Topic Filters only")
}
