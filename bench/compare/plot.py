"""A plot of queries per second over recall, as SVG, by hand: nothing to install, and differences one can read."""

import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 900, 560
LEFT, RIGHT, TOP, BOTTOM = 70, 190, 60, 60
TICKS = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)
# DVSE is first and black; the others are told apart by colour and by their mark.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f3c8d", "#80ba5a", "#a0522d", "#666666")
RECALL_MIN, RECALL_MAX = 0.5, 0.9995


def svg(title, machine, fronts):
    """`fronts` are lists of (recall, rate) by name, in the order of the legend."""
    shown = {name: [point for point in points if point[0] >= RECALL_MIN] for name, points in fronts.items()}
    rates = [rate for points in shown.values() for _, rate in points] or [1.0]
    low, high = math.floor(math.log10(min(rates)) * 4) / 4, math.ceil(math.log10(max(rates)) * 4) / 4
    high = max(high, low + 0.25)
    least = min([recall for points in shown.values() for recall, _ in points] or [0.5])
    start = max(tick for tick in TICKS if tick <= max(least, TICKS[0]))
    first, last = -math.log10(1 - start), -math.log10(1 - RECALL_MAX)

    def x(recall):
        return LEFT + (-math.log10(1 - min(recall, RECALL_MAX)) - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def y(rate):
        return HEIGHT - BOTTOM - (math.log10(rate) - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="24" font-size="16">{escape(title)}</text>',
        f'<text x="{LEFT}" y="42" fill="#555">{escape(machine)}</text>',
    ]
    for tick in (tick for tick in TICKS if tick >= start):
        out.append(f'<path d="M{x(tick):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#ddd"/>')
        out.append(f'<text x="{x(tick):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{tick}</text>')
    for exponent in range(math.floor(low), math.ceil(high) + 1):
        for digit in (1, 2, 5):
            rate = digit * 10.0**exponent
            if low <= math.log10(rate) <= high:
                out.append(f'<path d="M{LEFT} {y(rate):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
                out.append(f'<text x="{LEFT - 6}" y="{y(rate) + 4:.1f}" text-anchor="end">{rate:,.0f}</text>')
    out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 16}" text-anchor="middle">recall</text>')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    out.append(f'<text transform="translate(16 {middle}) rotate(-90)" text-anchor="middle">queries a second</text>')
    colours = iter(COLOURS * 2)
    for number, (name, points) in enumerate(shown.items()):
        colour = "black" if name == "dvse" else next(colours)
        width = 3 if name == "dvse" else 1.5
        if points:
            path = "L".join(f"{x(recall):.1f} {y(rate):.1f}" for recall, rate in points)
            out.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>')
        out += [f'<circle cx="{x(r):.1f}" cy="{y(q):.1f}" r="{width}" fill="{colour}"/>' for r, q in points]
        line = TOP + 10 + 20 * number
        out.append(f'<path d="M{WIDTH - RIGHT + 15} {line}h24" stroke="{colour}" stroke-width="{width}"/>')
        out.append(f'<text x="{WIDTH - RIGHT + 46}" y="{line + 4}">{escape(name)}</text>')
    return "\n".join(out + ["</svg>"]) + "\n"
