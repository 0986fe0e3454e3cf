//! Fork proofs: two headers of one author at one place.
//!
//! A proof needs nothing but itself: both signatures are the author's, so whoever shows it, it
//! is true. It stays under 1 KB because bodies are no part of it.

use hearth_protocol::entry::Header;
use hearth_protocol::id::CommonsId;
use hearth_protocol::sign::{SignatureError, Signed};
use hearth_protocol::wire::ForkProof;

/// Longest canonical fork proof in bytes.
pub const PROOF_LEN_MAX: usize = 1_000;

/// Why two headers prove no fork.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// They are of another commons, or of two.
    #[error("the headers are of another commons")]
    Commons,
    /// They are by two authors or at two places.
    #[error("the headers are not of one author at one place")]
    Place,
    /// They are one header, or in the wrong order.
    #[error("the headers are the same or not in order")]
    Order,
    /// One of them is not signed by the author.
    #[error("a header is not signed by its author: {0}")]
    Signature(#[from] SignatureError),
}

/// Checks a fork proof for one commons.
///
/// # Errors
/// [`ProofError`] says why it proves nothing.
pub fn verify_fork_proof(proof: &ForkProof, commons: CommonsId) -> Result<(), ProofError> {
    let (left, right) = (proof.left.trusted(), proof.right.trusted());
    if left.commons != commons || right.commons != commons {
        return Err(ProofError::Commons);
    }
    if left.author != right.author || left.seq != right.seq {
        return Err(ProofError::Place);
    }
    if left.hash() >= right.hash() {
        return Err(ProofError::Order);
    }
    proof.left.verify()?;
    proof.right.verify()?;
    Ok(())
}

/// Puts two headers, already checked to be of one author at one place, into a proof.
pub(crate) fn prove(one: &Signed<Header>, other: &Signed<Header>) -> ForkProof {
    let in_order = one.trusted().hash() < other.trusted().hash();
    let (left, right) = if in_order { (one, other) } else { (other, one) };
    ForkProof {
        left: left.clone(),
        right: right.clone(),
    }
}
