"""What Flask alone can do: routes that start a program, or read, and keep nothing."""

import subprocess
from pathlib import Path

from flask import Flask, jsonify

app = Flask(__name__)


@app.post("/run")
def run():
    done = subprocess.run(["/bin/echo", "hello"], capture_output=True, text=True)
    return jsonify(output=done.stdout, returncode=done.returncode)


@app.get("/uptime")
def uptime():
    up, load = (Path("/proc", name).read_text() for name in ("uptime", "loadavg"))
    return jsonify(uptime=up, load=load)
