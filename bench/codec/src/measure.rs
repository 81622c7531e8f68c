//! The clock, and what is done between two readings of it.

use bytes::BytesMut;
use rustix::time::{ClockId, clock_gettime};

use crate::codec::Codec;

/// What one read of a busy socket brings.
const CHUNK: usize = 64 * 1024;

/// Chunks between two readings of the clock, so that reading it costs nothing beside them, and that all stay in the cache.
const CHUNKS_AT_ONCE: usize = 4;

/// How often a run repeats that. The first repetitions are not counted: they warm up.
const REPEATS: usize = 40;
const WARM_UP: usize = 10;

/// One direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Decode,
    Encode,
}

impl Work {
    pub(crate) const ALL: [Self; 2] = [Self::Decode, Self::Encode];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Encode => "encode",
        }
    }

    /// Nanoseconds of this thread's CPU time per message.
    pub(crate) fn measure(self, codec: &mut dyn Codec, packet: &[u8]) -> f64 {
        let per_chunk = CHUNK / packet.len();
        let chunk = packet.repeat(per_chunk);
        let messages = CHUNKS_AT_ONCE * per_chunk;
        let mut read_buffers = std::array::from_fn::<_, CHUNKS_AT_ONCE, _>(|_| BytesMut::new());
        let mut nanoseconds = 0;
        for repeat in 0..WARM_UP + REPEATS {
            let elapsed = match self {
                Self::Decode => {
                    // Filled before the clock starts, since receiving is not the codec's work, and into the memory that
                    // was read into before, as clients do: the allocator would give it back and ask for it each time.
                    let chunks = read_buffers.each_mut().map(|buffer| {
                        buffer.extend_from_slice(&chunk);
                        buffer.split()
                    });
                    timed(|| {
                        for chunk in chunks {
                            assert_eq!(codec.decode(chunk), per_chunk);
                        }
                    })
                }
                Self::Encode => timed(|| {
                    assert_eq!(codec.encode(messages), messages * packet.len());
                }),
            };
            if repeat >= WARM_UP {
                nanoseconds += elapsed;
            }
        }
        nanoseconds as f64 / (REPEATS * messages) as f64
    }
}

/// CPU time of this thread alone, in nanoseconds: what others do meanwhile does not count.
fn timed(work: impl FnOnce()) -> i64 {
    let start = clock_gettime(ClockId::ThreadCPUTime);
    work();
    let end = clock_gettime(ClockId::ThreadCPUTime);
    (end.tv_sec - start.tv_sec) * 1_000_000_000 + (end.tv_nsec - start.tv_nsec)
}
