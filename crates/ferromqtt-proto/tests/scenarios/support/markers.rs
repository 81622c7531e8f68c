//! Secrets that tests plant, and the search for them in all that could be printed. Shared by the tests of several crates.

use std::fmt::{Debug, Display};

/// A secret that no text holds by chance. The reserved characters show whether it was percent-encoded.
pub(crate) const MARKER: &str = "s3cr3t/Kumquat?7&x";

/// The forms in which a text could show the secret.
fn forms(secret: &[u8]) -> Vec<String> {
    let numbers = |radix: fn(&u8) -> String| {
        let numbers: Vec<_> = secret.iter().map(radix).collect();
        numbers
    };
    let hex = numbers(|byte| format!("{byte:02x}"));
    let percent = numbers(|byte| match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(*byte).to_string(),
        byte => format!("%{byte:02x}"),
    });
    vec![
        String::from_utf8_lossy(secret).into_owned(),
        numbers(ToString::to_string).join(","),
        hex.concat(),
        hex.join(","),
        numbers(|byte| format!("0x{byte:02x}")).join(","),
        percent.concat(),
        data_in_base64(secret),
    ]
}

/// Base64 without the end that depends on what follows.
fn data_in_base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    (bytes.chunks_exact(3))
        .flat_map(|three| {
            let value = u32::from_be_bytes([0, three[0], three[1], three[2]]);
            [18, 12, 6, 0].map(|shift| char::from(DIGITS[(value >> shift) as usize & 63]))
        })
        .collect()
}

/// Fails when a text shows the marker in any form, or its first twelve bytes.
pub(crate) fn search(what: &str, text: &str) {
    let text = text.split_whitespace().collect::<String>().to_lowercase();
    let begin = &MARKER[..12];
    for secret in [MARKER, begin] {
        // Encoded together with what stands before it, as in Basic authentication, Base64 looks different.
        let shifted = ["u:", "x", "Bearer "].map(|before| {
            let all = data_in_base64(format!("{before}{secret}").as_bytes());
            all[before.len().div_ceil(3) * 4..].to_owned()
        });
        for form in forms(secret.as_bytes()).into_iter().chain(shifted) {
            let form = form.to_lowercase();
            assert!(!text.contains(&form), "{what} shows {form:?}: {text}");
        }
    }
}

/// Fails when `Debug` shows the marker.
pub(crate) fn look(shown: &impl Debug) {
    search("{:?}", &format!("{shown:?}"));
    search("{:#?}", &format!("{shown:#?}"));
}

/// Fails when an error shows it in any way.
#[allow(
    dead_code,
    reason = "not every program that has this file has errors to look at"
)]
pub(crate) fn look_at_error(error: &(impl Debug + Display)) {
    look(error);
    search("{}", &format!("{error}"));
}

/// Fails when a name that a module exports does not stand in the test's source: so a new public type is noticed, and
/// either looked at, or listed among those that can hold no secret.
#[allow(
    dead_code,
    reason = "not every program that has this file knows all types of a crate"
)]
pub(crate) fn knows_all_exports(module: &str, test: &str) {
    let is_name = |it: char| it.is_alphanumeric() || it == '_';
    let known: std::collections::HashSet<_> = test.split(|it| !is_name(it)).collect();
    let mut names = 0;
    for (at, found) in module.match_indices("pub use ") {
        let exported = &module[at + found.len()..];
        let exported = &exported[..exported.find(';').unwrap_or(exported.len())];
        let list = exported.rsplit("::").next().unwrap_or_default();
        for name in list.split([',', '{', '}']).map(str::trim) {
            let name = name.rsplit(" as ").next().unwrap_or_default();
            if name.starts_with(char::is_uppercase) && name.contains(char::is_lowercase) {
                names += 1;
                assert!(
                    known.contains(name),
                    "{name} is public, and the search for secrets does not know it: look at one that holds the marker, or \
                     list it among those that can hold none"
                );
            }
        }
    }
    assert!(names > 5, "the exports of a module: {module}");
}

#[test]
fn the_search_finds_the_marker_in_every_form() {
    let bytes = MARKER.as_bytes();
    let shown = [
        format!("{MARKER:?}"),
        format!("{bytes:?}"),
        format!("{bytes:#?}"),
        format!("{bytes:x?}"),
        format!("{bytes:02X?}"),
        "password czNjcjN0L0t1bXF1YXQ=".to_owned(),
        "Basic dTpzM2NyM3QvS3VtcXVhdD83Jng=".to_owned(),
        "?token=s3cr3t%2FKumquat%3F7%26x".to_owned(),
        "begins with s3cr3t/Kumquat".to_owned(),
    ];
    for text in shown {
        let found = std::panic::catch_unwind(|| search("a test", &text));
        assert!(found.is_err(), "{text}");
    }
}
