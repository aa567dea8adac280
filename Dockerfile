# Three images: `pod`, the default, `--target pod-litert`, the pod without TensorFlow, and `--target adapter`. FLAVOUR=gpu
# gives the pod TensorFlow with its CUDA libraries, TRACING=1 either pod OpenTelemetry.
# Dependencies lie in layers below the code, and everything is compiled at build time: it halves every start.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_NO_COMPILE=1 \
    PIP_PROGRESS_BAR=off
WORKDIR /build
# pip lives in an environment of its own and installs into the one that ships.
RUN python3 -m venv /pip && python3 -m venv --without-pip /venv

FROM builder AS adapter-builder
COPY requirements/adapter.txt requirements/strip.py ./
RUN /pip/bin/pip --python /venv/bin/python install --require-hashes -r adapter.txt \
 && python3 strip.py /venv/lib \
 && /venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /venv/lib

FROM builder AS pod-builder
ARG FLAVOUR=cpu
ARG TRACING=
COPY requirements/${FLAVOUR}.txt requirements/tracing.txt requirements/strip.py ./
# TensorFlow's C++ headers and libclang, 350 MB, are for building extensions of it.
RUN /pip/bin/pip --python /venv/bin/python install --require-hashes -r "${FLAVOUR}.txt" ${TRACING:+-r tracing.txt} \
 && rm -r /venv/lib/python3.*/site-packages/tensorflow/include /venv/lib/python3.*/site-packages/clang \
 && python3 strip.py /venv/lib \
 && /venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /venv/lib

FROM builder AS litert-builder
ARG TRACING=
COPY requirements/litert.txt requirements/tracing.txt requirements/strip.py ./
# Accelerators that no container has, tools for building models and extensions, and tests: 65 MB, more than a third.
RUN /pip/bin/pip --python /venv/bin/python install --require-hashes -r litert.txt ${TRACING:+-r tracing.txt} \
 && rm -r /venv/lib/python3.*/site-packages/ai_edge_litert/libLiteRt*.so \
      /venv/lib/python3.*/site-packages/ai_edge_litert/aot \
      /venv/lib/python3.*/site-packages/ai_edge_litert/tools \
      /venv/lib/python3.*/site-packages/ai_edge_litert/vendors \
      /venv/lib/python3.*/site-packages/numpy/distutils \
      /venv/lib/python3.*/site-packages/numpy/f2py \
 && find /venv/lib -type d -name tests -prune -exec rm -r {} + \
 && python3 strip.py /venv/lib \
 && /venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /venv/lib

FROM ${PYTHON_IMAGE} AS litert-models
COPY models /app/models
RUN find /app/models -type f ! -name model.tflite ! -path '*/assets.extra/*' -delete \
 && find /app/models -type d -empty -delete

FROM ${PYTHON_IMAGE} AS code
COPY pyproject.toml /app/
COPY service /app/service
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /app/service

FROM ${PYTHON_IMAGE} AS runtime
LABEL org.opencontainers.image.licenses="Apache-2.0"
# The root file system may be read-only: what a library insists on writing goes to /tmp. numpy's OpenBLAS would start a
# thread for each of the node's processors when it is imported.
ENV PATH=/venv/bin:$PATH \
    HOME=/tmp \
    OPENBLAS_NUM_THREADS=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /app

FROM runtime AS adapter
LABEL org.opencontainers.image.title="tfpod-adapter" \
      org.opencontainers.image.description="Custom metrics of tfpod's pods for the HorizontalPodAutoscaler"
COPY --from=adapter-builder /venv /venv
COPY --from=code /app /app
USER 10001:10001
EXPOSE 6443 8080
ENTRYPOINT ["python", "-m", "service.adapter"]

FROM runtime AS pod-litert
LABEL org.opencontainers.image.title="tfpod-litert" \
      org.opencontainers.image.description="A trained model as an HTTP API that scales itself on Kubernetes, by LiteRT"
COPY --from=litert-builder /venv /venv
COPY --from=litert-models /app/models /app/models
COPY --from=code /app /app
USER 10001:10001
EXPOSE 8000 8500 9000
ENTRYPOINT ["python", "-m", "service"]

FROM runtime AS pod
LABEL org.opencontainers.image.title="tfpod" \
      org.opencontainers.image.description="A trained TensorFlow model as an HTTP API that scales itself on Kubernetes"
# What the NVIDIA container runtime brings in beside the devices: CUDA, and NVML for the readings.
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=pod-builder /venv /venv
COPY models /app/models
COPY --from=code /app /app
USER 10001:10001
EXPOSE 8000 8500 9000
ENTRYPOINT ["python", "-m", "service"]
