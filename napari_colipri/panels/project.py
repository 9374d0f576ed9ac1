"""The project panel: a folder of scans, where one stands in it, and what is done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import QRectF
from qtpy.QtCore import Signal
from qtpy.QtGui import QPainter
from qtpy.QtWidgets import QFileDialog
from qtpy.QtWidgets import QHBoxLayout
from qtpy.QtWidgets import QLabel
from qtpy.QtWidgets import QProgressBar
from qtpy.QtWidgets import QPushButton
from qtpy.QtWidgets import QVBoxLayout
from qtpy.QtWidgets import QWidget

from colipri_core.errors import ColipriError
from colipri_core.project import ProjectCase
from napari_colipri.panels.rows import RowDelegate
from napari_colipri.panels.rows import RowList
from napari_colipri.panels.rows import RowModel
from napari_colipri.project import ProjectDesk
from napari_colipri.style import Colors

_UNREAD = "{unread} could not be read: Done and Needs review mark it. The viewer still shows the case before: {shown}."
_MARKS = {"open": "", "done": "done", "review": "needs review"}


def case_note(row: ProjectCase) -> str:
    """What stands beside a case: how unsure a model is of it, and its mark.

    Args:
        row: The case.
    """
    unsure = "" if row.uncertainty is None else f"{row.uncertainty:.2f}"
    return "   ".join(text for text in (_MARKS[row.mark], unsure) if text)


class CaseDelegate(RowDelegate):
    """Name and mark of a case."""

    def __init__(self) -> None:
        super().__init__()
        self.current: str | None = None

    def is_marked(self, row: ProjectCase) -> bool:
        """Whether this case is in the viewer."""
        return row.name == self.current

    def paint_row(self, painter: QPainter, area: QRectF, row: ProjectCase) -> None:
        """Paint name and mark."""
        assert self.colors is not None
        mark = case_note(row)
        width = painter.fontMetrics().horizontalAdvance(mark) + 4
        value = area.adjusted(area.width() - width - 6, 0, -6, 0)
        name = area.adjusted(8, 0, -(area.right() - value.left()) - 8, 0)
        self.text(painter, name, row.name, self.colors.text if row.mark == "open" else self.colors.muted)
        self.text(painter, value, mark, self.colors.muted, right=True)


class ProjectPanel(QWidget):
    """A label project.

    Args:
        desk: What the buttons lead to.

    Signals:
        failed(object): What could not be done.
    """

    failed = Signal(object)

    def __init__(self, desk: ProjectDesk) -> None:
        super().__init__()
        self.desk = desk
        self._busy = False
        self.choose = self._button("Open folder\u2026", "Work through a folder of scans", self._choose_folder)
        self.previous = self._button("Previous", "The case before", lambda: desk.step(-1))
        self.following = self._button("Next", "The case after", lambda: desk.step(1))
        self.next_open = self._button("Next to do", "The next case that is to be done", desk.next_open)
        self.rank = self._button(
            "Rank", "List the cases first that the model is least sure of; outlines each open case once", desk.rank
        )
        self.done = self._button("Done", "This case is done", lambda: desk.mark("done"))
        self.review = self._button("Needs review", "Someone should look at this case", lambda: desk.mark("review"))
        for button in (self.done, self.review):
            button.setCheckable(True)
        self.model = RowModel(lambda row: f"{row.name}: {case_note(row) or 'to do'}", lambda row: row.name)
        self.delegate = CaseDelegate()
        self.list = RowList(self.model, self.delegate, "Cases")
        self.list.chosen.connect(lambda row: self._try(lambda: desk.go(row.name)))
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.count, self.note = QLabel(), QLabel()
        self.note.setWordWrap(True)
        for label in (self.count, self.note):
            label.setProperty("kind", "muted")
        self._lay_out()
        desk.changed.connect(self.refresh)
        desk.failed.connect(self.failed.emit)
        self.refresh()

    def set_colors(self, colors: Colors) -> None:
        """Repaint with a theme's colours.

        Args:
            colors: The colours.
        """
        self.list.set_colors(colors)

    def set_busy(self, *, busy: bool) -> None:
        """Offer no other case while work is running.

        Args:
            busy: Whether it is.
        """
        self._busy = busy
        self.refresh()

    def refresh(self) -> None:
        """Show cases, marks and progress as they stand."""
        project, place = self.desk.project, self.desk.place
        self.work.setVisible(project is not None)
        self.choose.setEnabled(not self._busy)
        if project is None:
            return
        self.delegate.current = place
        if project.cases != self.model.rows:
            self.model.set_rows(project.cases)
        self.list.viewport().update()
        counts = project.progress()
        self.bar.setRange(0, len(project.cases))
        self.bar.setValue(counts["done"])
        review = f", {counts['review']} to review" if counts["review"] else ""
        models = sorted({item.model for item in project.ranked.values()})
        ranked = f", ranked by {', '.join(models)}" if models else ""
        self.count.setText(f"{counts['done']} of {len(project.cases)} done{review}{ranked}")
        unread, markable = self.desk.unread, self.desk.markable
        mark = next((case.mark for case in project.cases if case.name == markable), None)
        for button, its_mark in ((self.done, "done"), (self.review, "review")):
            button.setChecked(mark == its_mark)
            button.setEnabled(markable is not None)
        self.note.setText(_UNREAD.format(unread=unread, shown=self.desk.current or "none") if unread else "")
        self.note.setVisible(bool(unread))
        free = not self._busy
        self.list.setEnabled(free)
        self.previous.setEnabled(free and project.step(place, -1) is not None)
        self.following.setEnabled(free and project.step(place, 1) is not None)
        self.next_open.setEnabled(free and project.next_open(place) is not None)
        self.rank.setEnabled(free and counts["open"] > 0)

    def _lay_out(self) -> None:
        self.work = QWidget()
        inner = QVBoxLayout(self.work)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setSpacing(6)
        inner.addWidget(self.list, 1)
        for buttons in ((self.previous, self.following, self.next_open), (self.done, self.review, self.rank)):
            row = QHBoxLayout()
            for button in buttons:
                row.addWidget(button)
            inner.addLayout(row)
        inner.addWidget(self.note)
        inner.addWidget(self.bar)
        inner.addWidget(self.count)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addWidget(self.choose)
        layout.addWidget(self.work, 1)

    def _button(self, text: str, tip: str, action: Callable[[], object]) -> QPushButton:
        button = QPushButton(text)
        button.setToolTip(tip)
        button.clicked.connect(lambda: self._try(action))
        return button

    def _choose_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder of scans")
        if folder:
            self.desk.open(Path(folder))

    def _try(self, action: Callable[[], object]) -> None:
        try:
            action()
        except (ColipriError, OSError) as error:
            self.failed.emit(error)
        self.refresh()
