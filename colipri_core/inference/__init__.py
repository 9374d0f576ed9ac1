"""Running a model in this process: the local engine and what its sessions compute (needs torch)."""
