//! One key, two names: the node id of Hearth and the peer id of libp2p.
//!
//! Both hold the same ed25519 public key, so each converts into the other. Peer ids of other key
//! types have no node id and are refused.

use hearth_protocol::id::NodeId;
use libp2p::PeerId;
use libp2p::identity::{DecodingError, Keypair, PublicKey, ed25519};

/// The multihash code for "the digest is the data itself".
const IDENTITY_CODE: u64 = 0;

/// Makes the key pair and wipes the seed.
pub(super) fn keypair(seed: &mut [u8; 32]) -> Result<Keypair, DecodingError> {
    Keypair::ed25519_from_bytes(seed)
}

/// Returns the node id of our own key pair.
pub(super) fn node_id_of_key(keypair: &Keypair) -> NodeId {
    node_id(&keypair.public().to_peer_id()).expect("the key pair is ed25519")
}

/// Returns the peer id of a node, or nothing when its 32 bytes are no point of the curve.
pub(super) fn peer_id(node: &NodeId) -> Option<PeerId> {
    let key = ed25519::PublicKey::try_from_bytes(node.as_bytes()).ok()?;
    Some(PublicKey::from(key).to_peer_id())
}

/// Returns the node id of a peer, or nothing when its key is not ed25519.
pub(super) fn node_id(peer: &PeerId) -> Option<NodeId> {
    let multihash = peer.as_ref();
    if multihash.code() != IDENTITY_CODE {
        return None;
    }
    let key = PublicKey::try_decode_protobuf(multihash.digest()).ok()?;
    Some(NodeId::from_bytes(key.try_into_ed25519().ok()?.to_bytes()))
}
