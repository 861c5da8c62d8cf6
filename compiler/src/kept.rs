//! Lists that stay in memory as long as a policy is open.

/// A list without room for more, which a plain `collect` leaves, also when it takes over the memory of the list before.
/// A policy has hundreds of thousands of short ones.
pub fn kept<T>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    items.into_iter().collect::<Box<[T]>>().into_vec()
}
