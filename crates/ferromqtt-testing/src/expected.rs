//! Messages that a test expects, and what came instead.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::Bytes;
use ferromqtt_proto::packet::QoS;
use thiserror::Error;

use crate::host::TestBroker;
use crate::journal::{JournalMessage, MessageFilter, shown_payload};

/// How long a test waits for a message, unless it says something else.
const WITHIN: Duration = Duration::from_secs(5);

/// Messages that a test expects at a [`TestBroker`], from [`TestBroker::wait_for`]. Awaited, it gives the messages once the
/// broker has accepted as many as are wanted, and [`NotPublished`] when the time is over. Messages that came before count.
///
/// # Cancel safety
/// Nothing is lost when the future is dropped.
#[derive(Debug)]
#[must_use = "it waits when it is awaited"]
pub struct ExpectedMessages<'a> {
    broker: &'a TestBroker,
    filter: MessageFilter,
    count: usize,
    within: Duration,
}

/// The broker did not accept the messages that were expected. Its text, also its `Debug`, names those that come nearest, the
/// rules for faults that never fired, and what happened last as a chart.
#[derive(Clone, PartialEq, Eq, Error)]
#[error("{text}")]
pub struct NotPublished {
    text: String,
}

/// The text: what `unwrap` prints is to be read.
impl fmt::Debug for NotPublished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'a> ExpectedMessages<'a> {
    pub(crate) const fn new(broker: &'a TestBroker, filter: MessageFilter) -> Self {
        Self {
            broker,
            filter,
            count: 1,
            within: WITHIN,
        }
    }

    /// Only messages with this payload.
    pub fn payload(mut self, payload: impl Into<Bytes>) -> Self {
        self.filter = self.filter.payload(payload);
        self
    }

    /// Only messages that were published with this QoS.
    pub fn qos(mut self, qos: QoS) -> Self {
        self.filter = self.filter.qos(qos);
        self
    }

    /// Only messages that were published with RETAIN, or without.
    pub fn retain(mut self, retain: bool) -> Self {
        self.filter = self.filter.retain(retain);
        self
    }

    /// Waits for so many messages, at least. Default: 1.
    pub const fn count(mut self, count: usize) -> Self {
        self.count = count;
        self
    }

    /// Waits so long, in tokio's time. Default: 5 s.
    pub const fn within(mut self, time: Duration) -> Self {
        self.within = time;
        self
    }

    async fn wait(self) -> Result<Vec<JournalMessage>, NotPublished> {
        let mut found = Vec::new();
        let arrival = async {
            let mut seen = 0;
            loop {
                let mut changed = pin!(self.broker.shared.traffic.changed.notified());
                changed.as_mut().enable(); // before the look: what comes behind it is not missed
                // What has been seen may leave a small journal, and still counts.
                self.broker.journal(|journal| {
                    found.extend(journal.published_after(seen, &self.filter).cloned());
                    seen = journal.accepted();
                });
                if found.len() >= self.count {
                    return;
                }
                changed.await;
            }
        };
        if tokio::time::timeout(self.within, arrival).await.is_ok() {
            return Ok(found);
        }
        let wanted = match self.count {
            1 => String::new(),
            count => format!(" {count} times, but {} times,", found.len()),
        };
        let within = self.within.as_secs_f64();
        let headline = format!("no message matched{wanted} within {within} s");
        Err(self.broker.not_published(&headline, &self.filter))
    }
}

impl<'a> IntoFuture for ExpectedMessages<'a> {
    type Output = Result<Vec<JournalMessage>, NotPublished>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.wait())
    }
}

impl TestBroker {
    /// Checks that the broker has accepted so many messages that `filter` selects; [`assert_published!`](crate::assert_published)
    /// is its short form. What has not happened yet is no mistake of the program: wait for it first, or for
    /// [`TestBroker::idle`] where a message must not come.
    ///
    /// # Errors
    /// [`NotPublished`] when those were more or fewer. Or `times` is 0, and the broker is not [idle](TestBroker::is_idle): what
    /// must not come could be on its way. Or the journal has [dropped](crate::BrokerJournal::dropped_messages) messages, or none is
    /// kept ([`BrokerOptions::journal_packets`](crate::BrokerOptions::journal_packets)): those cannot be counted.
    pub fn check_published(
        &self,
        filter: impl Into<MessageFilter>,
        times: usize,
    ) -> Result<(), NotPublished> {
        let filter = filter.into();
        self.check_journal()?;
        let found = self.published(filter.clone()).len();
        if found == times {
            return self.check_proves(times, &filter);
        }
        let headline = match (times, found) {
            (1, 0) => "no message matched".to_owned(),
            _ => format!("{found} messages matched, and not {times}:"),
        };
        Err(self.not_published(&headline, &filter))
    }

    /// Checks that the broker has accepted exactly these payloads, in this order, of the messages that `filter` selects;
    /// [`assert_published!`](crate::assert_published) is its short form.
    ///
    /// # Errors
    /// [`NotPublished`] when those were others. Or there are no `payloads`, and the broker is not [idle](TestBroker::is_idle). Or
    /// the journal has dropped messages, or none is kept, as for [`check_published`](Self::check_published).
    pub fn check_payloads<P: AsRef<[u8]>>(
        &self,
        filter: impl Into<MessageFilter>,
        payloads: &[P],
    ) -> Result<(), NotPublished> {
        let filter = filter.into();
        self.check_journal()?;
        let found = self.published(filter.clone());
        let is_same = found.len() == payloads.len()
            && (found.iter().zip(payloads)).all(|(found, wanted)| found.payload == wanted.as_ref());
        if is_same {
            return self.check_proves(found.len(), &filter);
        }
        let list = |payloads: &mut dyn Iterator<Item = &[u8]>| {
            let payloads: Vec<_> = payloads.take(50).map(shown_payload).collect();
            payloads.join(", ")
        };
        let what = match found.is_empty() {
            true => "nothing was published",
            false => "other payloads were published",
        };
        let headline = format!(
            "{what}\n  wanted: [{}]\n  found:  [{}]\n ",
            list(&mut payloads.iter().map(AsRef::as_ref)),
            list(&mut found.iter().map(|message| &message.payload[..])),
        );
        Err(self.not_published(&headline, &filter))
    }

    /// Fails when messages are not in the journal, so that counting those that are proves nothing.
    fn check_journal(&self) -> Result<(), NotPublished> {
        let text = match self.shared.lock().broker.journal() {
            None => "the broker keeps no journal: its option journal_packets is 0".to_owned(),
            Some(journal) if journal.dropped_messages() > 0 => format!(
                "the journal holds the newest {kept} of {accepted} messages, so that the others cannot be counted: give the broker a larger journal_packets or journal_bytes",
                kept = journal.accepted() - journal.dropped_messages(),
                accepted = journal.accepted(),
            ),
            Some(_) => return Ok(()),
        };
        Err(NotPublished { text })
    }

    /// That so many messages were found is no proof when those are none, and one may still come.
    fn check_proves(&self, found: usize, filter: &MessageFilter) -> Result<(), NotPublished> {
        if found > 0 || self.is_idle() {
            return Ok(());
        }
        let text = format!(
            "that nothing came proves nothing for {filter} while the test broker is not idle, since a message may still be on its way: await TestBroker::idle first, or look whether TestBroker::published is empty where that is meant"
        );
        let unfinished: String = (self.unfinished().iter())
            .map(|line| format!("  not idle: {line}\n"))
            .collect();
        Err(NotPublished {
            text: format!("{text}\n{unfinished}{}", self.chart()),
        })
    }

    fn not_published(&self, headline: &str, filter: &MessageFilter) -> NotPublished {
        let text = self.shared.lock().broker.explain_missing(headline, filter);
        NotPublished { text }
    }
}

/// Fails unless a [`TestBroker`] has accepted exactly what is listed, so far. The text of the failure names the
/// messages that come nearest, the rules for faults that never fired, and what happened last.
///
/// With `times = 0`, or an empty list, it also fails while the broker is not idle, since what must not come could come a moment
/// later: await [`TestBroker::idle`] first. It always fails once the journal has dropped messages, which could be
/// among those that are counted: [`BrokerOptions::journal_packets`](crate::BrokerOptions::journal_packets) says how many it holds.
///
/// ```
/// use ferromqtt_testing::{TestBroker, assert_published};
/// # use bytes::Bytes;
/// # use ferromqtt_proto::{QoS, Utf8String};
/// # use ferromqtt_proto::packet::PublishPacket;
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let broker = TestBroker::new();
/// # for payload in ["0", "1"] {
/// # broker.publish(PublishPacket { dup: false, qos: QoS::AtMostOnce, retain: false, topic: Utf8String::try_from("n").unwrap(), packet_id: None, properties: None, payload: Bytes::from_static(payload.as_bytes()) });
/// # }
/// // These payloads, in this order, and no others:
/// assert_published!(broker, "n", ["0", "1"]);
/// // One message, or as many as `times` says:
/// assert_published!(broker, "n", payload = "1", qos = QoS::AtMostOnce, retain = false);
/// assert_published!(broker, "other/#", times = 0);
/// # });
/// ```
#[macro_export]
macro_rules! assert_published {
    ($broker:expr, $filter:expr, [$($payload:expr),* $(,)?] $(,)?) => {{
        if let ::core::result::Result::Err(error) = $broker
            .check_payloads::<&[u8]>($filter, &[$(::core::convert::AsRef::<[u8]>::as_ref(&$payload)),*])
        {
            ::core::panic!("{error}");
        }
    }};
    ($broker:expr, $filter:expr $(, $($fields:tt)*)?) => {
        $crate::assert_published!(@ $broker, $crate::MessageFilter::from($filter), 1; $($($fields)*)?)
    };
    (@ $broker:expr, $filter:expr, $times:expr; times = $new:expr $(, $($rest:tt)*)?) => {
        $crate::assert_published!(@ $broker, $filter, $new; $($($rest)*)?)
    };
    (@ $broker:expr, $filter:expr, $times:expr; $field:ident = $value:expr $(, $($rest:tt)*)?) => {
        $crate::assert_published!(@ $broker, $filter.$field($value), $times; $($($rest)*)?)
    };
    (@ $broker:expr, $filter:expr, $times:expr;) => {
        if let ::core::result::Result::Err(error) = $broker.check_published($filter, $times) {
            ::core::panic!("{error}");
        }
    };
}
