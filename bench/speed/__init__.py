"""What the benchmarks of this folder share: rows of the table, timers, memory, bounds, graphs."""
