//! Lengths of time as people write and read them.

use std::str::FromStr;
use std::time::Duration;

/// The units, and how many seconds they are, from the longest on.
const UNITS: [(char, u64); 5] = [
    ('w', 7 * 24 * 3600),
    ('d', 24 * 3600),
    ('h', 3600),
    ('m', 60),
    ('s', 1),
];

/// A length of time: a number and a unit, such as `1d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Age(pub(crate) Duration);

impl FromStr for Age {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "give a number and one of s, m, h, d, w, such as 90s or 1d".to_owned();
        let unit = text.chars().last().ok_or_else(wrong)?;
        let (_, seconds) = *UNITS.iter().find(|(it, _)| *it == unit).ok_or_else(wrong)?;
        let number: u64 = (text.strip_suffix(unit).unwrap_or(text))
            .parse()
            .map_err(|_| wrong())?;
        let seconds = number.checked_mul(seconds).ok_or_else(wrong)?;
        Ok(Self(Duration::from_secs(seconds)))
    }
}

/// Milliseconds in the largest unit of which there are some, such as `3h`; weeks as days. Rounded down.
pub(crate) fn short_age(milliseconds: u64) -> String {
    let seconds = milliseconds / 1_000;
    let unit = (UNITS.iter().skip(1)).find(|(_, unit)| seconds >= *unit);
    match unit {
        Some((name, unit)) => format!("{}{name}", seconds / unit),
        None => "0s".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_read_with_their_unit() {
        let read = |text: &str| text.parse::<Age>().map(|age| age.0.as_secs());
        assert_eq!(read("0s"), Ok(0));
        assert_eq!(read("90m"), Ok(5_400));
        assert_eq!(read("2w"), Ok(1_209_600));
        for wrong in [
            "",
            "d",
            "1",
            "-1d",
            "1.5h",
            "1 d",
            "1é",
            "99999999999999999w",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ages_are_shown_in_one_unit() {
        let shown = [0, 999, 61_000, 7_300_000, 90_000_000, 6_048_000_000];
        assert_eq!(shown.map(short_age), ["0s", "0s", "1m", "2h", "1d", "70d"]);
    }
}
