"""The least that keeps what Bellhop keeps of a run, with nothing around it.

A token is looked up, the run is recorded before and after, its output is in a file, the
audit and the log have a line: a bare Flask route, and SQLite by its own driver. There
is no limit, no queue, no timeout, no check, and nobody can watch or end the run.
"""

import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

from flask import Flask, abort, jsonify, request

TOKEN = "bench"
TABLES = """
CREATE TABLE IF NOT EXISTS tokens (digest TEXT PRIMARY KEY, owner TEXT);
CREATE TABLE IF NOT EXISTS tasks (number INTEGER PRIMARY KEY, task_id TEXT UNIQUE,
    state TEXT, owner TEXT, command TEXT, created REAL, finished REAL, returncode INT);
CREATE TABLE IF NOT EXISTS audit (number INTEGER PRIMARY KEY, at REAL, actor TEXT,
    action TEXT, task_id TEXT, status INT);
"""

app = Flask(__name__)
folder = Path(os.environ["KEEPING_FOLDER"])
own = threading.local()


def database():
    if not hasattr(own, "database"):
        own.database = sqlite3.connect(folder / "kept.db", isolation_level=None)
        own.database.execute("PRAGMA busy_timeout = 5000")
        own.database.execute("PRAGMA synchronous = NORMAL")
    return own.database


def digest(token):
    return hashlib.sha256(token.encode()).hexdigest()


def make():
    with sqlite3.connect(folder / "kept.db", isolation_level=None) as made:
        made.execute("PRAGMA busy_timeout = 5000")
        made.execute("PRAGMA journal_mode = WAL")
        made.executescript(TABLES)
        row = (digest(TOKEN), "bench")
        made.execute("INSERT OR IGNORE INTO tokens VALUES (?, ?)", row)


@app.post("/run")
def run():
    given = request.headers["Authorization"].removeprefix("Bearer ")
    found = database().execute(
        "SELECT owner FROM tokens WHERE digest = ?", (digest(given),)
    )
    owner = found.fetchone()
    if owner is None:
        abort(401)
    text = request.get_json()["params"]["text"]
    task_id, created = str(uuid.uuid4()), time.time()
    database().execute(
        "INSERT INTO tasks (task_id, state, owner, command, created) "
        "VALUES (?, 'QUEUED', ?, 'echo', ?)",
        (task_id, owner[0], created),
    )
    done = subprocess.run(["/bin/echo", text], capture_output=True)
    (folder / task_id).write_bytes(done.stdout)
    database().execute(
        "UPDATE tasks SET state = 'SUCCESS', finished = ?, returncode = ? "
        "WHERE task_id = ?",
        (time.time(), done.returncode, task_id),
    )
    database().execute(
        "INSERT INTO audit (at, actor, action, task_id, status) "
        "VALUES (?, ?, 'POST /run', ?, 201)",
        (time.time(), owner[0], task_id),
    )
    line = {"event": "request", "path": request.path, "task_id": task_id}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
    output = done.stdout.decode()
    return jsonify(task_id=task_id, output=output, returncode=done.returncode), 201


make()
