"""The parts of one import, put together by ``import_job.py``."""
