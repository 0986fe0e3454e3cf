//! The terminal dashboard: five screens over a node's snapshots, nothing it could not do without.
//!
//! Elm's shape: an [`App`] is changed by [`update`] alone and drawn by [`view`] alone, both pure;
//! [`run`](run()) is the only code with a terminal and a clock. It links neither the ledger nor the
//! dispatcher: what it shows comes from a [`Source`], what it asks goes back as control commands.
//! Start with [`keymap`] for what a person can do and [`screen`] for what is shown.

mod answer;
mod app;
mod chrome;
mod feed;
mod keymap;
mod overlay;
mod preview;
mod run;
mod screen;
mod sheet;
mod source;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod theme;
mod update;
mod view;

pub use app::{App, Message};
pub use keymap::{Key, Screen};
pub use run::{TuiError, run, run_with};
pub use source::{Source, SourceError};
pub use theme::{Depth, Theme};
pub use update::update;
pub use view::{HEIGHT_MIN, WIDTH_MIN, view};
