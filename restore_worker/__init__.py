"""Brings a protected OpenStack application back: a Karbor checkpoint becomes a Heat stack.

The way of one checkpoint, and the module to read for each step::

    restore.submit(checkpoint_id)           restore     in the caller's process
      bank -> checkpoint -> graph           bank, checkpoint, graph
      plugins make up their minds           plan, registry, plugin
      the restore is written down           ledger
      one message is sent                   canvas
    preflight                               tasks       in a worker
    restore_resource, one task a resource   tasks       children first, released along the graph
      fragments, merged by original id      template, ledger
    assemble                                tasks       the chord's callback: fragments -> HOT
    create_stack                            tasks
"""

__version__ = "0.1.0"
