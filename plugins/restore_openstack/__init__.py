"""Restore plugins for OpenStack: one class a resource type, each in the module of its name."""
