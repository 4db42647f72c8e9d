"""Makes tables and plots from the figures of bench/peers.sh.

  report.py figures PEERS.json            lines `name value aim ok|short`: cmxsafe divided by each peer
  report.py page PEERS.json PAGE PLOTS    writes the tables between the marks of PAGE, and the plots (SVG) into the folder PLOTS"""
import html
import json
import pathlib
import re
import statistics
import sys

OURS = 'cmxsafe'
LINKS = {'local': 'the two ends on one machine', 'rtt20': '20 ms round trip', 'rtt200loss': '200 ms round trip, 1 % of the packets lost each way'}
# measure: (text, unit shown, divisor, whether more is better, digits)
MEASURES = {
    'bulk_down_1': ('bulk to the device, 1 connection', 'MB/s', 1, True, 1),
    'bulk_down_8': ('8 connections', 'MB/s', 1, True, 1),
    'bulk_down_64': ('64 connections', 'MB/s', 1, True, 1),
    'bulk_up_1': ('bulk from the device, 1 connection', 'MB/s', 1, True, 1),
    'bulk_up_8': ('8 connections', 'MB/s', 1, True, 1),
    'bulk_up_64': ('64 connections', 'MB/s', 1, True, 1),
    'cpu_device_down': ('processor time of the device per GB sent to it', 's', 1, False, 2),
    'cpu_device_up': ('processor time of the device per GB sent by it', 's', 1, False, 2),
    'cpu_gateway_down': ('processor time of the gateway per GB sent to the device', 's', 1, False, 2),
    'cpu_gateway_up': ('processor time of the gateway per GB sent by the device', 's', 1, False, 2),
    'connect': ('new connection to first byte, median', 'ms', 1000, False, 2),
    'connect_p99': ('99th percentile', 'ms', 1000, False, 2),
    'echo_1': ('64-byte echo, 1 client, median', 'ms', 1000, False, 3),
    'echo_1_p99': ('99th percentile', 'ms', 1000, False, 3),
    'echo_100': ('64-byte echo, 100 clients, median', 'ms', 1000, False, 2),
    'echo_100_p99': ('99th percentile', 'ms', 1000, False, 2),
    'memory_rest': ('private memory of the device\'s side at rest', 'MB', 1024, False, 1),
    'memory_1000_idle': ('with 1,000 idle connections', 'MB', 1024, False, 1),
    'wakeups_rest': ('wake-ups per minute at rest', '', 1, False, 0),
    'cpu_rest': ('processor time per minute at rest', 'ms', 1, False, 0),
    'return_device_killed': ('reachable again after the device\'s side was killed', 's', 1000, False, 2),
    'return_gateway_killed': ('after the gateway\'s side was killed', 's', 1000, False, 2),
    'return_link': ('after the link was down for a minute', 's', 1000, False, 2),
}
PLOTS = {'throughput': ('local', ('bulk_down_1', 'bulk_down_8', 'bulk_up_1', 'bulk_up_8')), 'cost': ('local', ('cpu_device_down', 'cpu_device_up')),
         'latency': ('local', ('connect', 'echo_1', 'echo_100')), 'memory': ('local', ('memory_rest', 'memory_1000_idle')),
         'slow-link': ('rtt20', ('bulk_down_8', 'bulk_up_8', 'connect'))}


def load(path):
    data = json.loads(pathlib.Path(path).read_text())
    rows = {}
    for row in data['rows']:
        rows[row['link'], row['measure'], row['peer']] = [value for value in row['values'] if value is not None]
    return data, rows


def figures(rows):
    for (link, measure, peer), theirs in rows.items():
        ours = rows.get((link, measure, OURS))
        if peer == OURS or not ours or not theirs or statistics.median(theirs) <= 0:
            continue
        value = statistics.median(ours) / statistics.median(theirs)
        more = MEASURES[measure][3]
        print(f'peers_{link}_{measure}_over_{peer} {value:.3f} {">=" if more else "<="}1.0 {"ok" if (value >= 1) == more or value == 1 else "short"}')


def cell(values, measure):
    _, _, divisor, _, digits = MEASURES[measure]
    if not values:
        return 'none'
    low, middle, high = (f'{number / divisor:.{digits}f}' for number in (min(values), statistics.median(values), max(values)))
    return middle if low == high else f'{middle} ({low} to {high})'


def table(rows, link, peers):
    lines = ['| | ' + ' | '.join(peers) + ' |', '|---' * (len(peers) + 1) + '|']
    for measure, (text, unit, _, more, _) in MEASURES.items():
        present = {peer: rows[link, measure, peer] for peer in peers if rows.get((link, measure, peer))}
        if not present:
            continue
        best = (max if more else min)(present, key=lambda peer: statistics.median(present[peer]))
        cells = [('**' + cell(present.get(peer), measure) + '**' if peer == best else cell(present.get(peer), measure)) for peer in peers]
        lines.append(f'| {text}{", " + unit if unit else ""} | ' + ' | '.join(cells) + ' |')
    return lines


def page(data, rows, path, folder):
    peers = list(data['versions'])
    pictures = [f'![{name}](images/bench-{name}.svg)' for name in PLOTS]
    lines = [*pictures, '', f'Measured on {data["when"]}: {data["cores"]} cores, Linux {data["kernel"]}. Before the runs other programs used {data["busy"]} % of the '
             'cores\' time. Each figure is the median, with the lowest and highest value if they differ; the best of a line is bold.', '']
    for link, text in LINKS.items():
        if any(key[0] == link for key in rows):
            lines += [f'### {text[0].upper()}{text[1:]}', '', *table(rows, link, peers), '']
    lines += ['| | version |', '|---|---|'] + [f'| {peer} | {version} |' for peer, version in data['versions'].items()]
    page_path = pathlib.Path(path)
    start, end = '<!-- tables: made by bench/report.py -->', '<!-- end of tables -->'
    before, rest = page_path.read_text().split(start)
    page_path.write_text(before + start + '\n\n' + '\n'.join(lines) + '\n\n' + end + rest.split(end)[1])
    for name, (link, measures) in PLOTS.items():
        pathlib.Path(folder, f'bench-{name}.svg').write_text(plot(rows, link, measures, peers))


STYLE = '''<style>text{font:13px system-ui,sans-serif;fill:#1f2328}.t{font-weight:600}.v{font-size:12px}.o{fill:#0a6e5c}.p{fill:#9aa4b0}
rect.b{fill:#fff}@media(prefers-color-scheme:dark){text{fill:#e6edf3}rect.b{fill:#0d1117}.o{fill:#2fbf9f}.p{fill:#59636e}}</style>'''


def plot(rows, link, measures, peers):
    """Returns an SVG with horizontal bars: a group for each measure, a bar for each peer."""
    body, y = [], 24
    for measure in measures:
        text, unit, divisor, more, digits = MEASURES[measure]
        if not more and not text.startswith('processor'):
            text += ' (less is better)'
        values = {peer: statistics.median(rows[link, measure, peer]) / divisor for peer in peers if rows.get((link, measure, peer))}
        if not values:
            continue
        longest = max(values.values()) or 1
        full = {'64 connections': 'bulk, 64 connections', '8 connections': 'bulk ' + ('to' if '_down_' in measure else 'from') + ' the device, 8 connections',
                'with 1,000 idle connections': 'private memory with 1,000 idle connections'}
        for short, long in full.items():
            text = re.sub('^' + re.escape(short), long, text)
        body.append(f'<text class="t" x="12" y="{y}">{html.escape(text)}, {unit}</text>')
        y += 10
        for peer, value in values.items():
            body.append(f'<text x="122" y="{y + 13}" text-anchor="end">{peer}</text>'
                        f'<rect class="{"o" if peer == OURS else "p"}" x="130" y="{y + 2}" width="{max(1, 400 * value / longest):.1f}" height="14" rx="2"/>'
                        f'<text class="v" x="{136 + 400 * value / longest:.1f}" y="{y + 13}">{value:.{digits}f}</text>')
            y += 19
        y += 26
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 620 {y}" width="620" height="{y}" role="img" aria-label="{", ".join(measures)}">'
            f'{STYLE}<rect class="b" width="620" height="{y}"/>' + ''.join(body) + '</svg>\n')


data, rows = load(sys.argv[2])
if sys.argv[1] == 'figures':
    figures(rows)
else:
    page(data, rows, sys.argv[3], sys.argv[4])
