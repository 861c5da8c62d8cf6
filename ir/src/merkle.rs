//! The hash tree over an envoy's variables and modules, in the shape and with the domain separation of
//! RFC 9162, section 2.1.

use crate::hash::Hash;

/// Hash of one leaf's data (prefix 0x00).
pub fn leaf_hash(data: &[u8]) -> Hash {
    Hash::of_parts(&[&[0], data])
}

fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Hash::of_parts(&[&[1], &left.0, &right.0])
}

/// The largest power of two below `n`; `n` is at least 2.
fn split(n: usize) -> usize {
    let half = n.next_power_of_two() / 2;
    if half == n { n / 2 } else { half }
}

/// The root over leaf hashes; of none, the hash of nothing.
pub fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::of(&[]),
        [one] => *one,
        many => {
            let (left, right) = many.split_at(split(many.len()));
            node_hash(&root(left), &root(right))
        }
    }
}

/// The audit path of leaf `index`, nearest sibling first; `None` when there is no such leaf.
pub fn inclusion_proof(leaves: &[Hash], index: usize) -> Option<Vec<Hash>> {
    if index >= leaves.len() {
        return None;
    }
    let mut path = Vec::new();
    let (mut part, mut at) = (leaves, index);
    while part.len() > 1 {
        let (left, right) = part.split_at(split(part.len()));
        if at < left.len() {
            path.push(root(right));
            part = left;
        } else {
            path.push(root(left));
            at -= left.len();
            part = right;
        }
    }
    path.reverse();
    Some(path)
}

/// Whether `leaf` is leaf `index` of a tree of `count` leaves with this root (RFC 9162, 2.1.3.2).
pub fn verify_inclusion(leaf: Hash, index: u64, count: u64, proof: &[Hash], expected: Hash) -> bool {
    if index >= count {
        return false;
    }
    let (mut at, mut last, mut hash) = (index, count - 1, leaf);
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if at % 2 == 1 || at == last {
            hash = node_hash(sibling, &hash);
            while at.is_multiple_of(2) && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && hash == expected
}

/// The leaf of the merged variables.
pub fn vars_leaf(vars_hash: Hash) -> Hash {
    leaf_hash(&[b"vars".as_slice(), &vars_hash.0].concat())
}

/// The leaf of a module: its name and the hash of its bytes.
pub fn module_leaf(name: &str, content: Hash) -> Hash {
    let len = (name.len() as u64).to_be_bytes();
    leaf_hash(&[b"module".as_slice(), &len, name.as_bytes(), &content.0].concat())
}

/// An envoy's `merkle_root`. `modules` must be sorted by name and unique.
pub fn bundle_root<'a>(vars_hash: Hash, modules: impl IntoIterator<Item = (&'a str, Hash)>) -> Hash {
    let leaves: Vec<Hash> = std::iter::once(vars_leaf(vars_hash))
        .chain(modules.into_iter().map(|(name, hash)| module_leaf(name, hash)))
        .collect();
    root(&leaves)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Inputs and roots of the Certificate Transparency reference implementation, which RFC 9162 inherits.
    const INPUTS: [&[u8]; 8] = [
        &[],
        &[0x00],
        &[0x10],
        &[0x20, 0x21],
        &[0x30, 0x31],
        &[0x40, 0x41, 0x42, 0x43],
        &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
        &[0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f],
    ];
    const ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    fn leaves(n: usize) -> Vec<Hash> {
        INPUTS[..n].iter().map(|d| leaf_hash(d)).collect()
    }

    #[test]
    fn roots_are_those_of_the_rfc() {
        assert_eq!(root(&[]).to_string(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        for (i, expected) in ROOTS.iter().enumerate() {
            assert_eq!(root(&leaves(i + 1)).to_string(), *expected);
        }
    }

    #[test]
    fn case_012_every_leaf_of_every_size_has_a_proof_and_no_other_place_takes_it() {
        let all: Vec<Hash> = (0u32..70).map(|i| leaf_hash(&i.to_be_bytes())).collect();
        for n in 1..=all.len() {
            let root = root(&all[..n]);
            for i in 0..n {
                let proof = inclusion_proof(&all[..n], i).unwrap();
                assert!(verify_inclusion(all[i], i as u64, n as u64, &proof, root), "{i} of {n}");
                assert!(!verify_inclusion(all[i], i as u64 + 1, n as u64, &proof, root), "{i} of {n} moved");
                assert!(!verify_inclusion(leaf_hash(b"x"), i as u64, n as u64, &proof, root));
                if !proof.is_empty() {
                    assert!(!verify_inclusion(all[i], i as u64, n as u64, &proof[1..], root));
                }
            }
            assert_eq!(inclusion_proof(&all[..n], n), None);
        }
    }

    #[test]
    fn case_012_an_inner_node_is_no_leaf_and_a_repeated_last_leaf_changes_the_root() {
        let three = leaves(3);
        let pair = [root(&three[..2]), three[2]];
        assert_eq!(root(&pair), root(&three), "the shape is RFC 9162's");
        let data: Vec<u8> = three[0].0.iter().chain(&three[1].0).copied().collect();
        assert_ne!(leaf_hash(&data), pair[0]);
        let mut four = three.clone();
        four.push(three[2]);
        assert_ne!(root(&four), root(&three));
    }

    #[test]
    fn case_012_sets_of_every_size_have_roots_of_their_own() {
        let mut seen = std::collections::HashSet::new();
        let all: Vec<Hash> = (0u32..1 << 16).map(|i| leaf_hash(&i.to_be_bytes())).collect();
        for n in [0, 1, 2, 3, 4, 255, 256, 257, (1 << 16) - 1, 1 << 16] {
            assert!(seen.insert(root(&all[..n])), "{n} leaves");
        }
        let (last, whole) = (all.len() - 1, root(&all));
        let proof = inclusion_proof(&all, last).unwrap();
        assert!(verify_inclusion(all[last], last as u64, all.len() as u64, &proof, whole));
        // A node offered as a leaf, with the rest of its proof.
        let node = root(&all[last - 1..]);
        assert!(!verify_inclusion(
            node,
            last as u64 / 2,
            all.len() as u64 / 2,
            &proof[1..],
            root(&all[..last])
        ));
        let mut reordered = all.clone();
        reordered.swap(0, last);
        assert_ne!(root(&reordered), whole);
        assert_ne!(bundle_root(Hash::of(b"v"), []), bundle_root(Hash::of(b"w"), []), "no module at all");
    }

    #[test]
    fn case_012_names_and_order_are_part_of_the_root() {
        let (a, b, v) = (Hash::of(b"a"), Hash::of(b"b"), Hash::of(b"v"));
        let base = bundle_root(v, [("a", a), ("b", b)]);
        assert_ne!(base, bundle_root(v, [("a", b), ("b", a)]));
        assert_ne!(base, bundle_root(v, [("a", a), ("c", b)]));
        assert_ne!(base, bundle_root(v, [("a", a)]));
        assert_ne!(base, bundle_root(Hash::of(b"w"), [("a", a), ("b", b)]));
    }
}
