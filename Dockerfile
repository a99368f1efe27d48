# syntax=docker/dockerfile:1
# Build:  docker build -t tracker-server .
# Run:    docker run --stop-timeout 60 -v tracker-data:/data -p 5023:5023 -p 8082:8082 tracker-server
# How to: docs/howto/run-with-docker.md

FROM python:3.11-slim-bookworm AS build
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_NO_CACHE=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN pip install --quiet uv==0.13.9
RUN uv venv /opt/tracker-server
WORKDIR /build
# what rarely changes first: an edit of the code does not fetch the dependencies again
COPY pyproject.toml requirements-dev.lock ./
RUN VIRTUAL_ENV=/opt/tracker-server uv pip install --constraint requirements-dev.lock --requirement pyproject.toml
COPY README.md LICENSE hatch_build.py ./
COPY web web
COPY src src
COPY protocols protocols
RUN VIRTUAL_ENV=/opt/tracker-server uv pip install --no-deps .

FROM python:3.11-slim-bookworm
# tini reaps what the embedded PostgreSQL leaves behind and hands SIGTERM to the server alone
RUN apt-get update \
    && apt-get install --yes --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --home-dir /data --no-create-home --shell /usr/sbin/nologin tracker \
    && install --directory --owner=tracker --group=tracker --mode=0700 /data
COPY --from=build /opt/tracker-server /opt/tracker-server
ENV PATH=/opt/tracker-server/bin:$PATH PYTHONUNBUFFERED=1 TRACKER_DATA_DIR=/data TRACKER_LOG__FORMAT=json
USER tracker
WORKDIR /data
VOLUME /data
# ports: begin (written by `make tables` from the registry of protocols)
EXPOSE 8082/tcp 1883/tcp 5001/tcp 5001/udp 5002/tcp 5002/udp 5004/tcp 5004/udp 5005/tcp 5005/udp 5013/tcp 5013/udp 5023/tcp 5027/tcp 5027/udp 5055/tcp 5144/tcp 5301/tcp 5302/tcp 5303/tcp
# ports: end
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('TRACKER_API__PORT', '8082') + '/healthz', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["tini", "--", "tracker-server"]
CMD ["serve"]
