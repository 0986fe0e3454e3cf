//! Jobs asked and jobs done for others: steps as they happen, and a look at the latents.

use hearth_protocol::control::joules;
use hearth_protocol::job::Phase;
use hearth_protocol::snapshot::{JobSide, JobView, Snapshot};
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::Widget;

use crate::app::App;
use crate::preview;
use crate::sheet::Sheet;
use crate::table::{self, Cell, Column, cell, left, right};
use crate::text;
use crate::theme::Tone;

const COLUMNS: [Column; 7] = [
    left("Prompt", 12, 0),
    left("Progress", 16, 1),
    left("Member", 12, 3),
    right("Size", 9, 5),
    right("Kudos", 8, 4),
    right("Age", 4, 2),
    left("Id", 10, 6),
];

pub(super) fn items<'a>(app: &App, snapshot: &'a Snapshot, filter: &str) -> Vec<&'a JobView> {
    let jobs = snapshot.jobs.iter();
    jobs.filter(|job| {
        filter.is_empty() || {
            let (id, peer) = (job.job.to_string(), who(app, job));
            let prompt = job.prompt.as_deref().unwrap_or("");
            text::matches(filter, &[prompt, &job.state, &id, &peer])
        }
    })
    .collect()
}

fn who(app: &App, job: &JobView) -> String {
    let name = job
        .peer
        .map_or_else(|| "-".into(), |peer| app.feed.name(peer));
    match job.side {
        JobSide::Requester => format!("→ {name}"),
        JobSide::Worker => format!("← {name}"),
    }
}

fn prompt(app: &App, job: &JobView) -> String {
    match (&job.prompt, job.peer) {
        (Some(prompt), _) => prompt.clone(),
        (None, Some(peer)) => format!("(for {})", app.feed.name(peer)),
        (None, None) => "(no prompt)".into(),
    }
}

/// Says where a job is, with a bar of so many cells for what can be counted.
fn progress(job: &JobView, cells: u16) -> (Tone, String) {
    if job.over {
        return match job.state.as_str() {
            "finished" => (Tone::Ok, "✓ finished".into()),
            "failed" => (Tone::Error, "✗ failed".into()),
            state => (Tone::Muted, state.to_owned()),
        };
    }
    let words = match &job.phase {
        None => return (Tone::Muted, job.state.clone()),
        Some(Phase::Queued { ahead }) => format!("queued, {ahead} ahead"),
        Some(Phase::Fetching { have, total, .. }) => {
            format!("{} fetch", text::bar(have.get(), total.get(), cells))
        }
        Some(Phase::Loading) => "loading".into(),
        Some(Phase::Encoding) => "reading prompt".into(),
        Some(Phase::Denoising { step, steps }) => {
            let bar = text::bar(u64::from(*step), u64::from(*steps), cells);
            format!("{bar} {step}/{steps}")
        }
        Some(Phase::Decoding) => "decoding".into(),
        Some(Phase::Delivering) => "delivering".into(),
    };
    (Tone::Accent, words)
}

pub(super) fn draw(app: &App, snapshot: &Snapshot, buffer: &mut Buffer, area: Rect) {
    let items = items(app, snapshot, &app.list(app.screen).filter);
    let cursor = app.list(app.screen).cursor;
    let roomy = super::is_roomy(area);
    let mut list = area;
    if let Some(job) = items.get(cursor).filter(|_| roomy) {
        let panel;
        [list, panel] = if area.width >= super::WIDE {
            Layout::horizontal([Constraint::Min(1), Constraint::Length(super::SIDE)]).areas(area)
        } else {
            Layout::vertical([Constraint::Min(7), Constraint::Length(12)]).areas(area)
        };
        draw_job(app, job, buffer, panel);
    }
    let title = super::heading(app, "Jobs", items.len(), snapshot.jobs.len());
    let inner = super::panel(buffer, list, app.theme, &title, roomy);
    if items.is_empty() {
        let words = [
            "No jobs yet.",
            "Ask for a picture: hearth generate \"PROMPT\"",
        ];
        super::nothing(app, buffer, inner, &words);
        return;
    }
    table::draw(
        buffer,
        inner,
        app.theme,
        &COLUMNS,
        (&items, Some(cursor)),
        |job| row(app, job),
    );
}

fn row(app: &App, job: &JobView) -> Vec<Cell> {
    let (tone, progress) = progress(job, 8);
    vec![
        cell(Tone::Plain, &prompt(app, job)),
        cell(tone, &progress),
        cell(Tone::Plain, &who(app, job)),
        cell(Tone::Plain, &format!("{}x{}", job.size.0, job.size.1)),
        cell(Tone::Plain, &job.kudos.to_string()),
        cell(Tone::Muted, &text::span(job.age)),
        cell(Tone::Muted, &job.job.short()),
    ]
}

/// Draws the chosen job: gauge, preview, facts.
fn draw_job(app: &App, job: &JobView, buffer: &mut Buffer, area: Rect) {
    let sheet = detail(app, job);
    let inner = super::panel(buffer, area, app.theme, &sheet.title, true);
    let [gauge, rest] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(inner);
    let (tone, words) = progress(job, inner.width.saturating_sub(12));
    let words = text::cut(&text::clean(&words), usize::from(gauge.width));
    Line::styled(words, app.theme.style(tone)).render(gauge, buffer);
    let Some(picture) = app.feed.preview(job.job) else {
        sheet.draw(buffer, rest, app.theme);
        return;
    };
    let is_tall = rest.height > rest.width / 3;
    let room = if is_tall {
        Rect {
            height: rest.height / 2,
            ..rest
        }
    } else {
        Rect {
            width: rest.width / 2,
            ..rest
        }
    };
    let used = preview::fitted(picture, room);
    preview::draw(picture, buffer, room, app.theme);
    let facts = if is_tall {
        let [_, facts] =
            Layout::vertical([Constraint::Length(used.height), Constraint::Min(0)]).areas(rest);
        facts
    } else {
        let [_, facts] =
            Layout::horizontal([Constraint::Length(used.width + 1), Constraint::Min(0)])
                .areas(rest);
        facts
    };
    sheet.draw(buffer, facts, app.theme);
}

pub(super) fn detail(app: &App, job: &JobView) -> Sheet {
    let mut sheet = Sheet::new(&format!("Job {}", job.job.short()));
    let (tone, _) = progress(job, 0);
    sheet.toned("state", tone, &job.state);
    if let Some(note) = &job.note {
        sheet.toned("because", Tone::Warn, note);
    }
    sheet.fact("member", &who(app, job));
    if let Some(prompt) = &job.prompt {
        sheet.fact("prompt", prompt);
    }
    sheet.fact(
        "picture",
        &format!("{}x{}, {} steps", job.size.0, job.size.1, job.steps),
    );
    let kudos = if job.over { "charged" } else { "at most" };
    sheet.fact(kudos, &format!("{} kudos", job.kudos));
    sheet.fact("asked", &text::ago(app.now, job.submitted));
    sheet.fact("took", &text::seconds(job.age));
    if let Some(report) = &job.report {
        sheet.fact("file", &report.image.path);
        sheet.fact("seed", &report.image.seed.to_string());
        let timings = &report.timings;
        for (label, part) in [
            ("queued", timings.queued),
            ("fetching", timings.fetch),
            ("loading", timings.load),
            ("encoding", timings.encode),
            ("sampling", timings.denoise),
            ("decoding", timings.decode),
        ] {
            sheet.fact(label, &text::seconds(part));
        }
        if let Some(energy) = joules(&report.energy) {
            sheet.fact("energy", &format!("{energy:.1} J"));
        }
        for warning in &report.warnings {
            sheet.toned("warning", Tone::Warn, warning);
        }
    }
    sheet.fact("id", &job.job.to_string());
    sheet
}
