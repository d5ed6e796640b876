//! Keeping every row reachable.
//!
//! Pruning drops edges without asking whether a row can still be reached. Rows that cannot are rare (far below one
//! in a hundred) except among duplicates, and are attached again here: a breadth-first walk over layer 0 from the
//! entry builds a tree of the edges by which rows were first reached; each row that was not gets an edge from a
//! near reached one. That edge takes a free slot, or the place of an edge that is not in the tree, so nothing that
//! was reachable is lost.

use std::sync::atomic::Ordering;

use super::adjacency::{Adjacency, EMPTY, Slot};
use super::growing::GrowingGraph;

/// The tree of first reaching edges over layer 0.
pub(crate) struct ReachTree {
    /// The row each row was reached from; `EMPTY` where it was not. The root is its own parent.
    parents: Vec<u32>,
    queue: Vec<u32>,
}

impl ReachTree {
    /// Walks layer 0 from `root` over rows below `limit`.
    pub(crate) fn walk<A: Adjacency>(graph: &A, root: u32, limit: u32) -> ReachTree {
        let mut tree = ReachTree { parents: vec![EMPTY; limit as usize], queue: Vec::new() };
        tree.extend(graph, root, root);
        tree
    }

    /// Adds `row`, reached from `parent`, and all that it leads to.
    fn extend<A: Adjacency>(&mut self, graph: &A, row: u32, parent: u32) {
        self.queue.clear();
        self.reach(row, parent);
        let mut next = 0;
        while let Some(row) = self.queue.get(next).copied() {
            next += 1;
            for slot in graph.slots(0, row) {
                self.reach(slot.get(), row);
            }
        }
    }

    fn reach(&mut self, row: u32, from: u32) {
        // EMPTY and rows past the limit are past the end of the table.
        if let Some(parent) = self.parents.get_mut(row as usize)
            && *parent == EMPTY
        {
            *parent = from;
            self.queue.push(row);
        }
    }

    /// Whether the walk reached a row.
    pub(crate) fn is_reached(&self, row: u32) -> bool {
        self.parents.get(row as usize).is_some_and(|parent| *parent != EMPTY)
    }

    /// The first row from `from` on that was not reached.
    pub(crate) fn next_unreached(&self, from: u32) -> Option<u32> {
        let rest = self.parents.get(from as usize..)?;
        rest.iter().position(|parent| *parent == EMPTY).map(|position| from + position as u32)
    }

    /// Links `row` from the first of `hosts` that is reached and has a place for it, else from the first such row
    /// at all (there is one: a tree of `n` rows has fewer edges than `n` rows have slots).
    pub(crate) fn attach(
        &mut self,
        graph: &GrowingGraph,
        row: u32,
        hosts: impl Iterator<Item = u32>,
    ) -> bool {
        let all = 0..self.parents.len() as u32;
        let host = hosts.chain(all).find(|host| *host != row && self.host(graph, *host, row));
        let Some(host) = host else { return false };
        self.extend(graph, row, host);
        true
    }

    /// Tries to put an edge to `row` into the list of `host`.
    fn host(&self, graph: &GrowingGraph, host: u32, row: u32) -> bool {
        if !self.is_reached(host) {
            return false;
        }
        // The last edges of a list are the farthest, or the latest.
        let place = graph.slots(0, host).iter().rev().find(|slot| {
            let neighbour = slot.get();
            // An edge to a row that is not reached has no parent to compare with and may go as well, but that row
            // would be reached if the host is: so what is compared is always a reached row or a free slot.
            neighbour == EMPTY || self.parents.get(neighbour as usize) != Some(&host)
        });
        let Some(place) = place else { return false };
        let free = graph.slots(0, host).iter().find(|slot| slot.get() == EMPTY);
        // Lists have no gaps: the first free slot, not the last.
        free.unwrap_or(place).store(row, Ordering::Relaxed);
        true
    }
}

/// How many rows the entry leads to on layer 0.
pub(crate) fn count_reachable<A: Adjacency>(graph: &A) -> u32 {
    let Some(entry) = graph.entry() else { return 0 };
    let tree = ReachTree::walk(graph, entry.row, entry.limit);
    tree.parents.iter().filter(|parent| **parent != EMPTY).count() as u32
}
