//! The one binary `hearth`: command line, daemon and engine process.
//!
//! Here are all sockets, files, clocks and random bytes of Hearth, and no rules: those are in
//! `ledger` and `dispatch`. Start with `cli` for what people type and with `daemon` for what a
//! running node does.

#![expect(
    unreachable_pub,
    reason = "a binary has no outside; pub says what a module offers to the other modules"
)]

mod blobs;
mod builtin;
mod chance;
mod cli;
mod client;
mod clock;
mod config;
mod control;
mod daemon;
mod device;
mod engine;
mod home;
mod identity;
mod log;
mod meter;
mod network;
mod specs;
mod store;
mod switchboard;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
