//! Text that others wrote, fit for a terminal.

use std::fmt::Write;

use ferromqtt_proto::shown::is_invisible;

/// Whether a terminal may do something else with a character than to show it.
pub(crate) fn is_hostile(character: char) -> bool {
    character.is_control() || is_invisible(character)
}

/// Whether all of a text is ASCII that a terminal shows. Most texts are, and a long one is looked at in a fraction of the time.
pub(crate) fn is_harmless_ascii(text: &[u8]) -> bool {
    text.iter().all(|byte| (b' '..=b'~').contains(byte))
}

/// The whole text, with control characters and those that are not seen escaped as Rust escapes them.
pub(crate) fn terminal_text(text: &str) -> String {
    if is_harmless_ascii(text.as_bytes()) {
        return text.to_owned();
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_hostile(character) {
            let _ = write!(shown, "{}", character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}
