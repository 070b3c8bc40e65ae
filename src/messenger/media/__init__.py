"""Image decoding in bounds: `processor` is what others use, `worker` is the process that decodes."""
