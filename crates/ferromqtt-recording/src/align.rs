//! Which elements of two sequences belong together.

use std::collections::HashMap;

/// So many cells of the table of a longest common subsequence are computed; beyond it the middle is aligned by position.
const MOST_CELLS: usize = 4 << 20;

/// Pairs of indices: those of equal keys that a longest common subsequence has, and between them those of equal `kinds` in
/// order. Both grow from pair to pair.
pub(crate) fn align(
    a: &[String],
    b: &[String],
    same_kind: impl Fn(usize, usize) -> bool,
) -> Vec<(usize, usize)> {
    let mut numbers = HashMap::new();
    let mut number = |keys: &[String]| -> Vec<usize> {
        let mut of = |key: &String| {
            let next = numbers.len();
            *numbers.entry(key.clone()).or_insert(next)
        };
        keys.iter().map(&mut of).collect()
    };
    let (keys_a, keys_b) = (number(a), number(b));
    let equal = common(&keys_a, &keys_b);
    let mut pairs = Vec::new();
    let (mut from_a, mut from_b) = (0, 0);
    for (at_a, at_b) in equal.into_iter().chain([(a.len(), b.len())]) {
        // What only one of them has, or was changed.
        let mut free = from_b;
        for index in from_a..at_a {
            if let Some(partner) = (free..at_b).find(|&other| same_kind(index, other)) {
                pairs.push((index, partner));
                free = partner + 1;
            }
        }
        if at_a < a.len() && at_b < b.len() {
            pairs.push((at_a, at_b));
        }
        (from_a, from_b) = (at_a + 1, at_b + 1);
    }
    pairs
}

/// A longest common subsequence, as pairs of indices.
fn common(a: &[usize], b: &[usize]) -> Vec<(usize, usize)> {
    let front = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (middle_a, middle_b) = (&a[front..], &b[front..]);
    let back = (middle_a.iter().rev().zip(middle_b.iter().rev()))
        .take_while(|(a, b)| a == b)
        .count();
    let middle_a = &middle_a[..middle_a.len() - back];
    let middle_b = &middle_b[..middle_b.len() - back];
    let (rows, columns) = (middle_a.len(), middle_b.len());
    let mut pairs: Vec<_> = (0..front).map(|index| (index, index)).collect();
    if rows.saturating_mul(columns) <= MOST_CELLS {
        // lengths[row][column]: of what is left from there on.
        let width = columns + 1;
        let mut lengths = vec![0_u32; (rows + 1) * width];
        for row in (0..rows).rev() {
            for column in (0..columns).rev() {
                lengths[row * width + column] = match middle_a[row] == middle_b[column] {
                    true => lengths[(row + 1) * width + column + 1] + 1,
                    false => {
                        (lengths[(row + 1) * width + column]).max(lengths[row * width + column + 1])
                    }
                };
            }
        }
        let (mut row, mut column) = (0, 0);
        while row < rows && column < columns {
            if middle_a[row] == middle_b[column] {
                pairs.push((front + row, front + column));
                (row, column) = (row + 1, column + 1);
            } else if lengths[(row + 1) * width + column] >= lengths[row * width + column + 1] {
                row += 1;
            } else {
                column += 1;
            }
        }
    } else {
        let equal = (0..rows.min(columns)).filter(|&index| middle_a[index] == middle_b[index]);
        pairs.extend(equal.map(|index| (front + index, front + index)));
    }
    let (behind_a, behind_b) = (a.len() - back, b.len() - back);
    pairs.extend((0..back).map(|index| (behind_a + index, behind_b + index)));
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aligned(a: &str, b: &str) -> Vec<(usize, usize)> {
        let keys = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
        align(&keys(a), &keys(b), |_, _| false)
    }

    #[test]
    fn what_both_have_is_found() {
        assert_eq!(aligned("abc", "abc"), [(0, 0), (1, 1), (2, 2)]);
        assert_eq!(aligned("axc", "abxyc"), [(0, 0), (1, 2), (2, 4)]);
        assert_eq!(aligned("", "abc"), []);
        assert_eq!(aligned("ab", "ba").len(), 1);
    }

    #[test]
    fn what_was_changed_is_paired_by_its_kind() {
        let keys = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
        let pairs = align(&keys("a1z"), &keys("a2z"), |_, _| true);
        assert_eq!(pairs, [(0, 0), (1, 1), (2, 2)]);
    }

    #[test]
    fn long_sequences_do_not_need_a_table() {
        let many: Vec<_> = (0..5_000).map(|index| index.to_string()).collect();
        let other: Vec<_> = (0..5_000).map(|index| (index + 1).to_string()).collect();
        align(&many, &other, |_, _| false);
    }
}
