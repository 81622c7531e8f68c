//! The memory that messages in queues share: each is a slice of what was read with it, and keeps all of that alive.
//!
//! A message that is taken at once costs nothing for this. A message of one byte that stays would keep 64 KiB alive, so what
//! the queues keep is counted, chunk by chunk. When it is much more than the messages count, those that make up little of
//! their chunk are copied ([`Message::detach`]), each at most once.

use super::message::Message;

/// How much more than the messages count the queues may keep alive, whatever they hold: below this nothing is copied.
const SLACK: usize = 256 * 1024;

/// A piece of memory that was read into, while messages in queues keep it alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkId(u32);

impl ChunkId {
    /// Of a message that has memory of its own, or nearly.
    pub(crate) const NONE: Self = Self(u32::MAX);
}

#[derive(Debug)]
struct InputChunk {
    /// Its length.
    size: usize,
    /// How many runs of messages in queues are slices of it.
    runs: usize,
    /// What those count, as far as they have been [counted](Chunks::count).
    counted: usize,
}

/// Whether so much memory is too much to keep alive for messages that count so much.
pub(super) const fn is_sparse(size: usize, counted: usize) -> bool {
    size > counted.saturating_add(counted / 2)
}

/// All chunks.
#[derive(Debug)]
pub(crate) struct Chunks {
    chunks: Vec<InputChunk>,
    /// Those that no message is in, but the latest.
    free: Vec<ChunkId>,
    /// The one that was read into last.
    latest: ChunkId,
    /// The address behind what was read of it; 0 when it is full.
    end: usize,
    /// The latest one while messages are taken from it, and none in between.
    current: ChunkId,
    /// The length of all chunks that messages are in.
    kept: usize,
    /// What all messages in queues count, those without a chunk too.
    counted: usize,
}

impl Default for Chunks {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            free: Vec::new(),
            latest: ChunkId::NONE,
            end: 0,
            current: ChunkId::NONE,
            kept: 0,
            counted: 0,
        }
    }
}

impl Chunks {
    fn get(&self, id: ChunkId) -> Option<&InputChunk> {
        self.chunks.get(id.0 as usize)
    }

    fn get_mut(&mut self, id: ChunkId) -> Option<&mut InputChunk> {
        self.chunks.get_mut(id.0 as usize)
    }

    /// Messages are going to be taken from `len` bytes at the address `start`, of which on `capacity` bytes are one piece of
    /// memory. What is read next into the same piece belongs to the same chunk.
    pub(crate) fn begin(&mut self, start: usize, len: usize, capacity: usize) {
        let continues = self.end == start && len > 0;
        self.end = if capacity > len { start + len } else { 0 };
        match self.get_mut(self.latest) {
            Some(latest) if latest.runs == 0 => {
                let before = if continues { latest.size } else { 0 };
                latest.size = before.max(capacity);
            }
            Some(_) if continues => {}
            _ => self.latest = self.new_chunk(capacity),
        }
        self.current = self.latest;
    }

    fn new_chunk(&mut self, size: usize) -> ChunkId {
        let chunk = InputChunk {
            size,
            runs: 0,
            counted: 0,
        };
        if let Some(id) = self.free.pop()
            && let Some(free) = self.get_mut(id)
        {
            *free = chunk;
            return id;
        }
        let Ok(number) = u32::try_from(self.chunks.len()) else {
            return ChunkId::NONE; // so many have no messages
        };
        self.chunks.push(chunk);
        ChunkId(number)
    }

    /// No messages are taken from memory that was read, until [`begin`](Self::begin).
    pub(crate) const fn end(&mut self) {
        self.current = ChunkId::NONE;
    }

    /// The chunk that messages are taken from.
    #[inline]
    pub(crate) const fn current(&self) -> ChunkId {
        self.current
    }

    /// A message that counts `size` joins a queue.
    #[inline]
    pub(crate) const fn add(&mut self, size: usize) {
        self.counted += size;
    }

    /// A message that counts `size` leaves a queue.
    #[inline]
    pub(crate) const fn subtract(&mut self, size: usize) {
        self.counted -= size;
    }

    /// A run of messages from the current chunk begins.
    #[inline]
    pub(crate) fn enter(&mut self) -> ChunkId {
        let current = self.current;
        if let Some(chunk) = self.get_mut(current) {
            chunk.runs += 1;
            if chunk.runs == 1 {
                let size = chunk.size;
                self.kept += size;
            }
        }
        current
    }

    /// A run of messages has left its queue, or is no longer made of slices.
    #[inline]
    pub(crate) fn leave(&mut self, id: ChunkId) {
        let Some(chunk) = self.get_mut(id) else {
            return;
        };
        chunk.runs -= 1;
        if chunk.runs == 0 {
            let size = chunk.size;
            self.kept -= size;
            if id != self.latest {
                self.set_free(id);
            }
        }
    }

    /// Nothing has been [counted](Self::count).
    pub(crate) fn reset_counts(&mut self) {
        self.chunks.iter_mut().for_each(|chunk| chunk.counted = 0);
    }

    /// Messages of a chunk that count so much are in a queue.
    pub(crate) fn count(&mut self, id: ChunkId, counted: usize) {
        if let Some(chunk) = self.get_mut(id) {
            chunk.counted += counted;
        }
    }

    fn set_free(&mut self, id: ChunkId) {
        self.free.push(id);
        let idle = self.kept == 0 && self.current == ChunkId::NONE;
        if idle && self.chunks.len() > 64 {
            let counted = self.counted;
            *self = Self {
                counted,
                ..Self::default()
            };
        }
    }

    /// Whether the queues keep so much more alive than their messages count that some have to be copied.
    #[inline]
    pub(crate) const fn keep_too_much(&self) -> bool {
        self.kept > SLACK.saturating_add(self.counted.saturating_mul(2))
    }

    /// Whether the messages in this chunk, as [counted](Self::count), are to be copied.
    pub(crate) fn is_sparse(&self, id: ChunkId) -> bool {
        self.get(id)
            .is_some_and(|chunk| is_sparse(chunk.size, chunk.counted))
    }

    /// The length of a chunk.
    pub(crate) fn size(&self, id: ChunkId) -> usize {
        self.get(id).map_or(0, |chunk| chunk.size)
    }

    /// Copies a message that is kept elsewhere than in a queue, if it makes up little of what it is a slice of.
    pub(crate) fn part(&self, message: &mut Message) {
        if is_sparse(self.size(self.current), message.memory_size()) {
            message.detach();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_into_the_same_memory_is_one_chunk() {
        let mut chunks = Chunks::default();
        chunks.begin(1_000, 100, 4_000);
        let first = chunks.enter();
        chunks.begin(1_100, 3_900, 3_900);
        assert_eq!(chunks.enter(), first);
        assert_eq!(chunks.kept, 4_000);
        chunks.begin(5_000, 10, 10); // behind it lies other memory
        assert_ne!(chunks.enter(), first);
        assert_eq!(chunks.kept, 4_010);
        chunks.leave(first);
        assert_eq!(chunks.kept, 4_010);
        chunks.leave(first);
        assert_eq!(chunks.kept, 10);
    }

    #[test]
    fn a_chunk_that_nothing_is_left_of_still_counts_whole_when_it_is_read_into_again() {
        let mut chunks = Chunks::default();
        chunks.begin(1_000, 3_000, 4_000);
        let id = chunks.enter();
        chunks.leave(id);
        chunks.begin(4_000, 10, 1_000);
        assert_eq!(chunks.enter(), id);
        assert_eq!(chunks.kept, 4_000);
    }

    #[test]
    fn places_of_chunks_are_used_again() {
        let mut chunks = Chunks::default();
        let mut there = std::collections::VecDeque::new();
        for start in 1..1_000 {
            chunks.begin(start * 100, 10, 10);
            there.push_back(chunks.enter());
            if there.len() > 5 {
                chunks.leave(there.pop_front().unwrap());
            }
        }
        assert!(chunks.chunks.len() < 10);
        assert_eq!(chunks.kept, 50);
        chunks.end();
        there.into_iter().for_each(|id| chunks.leave(id));
        assert_eq!(chunks.kept, 0);
        assert_eq!(chunks.enter(), ChunkId::NONE);
    }
}
