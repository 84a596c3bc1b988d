"""A discrete-event simulation of the queue, its workers and their scaling, for `python -m bench.capacity`.

It follows the rules of `jobs`, `inference.worker` and KEDA, in simulated seconds; nothing here waits for anything real.
"""
