//! A list without what a failure does not need.

/// Shortens a list step by step while a test still fails with it: delta debugging (ddmin).
///
/// It calls nothing. [`candidate`](Self::candidate) returns a shorter list; the caller tries it, and says with
/// [`report`](Self::report) whether the test failed. The first candidate is the empty list, then halves are left out, quarters,
/// and so on to single items. When no candidate is left, the test passes without any one of the items that remain, if a
/// list fails each time or never.
///
/// ```
/// use ferromqtt_testing::ListShrinker;
///
/// let mut shrinker = ListShrinker::new((0..100).collect());
/// while let Some(candidate) = shrinker.candidate() {
///     shrinker.report(candidate.contains(&13) && candidate.contains(&77));
/// }
/// assert_eq!(shrinker.list(), [13, 77]);
/// ```
#[derive(Clone, Debug)]
pub struct ListShrinker<T> {
    list: Vec<T>,
    /// How many items a candidate leaves out.
    chunk: usize,
    /// Where these begin.
    at: usize,
    /// Whether a candidate has failed since `at` was 0.
    shortened: bool,
}

impl<T: Clone> ListShrinker<T> {
    /// Begins with a list with which the test fails.
    pub const fn new(list: Vec<T>) -> Self {
        let chunk = list.len();
        Self {
            list,
            chunk,
            at: 0,
            shortened: false,
        }
    }

    /// The shortest list so far with which the test fails.
    pub fn list(&self) -> &[T] {
        &self.list
    }

    /// The next list to try; the same one until it is reported. `None` at the end.
    pub fn candidate(&mut self) -> Option<Vec<T>> {
        while self.at >= self.list.len() {
            if self.list.is_empty() || (self.chunk == 1 && !self.shortened) {
                return None;
            }
            self.chunk = match self.chunk {
                1 => 1, // once more: an item may not be needed without the one that has gone
                chunk => chunk.min(self.list.len()).div_ceil(2),
            };
            self.at = 0;
            self.shortened = false;
        }
        let mut candidate = self.list.clone();
        candidate.drain(self.at..self.end());
        Some(candidate)
    }

    /// Says whether the test failed with the latest candidate.
    pub fn report(&mut self, failed: bool) {
        if self.at >= self.list.len() {
            return; // there was none
        }
        let end = self.end();
        match failed {
            true => {
                self.list.drain(self.at..end);
                self.shortened = true;
            }
            false => self.at = end,
        }
    }

    fn end(&self) -> usize {
        (self.at + self.chunk).min(self.list.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The list that is left, and how many candidates that took.
    fn shrink<T: Clone>(list: Vec<T>, fails: impl Fn(&[T]) -> bool) -> (Vec<T>, usize) {
        let mut shrinker = ListShrinker::new(list);
        let mut tries = 0;
        while let Some(candidate) = shrinker.candidate() {
            tries += 1;
            shrinker.report(fails(&candidate));
        }
        (shrinker.list().to_vec(), tries)
    }

    #[test]
    fn a_failure_that_needs_nothing_is_found_at_once() {
        assert_eq!(shrink(vec![1, 2, 3], |_| true), (vec![], 1));
        assert_eq!(shrink(Vec::<u8>::new(), |_| true), (vec![], 0));
    }

    #[test]
    fn one_of_a_hundred_is_found_in_few_tries() {
        let (list, tries) = shrink((0..100).collect(), |list| list.contains(&63));
        assert_eq!(list, [63]);
        assert!(tries <= 20, "{tries}");
    }

    #[test]
    fn an_item_that_another_made_necessary_goes_behind_it() {
        // 1 is needed only where 9 is.
        let fails = |list: &[i32]| list.contains(&5) && (list.contains(&1) || !list.contains(&9));
        assert_eq!(shrink((0..10).collect(), fails).0, [5]);
    }

    #[test]
    fn a_report_without_a_candidate_changes_nothing() {
        let mut shrinker = ListShrinker::new(vec![1]);
        shrinker.report(false);
        assert_eq!(shrinker.candidate(), None);
        shrinker.report(true);
        assert_eq!(shrinker.list(), [1]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_single_item_can_be_left_out_of_the_result(
            length in 0_usize..60,
            needed in prop::collection::vec(prop::collection::vec(0_usize..60, 1..4), 1..4),
        ) {
            // Fails with all items of one of the sets: every larger list does too.
            let fails = |list: &[usize]| {
                (needed.iter()).any(|set| set.iter().all(|it| *it >= length || list.contains(it)))
            };
            let (list, tries) = shrink((0..length).collect(), fails);
            prop_assert!(fails(&list));
            for left_out in 0..list.len() {
                let mut shorter = list.clone();
                shorter.remove(left_out);
                prop_assert!(!fails(&shorter), "{list:?}");
            }
            prop_assert!(tries <= 200, "{tries}");
        }
    }
}
