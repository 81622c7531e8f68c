//! What exactly-once handlers of these tests have on record.

use std::collections::BTreeSet;
use std::fmt;

use ferromqtt::{DeadLetter, OnceStore};

/// A database in memory, or one that fails.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) fails: bool,
    pub(crate) keys: BTreeSet<String>,
    /// Dead letters, as `Debug` shows them.
    pub(crate) letters: Vec<String>,
}

/// Dropped, it has changed nothing.
pub(crate) struct Changing<'s> {
    memory: &'s mut Memory,
    keys: BTreeSet<String>,
}

#[derive(Debug)]
pub(crate) struct Failure;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no such table")
    }
}

impl std::error::Error for Failure {}

impl OnceStore for Memory {
    type Transaction<'s> = Changing<'s>;
    type Error = Failure;

    async fn begin(&mut self) -> Result<Self::Transaction<'_>, Failure> {
        match self.fails {
            true => Err(Failure),
            false => Ok(Changing {
                keys: self.keys.clone(),
                memory: self,
            }),
        }
    }

    async fn remember(
        changing: &mut Self::Transaction<'_>,
        _: &str,
        key: &str,
        _: i64,
    ) -> Result<bool, Failure> {
        Ok(changing.keys.insert(key.to_owned()))
    }

    async fn forget(_: &mut Self::Transaction<'_>, _: &str, _: i64, _: i64) -> Result<(), Failure> {
        Ok(())
    }

    async fn release(
        changing: &mut Self::Transaction<'_>,
        _: &str,
        keys: Option<&[String]>,
    ) -> Result<(), Failure> {
        (changing.keys).retain(|key| keys.is_some_and(|keys| !keys.contains(key)));
        Ok(())
    }

    async fn bury(
        changing: &mut Self::Transaction<'_>,
        letter: &DeadLetter<'_>,
    ) -> Result<(), Failure> {
        changing.memory.letters.push(format!("{letter:?}"));
        Ok(())
    }

    async fn commit(changing: Self::Transaction<'_>) -> Result<(), Failure> {
        changing.memory.keys = changing.keys;
        Ok(())
    }
}
