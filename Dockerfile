# syntax=docker/dockerfile:1
FROM python:3.13-slim-bookworm AS build
WORKDIR /build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /uv && /uv/bin/pip install --quiet uv==0.13.9
COPY pyproject.toml uv.lock README.md LICENSE ./
# The locked, hash-checked dependencies are a layer of their own: it changes when the lock does.
RUN /uv/bin/uv export --frozen --quiet --no-dev --extra nats --extra redis --no-emit-project --output-file requirements.txt \
    && python -m venv /app \
    && /uv/bin/uv pip sync --quiet --python /app/bin/python --require-hashes requirements.txt
COPY src ./src
COPY migrations ./migrations
RUN /uv/bin/uv pip install --quiet --python /app/bin/python --no-deps .

FROM python:3.13-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin messenger \
    && install --directory --owner messenger --mode 0700 /data
COPY --from=build /app /app
ENV PATH=/app/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    MESSENGER_HOST=0.0.0.0 MESSENGER_DATA_DIR=/data MESSENGER_ENVIRONMENT=production MESSENGER_LOG_FORMAT=json
# The root file system can be read-only: everything that is written is in /data and /tmp.
VOLUME /data
USER 10001
WORKDIR /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/live', timeout=2)"]
ENTRYPOINT ["messenger"]
CMD ["serve"]
