"""Two profilers that fight over one thing: a state folder, or a name in the group."""
import os
import shutil

from support.cluster import Cluster, Program, not_sanitized
from support.instance import PATIENCE, free_ports, wait_until
from support.outage import rewrite, wait_served

pytestmark = not_sanitized


def second(c, name, folder):
    """A profiler like the first, with a port of its own."""
    first, (port,) = c.profilers[0], free_ports(1)
    with open(first.config) as f:
        text = f.read().replace(f'127.0.0.1:{first.port}\n', f'127.0.0.1:{port}\n').replace(f'instance: {first.name}\n', f'instance: {name}\n')
    return Program('profiler', name, os.path.join(c.dir, folder), port, text)


def test_one_state_folder(kafka):
    with Cluster(kafka) as c:
        first = c.profilers[0]
        with c.load(), c.reader() as reader:
            c.wait_acked()
            other = second(c, 'other', 'other')
            rewrite(other, 'data: ./data', f'data: {first.dir}/data')
            for _ in range(2):
                other.start(ready=False)
                assert other.process.wait(30 * PATIENCE) == 1
            words = [line for line in other.log().splitlines() if 'cannot start' in line]
            assert len(words) == 2, other.log()
            for line in words:
                assert f'{first.dir}/data/state' in line and 'in use' in line, line
            # Nothing of the first was touched, and the second did not disturb it.
            reader.wait_answers()
            c.wait_acked()
        c.finish()


def test_one_name_in_the_group(kafka):
    """The younger one wins, the elder says why it stops following, and the events are folded once."""
    with Cluster(kafka) as c:
        elder = c.profilers[0]
        with c.load(), c.reader() as reader:
            c.wait_acked()
            younger = second(c, elder.name, 'younger')
            younger.start(ready=False)
            c.profilers.append(younger)
            wait_until(lambda: f'another process is in the group as instance {elder.name}' in elder.log(), 60, 'words about the name')
            c.profilers.remove(elder)
            elder.kill()
            wait_served(c, by=[younger])
            reader.wait_answers()
            c.wait_acked()
        shutil.rmtree(elder.dir)
        c.finish()
