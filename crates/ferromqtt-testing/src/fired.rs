//! Whether the faults happened that a test has prepared.

use std::fmt;

use thiserror::Error;

use crate::host::TestBroker;

/// Rules for faults that never fired although they were expected to, from [`TestBroker::check_faults_fired`]. Its text, also its
/// `Debug`, names each, with what is known of why.
#[derive(Clone, PartialEq, Eq, Error)]
#[error("{text}")]
pub struct UnusedFaults {
    text: String,
}

/// The text: what `unwrap` prints is to be read.
impl fmt::Debug for UnusedFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TestBroker {
    /// Checks that every rule for faults has fired that was expected to: all but those that fire always, with a probability, or
    /// are optional. [`assert_faults_fired!`](crate::assert_faults_fired) is its short form.
    ///
    /// # Errors
    /// [`UnusedFaults`] when one has not: the test has not met what it prepared.
    pub fn check_faults_fired(&self) -> Result<(), UnusedFaults> {
        let unused = self.explain_unused_faults();
        if unused.is_empty() {
            return Ok(());
        }
        let rules: String = unused.iter().map(|rule| format!("\n  {rule}")).collect();
        let chart = self.chart();
        Err(UnusedFaults {
            text: format!(
                "rules for faults never fired, so the test has not met what it prepared (`.optional()` marks a rule that need not fire):{rules}\n{chart}"
            ),
        })
    }
}

/// Fails unless every rule for faults of a [`TestBroker`] has fired that was expected to: a test whose fault never happened
/// proves nothing. The place for it is the end of a test.
///
/// ```should_panic
/// use ferromqtt_testing::{PacketType, TestBroker, assert_faults_fired};
///
/// let broker = TestBroker::new();
/// broker.sends(PacketType::PubAck).nth(3).lose();
/// // the program under test publishes only twice
/// assert_faults_fired!(broker);
/// ```
#[macro_export]
macro_rules! assert_faults_fired {
    ($broker:expr $(,)?) => {
        if let ::core::result::Result::Err(error) = $broker.check_faults_fired() {
            ::core::panic!("{error}");
        }
    };
}
