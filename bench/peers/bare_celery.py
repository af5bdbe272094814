"""Celery by itself: a task that runs a program and gives back what it has printed."""

import os
import subprocess

from celery import Celery

app = Celery("bare", broker=os.environ["BROKER"], backend=os.environ["BROKER"])
app.conf.broker_connection_retry_on_startup = True


@app.task
def run(argv: list[str]) -> str:
    """Run a program to its end."""
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout
