"""The report as one page that holds all it shows: figures, the published table, curves, and galleries of good and bad cases."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from bench.evaluate.data import DataError, DataSet, Pixels
from bench.evaluate.figures import Figures
from bench.evaluate.published import beside
from bench.evaluate.records import unpacked

SHOWN, SIDE = 12, 180
LEGEND = "White: truth. Red: found. Warm: what was bright. The number is the best overlap."
PUBLISHED_THRESHOLDS = (0.55, 0.6, 0.65)
CURVES = {
    "gt_known_by_threshold": "Box protocol, by threshold",
    "max_box_acc_by_threshold": "MaxBoxAcc, by threshold",
    "by_level": "Pixels of each picture, by level",
    "pixels_precision_recall": "Pixels of the split: precision over recall",
    "segments_miou_by_background": "mIoU of classes, by background",
    "faithful": "Similarity while the brightest pixels come, or go",
    "presence_margin": "Present or absent: ROC of the margin",
    "presence_similarity": "Present or absent: ROC of the similarity",
}
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1060px;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem;border-bottom:1px solid #ddd}
table{border-collapse:collapse;margin:.5rem 0}td,th{padding:.2rem .8rem .2rem 0;text-align:left;
border-bottom:1px solid #eee;vertical-align:top}
td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}td.w{color:#666}
.plots{display:flex;flex-wrap:wrap;gap:1rem}.plots img{width:500px;max-width:100%}
.cases{display:flex;flex-wrap:wrap;gap:.6rem}figure{margin:0;width:180px}figcaption{font-size:12px;color:#555;overflow-wrap:anywhere}
.note{color:#666;font-size:13px}"""


def to_html(
    begun: dict[str, Any], counted: dict[str, Any], figures: Figures, records: dict[str, dict[str, Any]], data: DataSet
) -> str:
    """The page; nothing in it comes from anywhere else."""
    from bench.evaluate.report import INTERVALS, TITLES, headline, percent

    rows = [
        f"<tr><td>{html.escape(title)}</td><td class=n>{percent(figures.estimates[name], name)}</td>"
        f"<td class=w>{html.escape(words)}</td></tr>"
        for name, (title, words) in TITLES.items()
        if name in figures.estimates
    ]
    chosen = "".join(f"<tr><td>{name}</td><td>{html.escape(plain(value))}</td></tr>" for name, value in figures.chosen.items())
    plots = "".join(f'<img alt="{name}" src="data:image/png;base64,{data_}">' for name, data_ in drawn(figures))
    tables = beside(begun, figures.values).items()
    published = "".join(f"<h2>Published: {html.escape(title)}</h2>{as_table(lines)}" for title, lines in tables)
    settings = "".join(f"<tr><td>{name}</td><td>{html.escape(plain(value))}</td></tr>" for name, value in begun.items())
    left = "".join(f"<li>{html.escape(key)}: {html.escape(why)}</li>" for key, why in counted["skipped_examples"].items())
    body = [
        f"<h1>{html.escape(headline(begun, counted))}</h1>",
        f"<table><tr><th>figure</th><th>% (95 %)</th><th>what it is</th></tr>{''.join(rows)}</table>",
        f"<p class=note>{INTERVALS}</p>",
        f"<h2>Curves</h2><div class=plots>{plots}</div>",
        f"<h2>Chosen, or found on the way</h2><table>{chosen}</table>" if chosen else "",
        published,
        galleries(records, data),
        f"<h2>Left out</h2><ul>{left}</ul>" if left else "",
        f"<h2>How it was run</h2><table>{settings}</table>",
    ]
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>vlscore evaluation</title><style>{STYLE}</style>"
    return f"{head}{''.join(body)}</html>\n"


def plain(value: object) -> str:
    """A setting in words."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {plain(each)}" for name, each in value.items())
    return ", ".join(str(each) for each in value) if isinstance(value, list) else str(value)


def as_table(lines: Sequence[str]) -> str:
    """Lines of a Markdown table, and notes after it."""
    cells = [
        [html.escape(cell.strip()) for cell in line.strip("|").split("|")]
        for line in lines
        if line.startswith("|") and "---" not in line
    ]
    rows = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in cells)
    notes = "".join(f"<p class=note>{html.escape(line)}</p>" for line in lines if line and not line.startswith("|"))
    return f"<table>{rows}</table>{notes}"


def drawn(figures: Figures) -> list[tuple[str, str]]:
    """Every plot that the figures have something for, as packed PNG."""
    found = []
    for name, curve in figures.curves.items():
        figure, axes = plt.subplots(figsize=(5.6, 3.6))
        if name == "gt_known_by_threshold":
            bars(axes, curve)
        else:
            across, *ups = curve
            for up in ups:
                axes.plot(curve[across], curve[up], label=up.replace("_", " "), linewidth=1.3)
            axes.set_xlabel(across)
        axes.set_title(CURVES[name], fontsize=10)
        axes.set_ylim(0, 1)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=8, frameon=False)
        found.append((name, as_png(figure)))
    return found


def bars(axes: Any, curve: dict[str, list[float]]) -> None:  # noqa: ANN401 - matplotlib's axes
    """Accuracy bars over thresholds, the published ones darker, and the overlap as a line."""
    shades = ["#1f4e79" if at in PUBLISHED_THRESHOLDS else "#9dc3e6" for at in curve["threshold"]]
    axes.bar(curve["threshold"], curve["gt_known"], 0.04, color=shades, label="GT-known (dark: published thresholds)")
    axes.plot(curve["threshold"], curve["box_iou"], color="#c55a11", marker=".", label="mean box IoU")
    axes.set_xlabel("threshold, share of the maximum")


def as_png(figure: Figure) -> str:
    """A figure as packed PNG; equal figures give equal bytes."""
    stored = BytesIO()
    figure.tight_layout()
    figure.savefig(stored, dpi=90, metadata={"Software": None})
    plt.close(figure)
    return base64.b64encode(stored.getvalue()).decode()


def galleries(records: dict[str, dict[str, Any]], data: DataSet) -> str:
    """The best and the worst cases by box overlap, each on its picture."""
    cases = [
        (float(unpacked(thing["boxes"]["overlaps"])[-1, 0]), key, place)
        for key, record in records.items()
        for place, thing in enumerate(record.get("things", ()))
        if "boxes" in thing
    ]
    if not cases:
        return ""
    cases.sort(key=lambda case: (-case[0], case[1], case[2]))
    found = ""
    for title, chosen in (("Best cases", cases[:SHOWN]), ("Worst cases", cases[::-1][:SHOWN])):
        panels = "".join(panel(overlap, key, records[key]["things"][place], data) for overlap, key, place in chosen)
        found += f"<h2>{title}</h2><p class=note>{LEGEND}</p><div class=cases>{panels}</div>"
    return found


def panel(overlap: float, key: str, thing: dict[str, Any], data: DataSet) -> str:
    """One case; a picture that is not there leaves its words."""
    words = f"{data.labels[thing['label']][0]}: {overlap:.2f}"
    try:
        picture = data.read(data.keys.index(key)).pixels()
    except (DataError, OSError, ValueError):
        return f"<figure><figcaption>{html.escape(words)}, {html.escape(key)} (no picture)</figcaption></figure>"
    stored = BytesIO()
    overlay(picture, thing["boxes"]).save(stored, "WEBP", quality=70)
    packed = base64.b64encode(stored.getvalue()).decode()
    caption = f"<figcaption>{html.escape(words)}<br>{html.escape(key)}</figcaption>"
    return f'<figure><img src="data:image/webp;base64,{packed}">{caption}</figure>'


def overlay(picture: Pixels, boxes: dict[str, Any]) -> Image.Image:
    """A picture at the size of a panel, with what was bright and both kinds of boxes on it."""
    height, width = picture.shape[:2]
    scale = SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    heat = cv2.resize(unpacked(boxes["thumb"]), size, interpolation=cv2.INTER_LINEAR)
    warm = cv2.applyColorMap(heat, cv2.COLORMAP_HOT)[..., ::-1].astype(np.float32)
    image = Image.fromarray(np.clip(0.6 * small + 0.4 * warm, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for kind, shade in (("truth", "white"), ("found", "#ff2020")):
        for x0, y0, x1, y1 in boxes[kind]:
            corners = (x0 * scale, y0 * scale, max(x0 * scale, x1 * scale - 1), max(y0 * scale, y1 * scale - 1))
            pen.rectangle(corners, outline=shade, width=2)
    return image
