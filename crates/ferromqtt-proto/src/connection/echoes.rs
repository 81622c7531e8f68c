//! The secrets that this client has sent on a connection, and must not see repeated in the server's texts.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::debug_fields;
use crate::options::Options;
use crate::shown::Secrets;

/// So many answers of this client in enhanced authentications are remembered, the latest.
const MOST_ANSWERS: usize = 8;

/// A longer text is not remembered.
const MOST_REMEMBERED: usize = 1_024;

/// What the server must not repeat on a connection.
#[derive(Default)]
pub(crate) struct Echoes {
    /// The Authentication Data that this client has sent in AUTH.
    answers: VecDeque<Bytes>,
    /// The secrets, prepared when the first text comes.
    prepared: Option<Secrets>,
    /// The text that came last and repeats none: servers say the same in each acknowledgement.
    harmless: String,
}

debug_fields!(Echoes {
    answers: count,
    prepared,
    harmless: length
});

impl Echoes {
    /// Remembers Authentication Data that is sent.
    pub(crate) fn answer(&mut self, data: Bytes) {
        if self.answers.len() == MOST_ANSWERS {
            self.answers.pop_front();
        }
        self.answers.push_back(data);
        self.prepared = None;
        self.harmless.clear();
    }

    /// Whether `text` repeats a secret of `options`, or an answer of this client.
    pub(crate) fn are_in(&mut self, text: &str, options: &Options) -> bool {
        if text == self.harmless {
            return false;
        }
        let prepared = self.prepared.get_or_insert_with(|| {
            let own = [
                options.password.as_deref(),
                options.properties.authentication_data.as_deref(),
            ];
            let answers = self.answers.iter().map(|data| &data[..]);
            Secrets::new(own.into_iter().flatten().chain(answers))
        });
        let found = prepared.are_in(text);
        if !found && text.len() <= MOST_REMEMBERED {
            self.harmless.clear();
            self.harmless.push_str(text);
        }
        found
    }
}
