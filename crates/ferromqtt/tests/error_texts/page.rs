//! The page's tables, and what is compared with them.

use std::collections::BTreeSet;

/// Behind an error that another attempt may mend: the page says so above its tables.
const ENDINGS: [&str; 2] = [
    " (the first connection is not tried again: Options::reconnect with Reconnect::initial set keeps trying)",
    " (Options::reconnect connects again after a loss, and with Reconnect::initial after a failed first attempt)",
];

/// What was provoked: the text, and what it is raised as.
pub(crate) type Provoked = (String, &'static str);

/// A row of the page.
struct Row {
    text: String,
    raised_as: String,
}

fn page() -> String {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors.md");
    std::fs::read_to_string(page).unwrap()
}

fn rows(section: &str) -> Vec<Row> {
    let page = page();
    let (_, section) = page.split_once(&format!("## {section}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| {
        let cells: Vec<_> = line.split(" | ").collect();
        let plain = |cell: &str| cell.trim_matches(['|', ' ', '`']).to_owned();
        Row {
            text: plain(cells[0]),
            raised_as: plain(cells[1]),
        }
    })
    .collect()
}

/// Whether a text is what a row says, with anything in place of its placeholders.
fn reads_as(text: &str, row: &str) -> bool {
    let mut rest = text;
    let mut pieces = row.split('{').map(|piece| match piece.split_once('}') {
        Some((_, after)) => after,
        None => piece,
    });
    let Some(after) = pieces.next().and_then(|first| rest.strip_prefix(first)) else {
        return false;
    };
    rest = after;
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.is_empty() || row.ends_with('}')
}

/// Fails unless each of these texts is that of a row, of its kind, and each row that of a text.
pub(crate) fn compare(section: &str, provoked: Vec<Provoked>) {
    let rows = rows(section);
    assert!(!rows.is_empty());
    let (mut found, mut without) = (BTreeSet::new(), Vec::new());
    for (text, kind) in provoked {
        let whole = text.as_str();
        let text = (ENDINGS.iter()).find_map(|ending| whole.strip_suffix(ending));
        let text = text.unwrap_or(whole);
        // The row that says most.
        let row = (rows.iter())
            .filter(|row| row.raised_as == kind && reads_as(text, &row.text))
            .max_by_key(|row| row.text.len());
        match row {
            Some(row) if found.insert(&row.text) => {}
            _ => without.push(format!("{kind}: {text}")),
        }
    }
    assert!(
        without.is_empty(),
        "{section} has no row of its own for: {without:#?}"
    );
    let all: BTreeSet<_> = rows.iter().map(|row| &row.text).collect();
    let missing: Vec<_> = all.difference(&found).collect();
    assert!(missing.is_empty(), "not provoked: {missing:#?}");
}

#[test]
fn the_page_tells_what_stands_behind_errors_that_another_attempt_may_mend() {
    let page = page().replace('\n', " ");
    for ending in ENDINGS {
        assert!(page.contains(ending.trim()), "{ending}");
    }
}
