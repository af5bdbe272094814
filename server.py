"""What gunicorn imports: `gunicorn server:app`."""

from config.memory import kept_to_the_end

with kept_to_the_end():
    from application import create_app

    app = create_app()
