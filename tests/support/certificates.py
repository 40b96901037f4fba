"""Certificates for tests, made with the openssl command, and clients that trust them. Standard library only."""
import os
import shutil
import ssl
import subprocess


def openssl(*args, **how):
    r = subprocess.run(['openssl', *args], capture_output=True, text=True, stdin=subprocess.DEVNULL, **how)
    assert r.returncode == 0, r.stderr
    return r.stdout


class Authority:
    """Signs certificates for 127.0.0.1, each a pair of files in its folder."""

    def __init__(self, folder, name='test authority'):
        self.dir = folder
        os.makedirs(folder, exist_ok=True)
        self.cert, self.key = os.path.join(folder, 'ca.pem'), os.path.join(folder, 'ca.key')
        openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30', '-subj',
                f'/CN={name}', '-keyout', self.key, '-out', self.cert)

    def sign(self, name, days=30, rsa=False, names='IP:127.0.0.1,DNS:localhost'):
        """(certificate, key). Days -1: it ended yesterday."""
        cert, key, request, more = (os.path.join(self.dir, name + end) for end in ('.pem', '.key', '.csr', '.ext'))
        kind = ['rsa:2048'] if rsa else ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256']
        openssl('req', '-new', '-newkey', *kind, '-nodes', '-subj', f'/CN={name}', '-keyout', key, '-out', request)
        with open(more, 'w') as f:
            f.write(f'subjectAltName={names}\n')
        openssl('x509', '-req', '-in', request, '-CA', self.cert, '-CAkey', self.key, '-set_serial',
                str(int.from_bytes(os.urandom(8), 'big')), '-days', str(days), '-extfile', more, '-out', cert)
        os.chmod(key, 0o600)
        return cert, key

    def client(self, **how):
        """A context that takes only what this authority signed. `how`: attributes such as maximum_version."""
        context = ssl.create_default_context(cafile=self.cert)
        for k, v in how.items():
            setattr(context, k, v)
        return context


def serial_of(port):
    """Of the certificate that is shown there now."""
    pem = ssl.get_server_certificate(('127.0.0.1', port), timeout=30)
    r = subprocess.run(['openssl', 'x509', '-noout', '-serial'], input=pem, capture_output=True, text=True, check=True)
    return r.stdout.strip()


def serial_in(path):
    return openssl('x509', '-noout', '-serial', '-in', path).strip()


def replace(source, target):
    """At one moment, as certbot and install do."""
    shutil.copy(source, target + '.new')
    os.rename(target + '.new', target)
