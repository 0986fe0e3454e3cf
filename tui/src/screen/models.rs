//! Cards: what is shared, how much of it is here, who serves it, what is on its way.

use hearth_protocol::card::CardKind;
use hearth_protocol::snapshot::{CardView, Snapshot, TransferView};
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};

use crate::app::App;
use crate::sheet::Sheet;
use crate::table::{self, Cell, Column, cell, left, right};
use crate::text;
use crate::theme::Tone;

const COLUMNS: [Column; 6] = [
    left("Model", 14, 0),
    left("Kind", 10, 4),
    left("Family", 6, 5),
    right("Size", 9, 3),
    left("Here", 11, 1),
    right("Seeders", 7, 2),
];

const TRANSFER_COLUMNS: [Column; 4] = [
    left("Model", 12, 0),
    left("Here", 17, 1),
    right("Of", 9, 2),
    left("From", 16, 3),
];

/// Most transfers shown under the list.
const TRANSFERS_MAX: usize = 5;

pub(super) fn items<'a>(app: &App, snapshot: &'a Snapshot, filter: &str) -> Vec<&'a CardView> {
    let cards = snapshot.cards.iter();
    cards
        .filter(|card| {
            filter.is_empty() || {
                let (id, publisher) = (card.card.to_string(), app.feed.name(card.publisher));
                let triggers = card.triggers.join(" ");
                let kind = kind(card.kind);
                text::matches(filter, &[&card.title, &id, &publisher, &triggers, kind])
            }
        })
        .collect()
}

fn kind(kind: CardKind) -> &'static str {
    match kind {
        CardKind::Checkpoint => "checkpoint",
        CardKind::Lora => "lora",
        CardKind::Embedding => "embedding",
        CardKind::Vae => "vae",
    }
}

/// Returns how much of something is here, in whole percent, 100 only when all is.
fn percent(have: u64, total: u64) -> u64 {
    let percent = u128::from(have.min(total)) * 100 / u128::from(total.max(1));
    u64::try_from(percent).unwrap_or(100)
}

pub(super) fn draw(app: &App, snapshot: &Snapshot, buffer: &mut Buffer, area: Rect) {
    let roomy = super::is_roomy(area);
    let mut area = area;
    if area.width >= super::WIDE {
        let side;
        [area, side] =
            Layout::horizontal([Constraint::Min(1), Constraint::Length(super::SIDE)]).areas(area);
        super::beside(app, buffer, side);
    }
    if roomy && !snapshot.transfers.is_empty() {
        let rows = snapshot.transfers.len().min(TRANSFERS_MAX);
        let height = u16::try_from(rows + 3).unwrap_or(u16::MAX);
        let under;
        [area, under] =
            Layout::vertical([Constraint::Min(1), Constraint::Length(height)]).areas(area);
        draw_transfers(app, snapshot, buffer, under);
    }
    let items = items(app, snapshot, &app.list(app.screen).filter);
    let title = super::heading(app, "Models", items.len(), snapshot.cards.len());
    let inner = super::panel(buffer, area, app.theme, &title, roomy);
    if items.is_empty() {
        let words = ["No models yet.", "Share one: hearth model add PATH"];
        super::nothing(app, buffer, inner, &words);
        return;
    }
    let cursor = app.list(app.screen).cursor;
    let moving = |card: &CardView| snapshot.transfers.iter().any(|one| one.card == card.card);
    table::draw(
        buffer,
        inner,
        app.theme,
        &COLUMNS,
        (&items, Some(cursor)),
        |card| row(card, moving(card)),
    );
}

fn row(card: &CardView, moving: bool) -> Vec<Cell> {
    let pin = if card.pinned { "◆" } else { " " };
    let (have, total) = (card.have.get(), card.size.get());
    let tone = if moving {
        Tone::Accent
    } else if have >= total {
        Tone::Ok
    } else {
        Tone::Muted
    };
    let seeders = if card.seeders.is_empty() {
        Tone::Warn
    } else {
        Tone::Plain
    };
    vec![
        cell(Tone::Plain, &format!("{pin} {}", card.title)),
        cell(Tone::Muted, kind(card.kind)),
        cell(Tone::Muted, card.family.name()),
        cell(Tone::Plain, &card.size.to_string()),
        cell(
            tone,
            &format!("{} {:>3}%", text::bar(have, total, 6), percent(have, total)),
        ),
        cell(seeders, &card.seeders.len().to_string()),
    ]
}

fn draw_transfers(app: &App, snapshot: &Snapshot, buffer: &mut Buffer, area: Rect) {
    let title = format!("Transfers {}", snapshot.transfers.len());
    let inner = super::panel(buffer, area, app.theme, &title, true);
    let items: Vec<&TransferView> = snapshot.transfers.iter().take(TRANSFERS_MAX).collect();
    table::draw(
        buffer,
        inner,
        app.theme,
        &TRANSFER_COLUMNS,
        (&items, None),
        |one| {
            let (have, total) = (one.have.get(), one.total.get());
            let from: Vec<String> = one.from.iter().map(|node| app.feed.name(*node)).collect();
            vec![
                cell(Tone::Plain, &one.title),
                cell(
                    Tone::Accent,
                    &format!(
                        "{} {:>3}%",
                        text::bar(have, total, 12),
                        percent(have, total)
                    ),
                ),
                cell(Tone::Plain, &one.total.to_string()),
                cell(Tone::Plain, &from.join(", ")),
            ]
        },
    );
}

pub(super) fn detail(app: &App, card: &CardView) -> Sheet {
    let mut sheet = Sheet::new(&card.title);
    sheet.fact("kind", &format!("{} for {}", kind(card.kind), card.family));
    let (have, total) = (card.have.get(), card.size.get());
    sheet.fact(
        "here",
        &format!("{} of {} ({}%)", card.have, card.size, percent(have, total)),
    );
    sheet.fact(
        "pinned",
        if card.pinned {
            "yes: kept and served"
        } else {
            "no"
        },
    );
    let seeders: Vec<String> = card
        .seeders
        .iter()
        .map(|node| app.feed.name(*node))
        .collect();
    if seeders.is_empty() {
        sheet.toned("seeders", Tone::Warn, "nobody serves it now");
    } else {
        sheet.fact("seeders", &seeders.join(", "));
    }
    let published = text::ago(app.now, card.published);
    sheet.fact(
        "publisher",
        &format!("{}, {published}", app.feed.name(card.publisher)),
    );
    sheet.fact(
        "licence",
        if card.licence.is_empty() {
            "unknown"
        } else {
            &card.licence
        },
    );
    if !card.triggers.is_empty() {
        sheet.fact("triggers", &card.triggers.join(", "));
    }
    if !card.description.is_empty() {
        sheet.gap();
        sheet.text(Tone::Plain, &card.description);
    }
    sheet.gap();
    sheet.fact("card", &card.card.to_string());
    for file in &card.files {
        sheet.gap();
        sheet.fact("file", &format!("{} ({})", file.name, file.size));
        sheet.fact("AutoV2", &file.autov2);
        if let Some(autov3) = &file.autov3 {
            sheet.fact("AutoV3", autov3);
        }
        sheet.fact("SHA-256", &file.sha256);
        sheet.fact("BLAKE3", &file.blake3);
    }
    sheet
}
