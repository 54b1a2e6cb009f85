"""Capillary loyalty badges for Apache Airflow: bulk import that grants no badge twice and loses none."""

__version__ = "0.1.0"
