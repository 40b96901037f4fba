"""A small disk of a test's own (tmpfs), to be filled and emptied."""
import contextlib
import errno
import os
import subprocess
import tempfile

import pytest

MIB = 1 << 20


@pytest.fixture
def small_disk():
    folder = tempfile.mkdtemp(prefix='waymark-small-')
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=600m', 'tmpfs', folder], capture_output=True).returncode:
        os.rmdir(folder)
        if os.environ.get('CI') == 'true':
            pytest.fail('a small disk is needed: cannot mount a tmpfs')
        pytest.skip('needs root to mount a small tmpfs')
    yield folder
    subprocess.run(['umount', '-l', folder], check=True)
    os.rmdir(folder)


def free(folder):
    s = os.statvfs(folder)
    return s.f_bavail * s.f_frsize


def fill(folder, leave):
    """A ballast file that leaves so many bytes; others may write meanwhile."""
    with open(os.path.join(folder, 'ballast'), 'ab', buffering=0) as f:
        while free(folder) > leave:
            try:
                f.write(b'\0' * min(MIB, free(folder) - leave))
            except OSError as e:
                if e.errno != errno.ENOSPC:
                    raise


def make_room(folder):
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(folder, 'ballast'))
