//! Scripts without what a failure does not need.

use super::list_shrinker::ListShrinker;
use super::script::{FaultScript, ScriptEntry};
use super::simpler::simpler;

/// Shortens the scripts of a run that fails: first it leaves entries out ([`ListShrinker`]), then it makes the numbers of those
/// that remain smaller.
///
/// It calls nothing: try each [`candidate`](Self::candidate), and [`report`](Self::report) what came of it.
///
/// ```
/// use ferromqtt_testing::{FaultScript, ScriptShrinker};
///
/// let script: FaultScript = "sends PUBACK nth 2 delay 3s\nsends PUBACK nth 3 lose, cut reset".parse()?;
/// let mut shrinker = ScriptShrinker::new(vec![script], 200);
/// while let Some(candidate) = shrinker.candidate() {
///     shrinker.report(candidate[0].to_string().contains("lose")); // the test, and whether it failed
/// }
/// assert_eq!(shrinker.shortest()[0].to_string(), "sends PUBACK lose, cut\n");
/// # Ok::<_, ferromqtt_testing::FaultScriptError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ScriptShrinker {
    /// How many scripts there are: one for each broker of the run.
    scripts: usize,
    stage: ShrinkStage,
    tries: u32,
    most_tries: u32,
}

/// An entry, and the script that it belongs to.
type PlacedEntry = (usize, ScriptEntry);

#[derive(Clone, Debug)]
enum ShrinkStage {
    /// Leaves entries out.
    List(ListShrinker<PlacedEntry>),
    /// Makes the numbers of one entry smaller.
    Numbers {
        list: Vec<PlacedEntry>,
        /// Which entry.
        at: usize,
        /// What may stand for it and was not tried, the simplest last.
        untried: Vec<ScriptEntry>,
    },
}

impl ScriptShrinker {
    /// Begins with scripts with which a run fails, one for each broker that draws one. There are at most `most_tries`
    /// candidates.
    pub fn new(scripts: Vec<FaultScript>, most_tries: u32) -> Self {
        let count = scripts.len();
        let entries = scripts
            .into_iter()
            .enumerate()
            .flat_map(|(at, script)| script.entries.into_iter().map(move |entry| (at, entry)));
        Self {
            scripts: count,
            stage: ShrinkStage::List(ListShrinker::new(entries.collect())),
            tries: 0,
            most_tries,
        }
    }

    /// How many candidates were reported.
    pub const fn tries(&self) -> u32 {
        self.tries
    }

    /// The shortest scripts so far with which the run fails. Their rules are not optional: each has fired.
    pub fn shortest(&self) -> Vec<FaultScript> {
        let mut scripts = self.scripts_of(match &self.stage {
            ShrinkStage::List(shrinker) => shrinker.list(),
            ShrinkStage::Numbers { list, .. } => list,
        });
        if !self.is_exhausted() {
            scripts.iter_mut().for_each(|it| it.set_optional(false));
        }
        scripts
    }

    /// The next scripts to try; the same until they are reported. `None` at the end.
    pub fn candidate(&mut self) -> Option<Vec<FaultScript>> {
        if self.is_exhausted() {
            return None;
        }
        if let ShrinkStage::List(shrinker) = &mut self.stage {
            if let Some(list) = shrinker.candidate() {
                return Some(self.scripts_of(&list));
            }
            let list = shrinker.list().to_vec();
            let untried = list.first().map_or_else(Vec::new, |it| untried(&it.1));
            let at = 0;
            self.stage = ShrinkStage::Numbers { list, at, untried };
        }
        let ShrinkStage::Numbers {
            list,
            at,
            untried: left,
        } = &mut self.stage
        else {
            return None;
        };
        while left.is_empty() {
            *at += 1;
            *left = untried(&list.get(*at)?.1);
        }
        let mut candidate = list.clone();
        candidate[*at].1 = left.last()?.clone();
        Some(self.scripts_of(&candidate))
    }

    /// Says whether the run failed with the latest candidate.
    pub fn report(&mut self, failed: bool) {
        self.tries += 1;
        match &mut self.stage {
            ShrinkStage::List(shrinker) => shrinker.report(failed),
            ShrinkStage::Numbers {
                list,
                at,
                untried: left,
            } => {
                let Some(entry) = left.pop() else { return };
                if failed && let Some(place) = list.get_mut(*at) {
                    *left = untried(&entry);
                    place.1 = entry;
                }
            }
        }
    }

    const fn is_exhausted(&self) -> bool {
        self.tries >= self.most_tries
    }

    fn scripts_of(&self, list: &[PlacedEntry]) -> Vec<FaultScript> {
        let mut scripts = vec![FaultScript::new(); self.scripts];
        for (at, entry) in list {
            if let Some(script) = scripts.get_mut(*at) {
                script.entries.push(entry.clone());
            }
        }
        scripts
    }
}

fn untried(entry: &ScriptEntry) -> Vec<ScriptEntry> {
    let mut untried = simpler(entry);
    untried.reverse();
    untried
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Faults;

    fn shrink(
        scripts: Vec<FaultScript>,
        most: u32,
        fails: impl Fn(&[FaultScript]) -> bool,
    ) -> (Vec<String>, u32) {
        let mut shrinker = ScriptShrinker::new(scripts, most);
        while let Some(candidate) = shrinker.candidate() {
            shrinker.report(fails(&candidate));
        }
        let shortest = shrinker.shortest();
        let texts = shortest.iter().map(ToString::to_string).collect();
        (texts, shrinker.tries())
    }

    #[test]
    fn a_drawn_script_becomes_the_one_rule_that_matters() {
        let faults = Faults::cuts(0.02).lost_acks(0.02).delays(0.01).restarts(1);
        for seed in 0..5 {
            let script = faults.draw(seed);
            assert!(script.entries.len() > 30);
            let fails = |scripts: &[FaultScript]| scripts[0].to_string().contains("cut");
            let (texts, tries) = shrink(vec![script], 200, fails);
            assert_eq!(texts[0].lines().count(), 1, "{texts:?}");
            assert!(!texts[0].contains("optional"));
            assert!(tries < 60, "{tries}");
        }
    }

    #[test]
    fn entries_of_two_scripts_stay_where_they_belong() {
        let scripts = [
            "sends PUBACK lose\nsends PUBREC lose",
            "receives PUBLISH lose",
        ];
        let scripts = scripts.map(|text| text.parse().unwrap()).to_vec();
        let fails = |scripts: &[FaultScript]| {
            scripts[0].to_string().contains("PUBREC") && !scripts[1].entries.is_empty()
        };
        let (texts, _) = shrink(scripts, 200, fails);
        assert_eq!(texts, ["sends PUBREC lose\n", "receives PUBLISH lose\n"]);
    }

    #[test]
    fn the_tries_are_bounded_and_what_is_left_then_still_fails() {
        let script = Faults::cuts(0.2).draw(1);
        let whole = script.clone();
        let (texts, tries) = shrink(vec![script], 3, |scripts| *scripts == [whole.clone()]);
        assert_eq!(tries, 3);
        assert_eq!(texts, [whole.to_string()]);
    }

    #[test]
    fn no_script_at_all_is_fine() {
        assert_eq!(shrink(vec![], 200, |_| true), (vec![], 0));
        assert_eq!(shrink(vec![FaultScript::new()], 200, |_| true).1, 0);
    }
}
