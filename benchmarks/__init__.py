"""What a restore costs: `python -m benchmarks` measures it and prints one table.

Resources are steps of the plugin that tests use as a stranger's (`tests/support/stranger`): they do nothing for as
long as they are told. All measuring is done through the public door and a worker as a deployment starts it.
"""
