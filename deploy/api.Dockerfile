# The API and the migrations: no torch, no model code beyond the spec and the catalogue.
FROM python:3.12-slim-trixie
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /srv/vader
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY api api
COPY client client
COPY domain domain
COPY migrations migrations
COPY vader_core vader_core
COPY worker worker
RUN pip install --constraint requirements.lock . \
    && useradd --system --uid 10001 --home-dir /var/lib/vader --create-home vader \
    && install -d -o vader /var/lib/vader/weights
USER vader
# The git commit, shown with what this image runs: --build-arg VADER_COMMIT=$(git rev-parse HEAD)
ARG VADER_COMMIT=""
ENV VADER_COMMIT=$VADER_COMMIT
EXPOSE 8000
CMD ["python", "-m", "api", "--host", "0.0.0.0", "--port", "8000"]
