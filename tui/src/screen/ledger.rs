//! Balances and the entries behind them, newest first.

use hearth_protocol::snapshot::{BalanceView, LedgerView, Snapshot};
use hearth_protocol::unit::Balance;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};

use super::commons::balance_tone;
use crate::app::App;
use crate::sheet::Sheet;
use crate::table::{self, Cell, Column, cell, left, right};
use crate::text;
use crate::theme::Tone;

const COLUMNS: [Column; 6] = [
    left("Entry", 16, 0),
    left("Kind", 8, 2),
    left("Author", 10, 3),
    right("Kudos", 9, 1),
    left("State", 10, 4),
    right("Age", 4, 5),
];

const BALANCE_COLUMNS: [Column; 3] = [
    left("Member", 8, 0),
    right("Balance", 10, 1),
    right("Pending", 8, 2),
];

pub(super) fn items<'a>(app: &App, snapshot: &'a Snapshot, filter: &str) -> Vec<&'a LedgerView> {
    let entries = snapshot.entries.iter();
    entries
        .filter(|entry| {
            filter.is_empty() || {
                let (id, author) = (entry.entry.to_string(), app.feed.name(entry.author));
                text::matches(
                    filter,
                    &[&entry.text, &entry.kind, &entry.state, &author, &id],
                )
            }
        })
        .collect()
}

pub(super) fn draw(app: &App, snapshot: &Snapshot, buffer: &mut Buffer, area: Rect) {
    let roomy = super::is_roomy(area);
    let mut area = area;
    if roomy {
        let balances;
        [balances, area] =
            Layout::horizontal([Constraint::Length(31), Constraint::Min(1)]).areas(area);
        draw_balances(app, snapshot, buffer, balances);
    } else {
        let mine;
        [mine, area] = Layout::vertical([Constraint::Length(1), Constraint::Min(1)]).areas(area);
        let status = &snapshot.status;
        let words = format!(
            "balance {}, of it pending {}",
            status.balance, status.pending
        );
        super::empty(buffer, mine, app.theme, &[&words]);
    }
    let items = items(app, snapshot, &app.list(app.screen).filter);
    let title = super::heading(app, "Entries", items.len(), snapshot.entries.len());
    let inner = super::panel(buffer, area, app.theme, &title, roomy);
    if items.is_empty() {
        super::nothing(
            app,
            buffer,
            inner,
            &["No entries yet: nothing has been given or owed."],
        );
        return;
    }
    let cursor = app.list(app.screen).cursor;
    table::draw(
        buffer,
        inner,
        app.theme,
        &COLUMNS,
        (&items, Some(cursor)),
        |entry| row(app, entry),
    );
}

fn state_tone(state: &str) -> Tone {
    match state {
        "effective" => Tone::Ok,
        "pending" => Tone::Muted,
        _ => Tone::Warn,
    }
}

fn row(app: &App, entry: &LedgerView) -> Vec<Cell> {
    let amount = entry
        .amount
        .map_or_else(String::new, |amount| amount.to_string());
    vec![
        cell(Tone::Plain, &entry.text),
        cell(Tone::Accent, &entry.kind),
        cell(Tone::Plain, &app.feed.name(entry.author)),
        cell(Tone::Plain, &amount),
        cell(state_tone(&entry.state), &entry.state),
        cell(Tone::Muted, &text::span(app.now.since(entry.time))),
    ]
}

fn draw_balances(app: &App, snapshot: &Snapshot, buffer: &mut Buffer, area: Rect) {
    let sum: Balance = snapshot.balances.iter().map(|one| one.balance).sum();
    let title = format!("Balances, sum {sum}");
    let inner = super::panel(buffer, area, app.theme, &title, true);
    if snapshot.balances.is_empty() {
        super::empty(buffer, inner, app.theme, &["Nobody has any yet."]);
        return;
    }
    let mut items: Vec<&BalanceView> = snapshot.balances.iter().collect();
    let me = snapshot.status.node;
    items.sort_by_key(|one| (one.node != me, std::cmp::Reverse(one.balance)));
    table::draw(
        buffer,
        inner,
        app.theme,
        &BALANCE_COLUMNS,
        (&items, None),
        |one| {
            vec![
                cell(Tone::Plain, &app.feed.name(one.node)),
                cell(balance_tone(one.balance), &one.balance.to_string()),
                cell(Tone::Muted, &one.pending.to_string()),
            ]
        },
    );
}

pub(super) fn detail(app: &App, entry: &LedgerView) -> Sheet {
    let mut sheet = Sheet::new(&format!("Entry {}", entry.entry.short()));
    sheet.text(Tone::Plain, &entry.text);
    sheet.gap();
    sheet.fact("kind", &entry.kind);
    sheet.toned("state", state_tone(&entry.state), &entry.state);
    if let Some(amount) = entry.amount {
        sheet.fact("names", &format!("{amount} kudos"));
    }
    sheet.fact("written", &text::ago(app.now, entry.time));
    sheet.fact("author", &app.feed.name(entry.author));
    sheet.fact("author id", &entry.author.to_string());
    sheet.fact("place", &format!("number {} of its author", entry.seq));
    sheet.fact("entry", &entry.entry.to_string());
    sheet
}
