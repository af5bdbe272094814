"""Flask-Shell2HTTP with one command, as its documentation begins."""

from flask import Flask
from flask_executor import Executor
from flask_shell2http import Shell2HTTP

app = Flask(__name__)
executor = Executor(app)
commands = Shell2HTTP(app=app, executor=executor, base_url_prefix="/commands/")
commands.register_command(endpoint="echo", command_name="echo")
