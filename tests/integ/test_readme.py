"""The README's API examples run as they stand and answer what stands below them."""
import decimal
import json
import os
import re
import subprocess

from support.instance import BEACON, SERVER, TOKEN, Instance

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..'))


def agrees(got, want):
    """Whether everything that the README shows is in the answer."""
    if isinstance(want, dict):
        return isinstance(got, dict) and all(k in got and agrees(got[k], v) for k, v in want.items())
    if isinstance(want, list):
        return isinstance(got, list) and len(got) == len(want) and all(map(agrees, got, want))
    return got == want


def test_examples():
    with open(os.path.join(ROOT, 'README.md')) as f:
        blocks = re.findall(r'```sh\n(.*?)```\n```json\n(.*?)```', f.read(), re.S)
    assert len(blocks) >= 8
    with Instance() as inst:
        env = {**os.environ, 'COLLECTOR': f'http://127.0.0.1:{inst.cport}', 'PROFILER': f'http://127.0.0.1:{inst.pport}',
               'BEACON_KEY': BEACON, 'SERVER_KEY': SERVER, 'TOKEN': TOKEN}
        for command, want in blocks:
            r = subprocess.run(['bash', '-euc', command], capture_output=True, text=True, env=env, timeout=60)
            assert r.returncode == 0, (command, r.stderr)
            got = json.loads(r.stdout, parse_float=decimal.Decimal)
            assert agrees(got, json.loads(want, parse_float=decimal.Decimal)), (command, r.stdout)
            inst.drain()


def test_every_path_that_it_links_is_there():
    with open(os.path.join(ROOT, 'README.md')) as f:
        links = re.findall(r'\]\((?!http)([^)#]+)\)', f.read())
    assert links and all(os.path.exists(os.path.join(ROOT, x)) for x in links), links
