# syntax=docker/dockerfile:1
# A slim image of the worker. Build: docker build -t gateway-worker .
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
COPY requirements/uv.txt requirements/runtime.txt requirements/
RUN python -m venv /opt/gateway \
 && python -m pip install --no-cache-dir --require-hashes -r requirements/uv.txt \
 && VIRTUAL_ENV=/opt/gateway uv pip install --no-cache --require-hashes -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY gateway_worker gateway_worker
COPY generated generated
RUN uv pip install --no-cache --python /usr/local/bin/python --system hatchling \
 && VIRTUAL_ENV=/opt/gateway uv build --wheel --no-build-isolation --python /usr/local/bin/python --out-dir /dist \
 && VIRTUAL_ENV=/opt/gateway uv pip install --no-cache --no-deps /dist/*.whl

FROM ${PYTHON_IMAGE}
RUN useradd --system --uid 10001 --home-dir /data gateway && install -d -o gateway -m 0700 /data
COPY --from=build /opt/gateway /opt/gateway
ENV PATH=/opt/gateway/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    GATEWAY_DATA_DIR=/data \
    GATEWAY_LOG_FORMAT=json \
    GATEWAY_LISTEN=0.0.0.0:50051
USER gateway
WORKDIR /data
VOLUME /data
EXPOSE 50051
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["gateway-worker", "health"]
# There is no authentication yet: publish the port on loopback only (see compose.yaml).
ENTRYPOINT ["gateway-worker"]
CMD ["serve"]
