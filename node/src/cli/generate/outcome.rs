//! What became of the jobs: lines for people, one object for programs.

use std::collections::BTreeMap;

use hearth_protocol::control::{JobReport, Problem, ProblemKind, joules};
use hearth_protocol::id::JobId;
use hearth_protocol::snapshot::JobView;
use hearth_protocol::unit::Millikudos;
use serde_json::{Value, json};

use crate::cli::printer::Role;
use crate::cli::session::Session;
use crate::cli::wording::{printable, span};

/// How a refusal for want of credit begins, wherever it was decided.
const CREDIT: &str = "not enough credit";

/// Prints the pictures there are. Says nothing when there are none.
pub(super) fn report(
    jobs: &[JobId],
    views: &BTreeMap<JobId, JobView>,
    session: &Session,
) -> anyhow::Result<()> {
    let reports: Vec<(&JobId, &JobReport)> = jobs
        .iter()
        .filter_map(|job| Some((job, views.get(job)?.report.as_deref()?)))
        .collect();
    if reports.is_empty() {
        return Ok(());
    }
    session.printer.json(&object(&reports, jobs.len() > 1))?;
    for (_, report) in &reports {
        for line in lines(report, session) {
            session.printer.line(line)?;
        }
        for warning in &report.warnings {
            session
                .printer
                .note(format!("warning: {}", printable(warning)));
        }
    }
    Ok(())
}

/// Returns why a picture is missing: the first job's reason.
pub(super) fn failure(jobs: &[JobId], views: &BTreeMap<JobId, JobView>) -> Option<Problem> {
    let failed: Vec<&JobView> = jobs
        .iter()
        .filter_map(|job| views.get(job))
        .filter(|view| view.report.is_none())
        .collect();
    let first = failed.first()?;
    let note = first.note.as_deref().unwrap_or(&first.state);
    let kind = if note.to_lowercase().contains(CREDIT) {
        ProblemKind::Credit
    } else {
        ProblemKind::Failed
    };
    let what = match jobs.len() {
        1 => "no picture came of it".to_owned(),
        all => format!("{} of {all} pictures failed", failed.len()),
    };
    let hint = format!("'hearth jobs show {}' tells more", first.job.short());
    Some(Problem::new(kind, what).cause(printable(note)).hint(hint))
}

fn lines(report: &JobReport, session: &Session) -> [String; 2] {
    let saved = session.printer.paint(Role::Good, "saved");
    let energy =
        joules(&report.energy).map_or_else(String::new, |joules| format!(", {joules:.0} J"));
    [
        format!("{saved} {}", report.image.path),
        format!(
            "  seed {}, by {}, {} kudos, {} ({} computing){energy}",
            report.image.seed,
            report.worker.short(),
            report.kudos_mk,
            span(report.total),
            span(report.timings.compute()),
        ),
    ]
}

fn object(reports: &[(&JobId, &JobReport)], several: bool) -> Value {
    let images: Vec<_> = reports.iter().map(|(_, report)| &report.image).collect();
    let total = reports
        .iter()
        .fold(0_u64, |sum, (_, report)| sum + report.kudos_mk.get());
    let mut object = match reports.first() {
        Some((job, report)) => one(job, report),
        None => json!({}),
    };
    object["images"] = json!(images);
    object["kudos_mk"] = json!(Millikudos::saturating(total));
    if several {
        let jobs: Vec<_> = reports
            .iter()
            .map(|(job, report)| one(job, report))
            .collect();
        object["jobs"] = json!(jobs);
    }
    object
}

fn one(job: &JobId, report: &JobReport) -> Value {
    let mut timings = json!(report.timings);
    timings["total"] = json!(report.total);
    json!({
        "job": job,
        "worker": report.worker,
        "kudos_mk": report.kudos_mk,
        "timings": timings,
        "energy": report.energy,
    })
}

#[cfg(test)]
mod tests {
    use hearth_protocol::control::ImageReport;
    use hearth_protocol::entry::Energy;
    use hearth_protocol::id::{BlobHash, NodeId};
    use hearth_protocol::job::Timings;
    use hearth_protocol::unit::Millis;

    use super::*;

    fn job_report(mk: u64) -> JobReport {
        JobReport {
            image: ImageReport {
                path: "/p/a.png".to_owned(),
                seed: 7,
                blake3: BlobHash::of(b"picture"),
            },
            worker: NodeId::from_bytes([2; 32]),
            kudos_mk: Millikudos::saturating(mk),
            timings: Timings::default(),
            total: Millis::new(1_500),
            energy: Energy::default(),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn one_picture_has_exactly_the_promised_fields() {
        // C16
        let (job, report) = (JobId::from_bytes([1; 32]), job_report(4_000));
        let object = object(&[(&job, &report)], false);
        let keys: Vec<_> = object.as_object().unwrap().keys().collect();
        assert_eq!(
            keys,
            ["energy", "images", "job", "kudos_mk", "timings", "worker"]
        );
        assert_eq!(object["kudos_mk"], 4_000);
        assert_eq!(object["images"][0]["seed"], 7);
        assert_eq!(object["timings"]["total"], 1_500);
        assert_eq!(object["job"], "01".repeat(32));
    }

    #[test]
    fn several_pictures_are_summed_and_listed() {
        let (first, second) = (JobId::from_bytes([1; 32]), JobId::from_bytes([3; 32]));
        let (a, b) = (job_report(4_000), job_report(1_000));
        let object = object(&[(&first, &a), (&second, &b)], true);
        assert_eq!(object["kudos_mk"], 5_000);
        assert_eq!(object["jobs"][1]["kudos_mk"], 1_000);
        assert_eq!(object["job"], object["jobs"][0]["job"]);
    }
}
