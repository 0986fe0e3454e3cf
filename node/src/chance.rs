//! The one place that draws random bytes.

/// Returns bytes nobody can guess.
///
/// # Panics
/// When the operating system has no randomness to give: nothing safe can be done then.
pub(crate) fn bytes() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// Returns sixteen such bytes, for what need not be a key.
pub(crate) fn sixteen() -> [u8; 16] {
    let bytes = bytes();
    std::array::from_fn(|index| bytes[index])
}
