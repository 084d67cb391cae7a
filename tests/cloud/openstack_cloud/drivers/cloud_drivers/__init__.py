"""What OpenStack does not ship: drivers that need neither agents nor devices. They run in the cloud's processes.

The folder beside this package stands for its installation: Neutron finds drivers by entry point alone.
"""
