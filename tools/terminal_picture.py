#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws what a terminal shows (text with SGR escapes on standard input) as an SVG on standard output.

    tmux capture-pane -e -p -t rover | tools/terminal_picture.py --title './dev demo' > docs/rover.svg
"""

import argparse
import html
import re
import sys
import unicodedata

CELL_W, CELL_H, MARGIN, BAR = 8.4, 18, 14, 30
BACKGROUND, FOREGROUND = "#14171c", "#d5dae1"
# The eight colours, then their bright versions.
COLOURS = [
    "#3b4252", "#e06c75", "#8fc379", "#e0b86c", "#61a5ef", "#c678dd", "#56b6c2", "#d5dae1",
    "#7d8799", "#ef8a92", "#a9d99a", "#f0cc86", "#8abfff", "#da9bee", "#7fd1db", "#ffffff",
]


def extended(parameters):
    """The colour behind `38;5;n` or `38;2;r;g;b`."""
    kind = parameters.pop(0) if parameters else 0
    if kind == 2 and len(parameters) >= 3:
        red, green, blue = (parameters.pop(0) for _ in range(3))
        return f"#{red:02x}{green:02x}{blue:02x}"
    number = parameters.pop(0) if kind == 5 and parameters else 7
    if number < 16:
        return COLOURS[number]
    if number >= 232:
        level = 8 + (number - 232) * 10
        return f"#{level:02x}{level:02x}{level:02x}"
    steps = [0, 95, 135, 175, 215, 255]
    number -= 16
    return "#" + "".join(f"{steps[number // base % 6]:02x}" for base in (36, 6, 1))


class Style:
    def __init__(self):
        self.reset()

    def reset(self):
        self.colour, self.ground, self.bold, self.dim, self.reverse = FOREGROUND, None, False, False, False

    def apply(self, parameters):
        while parameters:
            code = parameters.pop(0)
            if code == 0:
                self.reset()
            elif code == 1:
                self.bold = True
            elif code == 2:
                self.dim = True
            elif code == 7:
                self.reverse = True
            elif code == 22:
                self.bold = self.dim = False
            elif code == 27:
                self.reverse = False
            elif 30 <= code <= 37:
                self.colour = COLOURS[code - 30]
            elif 90 <= code <= 97:
                self.colour = COLOURS[code - 82]
            elif code == 38:
                self.colour = extended(parameters)
            elif code == 39:
                self.colour = FOREGROUND
            elif 40 <= code <= 47:
                self.ground = COLOURS[code - 40]
            elif code == 48:
                self.ground = extended(parameters)
            elif code == 49:
                self.ground = None

    def look(self):
        colour, ground = self.colour, self.ground
        if self.reverse:
            colour, ground = ground or BACKGROUND, colour
        return colour, ground, self.bold, self.dim


def width_of(text):
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def runs_of(line, style):
    """Pieces of one line that look the same: (column, text, look)."""
    column = 0
    for piece in re.split(r"(\x1b\[[0-9;:]*m)", line):
        if piece.startswith("\x1b["):
            style.apply([int(n or 0) for n in re.split("[;:]", piece[2:-1])])
        elif piece:
            text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x1f]", "", piece)
            yield column, text, style.look()
            column += width_of(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--title", default="")
    parser.add_argument("--columns", type=int, default=80)
    options = parser.parse_args()
    lines = sys.stdin.read().rstrip("\n").split("\n")
    width = options.columns * CELL_W + 2 * MARGIN
    height = len(lines) * CELL_H + 2 * MARGIN + BAR
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="14">',
        f'<rect width="100%" height="100%" rx="8" fill="{BACKGROUND}"/>',
        f'<text x="{width / 2:.0f}" y="21" fill="#7d8799" text-anchor="middle">{html.escape(options.title)}</text>',
    ]
    out += [f'<circle cx="{18 + 18 * i}" cy="17" r="5.5" fill="{c}"/>'
            for i, c in enumerate(("#e06c75", "#e0b86c", "#8fc379"))]
    style = Style()
    for row, line in enumerate(lines):
        top = BAR + MARGIN + row * CELL_H
        for column, text, (colour, ground, bold, dim) in runs_of(line, style):
            x, length = MARGIN + column * CELL_W, width_of(text) * CELL_W
            if ground:
                out.append(f'<rect x="{x:.1f}" y="{top}" width="{length:.1f}" height="{CELL_H}" fill="{ground}"/>')
            if text.strip():
                weight = ' font-weight="bold"' if bold else ""
                faint = ' opacity="0.6"' if dim else ""
                out.append(f'<text x="{x:.1f}" y="{top + 14}" fill="{colour}" textLength="{length:.1f}" '
                           f'xml:space="preserve"{weight}{faint}>{html.escape(text)}</text>')
    out.append("</svg>")
    print("\n".join(out))


if __name__ == "__main__":
    main()
