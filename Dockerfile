# syntax=docker/dockerfile:1
# The REST service and search page. Build it in the repository's root:
#
#     docker build --tag lexhound .
#     docker build --tag lexhound:neural --build-arg EXTRAS=serve,neural .     # with torch, for encoders that need it
#
# docs/containers.md says how to run it, and which of this has been run.

ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG EXTRAS=serve
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
COPY core ./core
COPY index ./index
COPY encoders ./encoders
COPY training ./training
COPY retrieval ./retrieval
COPY eval ./eval
COPY serve ./serve
# Wheels only: nothing is compiled, here or later. The environment gets no pip of its own.
RUN python -m pip wheel --no-deps --wheel-dir /wheels . \
 && python -m venv --without-pip /opt/lexhound \
 && python -m pip --python /opt/lexhound/bin/python install --only-binary :all: "$(ls /wheels/lexhound-*.whl)[${EXTRAS}]"

FROM ${BASE}
LABEL org.opencontainers.image.title="Lexhound" \
      org.opencontainers.image.description="A learned sparse retrieval search engine: REST service and search page" \
      org.opencontainers.image.licenses="Apache-2.0"
# Kernels are compiled for the processor they run on and kept in a volume, which begins with those of the processor that
# built the image; on another kind they are compiled at the first start. The rest of the file system may be read-only.
ENV PATH=/opt/lexhound/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    NUMBA_CACHE_DIR=/var/cache/lexhound/kernels \
    HF_HOME=/var/cache/lexhound/models
RUN groupadd --gid 10001 lexhound \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/cache/lexhound --shell /usr/sbin/nologin lexhound \
 && install --directory --owner=lexhound --group=lexhound --mode=0750 /data /var/cache/lexhound
COPY --from=build /opt/lexhound /opt/lexhound
USER 10001:10001
WORKDIR /data
RUN ["lexhound", "warm"]
VOLUME ["/data", "/var/cache/lexhound"]
EXPOSE 8080
STOPSIGNAL SIGTERM
# A first start that compiles kernels takes a while on a small machine: until then it is "starting", not "unhealthy".
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f\"http://127.0.0.1:{os.environ.get('LEXHOUND_PORT', '8080')}/readyz\", timeout=4)"]
ENTRYPOINT ["lexhound"]
# Beyond this container it listens only with an API key (LEXHOUND_API_KEY, LEXHOUND_KEYS_FILE) or LEXHOUND_INSECURE=true.
CMD ["serve", "/data", "--host", "0.0.0.0"]
