//! The frames that a WebSocket client writes, read by the rules of RFC 6455, section 5.

/// A frame, unmasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The first byte: FIN, reserved bits, and the opcode.
    pub first: u8,
    /// The payload.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Whether it is a Close frame.
    pub const fn is_close(&self) -> bool {
        self.first == 0x88
    }

    /// The code in a Close frame.
    pub fn code(&self) -> Option<u16> {
        let code = self.payload.first_chunk()?;
        Some(u16::from_be_bytes(*code))
    }
}

/// Takes whole frames apart. Panics at what a client must not write: an incomplete frame, one that is not masked or in
/// fragments, a length that is not written in the shortest way, and a kind other than binary, Close and Pong.
pub fn unmasked(mut output: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while !output.is_empty() {
        let [first, second] = take(&mut output);
        assert!(
            [0x82, 0x88, 0x8a].contains(&first),
            "a frame that begins with {first:02x}"
        );
        assert!(second & 0x80 != 0, "a client masks");
        let length = match second & 0x7f {
            126 => shortest(u64::from(u16::from_be_bytes(take(&mut output))), 126),
            127 => shortest(u64::from_be_bytes(take(&mut output)), 0x1_0000),
            length => u64::from(length),
        };
        assert!(
            first == 0x82 || length <= 125,
            "a control frame of {length} bytes"
        );
        let mask: [u8; 4] = take(&mut output);
        let length = usize::try_from(length).expect("it is in memory");
        let (payload, behind) = (output.split_at_checked(length)).expect("a whole frame");
        output = behind;
        let unmasked = payload.iter().zip(mask.iter().cycle());
        frames.push(Frame {
            first,
            payload: unmasked.map(|(byte, key)| byte ^ key).collect(),
        });
    }
    frames
}

fn shortest(length: u64, least: u64) -> u64 {
    assert!(length >= least, "{length} is written in too many bytes");
    length
}

fn take<const N: usize>(output: &mut &[u8]) -> [u8; N] {
    let (taken, behind) = output.split_first_chunk().expect("a whole frame");
    *output = behind;
    *taken
}
