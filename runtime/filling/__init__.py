"""Published weights into a bundle, without PyTorch: graphs come from templates, numbers from a checkpoint's tensors."""
