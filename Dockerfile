# Airflow with this provider, for docker-compose.yaml. AIRFLOW_IMAGE can be any image of Airflow 3.2 or later that has
# the providers celery, fab and postgres, as the official one does.
ARG AIRFLOW_IMAGE=apache/airflow:3.3.2-python3.11
FROM ${AIRFLOW_IMAGE}

# Made here with its owner: a new volume takes both over.
USER root
RUN install -d -o airflow -g 0 -m 775 /var/lib/capillary
USER airflow

COPY --chown=airflow:0 pyproject.toml README.md LICENSE /opt/provider/
COPY --chown=airflow:0 airflow_provider_capillary /opt/provider/airflow_provider_capillary
COPY --chown=airflow:0 dags /opt/provider/dags

# Airflow's own version is named again, so that no dependency can move it.
RUN pip install --no-cache-dir "apache-airflow==$(python -c 'from importlib.metadata import version; print(version("apache-airflow"))')" \
    "/opt/provider[postgres]"
