//! What is said of a seed that fails.

use std::fmt::{self, Write};

use super::script::FaultScript;

/// A seed whose run failed, and the shortest scripts with which it fails as well.
pub(super) struct SeedReport {
    pub(super) seed: u64,
    /// What the run with the whole scripts said.
    pub(super) failure: String,
    /// How many entries these have.
    pub(super) entries: usize,
    pub(super) shrunk: ShrunkRun,
}

/// What came of shrinking.
pub(super) enum ShrunkRun {
    /// The run passed when it was played once more.
    PassedAgain,
    /// It fails with these scripts too.
    Shortest {
        scripts: Vec<FaultScript>,
        tries: u32,
        failure: String,
        charts: Vec<String>,
    },
}

impl fmt::Display for SeedReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, entries, .. } = self;
        writeln!(f, "seed {seed} fails: {}", self.failure)?;
        match &self.shrunk {
            ShrunkRun::PassedAgain => writeln!(
                f,
                "\nThe same seed passed when it was played again, so the run depends on something else: threads, the system's \
                 time, the order of a HashMap, or tokio::select! without biased. Give the client the seed too, by \
                 Options::seed."
            )?,
            ShrunkRun::Shortest {
                scripts,
                tries,
                failure,
                charts,
            } => {
                let left: usize = scripts.iter().map(|script| script.entries.len()).sum();
                if left == 0 {
                    writeln!(f, "\nIt fails without any fault.")?;
                } else {
                    let of = format!("{left} of {entries} entries, found in {tries} tries");
                    writeln!(f, "\nThe shortest script that fails ({of}):")?;
                    f.write_str(&indented(&texts(scripts)))?;
                    writeln!(f, "\nAs code:")?;
                    f.write_str(&indented(&codes(scripts)))?;
                }
                if *failure != self.failure {
                    writeln!(f, "\nWith it the run fails so: {failure}")?;
                }
                for chart in charts {
                    writeln!(f, "\nWhat happened:\n{}", chart.trim_end())?;
                }
            }
        }
        let thread = std::thread::current();
        let test = thread
            .name()
            .filter(|&name| name != "main")
            .unwrap_or_default();
        let command = format!("FERROMQTT_SEED={seed} cargo test {test}");
        write!(f, "\nTo play it again: {}", command.trim_end())
    }
}

fn texts(scripts: &[FaultScript]) -> String {
    let several = scripts.len() > 1;
    let mut text = String::new();
    for (index, script) in scripts.iter().enumerate() {
        if several {
            let _ = writeln!(text, "# broker {}", index + 1);
        }
        let _ = write!(text, "{script}");
    }
    text
}

fn codes(scripts: &[FaultScript]) -> String {
    let code = |script: &FaultScript| format!("TestBroker::with_faults({})\n", script.rust_code());
    scripts.iter().map(code).collect()
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}
