# A worker with the trainer. torch comes as the package index offers it: on PyPI that is the CUDA build.
# For a CPU image pass --build-arg TORCH_INDEX=<PyTorch's index of CPU builds>.
FROM python:3.12-slim-trixie
ARG TORCH_INDEX=""
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /srv/vader
COPY pyproject.toml requirements.lock README.md LICENSE ./
RUN pip install --constraint requirements.lock torch ${TORCH_INDEX:+--index-url "$TORCH_INDEX"}
COPY api api
COPY client client
COPY domain domain
COPY migrations migrations
COPY vader_core vader_core
COPY worker worker
RUN pip install --constraint requirements.lock ".[train]" \
    && useradd --system --uid 10001 --home-dir /var/lib/vader --create-home vader \
    && install -d -o vader /var/lib/vader/weights
USER vader
# The git commit, shown with what this image runs: --build-arg VADER_COMMIT=$(git rev-parse HEAD)
ARG VADER_COMMIT=""
ENV VADER_COMMIT=$VADER_COMMIT
# One job at a time and one slot per container; more containers make more slots.
CMD ["celery", "--app", "worker.app", "worker", "--queues", "train", "--concurrency", "1", "--loglevel", "info"]
