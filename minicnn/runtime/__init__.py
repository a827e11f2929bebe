"""Services below the kernels: scratch memory, threads, files."""
