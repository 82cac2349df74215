"""From open_clip weights to a bundle: the only room that knows PyTorch. `python -m export.build --backbone RN50`."""
