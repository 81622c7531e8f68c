//! One round: every row once, in a process of its own.
//!
//! Where the stack and the heap of a process lie is random, and it changes the figures of some codecs by a third. So the
//! rounds of one process would all be lucky, or all unlucky.

use std::env;
use std::io;
use std::process::{Command, Stdio};

use crate::codec::{check_agreement, contestants};
use crate::measure::Work;
use crate::message::Case;

/// The option that makes this program run one round. In odd rounds the codecs take their turns in reverse order.
pub(crate) const OPTION: &str = "--one-round";

/// A group of rows: one direction of one case.
pub(crate) struct Group {
    pub(crate) work: Work,
    pub(crate) case: Case,
}

impl Group {
    /// All groups whose title contains `only`.
    pub(crate) fn all(only: &str) -> Vec<Self> {
        let groups = Work::ALL.into_iter().flat_map(|work| {
            let with_work = move |case| Self { work, case };
            Case::all().into_iter().map(with_work)
        });
        groups
            .filter(|group| group.title().contains(only))
            .collect()
    }

    pub(crate) fn title(&self) -> String {
        format!("{}, {}", self.work.name(), self.case.name)
    }

    /// Nanoseconds per message of each contestant, in their order.
    fn measure(&self, reverse: bool) -> Vec<f64> {
        let mut contestants = contestants(self.work, &self.case);
        let packet = check_agreement(&self.case, &mut contestants);
        let mut turns: Vec<usize> = (0..contestants.len()).collect();
        if reverse {
            turns.reverse();
        }
        let mut figures = vec![0.0; contestants.len()];
        for index in turns {
            figures[index] = self.work.measure(&mut *contestants[index].codec, &packet);
        }
        figures
    }
}

/// Runs a round in this process, and prints a line of figures for each group.
pub(crate) fn run(number: usize, only: &str) {
    for group in Group::all(only) {
        let figures = group.measure(number % 2 == 1);
        let words: Vec<String> = figures.iter().map(f64::to_string).collect();
        println!("{}", words.join(" "));
    }
}

/// Runs a round in a process of its own, and returns its figures, group by group.
pub(crate) fn spawn(number: usize, only: &str) -> io::Result<Vec<Vec<f64>>> {
    let output = Command::new(env::current_exe()?)
        .args([OPTION, &number.to_string(), "--only", only])
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("it ended with {}", output.status)));
    }
    let text = String::from_utf8(output.stdout).map_err(io::Error::other)?;
    text.lines().map(figures).collect()
}

fn figures(line: &str) -> io::Result<Vec<f64>> {
    let words = line.split(' ').map(str::parse);
    words.collect::<Result<_, _>>().map_err(io::Error::other)
}
