//! Which items of a new list are which items of the old one.

use serde_json::Value;

/// Largest table, in cells, for which the best match is looked for: one million.
const TABLE_MAX: usize = 1_000_000;

/// For each item of `new`, its position in `old`, if it was there; positions ascend.
///
/// Equal items are matched, as many as can be. Of those left over between two matches, objects
/// and lists may be an edit of what stood there: see [`pair_edits`].
pub(crate) fn align(old: &[Value], new: &[Value]) -> Vec<Option<usize>> {
    let mut aligned = vec![None; new.len()];
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (rest_old, rest_new) = (old.get(head..).unwrap_or(&[]), new.get(head..).unwrap_or(&[]));
    let tail = rest_old.iter().rev().zip(rest_new.iter().rev()).take_while(|(a, b)| a == b).count();
    let middle_old = rest_old.get(..rest_old.len() - tail).unwrap_or(&[]);
    let middle_new = rest_new.get(..rest_new.len() - tail).unwrap_or(&[]);
    let same = (0..head).map(|i| (i, i));
    let middle = common(middle_old, middle_new).into_iter().map(|(i, j)| (head + i, head + j));
    let ends = (0..tail).rev().map(|i| (old.len() - 1 - i, new.len() - 1 - i));
    let matches: Vec<_> = same.chain(middle).chain(ends).collect();

    let (mut from_old, mut from_new) = (0, 0);
    for (i, j) in matches.into_iter().chain([(old.len(), new.len())]) {
        let gap_old = old.get(from_old..i).unwrap_or(&[]);
        let gap_new = new.get(from_new..j).unwrap_or(&[]);
        for (a, b) in pair_edits(gap_old, gap_new) {
            set(&mut aligned, from_new + b, from_old + a);
        }
        if j < new.len() {
            set(&mut aligned, j, i);
        }
        (from_old, from_new) = (i + 1, j + 1);
    }
    aligned
}

fn set(aligned: &mut [Option<usize>], new: usize, old: usize) {
    if let Some(slot) = aligned.get_mut(new) {
        *slot = Some(old);
    }
}

/// A longest common subsequence, as pairs of positions; a shorter one for very long lists.
fn common(old: &[Value], new: &[Value]) -> Vec<(usize, usize)> {
    let width = new.len() + 1;
    if (old.len() + 1).saturating_mul(width) > TABLE_MAX {
        return greedy(old, new);
    }
    // `table[i * width + j]`: the length of the best match of `old[i..]` and `new[j..]`.
    let mut table = vec![0_u32; (old.len() + 1) * width];
    let at = |table: &[u32], i: usize, j: usize| table.get(i * width + j).copied().unwrap_or(0);
    for (i, a) in old.iter().enumerate().rev() {
        for (j, b) in new.iter().enumerate().rev() {
            let best = if a == b {
                at(&table, i + 1, j + 1) + 1
            } else {
                at(&table, i + 1, j).max(at(&table, i, j + 1))
            };
            if let Some(cell) = table.get_mut(i * width + j) {
                *cell = best;
            }
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while let (Some(a), Some(b)) = (old.get(i), new.get(j)) {
        if a == b {
            pairs.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if at(&table, i + 1, j) >= at(&table, i, j + 1) {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

/// How far [`greedy`] looks for an item: keeps very long lists from taking quadratic time.
const LOOK_AHEAD: usize = 256;

/// Matches each new item with the next old one that equals it, if that is near.
fn greedy(old: &[Value], new: &[Value]) -> Vec<(usize, usize)> {
    let mut from = 0;
    let mut pairs = Vec::new();
    for (j, item) in new.iter().enumerate() {
        let near = old.iter().enumerate().skip(from).take(LOOK_AHEAD);
        if let Some((i, _)) = near.into_iter().find(|(_, other)| *other == item) {
            pairs.push((i, j));
            from = i + 1;
        }
    }
    pairs
}

/// Pairs changed objects and lists with what they were, in order.
///
/// As many new as old: each is an edit of the one at its place. Else only objects that still have
/// a field in common are. Scalars are never edited: a changed one is another item.
fn pair_edits(old: &[Value], new: &[Value]) -> Vec<(usize, usize)> {
    if old.len() == new.len() {
        let kinds = old.iter().zip(new).enumerate();
        return kinds.filter(|(_, (a, b))| same_sort(a, b)).map(|(i, _)| (i, i)).collect();
    }
    let (mut from, mut pairs) = (0, Vec::new());
    for (j, item) in new.iter().enumerate() {
        let near = old.iter().enumerate().skip(from).take(LOOK_AHEAD);
        if let Some((i, _)) = near.into_iter().find(|(_, other)| share_a_field(other, item)) {
            pairs.push((i, j));
            from = i + 1;
        }
    }
    pairs
}

const fn same_sort(a: &Value, b: &Value) -> bool {
    matches!((a, b), (Value::Object(_), Value::Object(_)) | (Value::Array(_), Value::Array(_)))
}

fn share_a_field(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            a.iter().any(|(name, value)| b.get(name) == Some(value))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn aligned(old: &Value, new: &Value) -> Vec<Option<usize>> {
        align(old.as_array().unwrap(), new.as_array().unwrap())
    }

    /// What stayed is found again, in order, whatever came or went around it.
    #[test]
    fn what_stayed_is_found() {
        let found = aligned(&json!([1, 2, 3, 4]), &json!([0, 2, 9, 3]));
        assert_eq!(found, [None, Some(1), None, Some(2)]);
        assert_eq!(aligned(&json!([1, 1]), &json!([1, 1, 1])), [Some(0), Some(1), None]);
        assert_eq!(aligned(&json!([]), &json!([1])), [None]);
    }

    /// A changed object is the old one; a changed scalar is not.
    #[test]
    fn objects_are_edited_in_place() {
        let old = json!([{"id": 1, "done": false}, 5, {"id": 2}]);
        let found = aligned(&old, &json!([{"id": 1, "done": true}, 6, {"id": 2}]));
        assert_eq!(found, [Some(0), None, Some(2)]);
        let found = aligned(&old, &json!([{"id": 7}, {"id": 2, "new": 0}]));
        assert_eq!(found, [None, Some(2)]);
    }

    /// Long lists are aligned without a table.
    #[test]
    fn long_lists_are_aligned_too() {
        let old: Vec<Value> = (0..3000).map(Value::from).collect();
        let mut new = old.clone();
        new.insert(0, Value::from("first"));
        new.remove(1500);
        new.push(Value::from("last"));
        let found = align(&old, &new);
        assert_eq!(found.iter().flatten().count(), 2999);
        assert!(found.iter().flatten().is_sorted());
    }
}
