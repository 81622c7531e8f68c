//! Keys of messages as text.

use std::fmt::Write;

/// Keys that rise, runs of them as one: `7, 9-12`.
pub(crate) fn key_list(keys: &[u64]) -> String {
    let mut shown = String::new();
    for run in keys.chunk_by(|a, b| a.checked_add(1) == Some(*b)) {
        let (Some(first), Some(last)) = (run.first(), run.last()) else {
            continue;
        };
        let comma = if shown.is_empty() { "" } else { ", " };
        let _ = match first == last {
            true => write!(shown, "{comma}{first}"),
            false => write!(shown, "{comma}{first}-{last}"),
        };
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_joined() {
        assert_eq!(key_list(&[]), "");
        assert_eq!(key_list(&[7, 9, 10, 11, 20, 21]), "7, 9-11, 20-21");
        assert_eq!(
            key_list(&[u64::MAX - 1, u64::MAX]),
            "18446744073709551614-18446744073709551615"
        );
    }
}
