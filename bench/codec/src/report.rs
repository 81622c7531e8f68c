//! The tables.

use crate::codec::{Contestant, OURS, contestants};
use crate::round::Group;

/// What was built, so that the versions named are those measured.
const LOCK: &str = include_str!("../../../Cargo.lock");

/// Prints a table for each group, and tells whether ours needs the least in all.
pub(crate) fn print(groups: &[Group], rounds: &[Vec<Vec<f64>>]) -> bool {
    println!(
        "PUBLISH of 64 bytes to a topic of 27; CPU time of one thread; {} rounds, in turns",
        rounds.len()
    );
    let mut all_met = true;
    for (number, group) in groups.iter().enumerate() {
        let rows = contestants(group.work, &group.case);
        let figures = (0..rows.len())
            .map(|row| rounds.iter().map(|round| round[number][row]).collect())
            .collect::<Vec<_>>();
        all_met &= print_group(&group.title(), &rows, &figures);
    }
    all_met
}

fn print_group(title: &str, rows: &[Contestant], figures: &[Vec<f64>]) -> bool {
    println!(
        "\n{title:<34}{:^30}{:>20}",
        "CPU ns per message", "x ferromqtt (CPU)"
    );
    println!(
        "{:<34}{:>10}{:>10}{:>10}{:>20}",
        "", "min", "median", "max", "median"
    );
    let ours = &figures[0];
    let mut least = true;
    for (row, figures) in rows.iter().zip(figures) {
        // Ratios within a round, since what slows a machine down lasts longer than a round.
        let ratio = median(figures.iter().zip(ours).map(|(other, own)| other / own));
        least &= row.name == OURS || ratio > 1.0;
        println!(
            "{:<34}{:>10.1}{:>10.1}{:>10.1}{:>20.2}",
            format!("{}{}", label(row.name), row.note),
            figures.iter().copied().fold(f64::INFINITY, f64::min),
            median(figures.iter().copied()),
            figures.iter().copied().fold(0.0, f64::max),
            ratio,
        );
    }
    let verdict = if least { "met" } else { "MISSED" };
    println!("goal {verdict}: ferromqtt needs the least");
    least
}

/// Name and version of a crate.
fn label(name: &str) -> String {
    let entry = format!("name = \"{name}\"\nversion = \"");
    let version = LOCK
        .split_once(&entry)
        .and_then(|(_, rest)| rest.split_once('"'))
        .map_or("?", |(version, _)| version);
    format!("{name} {version}")
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_value_or_between_the_two() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
    }

    #[test]
    fn versions_are_those_of_the_lock_file() {
        let own = concat!("ferromqtt-proto ", env!("CARGO_PKG_VERSION"));
        assert_eq!(label("ferromqtt-proto"), own);
        for other in ["rumqttc", "mqtt-protocol-core"] {
            assert!(!label(other).contains('?'), "{other}");
        }
    }
}
