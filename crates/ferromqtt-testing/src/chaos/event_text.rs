//! Scripts as text, both ways.

use std::fmt;
use std::str::{FromStr, SplitWhitespace};
use std::time::Duration;

use super::script::{
    BrokerEvent, BrokerVerb, EventTime, FaultScript, FaultScriptError, ScriptEntry,
};
use crate::faults::{duration_text, parse_duration};
use crate::wire::RestartKeeps;

/// A line for each entry.
impl fmt::Display for FaultScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.entries.iter()).try_for_each(|entry| writeln!(f, "{entry}"))
    }
}

impl fmt::Display for ScriptEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(rule) => rule.fmt(f),
            Self::Event(event) => event.fmt(f),
        }
    }
}

impl fmt::Display for BrokerEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            EventTime::After(time) => write!(f, "at {} ", duration_text(time))?,
            EventTime::Packet(number) => write!(f, "at packet {number} ")?,
        }
        self.verb.fmt(f)
    }
}

impl fmt::Display for BrokerVerb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restart { down_for, keeps } => {
                f.write_str("restart")?;
                if !down_for.is_zero() {
                    write!(f, " down_for {}", duration_text(*down_for))?;
                }
                if *keeps != RestartKeeps::default() {
                    f.write_str(" keeps")?;
                }
                for (kept, word) in [(keeps.sessions, SESSIONS), (keeps.retained, RETAINED)] {
                    if kept {
                        write!(f, " {word}")?;
                    }
                }
                Ok(())
            }
            Self::Partition { lasts, hangs } => {
                write!(f, "partition for {}", duration_text(*lasts))?;
                f.write_str(if *hangs { " hangs" } else { "" })
            }
        }
    }
}

const SESSIONS: &str = "sessions";
const RETAINED: &str = "retained";

/// A line for each entry. Empty lines, and those that begin with `#`, are passed over.
impl FromStr for FaultScript {
    type Err = FaultScriptError;

    fn from_str(text: &str) -> Result<Self, FaultScriptError> {
        let mut script = Self::new();
        for (index, text) in text.lines().enumerate() {
            let (line, text) = (index + 1, text.trim());
            let mut words = text.split_whitespace();
            match words.next() {
                None => {}
                Some(word) if word.starts_with('#') => {}
                Some("at") => {
                    let event = EventWords { line, words }.read()?;
                    script.entries.push(ScriptEntry::Event(event));
                }
                Some(_) => {
                    let rule = text.parse();
                    let rule = rule.map_err(|error| FaultScriptError::Rule { line, error })?;
                    script.entries.push(ScriptEntry::Rule(rule));
                }
            }
        }
        Ok(script)
    }
}

/// The words of an event that are left.
struct EventWords<'a> {
    line: usize,
    words: SplitWhitespace<'a>,
}

impl<'a> EventWords<'a> {
    fn read(mut self) -> Result<BrokerEvent, FaultScriptError> {
        const TIME: &str = "packet, or a time such as 3s";
        let word = self.next();
        let at = match word {
            "packet" => {
                let number = |word: &str| word.parse().ok().filter(|&number| number > 0);
                EventTime::Packet(self.get("a number from 1 on", number)?)
            }
            word => {
                EventTime::After(parse_duration(word).ok_or_else(|| self.unexpected(TIME, word))?)
            }
        };
        let verb = match self.next() {
            "restart" => self.restart()?,
            "partition" => {
                self.get("for", |word| (word == "for").then_some(()))?;
                let lasts = self.get(DURATION, parse_duration)?;
                let hangs = self.end_or("hangs")?;
                BrokerVerb::Partition { lasts, hangs }
            }
            word => return Err(self.unexpected("restart or partition", word)),
        };
        match self.next() {
            "" => Ok(BrokerEvent { at, verb }),
            word => Err(self.unexpected("the end of the line", word)),
        }
    }

    fn restart(&mut self) -> Result<BrokerVerb, FaultScriptError> {
        let mut down_for = Duration::ZERO;
        let mut keeps = RestartKeeps::default();
        let mut word = self.next();
        if word == "down_for" {
            down_for = self.get(DURATION, parse_duration)?;
            word = self.next();
        }
        match word {
            "" => return Ok(BrokerVerb::Restart { down_for, keeps }),
            "keeps" => {}
            word => return Err(self.unexpected("down_for or keeps", word)),
        }
        loop {
            match self.next() {
                SESSIONS => keeps.sessions = true,
                RETAINED => keeps.retained = true,
                "" if keeps != RestartKeeps::default() => break,
                word => return Err(self.unexpected("sessions or retained", word)),
            }
        }
        Ok(BrokerVerb::Restart { down_for, keeps })
    }

    /// The next word; empty at the end.
    fn next(&mut self) -> &'a str {
        self.words.next().unwrap_or_default()
    }

    fn get<T>(
        &mut self,
        wanted: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, FaultScriptError> {
        let word = self.next();
        read(word).ok_or_else(|| self.unexpected(wanted, word))
    }

    /// Whether `word` is the next one, rather than the end.
    fn end_or(&mut self, word: &'static str) -> Result<bool, FaultScriptError> {
        match self.next() {
            "" => Ok(false),
            found if found == word => Ok(true),
            found => Err(self.unexpected(word, found)),
        }
    }

    fn unexpected(&self, wanted: &'static str, found: &str) -> FaultScriptError {
        FaultScriptError::Event {
            line: self.line,
            wanted,
            found: found.to_owned(),
        }
    }
}

const DURATION: &str = "a duration such as 3s or 50ms";
