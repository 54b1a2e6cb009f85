"""A first contact with every API that the simulator can be, in one process: ``python -m dev.first_contact``."""
