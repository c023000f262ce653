#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""The benchmark's table. Standard library only.

  report.py RAW [RUN|latest]     RAW as tests/bench/bench writes it; TSV, with a header, to standard output:

    system  metric  value  unit  ratio_to_plain  ratio_to_best_peer  min  max  rounds  offloads

Values are medians of the rounds, min and max the least and the greatest of them. A ratio above 1 means better, whichever
way the metric runs, and compares with system `plain`, or with that peer whose median is best in this metric, in the same
series (offloads on or off).
"""
import statistics
import sys

METRICS = (
    "tcp1 tcp4 tcp1r tcp4r udp64_pps udp64_loss udp512_pps udp512_loss udp1400_pps udp1400_loss udp64_clean_pps "
    "pingpong_p50 pingpong_p99 cpu_s_per_gb rss rss10 first_byte streams streams_s stream_kib"
).split()
LESS_IS_BETTER = ("pingpong", "cpu", "rss", "first", "streams_s", "stream_kib")
HEADER = "system metric value unit ratio_to_plain ratio_to_best_peer min max rounds offloads".split()
FIELDS = 7


def less_is_better(metric):
    return metric.startswith(LESS_IS_BETTER) or metric.endswith("_loss")


def is_peer(system):
    return system != "server" and not system.startswith(("plain", "mvpn"))


def shown(value):
    return "%.4g" % value if value < 1000 else "%.0f" % value


def read(path, run):
    """{(offloads, system, metric): [values]}, {metric: unit} of one run, in the order measured"""
    lines = []
    with open(path, encoding="utf-8") as raw:
        for number, line in enumerate(raw, 1):
            fields = line.rstrip("\n").split("\t")
            if line.startswith("#"):
                continue
            if len(fields) != FIELDS:
                sys.exit(f"report: {path} line {number}: {len(fields)} fields, expected {FIELDS}")
            lines.append(fields)
    if run == "latest" and lines:
        run = lines[-1][0]
    # the last word counts where a step was repeated
    last = {(series, system, metric, rnd): (float(value), unit)
            for of, rnd, series, system, metric, value, unit in lines if of == run}
    if not last:
        sys.exit(f"report: no measurement of run {run} in {path}")
    values, units = {}, {}
    for (series, system, metric, _), (value, unit) in last.items():
        values.setdefault((series, system, metric), []).append(value)
        units[metric] = unit
    return values, units


def ratio(metric, mine, other):
    if not mine or not other:
        return "-"
    return "%.3f" % (other / mine if less_is_better(metric) else mine / other)


def table(values, units):
    middle = {key: statistics.median(v) for key, v in values.items()}
    systems = list(dict.fromkeys(system for _, system, _ in values))
    systems.sort(key=lambda s: (not s.startswith("plain"), not s.startswith("mvpn"), s == "server"))
    metrics = METRICS + [m for m in units if m not in METRICS]
    for series in ("on", "off"):
        for system in systems:
            for metric in metrics:
                key = (series, system, metric)
                if key not in middle:
                    continue
                peers = [middle[series, s, metric] for s in systems if is_peer(s) and (series, s, metric) in middle]
                best = (min if less_is_better(metric) else max)(peers, default=None)
                plain = middle.get((series, "plain", metric))
                if system == "server":
                    best = plain = None
                yield (
                    system, metric, shown(middle[key]), units[metric], ratio(metric, middle[key], plain),
                    ratio(metric, middle[key], best), shown(min(values[key])), shown(max(values[key])),
                    str(len(values[key])), series,
                )  # fmt: skip


def main():
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(__doc__)
    try:
        measured = read(sys.argv[1], sys.argv[2] if len(sys.argv) == 3 else "latest")
    except OSError as e:
        sys.exit(f"report: {sys.argv[1]}: {e.strerror}; `make bench` measures first")
    for row in (HEADER, *table(*measured)):
        print("\t".join(row))


main()
