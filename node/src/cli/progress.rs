//! Progress on standard error, drawn only where somebody can see it.

use std::time::Duration;

use hearth_protocol::unit::ByteCount;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::printer::Printer;

/// A bar or spinner; hidden when the output is no terminal, quiet, verbose or JSON.
#[derive(Debug, Clone)]
pub(super) struct Bar(ProgressBar);

impl Bar {
    fn new(printer: &Printer, message: &str, template: &str) -> Self {
        let target = if printer.animates() {
            ProgressDrawTarget::stderr_with_hz(10)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let style = ProgressStyle::with_template(template)
            .expect("the template is a constant and correct")
            .progress_chars("━╸ ");
        bar.set_style(style);
        bar.set_message(message.to_owned());
        if printer.animates() {
            bar.enable_steady_tick(Duration::from_millis(120));
        }
        Self(bar)
    }

    /// Begins a spinner for work of unknown length.
    pub(super) fn spinner(printer: &Printer, message: &str) -> Self {
        Self::new(printer, message, "{spinner} {msg} {elapsed}")
    }

    /// Begins a bar of steps.
    pub(super) fn steps(printer: &Printer, message: &str) -> Self {
        Self::new(
            printer,
            message,
            "{spinner} {wide_bar} {pos}/{len} {msg} {elapsed}",
        )
    }

    /// Begins a bar of bytes.
    pub(super) fn bytes(printer: &Printer, message: &str) -> Self {
        Self::new(
            printer,
            message,
            "{spinner} {msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}",
        )
    }

    /// Whether anybody sees it.
    pub(super) fn is_drawn(&self) -> bool {
        !self.0.is_hidden()
    }

    /// Sets bytes done and bytes in all.
    pub(super) fn set(&self, have: ByteCount, total: ByteCount) {
        self.at(have.get(), total.get());
    }

    /// Sets position and length.
    pub(super) fn at(&self, position: u64, length: u64) {
        self.0.set_length(length);
        self.0.set_position(position);
    }

    /// Says what is happening.
    pub(super) fn say(&self, message: impl Into<String>) {
        self.0.set_message(message.into());
    }

    /// Prints something without the bar in its way.
    pub(super) fn above<T>(&self, print: impl FnOnce() -> T) -> T {
        self.0.suspend(print)
    }

    /// Takes it off the screen.
    pub(super) fn clear(&self) {
        self.0.finish_and_clear();
    }
}
