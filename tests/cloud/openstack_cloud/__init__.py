"""A real, small OpenStack control plane on 127.0.0.1, with a fake hypervisor and volumes in files: see ../README.md."""
