"""The label panel: tools with their keys, a phrase field, undo, and the objects with codes, colours and volumes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import QRectF
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtGui import QPainter
from qtpy.QtWidgets import QCheckBox
from qtpy.QtWidgets import QColorDialog
from qtpy.QtWidgets import QCompleter
from qtpy.QtWidgets import QFileDialog
from qtpy.QtWidgets import QGridLayout
from qtpy.QtWidgets import QHBoxLayout
from qtpy.QtWidgets import QLabel
from qtpy.QtWidgets import QLineEdit
from qtpy.QtWidgets import QPushButton
from qtpy.QtWidgets import QVBoxLayout
from qtpy.QtWidgets import QWidget

from colipri_core.editing.change import EditingState
from colipri_core.editing.objects import LabelObject
from colipri_core.errors import ColipriError
from colipri_core.io.names import derivative_name
from colipri_core.vocabulary.structures import STRUCTURES
from napari_colipri.label_canvas import KEYS
from napari_colipri.labelling import Labelling
from napari_colipri.panels.rows import RowDelegate
from napari_colipri.panels.rows import RowList
from napari_colipri.panels.rows import RowModel
from napari_colipri.style import Colors

_TOOLS = {
    "point": ("Point", "Click on the object"),
    "scribble": ("Scribble", "Draw a stroke through the object"),
    "box": ("Box", "Drag a box around the object"),
    "lasso": ("Lasso", "Draw around the object"),
    "brush": ("Brush", "Paint by hand"),
    "eraser": ("Eraser", "Erase by hand"),
}
_POSITIVE, _NEGATIVE = "+ object", "\u2212 not object"
_DONE, _LOCKED = " \u2713", " \U0001f512"
_FILES = "Labelmap (*.nii.gz *.nii *.mha *.seg.nrrd *.nrrd);;DICOM SEG (*.dcm);;Surface of the object (*.stl *.obj)"


class ObjectDelegate(RowDelegate):
    """Colour, name, marks and volume of an object."""

    def __init__(self) -> None:
        super().__init__()
        self.current = 0
        self.volumes: dict[int, float] = {}

    def is_marked(self, row: LabelObject) -> bool:
        """Whether this object is edited."""
        return row.label == self.current

    def paint_row(self, painter: QPainter, area: QRectF, row: LabelObject) -> None:
        """Paint colour, name, marks and volume."""
        assert self.colors is not None
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(*row.color))
        painter.drawRoundedRect(QRectF(area.left() + 6, area.center().y() - 6, 12, 12), 3, 3)
        volume = volume_text(self.volumes.get(row.label, 0.0))
        width = painter.fontMetrics().horizontalAdvance(volume) + 4
        value = area.adjusted(area.width() - width - 6, 0, -6, 0)
        name = area.adjusted(26, 0, -(area.right() - value.left()) - 8, 0)
        self.text(painter, name, object_text(row), self.colors.muted if row.done else self.colors.text)
        self.text(painter, value, volume, self.colors.muted, right=True)


class LabelPanel(QWidget):
    """Labels of the chosen CT.

    Args:
        labelling: What the buttons lead to.
    """

    def __init__(self, labelling: Labelling) -> None:
        super().__init__()
        self.labelling = labelling
        self.tools = {tool: self._button(f"{title}  {KEYS[tool]}", tool, tip) for tool, (title, tip) in _TOOLS.items()}
        for button in self.tools.values():
            button.setCheckable(True)
        self.sign = self._button("", "sign", "Whether prompts show the object or what is not the object")
        self.undo = self._button(f"Undo  {_shown('undo')}", "undo", "Take the last edit back")
        self.redo = self._button(f"Redo  {_shown('redo')}", "redo", "Make it again")
        self.next = self._button(f"New object  {KEYS['next']}", "next", "Add an object and edit it")
        self.phrase = QLineEdit()
        self.phrase.setPlaceholderText("Words for the object, then Enter")
        self.phrase.setAccessibleName("Phrase for the object")
        self.phrase.returnPressed.connect(self._ask_phrase)
        self.keep = QCheckBox("Keep other objects")
        self.keep.setToolTip("Prompts leave voxels of other objects as they are")
        self.keep.setChecked(True)
        self.keep.toggled.connect(self._set_policy)
        self.adopt = self._plain("Edit structures", "Outline the structures and make them objects")
        self.adopt.clicked.connect(lambda: self._try(labelling.adopt_structures))
        self.save = self._plain("Save as\u2026", "Save labels as NIfTI, NRRD, DICOM SEG, or a surface")
        self.save.clicked.connect(self._save)
        self._make_objects()
        self._lay_out()
        labelling.changed.connect(self.refresh)
        self.refresh()

    def set_colors(self, colors: Colors) -> None:
        """Repaint with a theme's colours.

        Args:
            colors: The colours.
        """
        self.list.set_colors(colors)

    def close_down(self) -> None:
        """Stop listening."""
        self.labelling.changed.disconnect(self.refresh)

    def refresh(self) -> None:
        """Show tool, sign, objects and history as they stand."""
        labelling, state = self.labelling, self.labelling.state
        for tool, button in self.tools.items():
            button.setChecked(tool == labelling.tool)
        self.sign.setText(f"{_POSITIVE if labelling.positive else _NEGATIVE}  {KEYS['sign']}")
        self.undo.setEnabled(state is not None and bool(state.undo))
        self.redo.setEnabled(state is not None and bool(state.redo))
        self.undo.setToolTip(f"Undo: {state.undo[0]}" if state is not None and state.undo else "Nothing to undo")
        self.redo.setToolTip(f"Redo: {state.redo[0]}" if state is not None and state.redo else "Nothing to redo")
        self.save.setEnabled(state is not None and bool(state.objects))
        self._show_objects(state)

    def _show_objects(self, state: EditingState | None) -> None:
        rows = state.objects if state is not None else ()
        sheet = self.labelling.sheet
        self.delegate.current = sheet.current if sheet is not None else 0
        self.delegate.volumes = state.volumes_ml() if state is not None else {}
        if rows != self.model.rows:
            self.model.set_rows(rows)
        current = next((row for row in rows if row.label == self.delegate.current), None)
        self.form.setVisible(current is not None)
        self.list.setVisible(bool(rows))
        if current is not None:
            for field, text in ((self.name, current.name), (self.code, current.code)):
                if field.text() != text and not field.hasFocus():
                    field.setText(text)
            for box, on in ((self.locked, current.locked), (self.done, current.done)):
                box.blockSignals(True)
                box.setChecked(on)
                box.blockSignals(False)
        self.note.setText(_taken_up(state) if state is not None else "")
        self.note.setVisible(bool(self.note.text()))
        self.list.viewport().update()

    def _make_objects(self) -> None:
        labelling = self.labelling
        self.model = RowModel(_describe, lambda row: row.name)
        self.delegate = ObjectDelegate()
        self.list = RowList(self.model, self.delegate, "Objects")
        self.list.chosen.connect(lambda row: labelling.choose_object(row.label))
        self.name, self.code = QLineEdit(), QLineEdit()
        self.name.setAccessibleName("Name of the object")
        completer = QCompleter([concept.name for concept in STRUCTURES], self.name)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self.name.setCompleter(completer)
        self.code.setAccessibleName("Code of the object")
        self.code.setPlaceholderText("SCT:\u2026")
        self.name.editingFinished.connect(self._rename)
        self.code.editingFinished.connect(lambda: self._change(code=self.code.text().strip()))
        self.color = self._plain("Colour\u2026", "Choose the object's colour")
        self.color.clicked.connect(self._choose_color)
        self.locked, self.done = QCheckBox("Locked"), QCheckBox("Done")
        self.locked.toggled.connect(lambda on: self._change(locked=on))
        self.done.toggled.connect(lambda on: self._change(done=on))
        self.reset = self._plain("Reset", "Take all voxels and prompts from the object")
        self.reset.clicked.connect(lambda: self._try(labelling.reset_object))
        self.remove = self._plain("Remove", "Remove the object")
        self.remove.clicked.connect(lambda: self._try(labelling.remove_object))
        self.note = QLabel()
        self.note.setProperty("kind", "muted")

    def _lay_out(self) -> None:
        palette = QGridLayout()
        palette.setSpacing(4)
        for number, button in enumerate(self.tools.values()):
            palette.addWidget(button, number // 3, number % 3)
        self.form = QWidget()
        form = QGridLayout(self.form)
        form.setContentsMargins(0, 0, 0, 0)
        form.setSpacing(4)
        form.addWidget(self.name, 0, 0, 1, 2)
        form.addWidget(self.code, 0, 2)
        form.addWidget(self.color, 0, 3)
        for column, widget in enumerate((self.locked, self.done, self.reset, self.remove)):
            form.addWidget(widget, 1, column)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addLayout(palette)
        layout.addLayout(_row(self.sign, self.undo, self.redo))
        layout.addLayout(_row(self.phrase, self.keep))
        layout.addWidget(self.list, 1)
        layout.addWidget(self.form)
        layout.addWidget(self.note)
        layout.addLayout(_row(self.next, self.adopt, self.save))

    def _button(self, text: str, action: str, tip: str) -> QPushButton:
        button = self._plain(text, f"{tip} ({_shown(action)})")
        button.clicked.connect(lambda: self._try(lambda: self.labelling.press(action)))
        return button

    def _plain(self, text: str, tip: str) -> QPushButton:
        button = QPushButton(text)
        button.setToolTip(tip)
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # the keys go on working on the canvas after a click here
        return button

    def _ask_phrase(self) -> None:
        text = self.phrase.text()
        self._try(lambda: self.labelling.ask_phrase(text))

    def _set_policy(self, keep: bool) -> None:
        self.labelling.policy = "keep" if keep else "replace"

    def _rename(self) -> None:
        """Take the name; that of a known structure brings its code and colour along."""
        name = self.name.text().strip()
        known = next((concept for concept in STRUCTURES if concept.name.casefold() == name.casefold()), None)
        if known is not None:
            self._change(name=known.name, code=known.code, color=known.color)
        elif name:
            self._change(name=name)

    def _change(self, **changes: object) -> None:
        current = next((row for row in self.model.rows if row.label == self.delegate.current), None)
        if current is not None and any(getattr(current, name) != value for name, value in changes.items()):
            self._try(lambda: self.labelling.change_object(**changes))

    def _choose_color(self) -> None:
        chosen = QColorDialog.getColor(parent=self)
        if chosen.isValid():
            self._change(color=(chosen.red(), chosen.green(), chosen.blue()))

    def _save(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save labels", self._file_name(), _FILES)
        if path:
            self._try(lambda: self.labelling.export(Path(path)))

    def _file_name(self) -> str:
        case = self.labelling.sheet.case.source.volume.name if self.labelling.sheet is not None else ""
        try:
            return derivative_name(case, description="labels", kind="dseg", suffix=".nii.gz")
        except ValueError:  # a name of nothing but signs
            return "labels.nii.gz"

    def _try(self, action: Callable[[], object]) -> None:
        try:
            action()
        except ColipriError as error:
            self.labelling.failed.emit(error)
        self.refresh()


def _taken_up(state: EditingState) -> str:
    """What to say of edits that were made earlier."""
    said = f"{state.recovered} earlier edits taken up." if state.recovered else ""
    lost = f'Others could not be read; they are kept in "{state.damaged}".' if state.damaged else ""
    return " ".join(filter(None, (said, lost)))


def volume_text(volume_ml: float) -> str:
    """A volume for people."""
    return f"{volume_ml:,.0f} mL" if volume_ml >= 10 else f"{volume_ml:.2f} mL"


def object_text(row: LabelObject) -> str:
    """Name, code and marks of an object."""
    marks = "".join(mark for mark, on in ((_DONE, row.done), (_LOCKED, row.locked)) if on)
    return f"{row.name}{f'  {row.code}' if row.code else ''}{marks}"


def _describe(row: LabelObject) -> str:
    return f"{row.name}{f' ({row.code})' if row.code else ''}: label {row.label}"


def _shown(action: str) -> str:
    return KEYS[action].replace("Control", "Ctrl").replace("-", "+")


def _row(*widgets: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    row.setSpacing(6)
    for widget in widgets:
        row.addWidget(widget)
    return row
