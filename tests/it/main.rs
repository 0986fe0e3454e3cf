//! Stories with real nodes: every one starts the binary that was just built, in homes of its own.
//!
//! [`node`] is one process, [`commons`] several that know each other, [`patience`] the only way to
//! wait, [`weights`] the models they share. Nothing here reaches into the program: a story types
//! commands, speaks to the control API, kills processes and looks at what is left.

mod auditor;
mod bounties;
mod command_line;
mod commons;
mod durability;
mod full_disk;
mod generate;
mod healed;
mod join;
mod kindling;
mod lending;
mod messages;
mod node;
mod patience;
mod reconnect;
mod requester_killed;
mod seeder_killed;
mod share;
mod weights;
mod worker_killed;
