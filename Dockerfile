# One gunicorn in a container. Start it with the settings of docs/settings.md:
#   docker run -e ADMIN_PASSWORD=… -p 127.0.0.1:5000:5000 bellhop
# The same image is a worker of Celery, see compose.yaml:
#   docker run … bellhop celery -A app.worker worker
FROM python:3.11-slim

# tini as PID 1 reaps what commands orphan and passes signals on.
RUN apt-get update \
    && apt-get install -y --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --create-home --home-dir /srv/bellhop --uid 10001 bellhop

WORKDIR /srv/bellhop
COPY requirements.txt requirements-celery.txt requirements-gevent.txt requirements-postgres.txt ./
RUN pip install --no-cache-dir -r requirements.txt -r requirements-celery.txt \
    -r requirements-gevent.txt -r requirements-postgres.txt
COPY application.py run.py server.py gunicorn.conf.py ./
COPY app app
COPY config config
COPY migrations migrations
# Compiled here, where that can be kept: the process of a detached run starts anew each time.
RUN python -m compileall -q app config
RUN mkdir -m 700 instance && chown bellhop: instance

USER bellhop
ENV BIND_ADDRESS=0.0.0.0 \
    PORT=5000 \
    PYTHONDONTWRITEBYTECODE=1
VOLUME /srv/bellhop/instance
EXPOSE 5000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD \
    ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/api/health', timeout=4)"]

ENTRYPOINT ["tini", "--"]
CMD ["gunicorn", "server:app"]
