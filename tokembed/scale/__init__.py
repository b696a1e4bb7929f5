"""Many machines: shards are counted and encoded by workers, and training takes the parts that they leave.

Read `parts.py` (a folder of encoded parts, and a process' share of it), `shard_jobs.py` (what a worker does with one shard, and
leaves behind for a run that comes after) and `ray_engine.py` (all shards, by Ray Data).
"""
