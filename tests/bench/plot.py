#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""The benchmark's table as a picture. Needs gnuplot.

  plot.py TSV PNG     TSV as report.py writes it: one column of panels for each series, bars of medians, whiskers from the
                      least to the greatest round
"""
import csv
import math
import subprocess
import sys

# rows of panels; each: share of the width, title, scale of the axis, {metric: label}, what the values are divided by
PANELS = (
    ((1.0, "TCP, Gbit/s (more is better)", "log", {
        "tcp1": "1 connection", "tcp4": "4 connections", "tcp1r": "1, other way", "tcp4r": "4, other way"}, 1),),
    ((1.0, "UDP, 1000 packets/s that arrive (more is better)", "linear", {
        "udp64_pps": "64 B, flat out", "udp512_pps": "512 B, flat out", "udp1400_pps": "1400 B, flat out",
        "udp64_clean_pps": "64 B, < 1 % lost"}, 1000),),
    ((0.55, "UDP lost when sent flat out, %", "linear", {
        "udp64_loss": "64 B", "udp512_loss": "512 B", "udp1400_loss": "1400 B"}, 1),
     (0.45, "Question and answer, µs (less is better)", "log", {"pingpong_p50": "median", "pingpong_p99": "99 %"}, 1)),
    ((0.30, "CPU s for 10⁹ B (less)", "log", {"cpu_s_per_gb": ""}, 1),
     (0.40, "Daemon's memory, MiB (less)", "log", {"rss": "1 peer", "rss10": "10 peers"}, 1),
     (0.30, "First data, ms (less)", "log", {"first_byte": ""}, 1)),
)  # fmt: skip
HEIGHTS = (0.29, 0.25, 0.22, 0.24)  # of the rows, of what the legend leaves
LEGEND, FOOT = 0.075, 0.018
WIDTH, HEIGHT = 2000, 1640
COLOURS = {
    "plain": "#3d3d3d", "plain-nooffload": "#a3a3a3", "mvpn-udp": "#0b5fa5", "mvpn-xdp": "#62b0ea",
    "mvpn-socket": "#17766b", "mvpn-both": "#74c0b4",
    "wireguard-go": "#9c2f1b", "openvpn": "#e0762d", "fastd": "#e9b949", "nebula": "#6f9a3d", "strongswan": "#7d55a0",
    "tinc": "#c9a0d6",
}  # fmt: skip
OTHER_COLOURS = ("#1b8f8a", "#d35d8c", "#8a6d3b", "#5b5f97")
SERIES = {"on": "wire with offloads (super-packets)", "off": "wire without offloads, as a physical one"}
GAP = 1.5  # between groups of bars, in bars


def read(path):
    """[system], {(series, system, metric): (median, least, greatest)}"""
    values = {}
    with open(path, encoding="utf-8", newline="") as f:
        for row in csv.DictReader(f, delimiter="\t"):
            if row["system"] != "server":
                key = row["offloads"], row["system"], row["metric"]
                values[key] = tuple(float(row[c]) for c in ("value", "min", "max"))
    systems = list(dict.fromkeys(system for _, system, _ in values))
    order = list(COLOURS)
    systems.sort(key=lambda s: order.index(s) if s in order else len(order))
    return systems, values


def label(value):
    if value >= 100:
        return "%.0f" % value
    return "%.2g" % value if value < 1 else "%.3g" % value


def bounds(scale, numbers):
    if scale == "linear":
        return 0, max(numbers, default=1) * 1.28 or 1
    numbers = [n for n in numbers if n > 0] or [1]
    low, high = 10 ** math.floor(math.log10(min(numbers) * 0.9)), max(numbers)
    return low, high * (high / low) ** 0.22  # room for the numbers above the bars


def panel(out, at, size, spec, series, systems, colours, values):
    _, title, scale, metrics, divisor = spec
    # a metric that nobody has (in any series) takes no room
    metrics = {m: name for m, name in metrics.items() if any(key[2] == m for key in values)}
    present = [s for s in systems if any((series, s, m) in values for m in metrics)]
    width = len(present) + GAP
    everything = [v / divisor for (_, _, m), three in values.items() if m in metrics for v in three]
    low, high = bounds(scale, everything)  # the same in both series, to be compared
    out += [
        f"set origin {at[0]:.4f},{at[1]:.4f}",
        f"set size {size[0]:.4f},{size[1]:.4f}",
        f'set title "{title}" font ",15" offset 0,-0.6',
        "set logscale y" if scale == "log" else "unset logscale y",
        f"set xrange [{-GAP / 2 - 0.5}:{max(len(metrics), 1) * width - GAP / 2 - 0.5}]",
        f"set yrange [{low:.6g}:{high:.6g}]",
        "set xtics (%s) scale 0 textcolor rgb '#202020'" % ", ".join(
            # a tic's label is a format
            f'"{name.replace("%", "%%")}" {i * width + (len(present) - 1) / 2}' for i, name in enumerate(metrics.values())),
    ]  # fmt: skip
    plots = []
    for column, system in enumerate(present):
        lines = []
        for group, metric in enumerate(metrics):
            if (series, system, metric) in values:
                middle, least, most = (v / divisor for v in values[series, system, metric])
                drawn = max(middle, low)  # a bar of nothing has no place on a logarithmic axis
                lines.append(f'{group * width + column} {drawn:g} {max(least, low):g} {max(most, low):g} "{label(middle)}"')
        if not lines:
            continue
        name = f"$d{len(out)}_{column}"
        out.append("\n".join([f"{name} << EOD", *lines, "EOD"]))
        plots += [
            f'{name} using 1:2:(0.86) with boxes lc rgb "{colours[system]}" notitle',
            f'{name} using 1:3:(0):($4-$3) with vectors heads size screen 0.002,90 lw 1.2 lc rgb "#303030" notitle',
            f'{name} using 1:4:5 with labels rotate by 90 left offset 0,0.45 font ",9.5" tc rgb "#303030" notitle',
        ]
    if plots:
        out.append("plot " + ", ".join(plots))


def draw(systems, values, png):
    spare = iter(OTHER_COLOURS * len(systems))
    colours = {s: COLOURS.get(s) or next(spare) for s in systems}
    series = [s for s in SERIES if any(key[0] == s for key in values)]
    out = [
        f'set terminal pngcairo size {WIDTH * len(series) // 2 + 20},{HEIGHT} enhanced font "DejaVu Sans,12" background "#ffffff"',
        f'set output "{png}"',
        "set encoding utf8",
        "set multiplot",
        "set style fill solid 0.95 noborder",
        "set border 3 lc rgb '#808080'",
        "set grid ytics lc rgb '#e4e4e4' lw 1 lt 1",
        "set ytics nomirror format '%g'",
        "set tics nomirror textcolor rgb '#202020'",
        "set lmargin 8; set rmargin 1.5; set tmargin 2; set bmargin 2",
        "unset key",
    ]
    # the legend and the titles are labels of an empty plot over the whole picture
    out += ["set origin 0,0; set size 1,1; unset border; unset tics; set xrange [0:1]; set yrange [0:1]",
            "set lmargin 0; set rmargin 0; set tmargin 0; set bmargin 0"]  # fmt: skip
    step = 0.97 / max(len(systems), 6)
    for i, system in enumerate(systems):
        x = 0.02 + i * step
        out.append(f'set object {i + 1} rect from {x:.4f},0.975 to {x + 0.014:.4f},0.988 fc rgb "{colours[system]}" fs solid noborder')
        out.append(f'set label {i + 1} "{system}" at {x + 0.018:.4f},0.9815 font ",14" noenhanced')
    for i, s in enumerate(series):
        out.append(f'set label {90 + i} "{SERIES[s]}" at {(i + 0.5) / len(series):.4f},0.945 center font ",18"')
    out.append('set label 99 "Bars and numbers: medians; whiskers: least and greatest round. Some axes are logarithmic." at 0.5,0.009 center font ",11" tc rgb "#606060"')
    out += ["plot NaN notitle", "unset label", "unset object",
            "set border 3 lc rgb '#808080'; set ytics nomirror format '%g' textcolor rgb '#202020'; set xtics nomirror",
            "set lmargin 8; set rmargin 1.5; set tmargin 2; set bmargin 2"]  # fmt: skip
    for column, s in enumerate(series):
        top = 1 - LEGEND
        for row, height in zip(PANELS, HEIGHTS):
            height *= 1 - LEGEND - FOOT
            top -= height
            x = column / len(series)
            for spec in row:
                width = spec[0] / len(series)
                panel(out, (x, top), (width, height), spec, s, systems, colours, values)
                x += width
    out.append("unset multiplot")
    subprocess.run(["gnuplot"], input="\n".join(out) + "\n", text=True, check=True)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    systems, values = read(sys.argv[1])
    if not values:
        sys.exit(f"plot: nothing in {sys.argv[1]}")
    try:
        draw(systems, values, sys.argv[2])
    except (OSError, subprocess.CalledProcessError) as e:
        sys.exit(f"plot: gnuplot: {e}")


main()
