"""The tutorial's way to run a command: one slot, a thread that reads lines, a queue.

What it has is one process's, and nobody stops the queue from growing.
"""

import queue
import subprocess
import threading

from flask import Flask, jsonify, request

LINES = 100

app = Flask(__name__)
slot = {"process": None, "lines": queue.Queue(), "reader": None}


def read(process, lines):
    for line in iter(process.stdout.readline, b""):
        lines.put(line)
    process.stdout.close()
    process.wait()


@app.post("/exec")
def start():
    if slot["process"] is not None and slot["process"].poll() is None:
        return jsonify(status="busy")
    slot["lines"] = queue.Queue()
    slot["process"] = subprocess.Popen(
        request.get_json()["cmd"],
        shell=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    args = (slot["process"], slot["lines"])
    slot["reader"] = threading.Thread(target=read, args=args, daemon=True)
    slot["reader"].start()
    return jsonify(status="accepted")


@app.get("/poll")
def poll():
    lines = []
    try:
        for _ in range(LINES):
            lines.append(slot["lines"].get_nowait())  # noqa: PERF401
    except queue.Empty:
        pass
    # The tutorial asks whether the process has ended, and may lose its last lines.
    running = slot["reader"].is_alive() or lines
    return jsonify(
        status="running" if running else "finished",
        output=b"".join(lines).decode(),
    )
