"""Draws what a command printed, with its colours, as an SVG of a terminal: terminal_svg.py COMMAND <OUTPUT."""
import html
import re
import sys

COLOURS = {"1": "b", "32": "g", "31": "r"}
LINE, CHAR, LEFT, TOP = 18, 7.8, 16, 34

lines = [line.rstrip() for line in sys.stdin.read().splitlines()]
while lines and not lines[-1]:
    lines.pop()
lines = [f"\x1b[1m$ {sys.argv[1]}\x1b[0m", *lines]
width = int(LEFT * 2 + CHAR * max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in lines))
height = TOP + LINE * len(lines) + 8
body = []
for number, line in enumerate(lines):
    style, column = "", 0
    for part in re.split(r"(\x1b\[[0-9;]*m)", line):
        code = re.fullmatch(r"\x1b\[([0-9;]*)m", part)
        if code:
            style = COLOURS.get(code.group(1), "")
        elif part:
            body.append(f'<text x="{LEFT + CHAR * column:.1f}" y="{TOP + LINE * (number + 1) - 6}" class="{style}" xml:space="preserve" '
                        f'textLength="{CHAR * len(part):.1f}">{html.escape(part)}</text>')
            column += len(part)
print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="{html.escape(sys.argv[1])}">'
      '<style>text{font:13px ui-monospace,"DejaVu Sans Mono",monospace;fill:#d6dbe1}.b{font-weight:700;fill:#fff}.g{fill:#6cd38a}.r{fill:#ff8f8f}</style>'
      f'<rect width="{width}" height="{height}" rx="8" fill="#171a1e"/>'
      + "".join(f'<circle cx="{18 + 18 * n}" cy="17" r="5" fill="#3b4047"/>' for n in range(3)) + "".join(body) + "</svg>")
