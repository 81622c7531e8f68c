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
struct Chunk {
    /// Its length.
    size: usize,
    /// Messages in queues that are slices of it.
    messages: usize,
    /// What those count.
    counted: usize,
}

/// Whether so much memory is too much to keep alive for messages that count so much.
const fn is_sparse(size: usize, counted: usize) -> bool {
    size > counted.saturating_add(counted / 2)
}

/// All chunks.
#[derive(Debug)]
pub(crate) struct Chunks {
    chunks: Vec<Chunk>,
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
    fn get(&self, id: ChunkId) -> Option<&Chunk> {
        self.chunks.get(id.0 as usize)
    }

    fn get_mut(&mut self, id: ChunkId) -> Option<&mut Chunk> {
        self.chunks.get_mut(id.0 as usize)
    }

    /// Messages are going to be taken from `len` bytes at the address `start`, of which on `capacity` bytes are one piece of
    /// memory. What is read next into the same piece belongs to the same chunk.
    pub(crate) fn begin(&mut self, start: usize, len: usize, capacity: usize) {
        let continues = self.end == start && len > 0;
        self.end = if capacity > len { start + len } else { 0 };
        match self.get_mut(self.latest) {
            Some(latest) if latest.messages == 0 => {
                let before = if continues { latest.size } else { 0 };
                latest.size = before.max(capacity);
            }
            Some(_) if continues => {}
            _ => self.latest = self.new_chunk(capacity),
        }
        self.current = self.latest;
    }

    fn new_chunk(&mut self, size: usize) -> ChunkId {
        let chunk = Chunk {
            size,
            messages: 0,
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

    /// A message that counts `size` joins a queue. Returns what it is a slice of.
    #[inline]
    pub(crate) fn enter(&mut self, size: usize) -> ChunkId {
        self.counted += size;
        let current = self.current;
        if let Some(chunk) = self.chunks.get_mut(current.0 as usize) {
            if chunk.messages == 0 {
                self.kept += chunk.size;
            }
            chunk.messages += 1;
            chunk.counted += size;
        }
        current
    }

    /// A message that counts `size` leaves a queue.
    #[inline]
    pub(crate) fn leave(&mut self, id: ChunkId, size: usize) {
        self.counted -= size;
        self.let_go(id, size);
    }

    /// A message is no longer a slice of its chunk.
    #[inline]
    pub(crate) fn let_go(&mut self, id: ChunkId, size: usize) {
        let Some(chunk) = self.chunks.get_mut(id.0 as usize) else {
            return;
        };
        chunk.counted -= size;
        chunk.messages -= 1;
        if chunk.messages == 0 {
            self.kept -= chunk.size;
            if id != self.latest {
                self.set_free(id);
            }
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

    /// Whether the messages in this chunk are to be copied.
    pub(crate) fn is_sparse(&self, id: ChunkId) -> bool {
        self.get(id)
            .is_some_and(|chunk| is_sparse(chunk.size, chunk.counted))
    }

    /// Whether a message that counts `size` makes up little of this chunk.
    pub(crate) fn is_little(&self, id: ChunkId, size: usize) -> bool {
        self.get(id)
            .is_some_and(|chunk| is_sparse(chunk.size, size))
    }

    /// Whether so much makes up little of the memory that messages are taken from.
    pub(crate) fn is_little_of_current(&self, size: usize) -> bool {
        self.is_little(self.current, size)
    }

    /// Copies a message that is kept elsewhere than in a queue, if it makes up little of what it is a slice of.
    pub(crate) fn part(&self, message: &mut Message) {
        if self.is_little_of_current(message.memory_size()) {
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
        let first = chunks.enter(10);
        chunks.begin(1_100, 3_900, 3_900);
        assert_eq!(chunks.enter(20), first);
        assert_eq!((chunks.kept, chunks.counted), (4_000, 30));
        chunks.begin(5_000, 10, 10); // behind it lies other memory
        assert_ne!(chunks.enter(5), first);
        assert_eq!(chunks.kept, 4_010);
        chunks.leave(first, 10);
        assert_eq!(chunks.kept, 4_010);
        chunks.leave(first, 20);
        assert_eq!((chunks.kept, chunks.counted), (10, 5));
    }

    #[test]
    fn a_chunk_that_nothing_is_left_of_still_counts_whole_when_it_is_read_into_again() {
        let mut chunks = Chunks::default();
        chunks.begin(1_000, 3_000, 4_000);
        let id = chunks.enter(1);
        chunks.leave(id, 1);
        chunks.begin(4_000, 10, 1_000);
        assert_eq!(chunks.enter(1), id);
        assert_eq!(chunks.kept, 4_000);
    }

    #[test]
    fn places_of_chunks_are_used_again() {
        let mut chunks = Chunks::default();
        let mut there = std::collections::VecDeque::new();
        for start in 1..1_000 {
            chunks.begin(start * 100, 10, 10);
            there.push_back(chunks.enter(7));
            if there.len() > 5 {
                chunks.leave(there.pop_front().unwrap(), 7);
            }
        }
        assert!(chunks.chunks.len() < 10);
        assert_eq!(chunks.kept, 50);
        chunks.end();
        there.into_iter().for_each(|id| chunks.leave(id, 7));
        assert_eq!((chunks.kept, chunks.counted), (0, 0));
        chunks.end();
        assert_eq!(chunks.enter(1), ChunkId::NONE);
    }
}
