//! What may import what: see "The core, file by file" in ARCHITECTURE.md.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[test]
fn what_lies_below_the_client_does_not_import_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let below = [
        ("packet", "client connection session"),
        ("session", "client connection"),
        ("connection", "client"),
    ];
    for (module, above) in below {
        let files = sources(&src.join(module));
        assert!(!files.is_empty(), "{module}");
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            for above in above.split(' ') {
                let import = format!("use crate::{above}");
                assert!(
                    !text.contains(&import),
                    "{} imports {above}",
                    file.display()
                );
            }
        }
    }
}
