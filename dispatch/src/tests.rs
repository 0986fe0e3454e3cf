//! Worlds of a few dispatchers on a virtual clock, and the rules of `specs/jobs.md` held in them.

mod bounds;
mod placing;
mod stories;
mod working;
mod world;
