//! Cutting what a peer sends into the pieces that reads give.

use crate::source::Source;

/// The lengths of pieces, over and over. Without any, all comes in one piece.
#[derive(Debug)]
pub struct Cuts(Vec<usize>);

impl Cuts {
    /// Pieces of up to four lengths, in turn.
    pub fn read(source: &mut Source<'_>) -> Self {
        let count = source.below(5);
        // Short ones cut headers, long ones cut payloads.
        let length = |source: &mut Source<'_>| match source.byte() {
            byte @ ..192 => usize::from(byte) % 24 + 1,
            byte => usize::from(byte) * 16,
        };
        Self((0..count).map(|_| length(source)).collect())
    }

    /// One piece.
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// A piece for each byte.
    pub fn everywhere() -> Self {
        Self(vec![1])
    }

    /// The pieces, of which none is empty.
    pub fn pieces<'a>(&self, input: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let mut lengths = self.0.iter().copied().cycle();
        let mut rest = input;
        std::iter::from_fn(move || {
            let length = lengths.next().unwrap_or(rest.len()).min(rest.len());
            let (piece, behind) = rest.split_at(length);
            rest = behind;
            (!piece.is_empty()).then_some(piece)
        })
    }
}
