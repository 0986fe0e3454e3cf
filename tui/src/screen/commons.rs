//! Members: what they can do, how fast, what they owe.

use hearth_protocol::capacity::{Accepting, Device, DeviceKind};
use hearth_protocol::snapshot::{PeerView, Snapshot, TrustLevel};
use hearth_protocol::unit::{Balance, Millikudos};
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};

use crate::app::App;
use crate::sheet::Sheet;
use crate::table::{self, Cell, Column, cell, left, right};
use crate::text;
use crate::theme::Tone;

const COLUMNS: [Column; 8] = [
    left("Member", 13, 0),
    left("Device", 18, 4),
    right("Queue", 6, 2),
    right("Kudos/s", 8, 3),
    right("Price", 5, 6),
    right("Balance", 10, 1),
    right("Owes/line", 13, 5),
    left("Trust", 7, 7),
];

pub(super) fn items<'a>(snapshot: &'a Snapshot, filter: &str) -> Vec<&'a PeerView> {
    let peers = snapshot.peers.iter();
    peers
        .filter(|peer| {
            let device = peer.device.as_ref().map_or("", |device| &device.name);
            let id = peer.node.to_string();
            text::matches(filter, &[&peer.name, &id, device, trust(peer.trust)])
        })
        .collect()
}

pub(super) fn draw(app: &App, snapshot: &Snapshot, buffer: &mut Buffer, area: Rect) {
    let mut area = area;
    if area.width >= super::WIDE {
        let [list, side] =
            Layout::horizontal([Constraint::Min(1), Constraint::Length(super::SIDE)]).areas(area);
        super::beside(app, buffer, side);
        area = list;
    }
    let items = items(snapshot, &app.list(app.screen).filter);
    let title = super::heading(app, "Members", items.len(), snapshot.peers.len());
    let inner = super::panel(buffer, area, app.theme, &title, super::is_roomy(area));
    if items.is_empty() {
        let words: &[&str] = if snapshot.status.commons.is_none() {
            &[
                "This node is in no commons yet.",
                "Found one:     hearth commons create NAME",
                "or enter one:  hearth commons join TICKET",
            ]
        } else {
            &[
                "Nobody else is here yet.",
                "Ask somebody in: hearth commons invite",
            ]
        };
        super::nothing(app, buffer, inner, words);
        return;
    }
    let cursor = app.list(app.screen).cursor;
    table::draw(
        buffer,
        inner,
        app.theme,
        &COLUMNS,
        (&items, Some(cursor)),
        |peer| row(peer),
    );
}

fn row(peer: &PeerView) -> Vec<Cell> {
    let (sign, tone) = if peer.trust == TrustLevel::Blocked {
        ("✗", Tone::Error)
    } else if peer.me || peer.connected {
        ("●", Tone::Ok)
    } else {
        ("○", Tone::Muted)
    };
    let me = if peer.me { " (me)" } else { "" };
    let device = peer.device.as_ref().map_or_else(|| "-".into(), device);
    let (queue, queue_tone) = match peer.accepting {
        Some(Accepting::Yes) => (peer.queue.to_string(), Tone::Plain),
        Some(Accepting::Paused) => ("paused".into(), Tone::Warn),
        Some(Accepting::Never) => ("never".into(), Tone::Muted),
        None => ("-".into(), Tone::Muted),
    };
    vec![
        cell(tone, &format!("{sign} {}{me}", peer.name)),
        cell(Tone::Plain, &device),
        cell(queue_tone, &queue),
        cell(Tone::Plain, &rate(peer.mk_per_s)),
        cell(Tone::Plain, &format!("{}%", peer.price_percent)),
        cell(balance_tone(peer.balance), &peer.balance.to_string()),
        cell(
            exposure_tone(peer),
            &format!("{}/{}", peer.exposure, peer.line),
        ),
        cell(Tone::Muted, trust(peer.trust)),
    ]
}

fn rate(mk_per_s: u64) -> String {
    if mk_per_s == 0 {
        "-".into()
    } else {
        Millikudos::saturating(mk_per_s).to_string()
    }
}

pub(super) fn device(device: &Device) -> String {
    let kind = match device.kind {
        DeviceKind::Cpu => "cpu",
        DeviceKind::Cuda => "cuda",
        DeviceKind::Metal => "metal",
    };
    format!("{kind} {}", text::clean(&device.name))
}

/// Debts stand out.
pub(super) fn balance_tone(balance: Balance) -> Tone {
    if balance.mk() < 0 {
        Tone::Warn
    } else {
        Tone::Plain
    }
}

fn exposure_tone(peer: &PeerView) -> Tone {
    if !peer.me && peer.exposure >= peer.line && peer.exposure > Millikudos::ZERO {
        Tone::Warn
    } else {
        Tone::Plain
    }
}

fn trust(level: TrustLevel) -> &'static str {
    match level {
        TrustLevel::Trusted => "trusted",
        TrustLevel::Known => "known",
        TrustLevel::Blocked => "blocked",
    }
}

pub(super) fn detail(app: &App, snapshot: &Snapshot, peer: &PeerView) -> Sheet {
    let mut sheet = Sheet::new(&peer.name);
    sheet.fact("id", &peer.node.to_string());
    let here = match (peer.me, peer.connected) {
        (true, _) => "this node",
        (false, true) => "connected",
        (false, false) => "away",
    };
    sheet.fact("now", here);
    if let Some(seen) = peer.seen {
        sheet.fact("last advert", &text::ago(app.now, seen));
    }
    sheet.fact("trust", trust(peer.trust));
    if let Some(found) = &peer.device {
        sheet.fact("device", &device(found));
        sheet.fact("memory", &found.memory.to_string());
        sheet.fact("units", &found.units.to_string());
    }
    let takes = match peer.accepting {
        Some(Accepting::Yes) => "yes",
        Some(Accepting::Paused) => "paused by its owner",
        Some(Accepting::Never) => "never",
        None => "unknown: no fresh advert",
    };
    sheet.fact("takes jobs", takes);
    sheet.fact("queue", &peer.queue.to_string());
    sheet.fact("speed", &format!("{} kudos/s", rate(peer.mk_per_s)));
    sheet.fact("price", &format!("{}% of the table", peer.price_percent));
    sheet.gap();
    let balance = peer.balance.to_string();
    sheet.toned("balance", balance_tone(peer.balance), &balance);
    if !peer.me {
        sheet.toned("owes me", exposure_tone(peer), &peer.exposure.to_string());
        sheet.fact("may owe me", &peer.line.to_string());
    }
    sheet.gap();
    for addr in &peer.addrs {
        sheet.fact("address", addr);
    }
    for card in &peer.cards {
        let known = snapshot.cards.iter().find(|view| view.card == *card);
        let title = known.map_or_else(|| card.short(), |view| view.title.clone());
        sheet.fact("serves", &title);
    }
    sheet
}
