"""A short walk over what `make fuzz` looks for at length: the same inputs each time."""

from random import Random

import pytest

from tests.fuzz.mutation import mutated
from tests.fuzz.targets import TARGETS, seeds

RUNS = {"metadata": 500, "request": 500}


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_as_it_should_be_gets_through(name):
    for seed in seeds(name):
        TARGETS[name](seed)


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_gets_out_but_errors_raised_on_purpose(name):
    random = Random(20200305)
    data = b""
    for run in range(RUNS.get(name, 2000)):
        # A mutation of a mutation now and then.
        data = mutated(random.choice(seeds(name)) if run % 3 else data, random, name == "metadata")
        TARGETS[name](data[:65536])
