"""What a trial's process may touch: isolation levels, Landlock, seccomp, namespaces, control groups."""
