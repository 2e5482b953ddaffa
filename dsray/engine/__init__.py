"""The only files that import Ray: shard to shard, exchange by hash, tasks, training, connecting and submitting."""
