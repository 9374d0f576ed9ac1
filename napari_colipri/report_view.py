"""The Draft report panel on a viewer: its buttons, its rows, and what the jobs mean for them."""

from __future__ import annotations

from collections.abc import Callable

from napari_colipri.jobs import Jobs
from napari_colipri.panels.report import ReportPanel
from napari_colipri.panels.section import Section
from napari_colipri.reporting import Reporting
from napari_colipri.workflow import Workflow


class ReportView:
    """Ties the panel and the drafting together.

    Args:
        workflow: The work on the volume.
        jobs: Where the work runs.
        attempt: Runs an action and shows its error.
    """

    def __init__(self, workflow: Workflow, jobs: Jobs, attempt: Callable[[Callable[[], object]], None]) -> None:
        self.panel = ReportPanel()
        self.section = Section("Draft report", self.panel)
        self.reporting = Reporting(workflow)
        panel, reporting = self.panel, self.reporting
        panel.draft_clicked.connect(lambda: attempt(reporting.draft))
        panel.cancel_clicked.connect(jobs.cancel)
        panel.chosen.connect(lambda row: attempt(lambda: reporting.choose(row)))
        panel.edited.connect(reporting.edit)
        panel.added.connect(reporting.add)
        panel.copied.connect(reporting.copy)
        panel.exported.connect(lambda path: attempt(lambda: reporting.export(path)))
        panel.hidden.connect(workflow.hide_evidence)
        reporting.changed.connect(self.refresh)
        jobs.cancelled.connect(reporting.give_up)
        jobs.failed.connect(reporting.give_up)

    def refresh(self) -> None:
        """Show the draft of the chosen volume as it stands."""
        report = self.reporting.report
        status = f"{report.status}, not verified. {report.provenance.model.name}" if report is not None else ""
        note = " ".join(text for text in (self.reporting.note, status) if text)
        self.panel.set_rows(self.reporting.rows, note=note, case=report.case if report is not None else "draft")
        self.section.summary.setText(f"{len(report)} sentences" if report is not None else "")
        self.section.fit()

    def show_busy(self, *, ready: bool, busy: bool) -> None:
        """Offer what can be done now."""
        self.panel.set_state(ready=ready, busy=busy, drafting=self.reporting.drafting)
