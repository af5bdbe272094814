"""Memory that is taken for a moment, and given back."""

import subprocess
import sys

from tests.servers import PROJECT

# A hash in a thread, as of a request; then what is left of it, in KiB.
CODE = """
import threading
from argon2 import PasswordHasher
from config.memory import give_back_large_blocks

def used():
    return int(open("/proc/self/statm").read().split()[1]) * 4

def hash_twice():
    for _ in range(2):
        PasswordHasher(1, 19 * 1024, 1).hash("password")

give_back_large_blocks()
before = used()
thread = threading.Thread(target=hash_twice)
thread.start()
thread.join()
print(used() - before)
"""


def test_a_hash_leaves_no_memory_behind() -> None:
    command = [sys.executable, "-c", CODE]
    done = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, check=True)
    assert int(done.stdout) < 8 * 1024
