//! Order: repeatedly the first in the list whose prerequisites are all taken.

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet, VecDeque};

/// `edges` are (first, then). `Err` holds a circle: each node, followed by the next, the last by the first.
pub fn order(count: usize, edges: &[(usize, usize)]) -> Result<Vec<usize>, Vec<usize>> {
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
    if out.len() == count { Ok(out) } else { Err(circle(count, edges)) }
}

/// The shortest circle through the first node that is in one.
fn circle(count: usize, edges: &[(usize, usize)]) -> Vec<usize> {
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
    let first = kosaraju_scc(&graph).into_iter().filter(in_circle).flatten().map(|n| n.index()).min();
    let Some(start) = first else { return Vec::new() };
    let mut from = vec![usize::MAX; count];
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        let mut targets: Vec<usize> = graph.neighbors(NodeIndex::new(node)).map(|n| n.index()).collect();
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
        assert_eq!(order(4, &[(1, 2), (2, 3), (3, 1), (0, 1)]), Err(vec![1, 2, 3]));
        assert_eq!(order(2, &[(1, 1)]), Err(vec![1]));
    }

    #[test]
    fn a_long_chain_takes_linear_time_and_no_stack() {
        let edges: Vec<_> = (0..100_000).map(|n| (n + 1, n)).collect();
        assert_eq!(order(100_001, &edges).map(|o| o[0]), Ok(100_000));
        let mut ring = edges;
        ring.push((0, 100_000));
        assert_eq!(order(100_001, &ring).map_err(|c| c.len()), Err(100_001));
    }
}
