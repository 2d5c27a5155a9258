"""Draws docs/surprisal.svg: surprisal along the demo's stream, from `surprisal backtest` on the same data.

    surprisal backtest --input demo/shuttle.csv.gz --label label --scores target/shuttle.csv && python3 docs/picture.py target/shuttle.csv
"""
import csv, gzip, sys

FIRST, LAST, WIDTH, HEIGHT, LEFT, TOP = 0, 3000, 960, 300, 56, 40
labels = [row["label"] == "1" for row in csv.DictReader(gzip.open("demo/shuttle.csv.gz", "rt"))]
scores = [float(row["surprisal"]) for row in csv.DictReader(open(sys.argv[1]))]
high = max(min(score, 60.0) for score in scores[FIRST:LAST])
low = min(scores[FIRST:LAST])
x = lambda row: LEFT + (row - FIRST) / (LAST - FIRST) * (WIDTH - LEFT - 16)
y = lambda score: TOP + (high - min(score, high)) / (high - low) * (HEIGHT - TOP - 36)
out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
       f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
       f'<text x="{LEFT}" y="22" font-size="14">Surprisal of the first {LAST} events of the demo, each scored before it was learnt</text>',
       f'<circle cx="{WIDTH-316}" cy="18" r="4" fill="#d62728"/><text x="{WIDTH-306}" y="22">labelled anomaly (the model never sees the labels)</text>']
for tick in range(0, int(high) + 1, 10):
    out.append(f'<line x1="{LEFT}" x2="{WIDTH-16}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="#eee"/>'
               f'<text x="{LEFT-8}" y="{y(tick)+4:.1f}" text-anchor="end">{tick}</text>')
out.append(f'<text x="14" y="{HEIGHT/2}" transform="rotate(-90 14 {HEIGHT/2})" text-anchor="middle">nats</text>')
for tick in range(FIRST, LAST + 1, 500):
    out.append(f'<text x="{x(tick):.1f}" y="{HEIGHT-12}" text-anchor="middle">{tick}</text>')
for anomalous in (False, True):
    colour, radius = ("#d62728", 2.6) if anomalous else ("#4477aa", 1.3)
    points = [f'<circle cx="{x(row):.1f}" cy="{y(scores[row]):.1f}" r="{radius}"/>' for row in range(FIRST, LAST) if labels[row] == anomalous]
    out.append(f'<g fill="{colour}" fill-opacity="0.75">' + "".join(points) + "</g>")
open("docs/surprisal.svg", "w").write("\n".join(out) + "\n</svg>\n")
