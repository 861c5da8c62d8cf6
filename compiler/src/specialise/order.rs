//! Order: repeatedly the first in the list whose prerequisites are all taken.

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet, VecDeque};

/// `edges` are (first, then). `Err` holds circles that share no node, one for each knot of nodes that wait for each
/// other: each node, followed by one that waits for it, the last by the first.
pub fn order(count: usize, edges: &[(usize, usize)]) -> Result<Vec<usize>, Vec<Vec<usize>>> {
    let mut next: Vec<Vec<usize>> = vec![Vec::new(); count];
    let mut waiting = vec![0usize; count];
    for (first, then) in edges.iter().copied().collect::<HashSet<_>>() {
        next[first].push(then);
        waiting[then] += 1;
    }
    let mut ready: BinaryHeap<Reverse<usize>> =
        (0..count).filter(|n| waiting[*n] == 0).map(Reverse).collect();
    let mut out = Vec::with_capacity(count);
    while let Some(Reverse(node)) = ready.pop() {
        out.push(node);
        for then in &next[node] {
            waiting[*then] -= 1;
            if waiting[*then] == 0 {
                ready.push(Reverse(*then));
            }
        }
    }
    if out.len() == count { Ok(out) } else { Err(circles(count, edges)) }
}

/// Steps of a circle that a finding shows; nobody reads more.
const MAX_SHOWN: usize = 50;

/// The edges of a circle as (first, then), in the order in which people read them: each node waits for the next.
pub fn steps(circle: &[usize]) -> impl Iterator<Item = (usize, usize)> {
    let circle = waiting(circle);
    (0..circle.len().min(MAX_SHOWN)).map(move |n| (circle[(n + 1) % circle.len()], circle[n]))
}

/// A circle in words: `a` → `b` → `a`.
pub fn drawn(circle: &[usize], name: impl Fn(usize) -> String) -> String {
    let circle = waiting(circle);
    let mut shown: Vec<String> = circle.iter().take(MAX_SHOWN).map(|n| name(*n)).collect();
    if circle.len() > MAX_SHOWN {
        shown.push(format!("... ({} more)", circle.len() - MAX_SHOWN));
    }
    shown.extend(circle.first().map(|n| name(*n)));
    shown.join(" → ")
}

/// A circle of (first, then) the way people read it: each waits for the next.
fn waiting(circle: &[usize]) -> Vec<usize> {
    let first = circle.first().copied();
    first.into_iter().chain(circle.iter().skip(1).rev().copied()).collect()
}

/// For each knot the shortest circle through its first node.
fn circles(count: usize, edges: &[(usize, usize)]) -> Vec<Vec<usize>> {
    let graph: DiGraph<(), (), usize> = {
        let mut graph = DiGraph::with_capacity(count, edges.len());
        for _ in 0..count {
            graph.add_node(());
        }
        for (a, b) in edges {
            graph.add_edge(NodeIndex::new(*a), NodeIndex::new(*b), ());
        }
        graph
    };
    let in_circle = |part: &Vec<NodeIndex<usize>>| {
        part.len() > 1 || part.first().is_some_and(|n| graph.contains_edge(*n, *n))
    };
    // not `tarjan_scc`, which recurses: a policy may have long chains
    let mut knot = vec![usize::MAX; count];
    let mut begins = Vec::new();
    for (number, part) in kosaraju_scc(&graph).into_iter().filter(in_circle).enumerate() {
        part.iter().for_each(|node| knot[node.index()] = number);
        begins.extend(part.iter().map(|node| node.index()).min());
    }
    begins.sort_unstable();
    let mut from = vec![usize::MAX; count];
    begins.into_iter().map(|start| shortest(&graph, start, &knot, &mut from)).collect()
}

/// The shortest circle through `start` inside its knot.
fn shortest(graph: &DiGraph<(), (), usize>, start: usize, knot: &[usize], from: &mut [usize]) -> Vec<usize> {
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        let mut targets: Vec<usize> = graph.neighbors(NodeIndex::new(node)).map(|n| n.index()).collect();
        targets.retain(|target| knot[*target] == knot[start]);
        targets.sort_unstable();
        for target in targets {
            if target == start {
                let mut path = vec![node];
                while path.last() != Some(&start) {
                    path.extend(path.last().map(|n| from[*n]));
                }
                path.reverse();
                return path;
            }
            if from[target] == usize::MAX {
                from[target] = node;
                queue.push_back(target);
            }
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_order_breaks_ties_and_is_no_edge() {
        assert_eq!(order(4, &[(3, 0)]), Ok(vec![1, 2, 3, 0]));
        assert_eq!(order(3, &[]), Ok(vec![0, 1, 2]));
        assert_eq!(order(3, &[(2, 1), (1, 0), (2, 1)]), Ok(vec![2, 1, 0]));
    }

    #[test]
    fn a_circle_is_named_edge_by_edge() {
        assert_eq!(order(4, &[(1, 2), (2, 3), (3, 1), (0, 1)]), Err(vec![vec![1, 2, 3]]));
        assert_eq!(order(2, &[(1, 1)]), Err(vec![vec![1]]));
    }

    #[test]
    fn each_knot_gives_a_circle() {
        let edges = [(0, 1), (1, 0), (1, 2), (2, 3), (3, 4), (4, 2), (3, 2), (6, 6), (5, 0)];
        assert_eq!(order(7, &edges), Err(vec![vec![0, 1], vec![2, 3], vec![6]]));
    }

    #[test]
    fn a_long_circle_is_cut_short() {
        let circle: Vec<usize> = (0..1000).collect();
        assert_eq!(steps(&circle).count(), MAX_SHOWN);
        assert!(drawn(&circle, |n| n.to_string()).ends_with("→ 951 → ... (950 more) → 0"));
        assert_eq!(drawn(&[0, 1, 2], |n| n.to_string()), "0 → 2 → 1 → 0");
        assert_eq!(steps(&[0, 1, 2]).collect::<Vec<_>>(), [(2, 0), (1, 2), (0, 1)]);
    }

    #[test]
    fn a_long_chain_takes_linear_time_and_no_stack() {
        let edges: Vec<_> = (0..100_000).map(|n| (n + 1, n)).collect();
        assert_eq!(order(100_001, &edges).map(|o| o[0]), Ok(100_000));
        let mut ring = edges;
        ring.push((0, 100_000));
        assert_eq!(order(100_001, &ring).map_err(|c| c[0].len()), Err(100_001));
    }
}
