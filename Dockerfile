# The consumer in a container; with another command, the collector. All settings are environment
# variables; certificates are given as text in KAFKA_CA_CERT, KAFKA_ACCESS_CERT and KAFKA_ACCESS_KEY.
FROM python:3.13.15-slim-trixie

RUN useradd --no-log-init --uid 10001 --no-create-home clickstream
WORKDIR /app

# All requirements are wheels, so the image needs no compiler and no second stage.
COPY requirements.txt requirements-collector.txt ./
RUN pip install --no-cache-dir --only-binary :all: -r requirements-collector.txt

COPY . .

# A number, so that Kubernetes can check runAsNonRoot.
USER 10001

HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9464/livez')"]

# exec: the consumer gets SIGTERM and ends after its batch.
CMD ["sh", "-c", "python create_schema.py && exec python consumer.py --metrics-port 9464"]
