"""Colours and style sheet of the dock, taken from napari's current theme so that dark and light both read well."""

from __future__ import annotations

import dataclasses

from qtpy.QtGui import QColor


@dataclasses.dataclass(frozen=True, kw_only=True)
class Colors:
    """The colours the panels paint with.

    Args:
        background: Behind everything.
        surface: Behind lists and cards.
        track: Empty part of a bar, borders.
        text: Main text.
        muted: Secondary text.
        accent: Bars and the main button.
        on_accent: Text on the accent colour.
        heat: Marks what has a visible heat map.
        warning: Behind warnings.
        on_warning: Text on warnings.
        error: Behind errors.
    """

    background: QColor
    surface: QColor
    track: QColor
    text: QColor
    muted: QColor
    accent: QColor
    on_accent: QColor
    heat: QColor
    warning: QColor
    on_warning: QColor
    error: QColor


def blend(first: QColor, second: QColor, share: float) -> QColor:
    """Mix two colours.

    Args:
        first: Colour at share 0.
        second: Colour at share 1.
        share: Part of the second, in [0, 1].
    """
    channels = zip(first.getRgb()[:3], second.getRgb()[:3], strict=True)
    return QColor(*(round(a + (b - a) * share) for a, b in channels))


def theme_colors(theme: str) -> Colors:
    """Colours that fit a napari theme.

    Args:
        theme: Its id, such as "dark".
    """
    from napari.utils.theme import get_theme

    chosen = get_theme(theme)
    background, text = (QColor(color.as_hex()) for color in (chosen.background, chosen.text))
    dark = chosen.type == "dark"
    return Colors(
        background=background,
        surface=QColor(chosen.foreground.as_hex()),
        track=QColor(chosen.primary.as_hex()),
        text=text,
        muted=blend(text, background, 0.35),
        accent=QColor("#5b8def") if dark else QColor("#2f66d0"),
        on_accent=QColor("#ffffff"),
        heat=QColor("#f98e09") if dark else QColor("#c85a00"),
        warning=QColor("#4a3c0c") if dark else QColor("#fff2c2"),
        on_warning=QColor("#ffe08a") if dark else QColor("#5c4500"),
        error=QColor("#7d1b24") if dark else QColor("#fbd5d8"),
    )


def style_sheet(colors: Colors) -> str:
    """Style sheet of the dock and all in it.

    Args:
        colors: Colours of the theme.
    """
    names = {field.name: getattr(colors, field.name).name() for field in dataclasses.fields(colors)}
    names["hover"] = blend(colors.accent, colors.text, 0.15).name()
    names["dim"] = blend(colors.accent, colors.background, 0.6).name()
    return _SHEET % names


_SHEET = """
#ColipriDock QLabel { background: transparent; padding: 0px; }
#ColipriDock QLabel[kind="muted"] { color: %(muted)s; }
#ColipriDock QLabel[kind="field"] { color: %(muted)s; }
#ColipriDock QPushButton, #ColipriDock QToolButton { border-radius: 4px; padding: 4px 8px; }
#ColipriDock QPushButton:focus, #ColipriDock QToolButton:focus { border: 1px solid %(accent)s; }
#ColipriDock QToolButton[kind="plain"] { background-color: %(track)s; }
#ColipriDock QToolButton[kind="plain"]:hover { background-color: %(dim)s; }
#ColipriDock QPushButton[kind="primary"] {
  background-color: %(accent)s; color: %(on_accent)s; font-weight: 600; padding: 6px;
}
#ColipriDock QPushButton[kind="primary"]:hover { background-color: %(hover)s; }
#ColipriDock QPushButton[kind="primary"]:focus { border: 1px solid %(text)s; }
#ColipriDock QPushButton[kind="primary"]:disabled { background-color: %(dim)s; color: %(muted)s; border: 0px; }
#ColipriDock QPushButton[kind="segment"] { border-radius: 0px; padding: 3px 4px; margin: 0px; }
#ColipriDock QPushButton[kind="segment"]:checked { background-color: %(accent)s; color: %(on_accent)s; }
#ColipriDock QPushButton[edge="left"] { border-top-left-radius: 4px; border-bottom-left-radius: 4px; }
#ColipriDock QPushButton[edge="right"] { border-top-right-radius: 4px; border-bottom-right-radius: 4px; }
#ColipriDock QToolButton[kind="header"] {
  background: transparent; font-weight: 600; padding: 4px 2px; text-align: left; border: 0px; border-radius: 4px;
}
#ColipriDock QToolButton[kind="header"]:hover { background-color: %(surface)s; }
#ColipriDock QToolButton[kind="header"]:focus { border: 1px solid %(accent)s; }
#ColipriDock QLineEdit, #ColipriDock QComboBox { border-radius: 4px; border: 1px solid transparent; }
#ColipriDock QLineEdit:focus, #ColipriDock QComboBox:focus { border: 1px solid %(accent)s; }
#ColipriDock QListView {
  background-color: %(surface)s; border: 1px solid transparent; border-radius: 6px; padding: 2px;
}
#ColipriDock QListView:focus { border: 1px solid %(accent)s; }
#ColipriDock QProgressBar { background-color: %(track)s; border: 0px; border-radius: 4px; padding: 0px; }
#ColipriDock QProgressBar::chunk { background-color: %(accent)s; border-radius: 4px; }
#ColipriDock QFrame[kind="notice"] { background-color: %(warning)s; border-radius: 4px; }
#ColipriDock QFrame[kind="notice"] QLabel { color: %(on_warning)s; }
#ColipriDock QFrame[kind="notice"] QToolButton { color: %(on_warning)s; background: transparent; padding: 0px 4px; }
#ColipriDock QFrame[kind="error"] { background-color: %(error)s; border-radius: 4px; }
#ColipriDock QFrame[kind="error"] QLabel { color: %(text)s; }
#ColipriDock QFrame[kind="error"] QToolButton { color: %(text)s; background: transparent; padding: 0px 4px; }
#ColipriDock QFrame[kind="rule"] { background-color: %(track)s; max-height: 1px; min-height: 1px; }
#ColipriDock QLabel[kind="chip"] {
  background-color: %(surface)s; color: %(text)s; border-radius: 4px; padding: 2px 6px; font-weight: 600;
}
#ColipriDock QLabel[kind="chip-warning"] {
  background-color: %(warning)s; color: %(on_warning)s; border-radius: 4px; padding: 2px 6px; font-weight: 600;
}
"""
