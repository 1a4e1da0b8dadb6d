"""The style sheet of a report: light and dark by the reader's preference, narrow screens, paper."""

# ruff: noqa: E501

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --page: #fbfbf9; --card: #ffffff; --ink: #1d2129; --soft: #5a6270; --line: #dcdfe4; --wash: #f1f3f5; --best: #e8f1fb;
  --accent: #1f5fa8; --gain: #1f6fb2; --loss: #b44e13; --good: #1c7445; --warn: #8a5300; --warn-wash: #fff4de;
  --c0: #1f5fa8; --c1: #b44e13; --c2: #1c7445; --c3: #8343a8; --c4: #b02a4c; --c5: #5d6a00; --c6: #00767f; --c7: #6b5344;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171c; --card: #1b1f26; --ink: #e6e8ec; --soft: #a3abb8; --line: #343b46; --wash: #232831; --best: #20344c;
    --accent: #7fb4f0; --gain: #6aaeee; --loss: #f0975a; --good: #6fcb95; --warn: #f0c070; --warn-wash: #33291a;
    --c0: #6aaeee; --c1: #f0975a; --c2: #6fcb95; --c3: #c99aea; --c4: #f2899f; --c5: #c3cf5a; --c6: #5cc8cf; --c7: #c4a78f;
  }
}
* { box-sizing: border-box; } [hidden] { display: none !important; }
html { scroll-padding-top: 3.5rem; -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
}
header.top, main, footer { max-width: 80rem; margin: 0 auto; padding: 0 1.25rem; }
header.top { padding-top: 2.5rem; padding-bottom: 1rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; letter-spacing: -.01em; }
h2 { font-size: 1.3rem; margin: 0 0 .35rem; letter-spacing: -.005em; }
h3 { font-size: 1.02rem; margin: 1.5rem 0 .5rem; }
p { margin: .4rem 0 .9rem; max-width: 46rem; }
.lead { color: var(--soft); font-size: 1.05rem; margin: 0; }
.note { color: var(--soft); font-size: .92rem; }
a { color: var(--accent); }
nav {
  position: sticky; top: 0; z-index: 2; background: var(--page); border-bottom: 1px solid var(--line);
}
nav ul {
  max-width: 80rem; margin: 0 auto; padding: .6rem 1.25rem; display: flex; gap: 1.35rem; list-style: none;
  overflow-x: auto; white-space: nowrap; font-size: .92rem;
}
nav a { color: var(--soft); text-decoration: none; }
nav a:hover, nav a:focus-visible { color: var(--ink); text-decoration: underline; }
section { margin: 2rem 0; padding: 1.4rem 1.5rem 1.5rem; background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.scroll { overflow-x: auto; margin: .5rem -.25rem; padding: 0 .25rem; }
table { border-collapse: collapse; width: 100%; font-size: .86rem; font-variant-numeric: tabular-nums; }
th, td { padding: .42rem .5rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; font-size: .8rem; vertical-align: bottom; }
td svg { vertical-align: middle; }
thead th { white-space: normal; line-height: 1.25; } thead th.text, thead th:first-child { white-space: nowrap; }
th:first-child, td:first-child, .text { text-align: left; }
tbody th { color: var(--ink); font-size: .86rem; font-weight: 500; white-space: normal; overflow-wrap: anywhere; min-width: 7.5rem; }
tr.set th { text-align: left; background: var(--wash); font-weight: 650; color: var(--ink); }
td.best { font-weight: 700; background: var(--best); }
th[aria-sort] { cursor: pointer; }
th button { all: unset; cursor: pointer; }
th button:focus-visible { outline: 2px solid var(--accent); outline-offset: 3px; border-radius: 2px; }
th[aria-sort="ascending"] button::after { content: " ▲"; font-size: .7em; }
th[aria-sort="descending"] button::after { content: " ▼"; font-size: .7em; }
.cost { color: var(--soft); }
td.split, th.split { border-left: 1px solid var(--line); }
sup.sure { color: var(--good); font-weight: 700; line-height: 0; } td sup.sure { display: inline-block; width: 0; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 1.25rem 1.75rem; }
figure { margin: 0; min-width: 0; }
h1, h2, h3, p, figcaption, li, dd { overflow-wrap: anywhere; }
figcaption { font-weight: 600; font-size: .95rem; margin-bottom: .15rem; }
svg.chart { width: 100%; height: auto; max-width: 26rem; display: block; overflow: visible; }
section > :last-child { margin-bottom: 0; }
svg.chart.wide { max-width: none; }
svg text { font-family: inherit; fill: var(--ink); font-size: 12px; }
svg .tick { fill: var(--soft); font-size: 11px; font-variant-numeric: tabular-nums; }
svg.wide .tick { font-size: 8.5px; }
svg .axis-name { fill: var(--soft); font-size: 11.5px; }
svg .label { paint-order: stroke; stroke: var(--card); stroke-width: 3px; }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg .axis { stroke: var(--soft); stroke-width: 1; }
svg .gain { fill: var(--gain); } svg .loss { fill: var(--loss); } svg .unclear { fill: var(--soft); }
svg .range { stroke-width: 2.5; } svg .range.gain { stroke: var(--gain); } svg .range.loss { stroke: var(--loss); }
svg .range.unclear { stroke: var(--soft); }
svg rect.gain:hover, svg rect.loss:hover { fill: var(--ink); }
svg .curve { fill: none; stroke-width: 2; } svg .mark { stroke: var(--card); stroke-width: 1.5; }
svg .d1 { stroke-dasharray: 7 3; } svg .d2 { stroke-dasharray: 2 3; } svg .d3 { stroke-dasharray: 8 3 2 3; }
svg .c0 { fill: var(--c0); } svg .c1 { fill: var(--c1); } svg .c2 { fill: var(--c2); } svg .c3 { fill: var(--c3); }
svg .c4 { fill: var(--c4); } svg .c5 { fill: var(--c5); } svg .c6 { fill: var(--c6); } svg .c7 { fill: var(--c7); }
svg .curve { fill: none; }
svg .curve.c0 { stroke: var(--c0); } svg .curve.c1 { stroke: var(--c1); } svg .curve.c2 { stroke: var(--c2); }
svg .curve.c3 { stroke: var(--c3); } svg .curve.c4 { stroke: var(--c4); } svg .curve.c5 { stroke: var(--c5); }
svg .curve.c6 { stroke: var(--c6); } svg .curve.c7 { stroke: var(--c7); }
.ends { display: flex; justify-content: space-between; gap: 1rem; color: var(--soft); font-size: .86rem; overflow-wrap: anywhere; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; padding: 0; margin: .3rem 0 .9rem; font-size: .92rem; }
.legend li { display: flex; align-items: center; gap: .35rem; overflow-wrap: anywhere; }
.switch { display: inline-flex; flex-wrap: wrap; border: 1px solid var(--line); border-radius: 7px; overflow: hidden; margin: .2rem 0 .9rem; }
.switch button { all: unset; padding: .3rem .8rem; font-size: .88rem; cursor: pointer; color: var(--soft); }
.switch button + button { border-left: 1px solid var(--line); }
.switch button[aria-pressed="true"] { background: var(--wash); color: var(--ink); font-weight: 600; }
.switch button:focus-visible { outline: 2px solid var(--accent); outline-offset: -2px; }
.scripted { display: none; } .js .scripted { display: inline-flex; }
details { border-top: 1px solid var(--line); }
details:last-of-type { border-bottom: 1px solid var(--line); }
summary { cursor: pointer; padding: .65rem .2rem; display: flex; gap: .8rem; align-items: baseline; list-style: none; }
summary::-webkit-details-marker { display: none; }
summary::before { content: "›"; color: var(--soft); font-weight: 700; transition: transform .12s; }
details[open] > summary::before { transform: rotate(90deg); }
summary:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 4px; }
summary .question { flex: 1; min-width: 0; overflow-wrap: anywhere; }
summary .figures { color: var(--soft); font-size: .88rem; font-variant-numeric: tabular-nums; text-align: right; }
summary .up { color: var(--gain); font-weight: 650; } summary .down { color: var(--loss); font-weight: 650; }
.inside { padding: .1rem .2rem 1.1rem 1.2rem; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr)); gap: 1rem 2rem; }
.columns h4 { margin: .3rem 0 .4rem; font-size: .88rem; color: var(--soft); font-weight: 600; overflow-wrap: anywhere; }
ol.ranking { list-style: none; margin: 0; padding: 0; font-size: .9rem; }
ol.ranking li { display: grid; grid-template-columns: 2.2rem 1fr; gap: .5rem; padding: .35rem 0; }
ol.ranking li + li { border-top: 1px dotted var(--line); }
ol.ranking.plain li { display: block; }
ol.ranking .rank { color: var(--soft); text-align: right; font-variant-numeric: tabular-nums; }
ol.ranking .words { min-width: 0; overflow-wrap: anywhere; }
ol.ranking .title { font-weight: 600; }
ol.ranking .id { color: var(--soft); font-size: .85em; }
ol.ranking .body { color: var(--soft); display: block; }
.grade { font-size: .78rem; padding: .05rem .45rem; border-radius: 99px; border: 1px solid var(--line); color: var(--soft); white-space: nowrap; }
.grade.relevant { color: var(--good); border-color: currentColor; font-weight: 600; }
ul.notices { padding: .7rem 1rem .7rem 2rem; background: var(--warn-wash); color: var(--warn); border-radius: 8px; margin: .8rem 0; }
.empty { color: var(--soft); font-style: italic; }
pre { overflow-x: auto; background: var(--wash); padding: .9rem 1rem; border-radius: 8px; font-size: .84rem; line-height: 1.45; }
code { font-family: ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, monospace; }
dl.terms { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; font-size: .9rem; }
dl.terms dt { font-weight: 600; } dl.terms dd { margin: 0; color: var(--soft); }
footer { color: var(--soft); font-size: .88rem; padding-bottom: 3rem; }
@media (max-width: 40rem) {
  header.top { padding-top: 1.5rem; } h1 { font-size: 1.5rem; }
  header.top, main, footer, nav ul { padding-left: .9rem; padding-right: .9rem; }
  section { padding: 1rem .9rem; margin: 1.2rem 0; }
  summary { flex-wrap: wrap; } summary .question { flex-basis: 80%; }
  summary .figures { flex-basis: 100%; text-align: left; padding-left: 1.3rem; }
  dl.terms { grid-template-columns: 1fr; gap: 0; } dl.terms dd { margin-bottom: .5rem; }
  .inside { padding-left: .2rem; } svg.wide .tick { font-size: 22px; }
  tbody th, thead th:first-child { position: sticky; left: 0; background: var(--card); } tr.set th { position: static; white-space: nowrap; background: var(--wash); }
}
@media print {
  :root {
    --page: #fff; --card: #fff; --ink: #000; --soft: #444; --line: #bbb; --wash: #f2f2f2; --best: #e8f1fb; --gain: #1f6fb2; --loss: #b44e13;
    --good: #1c7445; --warn: #6d4200; --warn-wash: #fff;
    --c0: #1f5fa8; --c1: #b44e13; --c2: #1c7445; --c3: #8343a8; --c4: #b02a4c; --c5: #5d6a00; --c6: #00767f; --c7: #6b5344;
  }
  body { font-size: 10.5pt; } nav, .switch, .scripted { display: none !important; }
  header.top, main, footer { max-width: none; padding-left: 0; padding-right: 0; }
  section { border: 0; padding: 0; margin: 1.2rem 0; }
  figure, tr, details, ol.ranking li { break-inside: avoid; } h2, h3, figcaption { break-after: avoid; }
  .scroll { overflow: visible; } th, td { padding: .25rem .35rem; font-size: 8.5pt; }
  svg { print-color-adjust: exact; -webkit-print-color-adjust: exact; } pre { white-space: pre-wrap; }
}
"""
