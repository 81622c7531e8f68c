//! The levels that lead from one node to the next.

/// The bytes of some levels. Short ones, which most are, need no memory of their own.
#[derive(Clone, Debug)]
pub(super) enum Label {
    Short { len: u8, bytes: [u8; SHORT] },
    Long(Box<[u8]>),
}

/// As much as fits beside the two words of a long one.
const SHORT: usize = 22;

impl Label {
    pub(super) const EMPTY: Self = Self::Short {
        len: 0,
        bytes: [0; SHORT],
    };

    pub(super) fn new(levels: &[u8]) -> Self {
        let mut bytes = [0; SHORT];
        match (bytes.get_mut(..levels.len()), u8::try_from(levels.len())) {
            (Some(short), Ok(len)) => {
                short.copy_from_slice(levels);
                Self::Short { len, bytes }
            }
            _ => Self::Long(levels.into()),
        }
    }

    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short { len, bytes } => &bytes[..usize::from(*len)],
            Self::Long(bytes) => bytes,
        }
    }

    pub(super) fn has_wildcard(&self) -> bool {
        self.as_bytes()
            .iter()
            .any(|byte| matches!(byte, b'+' | b'#'))
    }
}
