//! What counts against the Receive Maximum that a client announces (section 4.9).

use std::iter::Sum;

/// QoS 1 and 2 messages of the server whose exchange has not ended, and the bytes of their PUBLISH packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

impl Open {
    pub(crate) const NONE: Self = Self {
        messages: 0,
        bytes: 0,
    };

    /// One message whose packet had so many bytes.
    pub(crate) const fn one(bytes: usize) -> Self {
        Self { messages: 1, bytes }
    }

    pub(crate) const fn add(&mut self, other: Self) {
        self.messages += other.messages;
        self.bytes += other.bytes;
    }

    pub(crate) const fn subtract(&mut self, other: Self) {
        self.messages -= other.messages;
        self.bytes -= other.bytes;
    }
}

impl Sum for Open {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::NONE, |mut sum, it| {
            sum.add(it);
            sum
        })
    }
}
