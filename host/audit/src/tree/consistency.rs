//! Consistency proofs (RFC 6962, section 2.1.2): the leaves of an earlier tree are the first ones of a later tree.

use std::ops::Range;

use super::{Frontier, Hash, node_hash};

/// Collects what proves that a tree is the beginning of a later one, while the leaves after it pass by in order. Its
/// size is the logarithm of their number.
#[derive(Debug)]
pub(crate) struct ConsistencyCollector {
    /// The number of leaves of the earlier tree.
    old: u64,
    /// Complete subtrees of all leaves, in their order. Those after the earlier tree are as large as possible, and are
    /// never joined with those before.
    subtrees: Vec<Subtree>,
}

#[derive(Clone, Copy, Debug)]
struct Subtree {
    begin: u64,
    size: u64,
    root: Hash,
}

impl Subtree {
    fn end(&self) -> u64 {
        self.begin + self.size
    }

    /// The subtree of both, if they are the children of one node.
    fn joined(&self, right: &Self) -> Option<Self> {
        let are_siblings = self.size == right.size && self.begin & self.size == 0;
        let root = || node_hash(&self.root, &right.root);
        are_siblings.then(|| Self { begin: self.begin, size: 2 * self.size, root: root() })
    }
}

impl ConsistencyCollector {
    /// A collector for proofs from this tree on.
    pub(crate) fn new(old: &Frontier) -> Self {
        let mut begin = 0;
        let sizes = (0..64).rev().map(|bit| 1_u64 << bit).filter(|size| old.size & size != 0);
        let subtree = |(root, size): (&Hash, u64)| {
            let subtree = Subtree { begin, size, root: *root };
            begin += size;
            subtree
        };
        Self { old: old.size, subtrees: old.nodes.iter().zip(sizes).map(subtree).collect() }
    }

    /// The number of leaves so far.
    fn size(&self) -> u64 {
        self.subtrees.last().map(Subtree::end).unwrap_or_default()
    }

    /// Takes the next leaf.
    pub(crate) fn push(&mut self, leaf: Hash) {
        let mut last = Subtree { begin: self.size(), size: 1, root: leaf };
        while let Some(joined) =
            self.subtrees.last().filter(|left| left.begin >= self.old).and_then(|left| left.joined(&last))
        {
            self.subtrees.pop();
            last = joined;
        }
        self.subtrees.push(last);
    }

    /// The proof that the earlier tree is the beginning of the tree of all leaves so far. It is empty if one of them has
    /// no leaves, or both have the same number.
    pub(crate) fn proof(&self) -> Vec<Hash> {
        let (mut begin, mut end, mut ranges) = (0, self.size(), Vec::new());
        if self.old == 0 || self.old == end {
            return Vec::new();
        }
        while end != self.old {
            // The largest power of two that is smaller than the number of leaves.
            let middle = begin + (1 << (63 - (end - begin - 1).leading_zeros()));
            if self.old <= middle {
                ranges.push(middle..end);
                end = middle;
            } else {
                ranges.push(begin..middle);
                begin = middle;
            }
        }
        if begin > 0 {
            ranges.push(begin..end);
        }
        ranges.iter().rev().map(|range| self.root_of(range)).collect()
    }

    /// The root of the leaves in `range`.
    fn root_of(&self, range: &Range<u64>) -> Hash {
        let is_within = |subtree: &&Subtree| range.start <= subtree.begin && subtree.end() <= range.end;
        let mut within = self.subtrees.iter().rev().filter(is_within).map(|subtree| subtree.root);
        let last = within.next().unwrap_or_default();
        within.fold(last, |right, left| node_hash(&left, &right))
    }
}

#[cfg(test)]
mod tests {
    use ct_merkle::mem_backed_tree::MemoryBackedTree;
    use sha2::Sha256;

    use super::*;
    use crate::tree::leaf_hash;

    fn line(number: u64) -> Vec<u8> {
        format!("line {number}").into_bytes()
    }

    #[test]
    fn proofs_are_those_of_another_implementation() {
        let mut other = MemoryBackedTree::<Sha256, Vec<u8>>::new();
        for size in 1_u64..=100 {
            other.push(line(size - 1));
            for old in 0..=size {
                let mut earlier = Frontier::default();
                (0..old).for_each(|number| earlier.push(leaf_hash(&line(number))));
                let mut collector = ConsistencyCollector::new(&earlier);
                (old..size).for_each(|number| collector.push(leaf_hash(&line(number))));
                assert!(collector.subtrees.len() <= 16, "{}", collector.subtrees.len());
                let expected = match old {
                    old if old == 0 || old == size => Vec::new(),
                    _ => other.prove_consistency(usize::try_from(size - old).unwrap()).as_bytes().to_vec(),
                };
                assert_eq!(collector.proof().concat(), expected, "{old} of {size}");
            }
        }
    }
}
