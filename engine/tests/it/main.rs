//! The engine from outside: against diffusers' values, against bad files, as a process.

#![expect(
    clippy::print_stderr,
    reason = "the differences found are worth seeing"
)]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "everything unexpected is a failure"
)]

mod files;
mod material;
mod models;
mod parity;
mod process;
mod prompts;
mod runs;
mod single_file;
mod starts;
