"""Image decoding with bounded resources: use `processor`; `worker` is the process that decodes."""
