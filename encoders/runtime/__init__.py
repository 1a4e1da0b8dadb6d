"""Running transformers: backbone, device, batches, integer and GPU kernels."""
