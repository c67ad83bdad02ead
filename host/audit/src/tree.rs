//! The Merkle tree over the lines (RFC 6962, section 2.1): its root, and proofs that a line is in it.

pub(crate) mod consistency;

use std::ops::Range;

use aws_lc_rs::digest::{Context, SHA256};
use witgate_base::digest::sha256;

/// A SHA-256 hash of the tree.
pub type Hash = [u8; 32];

/// The first byte of the input of a leaf's hash.
const LEAF: u8 = 0;
/// The first byte of the input of a node's hash.
const NODE: u8 = 1;

/// The hash of a line, without its line end.
pub fn leaf_hash(line: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&[LEAF]);
    context.update(line);
    let mut hash = Hash::default();
    hash.iter_mut().zip(context.finish().as_ref()).for_each(|(byte, from)| *byte = *from);
    hash
}

/// The hash of a line that has a [`LEAF`] byte before it, which takes one pass over contiguous bytes.
pub(crate) fn marked_leaf_hash(marked: &[u8]) -> Hash {
    debug_assert_eq!(marked.first(), Some(&LEAF));
    sha256(marked)
}

/// The byte before a line for [`marked_leaf_hash`].
pub(crate) const LEAF_MARK: u8 = LEAF;

fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut input = [NODE; 65];
    let hashes = left.iter().chain(right);
    input.iter_mut().skip(1).zip(hashes).for_each(|(byte, from)| *byte = *from);
    sha256(&input)
}

/// The complete subtrees of a tree: all that is needed to append leaves and to compute the root. Its size is the
/// logarithm of the number of leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// The hashes of the subtrees, the largest one first.
    nodes: Vec<Hash>,
}

impl Frontier {
    /// The frontier of a tree with `size` leaves. None: a tree of this size has another number of subtrees.
    pub fn new(size: u64, nodes: Vec<Hash>) -> Option<Self> {
        let expected = usize::try_from(size.count_ones()).ok()?;
        (nodes.len() == expected).then_some(Self { size, nodes })
    }

    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hashes of the complete subtrees, the largest one first.
    pub fn nodes(&self) -> &[Hash] {
        &self.nodes
    }

    /// Appends a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let (mut hash, mut size) = (leaf, self.size);
        while size & 1 == 1
            && let Some(left) = self.nodes.pop()
        {
            hash = node_hash(&left, &hash);
            size >>= 1;
        }
        self.nodes.push(hash);
        self.size += 1;
    }

    /// The root of the tree.
    pub fn root(&self) -> Hash {
        let mut nodes = self.nodes.iter().rev();
        match nodes.next() {
            Some(last) => nodes.fold(*last, |right, left| node_hash(left, &right)),
            None => sha256(b""),
        }
    }

    /// The frontier of those leaves that are in `range`. It has to begin where a subtree of its size can begin.
    fn within(&self, range: &Range<u64>) -> Self {
        let (mut begin, mut part) = (0, Self::default());
        for (node, bit) in self.nodes.iter().zip((0..64).rev().filter(|bit| self.size >> bit & 1 == 1)) {
            let end = begin + (1 << bit);
            if range.start <= begin && end <= range.end {
                part.nodes.push(*node);
                part.size += end - begin;
            }
            begin = end;
        }
        part
    }
}

/// The proof that a leaf is in a tree (RFC 6962, section 2.1.1): the sibling of each node on the way to the root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InclusionPath(pub Vec<Hash>);

impl InclusionPath {
    /// The root of a tree with `size` leaves in which `leaf` is at `index`, by the algorithm of RFC 9162, section
    /// 2.1.3.2. None: the path does not fit.
    pub fn root(&self, index: u64, size: u64, leaf: Hash) -> Option<Hash> {
        let (mut at, mut last) = (index, size.checked_sub(1).filter(|last| index <= *last)?);
        let mut hash = leaf;
        for sibling in &self.0 {
            if last == 0 {
                return None;
            }
            if at & 1 == 1 || at == last {
                hash = node_hash(sibling, &hash);
                while at & 1 == 0 && at != 0 {
                    at >>= 1;
                    last >>= 1;
                }
            } else {
                hash = node_hash(&hash, sibling);
            }
            at >>= 1;
            last >>= 1;
        }
        (last == 0).then_some(hash)
    }
}

/// Collects the path of one leaf while all leaves of a tree pass by in order.
#[derive(Debug)]
pub(crate) struct PathCollector {
    /// The siblings on the way, from the leaf to the root: their leaves, and the frontier of those seen so far.
    siblings: Vec<(Range<u64>, Frontier)>,
}

impl PathCollector {
    /// A collector for the leaf `index` of a tree with `size` leaves, of which those in `known` have passed.
    pub(crate) fn new(index: u64, size: u64, known: &Frontier) -> Self {
        let siblings = siblings(index, size).into_iter();
        Self { siblings: siblings.map(|range| (range.clone(), known.within(&range))).collect() }
    }

    /// Takes the leaf at `index`.
    pub(crate) fn push(&mut self, index: u64, leaf: Hash) {
        if let Some((_, frontier)) = self.siblings.iter_mut().find(|(range, _)| range.contains(&index)) {
            frontier.push(leaf);
        }
    }

    /// The path. None: some leaves have not passed.
    pub(crate) fn path(self) -> Option<InclusionPath> {
        let is_complete =
            |(range, frontier): &(Range<u64>, Frontier)| frontier.size == range.end - range.start;
        let complete = self.siblings.iter().all(is_complete);
        complete.then(|| InclusionPath(self.siblings.iter().map(|(_, frontier)| frontier.root()).collect()))
    }
}

/// The leaves below each sibling of a leaf's way to the root, from the leaf up.
fn siblings(index: u64, size: u64) -> Vec<Range<u64>> {
    let (mut begin, mut end, mut ranges) = (0, size, Vec::new());
    while end - begin > 1 && index < end {
        // The largest power of two that is smaller than the number of leaves.
        let middle = begin + (1 << (63 - (end - begin - 1).leading_zeros()));
        if index < middle {
            ranges.push(middle..end);
            end = middle;
        } else {
            ranges.push(begin..middle);
            begin = middle;
        }
    }
    ranges.reverse();
    ranges
}

#[cfg(test)]
mod tests {
    use ct_merkle::mem_backed_tree::MemoryBackedTree;
    use proptest::prelude::*;
    use sha2::Sha256;

    use super::*;

    fn line(number: u64) -> Vec<u8> {
        format!("line {number}").into_bytes()
    }

    fn frontier(lines: impl IntoIterator<Item = u64>) -> Frontier {
        let mut frontier = Frontier::default();
        lines.into_iter().for_each(|number| frontier.push(leaf_hash(&line(number))));
        frontier
    }

    #[test]
    fn the_root_of_no_leaves_is_the_hash_of_nothing() {
        assert_eq!(Frontier::default().root(), sha256(b""));
    }

    #[test]
    fn both_hashes_of_a_line_are_equal() {
        assert_eq!(marked_leaf_hash(b"\0some line"), leaf_hash(b"some line"));
    }

    #[test]
    fn roots_and_paths_are_those_of_another_implementation() {
        let mut other = MemoryBackedTree::<Sha256, Vec<u8>>::new();
        for size in 1..=130 {
            other.push(line(size - 1));
            let own = frontier(0..size);
            assert_eq!(own.root().as_slice(), other.root().as_bytes().as_slice(), "{size}");
            for index in [0, 1, size / 3, size / 2, size - 1].into_iter().filter(|index| *index < size) {
                let path = other.prove_inclusion(usize::try_from(index).unwrap());
                let own = path_after(0, index, size);
                assert_eq!(own.0.concat(), path.as_bytes(), "{index} of {size}");
            }
        }
    }

    /// The path, if the lines before `known` no longer exist.
    fn path_after(known: u64, index: u64, size: u64) -> InclusionPath {
        let mut collector = PathCollector::new(index, size, &frontier(0..known));
        (known..size).for_each(|number| collector.push(number, leaf_hash(&line(number))));
        collector.path().unwrap()
    }

    proptest! {
        #[test]
        fn a_path_proves_its_leaf_and_no_other(size in 1_u64..300, index in 0_u64..300, known in 0_u64..300) {
            let index = index % size;
            let known = known % (index + 1);
            let path = path_after(known, index, size);
            let root = frontier(0..size).root();
            prop_assert_eq!(path.root(index, size, leaf_hash(&line(index))), Some(root));
            prop_assert_ne!(path.root(index, size, leaf_hash(b"other")), Some(root));
            prop_assert_ne!(path.root((index + 1) % (size + 1), size, leaf_hash(&line(index))), Some(root));
            if size > 1 {
                let mut short = path.clone();
                short.0.pop();
                prop_assert_ne!(short.root(index, size, leaf_hash(&line(index))), Some(root));
            }
        }

        #[test]
        fn a_frontier_continues_from_its_nodes(size in 0_u64..500, more in 0_u64..50) {
            let begin = frontier(0..size);
            let mut copy = Frontier::new(begin.size(), begin.nodes().to_vec()).unwrap();
            (size..size + more).for_each(|number| copy.push(leaf_hash(&line(number))));
            prop_assert_eq!(copy, frontier(0..size + more));
        }
    }
}
