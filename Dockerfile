# syntax=docker/dockerfile:1
# Targets: `callsheet` (the default: workers, set-up and every command) and `connect` (Kafka Connect
# with its plugins, from the same verified files as the native stack).

FROM rust:1.95-slim-trixie AS native
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/maturin \
    && /opt/maturin/bin/pip install --no-cache-dir "maturin>=1.9,<2"
WORKDIR /src/native
COPY native ./
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/native/target \
    /opt/maturin/bin/maturin build --release --locked --out /wheels

FROM python:3.13-slim-trixie AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /src
COPY requirements.lock ./
RUN pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY callsheet callsheet
COPY connectors connectors
COPY sinks sinks
COPY stack stack
COPY finance finance
COPY --from=native /wheels /wheels
RUN pip install "hatchling>=1.27" \
    && pip install --no-deps --no-build-isolation . /wheels/*.whl \
    && pip uninstall -y hatchling

FROM build AS plugins
RUN apt-get update \
    && apt-get install -y --no-install-recommends maven \
    && rm -rf /var/lib/apt/lists/*
RUN python -m stack.plugins /plugins

FROM apache/kafka:4.3.1 AS connect
COPY --from=plugins /plugins /opt/callsheet/plugins
ENV KAFKA_HEAP_OPTS=-Xmx512m
EXPOSE 8083
# Its own entry point starts a broker.
ENTRYPOINT ["/opt/kafka/bin/connect-distributed.sh"]
CMD ["/etc/callsheet/connect.properties"]

FROM python:3.13-slim-trixie AS callsheet
RUN useradd --system --uid 10001 --user-group --home-dir /srv/callsheet --create-home callsheet \
    && install --directory --owner=callsheet --group=callsheet /var/lib/callsheet/audit
COPY --from=build /opt/venv /opt/venv
WORKDIR /srv/callsheet
COPY cdc-config cdc-config
COPY migrations migrations
COPY examples examples
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 POLARS_MAX_THREADS=1
USER callsheet
ENTRYPOINT ["callsheet"]
CMD ["--help"]
