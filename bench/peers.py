"""Measures cmxsafe beside the programs that it can replace. Starts all these programs at the same time, in two network
namespaces that a link connects. Each program is one way to reach the same service. A round measures these ways one
after the other.

  peers.py --bin FOLDER --tools FOLDER --out FILE [--rounds N] [--returns N] [--megabytes N] [--links local,rtt20,rtt200loss] [--only NAME,...]

The consumer is on the gateway and the service is on the device. `down` is from the consumer to the service. A process
that is killed is started again at once, as systemd does with Restart=always. FILE gets each value of each round."""
import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

GATEWAY, DEVICE = '192.0.2.1', '192.0.2.2'
SERVICE = 7000
HERE = pathlib.Path(__file__).resolve().parent
# name: (one-way delay in ms, loss in percent, bytes per measurement, connections in bulk); local is a plain veth link.
LINKS = {'local': (0, 0, None, (1, 8, 64)), 'rtt20': (10, 0, 8 << 20, (1, 8)), 'rtt200loss': (100, 1, 512 << 10, (1, 8))}


def run(*argv, **more):
    return subprocess.run(argv, check=True, capture_output=True, text=True, **more).stdout


def version_of(*argv):
    done = subprocess.run(argv, capture_output=True, text=True)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if re.search(r'\d+\.\d+', line)]
    return lines[0].strip() if lines else 'unknown'


class World:
    """Two network namespaces, the link between them, and the processes in them."""

    def __init__(self, args, link):
        self.args, self.link, self.processes = args, link, []
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix='cmx-peers.'))
        self.names = {side: f'cmxp{side}{os.getpid()}' for side in 'gd'}
        self.next_port = 7100
        for name in self.names.values():
            run('ip', 'netns', 'add', name)
            run('ip', '-n', name, 'link', 'set', 'lo', 'up')
        delay, loss = LINKS[link][:2]
        if delay:
            wire = self.start(None, sys.executable, str(HERE.parent / 'tests/e2e/netem.py'), self.names['g'], 't0', self.names['d'], 't0',
                              str(delay), str(loss), output=subprocess.PIPE)
            wire.stdout.readline()
        else:
            run('ip', '-n', self.names['g'], 'link', 'add', 't0', 'type', 'veth', 'peer', 'name', 't0', 'netns', self.names['d'])
        for side, address in (('g', GATEWAY), ('d', DEVICE)):
            run('ip', '-n', self.names[side], 'addr', 'add', address + '/24', 'dev', 't0')
            run('ip', '-n', self.names[side], 'link', 'set', 't0', 'up')

    def start(self, side, *argv, output=None):
        if side:
            argv = ('ip', 'netns', 'exec', self.names[side], *argv)
        log = output or open(self.dir / 'processes.log', 'ab')
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=None if output else log, start_new_session=True)
        self.processes.append(process)
        return process

    def loadgen(self, *argv, **more):
        return run('ip', 'netns', 'exec', self.names['g'], str(self.args.bin / 'loadgen'), *map(str, argv), **more)

    def port(self):
        self.next_port += 1
        return self.next_port

    def end(self):
        for process in self.processes:
            kill_tree(process, signal.SIGTERM)
        time.sleep(0.5)
        for process in self.processes:
            kill_tree(process, signal.SIGKILL)
        for name in self.names.values():
            run('ip', 'netns', 'del', name)
        shutil.rmtree(self.dir)


def tree(pid):
    """Returns the ids of a process and its descendants."""
    ids = [pid]
    for one in ids:
        try:
            for task in os.listdir(f'/proc/{one}/task'):
                ids += map(int, pathlib.Path(f'/proc/{one}/task/{task}/children').read_text().split())
        except OSError:
            pass  # the process has ended meanwhile
    return ids


def kill_tree(process, number):
    for pid in tree(process.pid):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass
    if number == signal.SIGKILL:
        process.wait()


class Peer:
    """One way to reach the service. `sides` has the process of each side; endpoint is where the consumer connects."""
    name = ''

    def __init__(self, world):
        self.world, self.sides = world, {}
        self.dir = world.dir / self.name
        self.dir.mkdir()
        self.port = world.port()
        self.endpoint = f'127.0.0.1:{self.port}'
        self.prepare()
        for side in 'gd':
            self.start(side)

    def prepare(self):
        pass

    def start(self, side):
        self.sides[side] = self.world.start(side, *(self.gateway() if side == 'g' else self.device()))
        self.started(side)

    def started(self, side):
        pass

    def restart(self, side):
        kill_tree(self.sides[side], signal.SIGKILL)
        self.start(side)

    def pids(self, side):
        return tree(self.sides[side].pid)

    def file(self, name, text):
        path = self.dir / name
        path.write_text(text)
        return str(path)


class Ssh(Peer):
    """Base class of the peers that use a stock sshd: the server's keys and configuration. The keepalives are those of
    docs/QUICKSTART.md."""

    def prepare(self):
        self.control = self.world.port()
        for key in ('host', 'client'):
            run('ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', str(self.dir / key))
        self.pin = run('ssh-keygen', '-lf', str(self.dir / 'host.pub')).split()[1]
        self.file('known', f'[{GATEWAY}]:{self.control} {(self.dir / "host.pub").read_text()}')
        self.file('sshd_config', f'''Port {self.control}
ListenAddress {GATEWAY}
HostKey {self.dir}/host
AuthorizedKeysFile {self.dir}/client.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
ClientAliveInterval 15
ClientAliveCountMax 2
''')

    def gateway(self):
        return '/usr/sbin/sshd', '-D', '-e', '-f', str(self.dir / 'sshd_config')


class Cmxsafe(Ssh):
    name = 'cmxsafe'
    version = property(lambda self: version_of(str(self.world.args.bin / 'cmxsafed'), '--version'))

    def device(self):
        conf = self.file('cmxsafed.conf', f'''[agent]
control_socket = {self.dir}/s
[gateway]
host = {GATEWAY}
port = {self.control}
user = root
host_key = {self.pin}
key_file = {self.dir}/client
[context web]
local_port = {SERVICE}
remote_port = {self.port}
max_connections = 1024
''')
        return str(self.world.args.bin / 'cmxsafed'), '-c', conf


class Autossh(Ssh):
    name = 'autossh'
    version = property(lambda self: version_of('ssh', '-V') + ', autossh ' + version_of('autossh', '-V'))

    def device(self):
        return ('env', 'AUTOSSH_GATETIME=0', 'autossh', '-M', '0', '-N', '-F', 'none', '-i', str(self.dir / 'client'), '-p', str(self.control),
                '-o', f'UserKnownHostsFile={self.dir}/known', '-o', 'ServerAliveInterval=15', '-o', 'ServerAliveCountMax=2',
                '-o', 'ExitOnForwardFailure=yes', '-R', f'127.0.0.1:{self.port}:127.0.0.1:{SERVICE}', f'root@{GATEWAY}')


class Dbclient(Ssh):
    name = 'dbclient'
    version = property(lambda self: version_of('dbclient', '-V'))

    def prepare(self):
        super().prepare()
        run('dropbearconvert', 'openssh', 'dropbear', str(self.dir / 'client'), str(self.dir / 'client.db'))
        run('mkdir', '-p', str(self.dir / '.ssh'))

    def device(self):
        # dbclient exits when its connection ends. The loop starts it again after 100 ms, as systemd does by default.
        return ('env', f'HOME={self.dir}', 'sh', '-c', 'while :; do "$@"; sleep 0.1; done', 'sh', 'dbclient', '-N', '-T', '-y', '-y', '-K', '15',
                '-o', 'ExitOnForwardFailure=yes', '-i', str(self.dir / 'client.db'), '-p', str(self.control),
                '-R', f'127.0.0.1:{self.port}:127.0.0.1:{SERVICE}', f'root@{GATEWAY}')


class Rathole(Peer):
    binary = property(lambda self: str(self.world.args.tools / 'rathole'))
    version = property(lambda self: 'rathole ' + re.search(r'Version: +(\S+)', run(self.binary, '--version'))[1])

    def prepare(self):
        control = self.world.port()
        server, client = self.transport()
        self.server = self.file('server.toml', f'[server]\nbind_addr = "{GATEWAY}:{control}"\ndefault_token = "secret"\n{server}'
                                f'[server.services.web]\nbind_addr = "{self.endpoint}"\n')
        self.client = self.file('client.toml', f'[client]\nremote_addr = "{GATEWAY}:{control}"\ndefault_token = "secret"\n{client}'
                                f'[client.services.web]\nlocal_addr = "127.0.0.1:{SERVICE}"\n')

    def gateway(self):
        return self.binary, '--server', self.server

    def device(self):
        return self.binary, '--client', self.client


class RatholeNoise(Rathole):
    name = 'rathole-noise'

    def transport(self):
        private, public = re.findall(r'^\S{40,}$', run(self.binary, '--genkey'), re.M)
        return tuple(f'[{side}.transport]\ntype = "noise"\n[{side}.transport.noise]\n{key}\n'
                     for side, key in (('server', f'local_private_key = "{private}"'), ('client', f'remote_public_key = "{public}"')))


class RatholeTls(Rathole):
    name = 'rathole-tls'

    def transport(self):
        certificate(self.dir, 'server')
        run('openssl', 'pkcs12', '-export', '-out', f'{self.dir}/server.p12', '-inkey', f'{self.dir}/server.key', '-in', f'{self.dir}/server.pem',
            '-passout', 'pass:x')
        return (f'[server.transport]\ntype = "tls"\n[server.transport.tls]\npkcs12 = "{self.dir}/server.p12"\npkcs12_password = "x"\n',
                f'[client.transport]\ntype = "tls"\n[client.transport.tls]\ntrusted_root = "{self.dir}/server.pem"\nhostname = "localhost"\n')


def certificate(folder, name):
    run('openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=localhost',
        '-addext', 'subjectAltName=DNS:localhost', '-keyout', f'{folder}/{name}.key', '-out', f'{folder}/{name}.pem')


class Stunnel(Peer):
    """TLS 1.3 with certificates on both sides. The device listens and the gateway connects, so the device must be reachable."""
    name = 'stunnel'
    version = property(lambda self: version_of('stunnel4', '-version'))

    def prepare(self):
        control = self.world.port()
        for side, other, kind, accept, connect in (('g', 'd', 'yes', self.endpoint, f'{DEVICE}:{control}'),
                                                   ('d', 'g', 'no', f'{DEVICE}:{control}', f'127.0.0.1:{SERVICE}')):
            certificate(self.dir, side)
            self.file(f'{side}.conf', f'''foreground = yes
pid =
syslog = no
debug = 3
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
[web]
client = {kind}
accept = {accept}
connect = {connect}
cert = {self.dir}/{side}.pem
key = {self.dir}/{side}.key
CAfile = {self.dir}/{other}.pem
verifyPeer = yes
''')

    def gateway(self):
        return 'stunnel4', str(self.dir / 'g.conf')

    def device(self):
        return 'stunnel4', str(self.dir / 'd.conf')


class WireGuard(Peer):
    """Uses the kernel's module if there is one, else wireguard-go. The service must listen on the tunnel's address."""
    name = 'wireguard'
    version = property(lambda self: version_of('wireguard-go', '--version') if self.user_space else 'kernel ' + os.uname().release)

    def prepare(self):
        self.user_space = subprocess.run(['ip', '-n', self.world.names['g'], 'link', 'add', 'probe', 'type', 'wireguard'], capture_output=True).returncode != 0
        if not self.user_space:
            run('ip', '-n', self.world.names['g'], 'link', 'del', 'probe')
        self.control = self.world.port()
        self.keys = {side: run('wg', 'genkey').strip() for side in 'gd'}
        self.public = {side: run('wg', 'pubkey', input=key).strip() for side, key in self.keys.items()}
        self.address = {'g': '10.99.0.1', 'd': '10.99.0.2'}
        self.endpoint = f'{self.address["d"]}:{SERVICE}'

    def interface(self, side):
        name = f'wg{side}{os.getpid()}'
        return ('wireguard-go', '-f', name) if self.user_space else ('sleep', 'infinity')

    def gateway(self):
        return self.interface('g')

    def device(self):
        return self.interface('d')

    def started(self, side):
        other, name, netns = 'd' if side == 'g' else 'g', f'wg{side}{os.getpid()}', self.world.names[side]
        if not self.user_space:
            subprocess.run(['ip', '-n', netns, 'link', 'del', name], capture_output=True)
            run('ip', '-n', netns, 'link', 'add', name, 'type', 'wireguard')
        conf = self.file(f'{side}.conf', f'''[Interface]
PrivateKey = {self.keys[side]}
ListenPort = {self.control}
[Peer]
PublicKey = {self.public[other]}
AllowedIPs = {self.address[other]}/32
''' + (f'Endpoint = {GATEWAY}:{self.control}\nPersistentKeepalive = 25\n' if side == 'd' else ''))
        self.wait_for('ip', 'netns', 'exec', netns, 'wg', 'setconf', name, conf)
        self.wait_for('ip', '-n', netns, 'addr', 'add', f'{self.address[side]}/24', 'dev', name)
        self.wait_for('ip', '-n', netns, 'link', 'set', name, 'up')

    def wait_for(self, *argv):
        """Repeats the command until it succeeds, because wireguard-go needs a moment to create its device and its control socket."""
        for _ in range(100):
            done = subprocess.run(argv, capture_output=True, text=True)
            if done.returncode == 0:
                return
            time.sleep(0.05)
        sys.exit(f'peers: {" ".join(argv)}: {done.stderr}')


PEERS = (Cmxsafe, Autossh, Dbclient, RatholeNoise, RatholeTls, Stunnel, WireGuard)


# ---- figures from /proc ----

def cpu_seconds(pids):
    total = 0
    for pid in pids:
        try:
            fields = pathlib.Path(f'/proc/{pid}/stat').read_text().rsplit(') ', 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        except OSError:
            pass
    return total / os.sysconf('SC_CLK_TCK')


def private_kb(pids):
    total = 0
    for pid in pids:
        try:
            total += sum(map(int, re.findall(r'^Private_(?:Clean|Dirty): +(\d+)', pathlib.Path(f'/proc/{pid}/smaps_rollup').read_text(), re.M)))
        except OSError:
            pass
    return total


def wakeups(pids):
    """Returns how often each thread has waited, by thread id."""
    return {status.parent.name: int(re.search(r'^voluntary_ctxt_switches:\s+(\d+)', status.read_text(), re.M)[1])
            for pid in pids for status in pathlib.Path(f'/proc/{pid}/task').glob('*/status')}


# ---- the measurements ----

class Results:
    def __init__(self):
        self.rows = {}

    def add(self, link, measure, unit, peer, value):
        row = self.rows.setdefault((link, measure, peer), {'link': link, 'measure': measure, 'unit': unit, 'peer': peer, 'values': []})
        row['values'].append(value)
        print(f'  {link:10} {measure:28} {peer:14} {str(value):>12} {unit}', flush=True)


def measure_bulk(world, peers, results, megabytes):
    _, _, fixed, connections = LINKS[world.link]
    size = fixed or megabytes << 20
    for peer in peers:
        for direction, way in (('to', 'down'), ('from', 'up')):
            before = {side: cpu_seconds(peer.pids(side)) for side in 'gd'}
            for count in connections:
                amount = size // 8 if peer.name == 'dbclient' and not fixed else size
                rate = float(world.loadgen('bulk', peer.endpoint, direction, amount, count, timeout=600))
                results.add(world.link, f'bulk_{way}_{count}', 'MB/s', peer.name, rate)
            if world.link == 'local':
                gigabytes = amount * len(connections) / (1 << 30)
                for side, label in (('d', 'device'), ('g', 'gateway')):
                    used = cpu_seconds(peer.pids(side)) - before[side]
                    results.add(world.link, f'cpu_{label}_{way}', 's/GB', peer.name, round(used / gigabytes, 2))


def measure_latency(world, peers, results):
    for measure, arguments in (('connect', ('conn', 100)), ('echo_1', ('echo', 500)), ('echo_100', ('echo', 20, 100))):
        if world.link != 'local':
            arguments = arguments[:1] + (20 if measure != 'echo_100' else 3,) + arguments[2:]
        for peer in peers:
            median, high = world.loadgen(arguments[0], peer.endpoint, *arguments[1:], timeout=600).split()
            results.add(world.link, measure, 'us', peer.name, float(median))
            results.add(world.link, measure + '_p99', 'us', peer.name, float(high))


def measure_rest(world, peers, results, seconds):
    """Measures memory, wake-ups and processor time of the device's side at rest, and its memory with 1,000 idle connections."""
    for peer in peers:
        results.add(world.link, 'memory_rest', 'KB', peer.name, private_kb(peer.pids('d')))
    time.sleep(5)  # until the earlier load no longer has an effect
    before = {peer: (wakeups(peer.pids('d')), cpu_seconds(peer.pids('d'))) for peer in peers}
    time.sleep(seconds)
    for peer in peers:
        woken = sum(count - before[peer][0].get(thread, 0) for thread, count in wakeups(peer.pids('d')).items())
        results.add(world.link, 'wakeups_rest', '1/min', peer.name, round(woken * 60 / seconds, 1))
        results.add(world.link, 'cpu_rest', 'ms/min', peer.name, round((cpu_seconds(peer.pids('d')) - before[peer][1]) * 60000 / seconds, 1))
    for peer in peers:
        holder = subprocess.Popen(['ip', 'netns', 'exec', world.names['g'], str(world.args.bin / 'loadgen'), 'hold', peer.endpoint, '1000'],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        held = holder.stdout.readline().strip() == 'held'
        results.add(world.link, 'memory_1000_idle', 'KB', peer.name, private_kb(peer.pids('d')) if held else None)
        holder.stdin.close()
        holder.wait()


def reach(world, peer):
    return subprocess.Popen(['ip', 'netns', 'exec', world.names['g'], str(world.args.bin / 'loadgen'), 'reach', peer.endpoint, '240'],
                            stdout=subprocess.PIPE, text=True)


def measure_return(world, peers, results, outage):
    """Measures how long the service stays unreachable after the cause has ended."""
    def add(measure, waiting):
        for peer, process in waiting:
            text = process.communicate()[0].strip()
            results.add(world.link, measure, 'ms', peer.name, int(text) if text else None)

    for side, measure in (('d', 'return_device_killed'), ('g', 'return_gateway_killed')):
        time.sleep(35)  # a peer may wait before it reconnects if its session ended soon after the login
        for peer in peers:
            peer.restart(side)
            add(measure, [(peer, reach(world, peer))])
    for name in world.names.values():
        run('ip', '-n', name, 'link', 'set', 't0', 'down')
    time.sleep(outage)
    for name in world.names.values():
        run('ip', '-n', name, 'link', 'set', 't0', 'up')
    add('return_link', [(peer, reach(world, peer)) for peer in peers])


def measure(args, link, results, versions):
    world = World(args, link)
    try:
        service = world.start('d', str(args.bin / 'loadgen'), 'serve', f'0.0.0.0:{SERVICE}')
        peers = [kind(world) for kind in PEERS if not args.only or kind.name in args.only]
        for peer in peers:
            versions[peer.name] = peer.version
            if not reach(world, peer).communicate()[0] or service.poll() is not None:
                sys.exit(f'peers: {peer.name} does not reach the service; see {world.dir}/processes.log\n'
                         + (world.dir / 'processes.log').read_text(errors='replace')[-2000:])
        for _ in range(args.rounds):
            measure_bulk(world, peers, results, args.megabytes)
            measure_latency(world, peers, results)
        if link == 'local':
            measure_rest(world, peers, results, 30 if args.rounds > 1 else 5)
            for _ in range(args.returns):
                measure_return(world, peers, results, 60 if args.rounds > 1 else 5)
    finally:
        world.end()


def main():
    parser = argparse.ArgumentParser()
    for name in ('bin', 'tools', 'out'):
        parser.add_argument('--' + name, type=pathlib.Path, required=True)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--returns', type=int, default=1, help='rounds of kills and of a lost link')
    parser.add_argument('--megabytes', type=int, default=256)
    parser.add_argument('--links', default=','.join(LINKS))
    parser.add_argument('--only', default='')
    args = parser.parse_args()
    args.only = [name for name in args.only.split(',') if name]
    results, versions = Results(), {}
    for link in args.links.split(','):
        measure(args, link, results, versions)
    args.out.write_text(json.dumps({'when': time.strftime('%Y-%m-%d', time.gmtime()), 'cores': os.cpu_count(), 'kernel': os.uname().release,
                                    'busy': int(os.environ.get('CMX_BUSY', '0')), 'versions': versions, 'rows': list(results.rows.values())}, indent=1) + '\n')


main()
