#!/usr/bin/env python3
"""make.py PROGRAM [CASE…]: makes what TestRunsBegunBeforeTheRooms resumes, by the program of commit 7080693; of some cases alone.

Each case of cases.json is run whole, of which want.json keeps the SHA-256 of adapters and shards and the keys of the summary. And it is
killed once for each of its `cuts`, [UNTIL, ABSENT]: as soon as a file of the pattern UNTIL is there, and while none of the pattern ABSENT
is. Where a case has `then`, a command that follows the run, that one is killed. begun.zip has the output folders that this leaves: each content once, by its SHA-256, and files.json, which says where it stands.

Runs are made in a copy of the folder `in`; its path is written WORK. All other paths are relative to it.
"""
import glob, hashlib, json, os, shutil, signal, subprocess, sys, tempfile, zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
SUMMARIES = ('metrics.json', 'keys.json', 'compare.json', 'history.json')


def started(program, work, args):
    """The run of a template with settings, or, of one argument that is a list, that command."""
    env = {**os.environ, 'ADAPTFLOW_KERNELS': 'plain', 'TMPDIR': work + '/tmp'}
    if isinstance(args[0], str):
        args = [['run', args[0]] + [s for a in args[1:] for s in ('--set', a)]]
    return subprocess.Popen([program, *args[0], '--output', 'out'], cwd=work, env=env, stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE, text=True)


def folder():
    work = tempfile.mkdtemp()
    shutil.copytree(HERE + '/in', work, dirs_exist_ok=True)
    os.mkdir(work + '/tmp')
    return work


def contents(work):
    """The files of the output folder by name, without the path of the run's folder."""
    out = {}
    for at, _, names in os.walk(work + '/out'):
        for n in names:
            path = os.path.join(at, n)
            out[os.path.relpath(path, work + '/out')] = open(path, 'rb').read().replace(os.fsencode(work), b'WORK')
    return dict(sorted(out.items()))


def keys(x, path=''):
    """The keys of a summary; in a list, those of all its entries."""
    if isinstance(x, dict):
        for k, v in x.items():
            yield path + '.' + k
            yield from keys(v, path + '.' + k)
    elif isinstance(x, list):
        for v in x:
            yield from keys(v, path + '[]')


def sha256(raw):
    return hashlib.sha256(raw).hexdigest()


def wanted(work):
    want = {'sha256': {}, 'keys': {}}
    for name, raw in contents(work).items():
        if name.endswith(('/adapter_model.safetensors', '/adapter_config.json', '.parquet')):
            want['sha256'][name] = sha256(raw)
        if name in SUMMARIES:
            want['keys'][name] = sorted(set(keys(json.loads(raw))))
    return want


def ended(p):
    _, err = p.communicate()
    if p.returncode:
        sys.exit(f'{p.args}: {err}')


def begun(program, commands, until, absent):
    """The folder of a run that was killed in the last of its commands."""
    for _ in range(200):
        work = folder()
        for args in commands[:-1]:
            ended(started(program, work, args))
        p = started(program, work, commands[-1])
        there = lambda pattern: bool(glob.glob(os.path.join(work, 'out', pattern)))
        while p.poll() is None and not there(until):
            pass
        p.send_signal(signal.SIGKILL)
        p.communicate()
        if p.returncode == -signal.SIGKILL and there(until) and not there(absent):
            return work
        shutil.rmtree(work)
    sys.exit(f'{commands}: no run could be killed at {until} before {absent}')


def main(program, only):
    want, places, blobs = {}, {}, {}
    if only:
        want = json.load(open(HERE + '/want.json'))
        with zipfile.ZipFile(HERE + '/begun.zip') as z:
            blobs = {n: z.read(n) for n in z.namelist()}
        places = json.loads(blobs['files.json'])
    for case in json.load(open(HERE + '/cases.json')):
        if only and case['name'] not in only:
            continue
        name, commands = case['name'], [case['args']] + [[c] for c in case.get('then', [])]
        work = folder()
        for args in commands:
            ended(started(program, work, args))
        want[name] = wanted(work)
        shutil.rmtree(work)
        places[name] = {}
        for cut, (until, absent) in case['cuts'].items():
            work = begun(program, commands, until, absent)
            places[name][cut] = {}
            for path, raw in contents(work).items():
                places[name][cut][path] = sha256(raw)
                blobs[sha256(raw)] = raw
            shutil.rmtree(work)
        print(name, flush=True)
    json.dump(want, open(HERE + '/want.json', 'w'), indent=1)
    used = {sha for cuts in places.values() for files in cuts.values() for sha in files.values()}
    blobs = {n: raw for n, raw in blobs.items() if n in used}
    blobs['files.json'] = json.dumps(places).encode()
    with zipfile.ZipFile(HERE + '/begun.zip', 'w') as z:
        for name, raw in sorted(blobs.items()):
            z.writestr(zipfile.ZipInfo(name), raw, zipfile.ZIP_DEFLATED, 9)


main(os.path.abspath(sys.argv[1]), sys.argv[2:])
