//! What nodes of a commons say to each other and to their people: types, wire format, limits.
//!
//! Pure: no clock, no randomness, no I/O. Everything that crosses a wire or is signed is encoded
//! by [`codec`] as canonical packed CBOR, so the order of fields and variants here *is* the wire
//! format; `specs/vectors/` freezes it. Start with [`entry`] for the ledger, [`job`] for work and
//! [`control`] for what people ask of their own node.

pub mod bounty;
pub mod capacity;
pub mod card;
pub mod charter;
pub mod codec;
pub mod control;
pub mod credit;
pub mod engine;
pub mod entry;
pub mod id;
pub mod job;
pub mod limits;
pub mod sign;
pub mod snapshot;
pub mod ticket;
pub mod unit;
pub mod wire;
