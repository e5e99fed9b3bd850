# SPDX-License-Identifier: Apache-2.0
"""A plot of the times to the first token, as SVG that needs nothing else."""

from xml.sax.saxutils import escape

WIDTH, NAMES_END, RIGHT, STEP = 860, 250, 90, 20
COLOURS = {"recompute": "#c2500c", "with pool": "#0b62c4", "modelled": "#8a8f98"}


def bars_of(row: dict) -> list[tuple[str, float, str]]:
    """What is drawn of one row: kind, seconds, and the text at its end."""
    pool = row["with_pool"]["median_s"]
    return [("with pool", pool, f"{pool * 1e3:.1f} ms, {row['of_recompute']:.2f}"),
            ("modelled", row["modelled"]["seconds"], f"{row['modelled']['seconds'] * 1e3:.1f} ms")]


def render(result: dict) -> str:
    lines, groups = [], {}
    for row in result["rows"]:
        groups.setdefault((row["cache"], row["tokens"]), []).append(row)
    y = 64
    for (cache, tokens), rows in groups.items():
        recompute = rows[0]["recompute"]["median_s"]
        most = max([recompute] + [bar[1] for row in rows for bar in bars_of(row)])
        lines.append(f'<text x="12" y="{y}" font-weight="bold">{tokens} tokens, '
                     f'{escape(cache)} cache</text>')
        bars = [("recomputed", "recompute", recompute, f"{recompute * 1e3:.1f} ms")]
        bars += [(f"{row['hit_percent']} % from the pool, {kind}" if kind == "modelled" else
                  f"{row['hit_percent']} % from the pool", kind, seconds, text)
                 for row in rows for kind, seconds, text in bars_of(row)]
        for name, kind, seconds, text in bars:
            y += STEP
            width = max(seconds / most * (WIDTH - NAMES_END - RIGHT - 60), 0.5)
            lines.append(f'<text x="{NAMES_END - 8}" y="{y}" text-anchor="end">{name}</text>'
                         f'<rect x="{NAMES_END}" y="{y - 11}" width="{width:.1f}" height="13" '
                         f'fill="{COLOURS[kind]}"><title>{name}: {text}</title></rect>'
                         f'<text x="{NAMES_END + width + 5:.1f}" y="{y}">{text}</text>')
        y += 2 * STEP
    title = (f"Time to the first token: {result['model']}, {result['dtype']}, random weights, "
             f"on {result['device']['name']}")
    note = ("Real: medians of this machine's times. Modelled: the same compute, with "
            f"{result['rows'][0]['modelled']['box']} over "
            f"{result['rows'][0]['modelled']['gb_per_s']:.3g} GB/s in the place of this pool.")
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" '
            'font-family="sans-serif" font-size="12" fill="#1b1f24">'
            f'<rect width="{WIDTH}" height="{y}" fill="white"/>'
            f'<text x="12" y="22" font-size="15">{escape(title)}</text>'
            f'<text x="12" y="40">{escape(note)}</text>{"".join(lines)}</svg>\n')
