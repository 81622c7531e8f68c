//! A type that holds raw bytes, or a password in a text, must not derive `Debug`, in any crate of this repository: what
//! they hold may be a payload, or what authenticates. `debug_fields!` writes it instead.

use std::fs;
use std::path::{Path, PathBuf};

/// Types whose derived `Debug` shows every byte.
const BYTES: [&str; 5] = ["Bytes", "BytesMut", "Vec<u8>", "[u8]", "[u8;"];

/// Fields whose text is secret.
const SECRET: [&str; 5] = [
    "password",
    "token",
    "secret",
    "authentication_data",
    "correlation_data",
];

/// What derives it and holds bytes that are no secret, and why.
const HARMLESS: [(&str, &str); 7] = [
    ("OpenCall", "a completion token: who waits, and no secret"),
    ("Label", "a part of a topic or filter"),
    ("PublishRef", "a topic"),
    ("OutgoingAliases", "topics"),
    ("OptionNames", "names of options"),
    ("Utf8String", "a text, with a Debug of its own"),
    ("TlsOptions", "names of protocols, with a Debug of its own"),
];

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Name and body of each type in a source that derives `Debug`.
fn deriving(source: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (at, _) in source.match_indices("#[derive(") {
        let rest = &source[at..];
        let derived = &rest[..rest.find(")]").unwrap_or(rest.len())];
        if !derived
            .split(['(', ',', ' ', '\n'])
            .any(|word| word == "Debug")
        {
            continue;
        }
        let kind = ["struct ", "enum "].iter().filter_map(|kind| {
            let at = rest.find(kind)?;
            Some((at, at + kind.len()))
        });
        let Some((_, name_at)) = kind.min() else {
            continue;
        };
        let rest = &rest[name_at..];
        let name = rest.split(|it: char| !it.is_alphanumeric()).next().unwrap();
        let end = match rest.find(['{', ';', '(']) {
            Some(begin) if rest[begin..].starts_with('{') => rest.find("\n}"),
            _ => rest.find(";\n"),
        };
        let body = &rest[..end.unwrap_or(rest.len())];
        let code = body
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        found.push((name.to_owned(), code.collect::<Vec<_>>().join("\n")));
    }
    found
}

fn shows_secrets(body: &str) -> bool {
    let words = |line: &str| -> Vec<String> {
        let separated = line.split(|it: char| !(it.is_alphanumeric() || "_<>[];".contains(it)));
        separated.map(ToOwned::to_owned).collect()
    };
    body.lines().any(|line| {
        let compact: String = line.split_whitespace().collect();
        let field = compact.split(':').next().unwrap_or_default();
        let field = field.rsplit(['(', ')']).next().unwrap_or_default();
        let holds = words(line).iter().any(|word| {
            let parts = word.split(['<', '>']);
            parts.into_iter().any(|part| BYTES[..2].contains(&part))
        });
        holds
            || BYTES[2..].iter().any(|bytes| compact.contains(bytes))
            || compact.contains(':') && SECRET.iter().any(|secret| field.ends_with(secret))
    })
}

#[test]
fn no_type_derives_debug_that_holds_raw_bytes() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    for member in fs::read_dir(crates).unwrap() {
        sources(&member.unwrap().path().join("src"), &mut files);
    }
    assert!(files.len() > 100, "the sources of all crates: {files:?}");
    for file in files {
        let source = fs::read_to_string(&file).unwrap();
        let source = source
            .split("#[cfg(test)]\nmod ")
            .next()
            .unwrap_or_default();
        for (name, body) in deriving(source) {
            let harmless = HARMLESS.iter().any(|(known, _)| *known == name);
            assert!(
                harmless || !shows_secrets(&body),
                "{}: {name} derives Debug, which would show bytes or a secret that it holds; use debug_fields!, or say in \
                 {} why they are harmless:\n{body}",
                file.display(),
                file!()
            );
        }
    }
}

#[test]
fn the_search_finds_what_it_is_to_find() {
    for body in [
        "struct A {\n payload: Bytes,\n",
        "struct A {\n a: u8,\n b: Option<Bytes>,\n",
        "enum A {\n B(Option<Bytes>),\n",
        "enum A<'a> {\n Data(&'a [u8]),\n",
        "struct A(Vec<u8>",
        "struct A {\n chunks: VecDeque<Bytes>,\n",
        "struct A {\n pub(crate) password: Option<String>,\n",
        "struct A {\n key: [u8; 16],\n",
    ] {
        let source = format!("#[derive(Clone, Debug)]\npub {body}");
        let source = source + if body.contains('{') { "}\n" } else { ");\n" };
        let found = deriving(&source);
        assert_eq!(found.len(), 1, "{source}");
        assert!(shows_secrets(&found[0].1), "{source}");
    }
    for body in [
        "struct A {\n bytes: usize,\n}\n",
        "struct A(Utf8String);\n",
        "enum A {\n B,\n}\n",
    ] {
        let found = deriving(&format!("#[derive(Debug)]\n{body}"));
        assert!(!shows_secrets(&found[0].1), "{body}");
    }
}
