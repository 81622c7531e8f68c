//! Numbers and times that options take, and those that they refuse.

use std::fmt::Debug;
use std::time::Duration;

use crate::OptionsError;

/// What options were given that they cannot take. It is reported when a connection is opened, so that options can be chained.
#[derive(Clone, Debug, Default)]
pub(crate) struct RefusedNumbers(Vec<(&'static str, OptionsError)>);

impl RefusedNumbers {
    /// Notes whether `option` took what it was given: `value` is what was made of it. Whatever it was given before is over.
    pub(crate) fn note<T>(
        &mut self,
        option: &'static str,
        given: impl Debug,
        value: Option<T>,
        expected: &'static str,
    ) -> Option<T> {
        self.forget(&[option]);
        if value.is_none() {
            let given = format!("{given:?}");
            let error = OptionsError::OutOfRange {
                option,
                given,
                expected,
            };
            self.0.push((option, error));
        }
        value
    }

    /// These options are set in another way.
    pub(crate) fn forget(&mut self, options: &[&str]) {
        self.0.retain(|(refused, _)| !options.contains(refused));
    }

    pub(crate) fn check(&self) -> Result<(), OptionsError> {
        match self.0.first() {
            Some((_, error)) => Err(error.clone()),
            None => Ok(()),
        }
    }
}

/// A time as MQTT has it, in whole seconds; `None` when it has a part of a second, or is too long for the type.
pub(crate) fn whole_seconds<T: TryFrom<u64>>(time: Duration) -> Option<T> {
    match time.subsec_nanos() {
        0 => T::try_from(time.as_secs()).ok(),
        _ => None,
    }
}
