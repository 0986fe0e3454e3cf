//! Who may fetch, and the connections to close when that changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use hearth_protocol::id::NodeId;
use iroh::endpoint::{Connection, WeakConnectionHandle};

use super::endpoint::{CODE_BUSY, CODE_PERMISSION};

/// Connections one peer may hold at a time.
const CONNECTIONS_MAX: usize = 16;

/// The members of the commons, as far as this node serves them.
#[derive(Debug, Default)]
pub(super) struct Members {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    allowed: BTreeSet<NodeId>,
    open: BTreeMap<NodeId, Vec<WeakConnectionHandle>>,
}

impl Members {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn allow(&self, peer: NodeId) {
        self.state().allowed.insert(peer);
    }

    pub(super) fn disallow(&self, peer: &NodeId) {
        let open = {
            let mut state = self.state();
            state.allowed.remove(peer);
            state.open.remove(peer)
        };
        for connection in open
            .iter()
            .flatten()
            .filter_map(WeakConnectionHandle::upgrade)
        {
            connection.close(CODE_PERMISSION, b"permission");
        }
    }

    /// Registers a connection if its peer is a member, or closes it.
    pub(super) fn admit(&self, peer: NodeId, connection: &Connection) -> bool {
        let mut state = self.state();
        if !state.allowed.contains(&peer) {
            connection.close(CODE_PERMISSION, b"permission");
            return false;
        }
        let open = state.open.entry(peer).or_default();
        open.retain(|handle| {
            handle
                .upgrade()
                .is_some_and(|open| open.close_reason().is_none())
        });
        if open.len() >= CONNECTIONS_MAX {
            connection.close(CODE_BUSY, b"limit");
            return false;
        }
        open.push(connection.weak_handle());
        true
    }
}
