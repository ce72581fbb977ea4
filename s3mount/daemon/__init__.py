"""The life of one mount: a process in the background that mounts, serves, and always unmounts.

Read: startup (the order of it all), background (fork), privileges, lifecycle with interfaces,
signals and sd_notify; wiring, the composition root; logging_setup, log_file and log_rate_limit;
syscalls.

Invariants: forks come before threads, and privileges are dropped before anything is read from
outside. No mount outlives its server. A failure is reported once: to the terminal, or in the log.
"""
