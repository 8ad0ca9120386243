//! `flat-tree.json`: the numbering of nodes.

use multibee_log::flat_tree;
use serde::Deserialize;

use crate::json::load;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    rows: Vec<[i64; 9]>,
    full_roots: Vec<FullRoots>,
}

#[derive(Deserialize)]
struct FullRoots {
    length: u64,
    roots: Vec<u64>,
}

/// All relations of a node are Hypercore's.
#[test]
fn numbering_is_the_same() {
    let file: File = load("flat-tree.json");
    let signed = |index: u64| i64::try_from(index).unwrap();
    for row in &file.rows {
        let node = u64::try_from(row[0]).unwrap();
        let children = flat_tree::children(node).map(|(left, right)| [signed(left), signed(right)]);
        let [left, right] = children.unwrap_or([-1, -1]);
        let ours = [
            signed(node),
            i64::from(flat_tree::depth(node)),
            signed(flat_tree::offset(node)),
            signed(flat_tree::parent(node).unwrap()),
            signed(flat_tree::sibling(node).unwrap()),
            left,
            right,
            signed(flat_tree::left_span(node)),
            signed(flat_tree::right_span(node)),
        ];
        assert_eq!(&ours, row);
    }
    for case in &file.full_roots {
        assert!(flat_tree::full_roots(case.length).eq(case.roots.iter().copied()));
    }
    println!("flat-tree.json: {} cases passed", file.rows.len() + file.full_roots.len());
}
