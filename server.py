"""What gunicorn imports: `gunicorn server:app`."""

from application import create_app

app = create_app()
