//! Moves as comma-separated rows: one move a row, dates in UTC, amounts in kudos.

use hearth_ledger::{Book, Cause, moves};
use hearth_protocol::entry::EnergyMethod;
use hearth_protocol::unit::Timestamp;

use super::Told;
use crate::cli::ledger::calendar::stamp;
use crate::cli::ledger::words::amount;
use crate::cli::wording::Names;

const HEADINGS: &str = "date,kind,state,kudos,from,from_name,to,to_name,what,entry,order,job,\
                        evaluations,width,height,compute_ms,energy_j,energy_method";

/// Writes every move dated at or after `since`.
pub(in crate::cli::ledger) fn write(
    book: &Book,
    names: &Names,
    since: Option<Timestamp>,
) -> String {
    let mut text = format!("{HEADINGS}\n");
    for one in moves(book) {
        if since.is_none_or(|since| one.date >= since) {
            let row: Vec<String> = row(&Told::of(book, one), names)
                .iter()
                .map(|cell| quoted(cell))
                .collect();
            text.push_str(&row.join(","));
            text.push('\n');
        }
    }
    text
}

fn row(told: &Told, names: &Names) -> [String; 18] {
    let one = &told.one;
    let (kind, order) = match one.cause {
        Cause::Work { order } => ("work", order.to_string()),
        Cause::Transfer(_) => ("transfer", String::new()),
    };
    let job = told.job.map_or_else(String::new, |job| job.to_string());
    let figure = |of: fn(&hearth_protocol::entry::Work) -> u64| {
        told.work
            .map_or_else(String::new, |(work, _)| of(&work).to_string())
    };
    let (joules, method) = match told.work.map(|(_, energy)| energy) {
        Some(energy) if energy.method == EnergyMethod::Rated => {
            (joules(energy.millijoules), "rated")
        }
        Some(energy) if energy.method == EnergyMethod::Metered => {
            (joules(energy.millijoules), "metered")
        }
        Some(_) | None => (String::new(), ""),
    };
    [
        stamp(one.date),
        kind.to_owned(),
        told.state.to_owned(),
        amount(one.amount),
        one.from.to_string(),
        harmless(&names.name(&one.from)),
        one.to.to_string(),
        harmless(&names.name(&one.to)),
        told.what.clone(),
        one.entry.to_string(),
        order,
        job,
        figure(|work| work.evaluations.into()),
        figure(|work| work.width.into()),
        figure(|work| work.height.into()),
        figure(|work| work.compute.get()),
        joules,
        method.to_owned(),
    ]
}

fn joules(millijoules: u64) -> String {
    format!("{}.{:03}", millijoules / 1000, millijoules % 1000)
}

/// A name that others chose must not become a formula in a spreadsheet.
fn harmless(name: &str) -> String {
    if name.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{name}")
    } else {
        name.to_owned()
    }
}

fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}
