"""Celery's settings in the chaos runs: what a killed worker held is given out again soon, and processes can be killed."""

# Installs the points at which a process of the run is killed.
imports = ("tests.chaos.points",)
# By default an hour, which no run can wait for.
broker_transport_options = {"visibility_timeout": 10}
