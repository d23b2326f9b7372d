import shutil
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from ra_core.keys import fingerprint, parse_public_key, public_line


@pytest.mark.parametrize("curve", [ec.SECP256R1, ec.SECP384R1, ec.SECP521R1])
def test_a_line_is_read_back(curve):
    key = ec.generate_private_key(curve()).public_key()
    for line in (public_line(key), public_line(key) + "\n", public_line(key) + " someone@somewhere\n"):
        assert parse_public_key(line.encode()) == key


def test_keys_have_fingerprints_of_their_own():
    keys = [ec.generate_private_key(ec.SECP384R1()).public_key() for _ in range(3)]
    assert len({fingerprint(key) for key in keys}) == len(keys)


def test_a_fingerprint_is_the_one_that_openssh_prints(tmp_path):
    if not shutil.which("ssh-keygen"):
        pytest.skip("OpenSSH isn't installed")
    key = ec.generate_private_key(ec.SECP384R1()).public_key()
    (tmp_path / "k.pub").write_text(public_line(key) + "\n")
    done = subprocess.run(["ssh-keygen", "-l", "-f", "k.pub"], cwd=tmp_path, capture_output=True, text=True, check=True)  # noqa: S607
    assert done.stdout.split()[:2] == ["384", fingerprint(key)]
